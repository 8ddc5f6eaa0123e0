"""The socket between workers and owner: the same answers as in one process, and none that are waited for in vain."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attached import folder
from test_owner import ASKED, NOW, read, told

from pipelines.errors import InputError
from pipelines.serving import wire
from pipelines.serving.owner import Owner, StateError
from pipelines.serving.wire import Remote


def _with(path: Path, work: Callable[[Owner, Remote], Awaitable[Any]]) -> Any:
    """Run `work` with an owner behind a socket, and a worker's view of it."""

    async def run() -> Any:
        owner, remote = Owner(folder(path)), Remote(path / "o.sock")
        server = await wire.listen(owner, path / "o.sock")
        try:
            return await work(owner, remote)
        finally:
            await remote.close()
            server.close()
            await owner.close()

    return asyncio.run(run())


def test_a_socket_answers_as_the_owner_does(tmp_path: Path) -> None:
    """Events, contexts of a page, missing numbers and refusals come over unchanged."""

    async def work(owner: Owner, remote: Remote) -> None:
        assert ["taken", "duplicate"] == await remote.events([read("a"), read("a")], NOW)
        asked = [ASKED, ("bo", "lamp", "s2", NOW, {"channel": "web", "unit_cost": 9.0}), (*ASKED[:3], 5, {})]
        here, there = await owner.contexts(asked), await remote.contexts(asked)
        assert here == [list(one) if not isinstance(one, str) else one for one in there]
        assert (1.0, None) == (told(there[0])["session_views"], told(there[0])["days_since_purchase"])
        assert "before the newest event" in there[2]
        with pytest.raises(InputError, match="must be one of"):
            await remote.events([read("b").__class__(NOW, "x", "glance", "u", "s")], NOW)

    _with(tmp_path, work)


def test_answers_find_their_questions(tmp_path: Path) -> None:
    """Many at once on one connection, each with its own answer."""

    async def work(owner: Owner, remote: Remote) -> None:
        await remote.events([read(f"e{n}", shopper_id=f"u{n}", session_id="s") for n in range(20)], NOW)
        asked = [[(f"u{n}", "tea", "s", NOW, {})] * (n % 3 + 1) for n in range(40)]
        found = await asyncio.gather(*map(remote.contexts, asked))
        views = [[told(one)["session_views"] for one in answers] for answers in found]
        assert [[float(n < 20)] * (n % 3 + 1) for n in range(40)] == views

    _with(tmp_path, work)


def test_an_owner_that_is_away_is_told_at_once_and_called_again(tmp_path: Path) -> None:
    """Without one, and after one went in the middle of a question, there is a StateError; a new one is found."""

    async def run() -> None:
        remote = Remote(tmp_path / "o.sock")
        with pytest.raises(StateError, match="does not answer"):
            await remote.contexts([ASKED])
        hung: list[asyncio.StreamWriter] = []
        silent = await asyncio.start_unix_server(lambda _, writer: hung.append(writer), tmp_path / "o.sock")
        await asyncio.sleep(0.15)
        asking = asyncio.create_task(remote.contexts([ASKED]))
        while not hung:
            await asyncio.sleep(0.01)
        hung[0].close()
        silent.close()
        with pytest.raises(StateError, match="went before it answered"):
            await asking
        owner = Owner(folder(tmp_path))
        server = await wire.listen(owner, tmp_path / "o.sock")
        assert 1 == len(await remote.contexts([ASKED]))
        await remote.close()
        server.close()
        await owner.close()

    asyncio.run(run())


def test_who_is_no_worker_is_hung_up_on(tmp_path: Path) -> None:
    """Bytes that are no frame, or one larger than any, end their own connection and nothing else."""

    async def work(owner: Owner, remote: Remote) -> None:
        for junk in (struct.pack("!I", 2**31), struct.pack("!I", 2) + b"no", struct.pack("!I", 2) + b"17"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "o.sock")
            writer.write(junk)
            assert b"" == await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert 1 == len(await remote.contexts([ASKED]))

    _with(tmp_path, work)


def test_the_socket_is_this_users_alone(tmp_path: Path) -> None:
    """Nobody else on the machine may ask for shoppers' histories."""

    async def work(owner: Owner, remote: Remote) -> int:
        return (tmp_path / "o.sock").stat().st_mode & 0o777

    assert 0o600 == _with(tmp_path, work)
