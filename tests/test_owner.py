"""The owner: events on disk before they are acknowledged, contexts meanwhile, and a disk that refuses."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from attached import ITEMS, definitions, event, folder
from live import NOON

from pipelines.behaviour.exported import DEFINITIONS
from pipelines.behaviour.measures import Event
from pipelines.errors import InputError
from pipelines.files import read_json, write_json
from pipelines.serving import happened, owner
from pipelines.serving.owner import Definitions, Owner, StateError

NOW = round(NOON * 1e6)
ASKED = ("ada", "tea", "s1", NOW, {"list_price": 24.99})


def read(event_id: str, seconds: float = -60.0, **columns: Any) -> Event:
    """Return an event as the endpoint hands it over."""
    found = happened.read(event(event_id, seconds, **columns), "", ITEMS, "EUR")
    assert isinstance(found, Event)
    return found


def told(values: Any) -> dict[str, Any]:
    """Return a context by the names of its features."""
    return dict(zip(definitions().features, values, strict=True))


def test_what_was_acknowledged_is_there_after_a_crash(tmp_path: Path) -> None:
    """Opening the file again, which nobody closed, gives the same context."""
    first = Owner(folder(tmp_path))
    answers = asyncio.run(first.events([read("a"), read("b", -30.0), read("a")], NOW))
    (before,) = asyncio.run(first.contexts([ASKED]))
    first._durable._file.close()  # as the kernel does it for a process that was killed
    second = Owner(tmp_path)
    (after,) = asyncio.run(second.contexts([ASKED]))
    assert ["taken", "taken", "duplicate"] == answers
    assert (before, 2.0, 60.0) == (after, told(after)["session_views"], told(after)["session_dwell"])
    assert ["duplicate"] == asyncio.run(second.events([read("b", -30.0)], NOW))


def test_contexts_do_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an event is being written, contexts are answered without it; it is taken only once it is on disk."""
    owned, written = Owner(folder(tmp_path)), threading.Event()
    keep = owned._durable.keep
    monkeypatch.setattr(owned._durable, "keep", lambda arrived: (written.wait(10), keep(arrived)))

    async def run() -> tuple[Any, list[str], Any]:
        taking = asyncio.create_task(owned.events([read("a")], NOW))
        await asyncio.sleep(0.02)
        assert not taking.done()
        (before,) = await owned.contexts([ASKED])
        written.set()
        return before, await taking, (await owned.contexts([ASKED]))[0]

    before, answers, after = asyncio.run(run())
    assert (0.0, ["taken"], 1.0) == (told(before)["session_views"], answers, told(after)["session_views"])


def test_many_requests_are_written_at_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gathers while the disk is busy is one write, and each caller gets its own answers."""
    owned, sizes = Owner(folder(tmp_path)), list[int]()
    keep = owned._durable.keep
    monkeypatch.setattr(owned._durable, "keep", lambda arrived: (sizes.append(len(arrived)), keep(arrived)))

    async def run() -> list[list[str]]:
        return await asyncio.gather(*(owned.events([read(f"e{n // 2}", n // 2 - 60.0)], NOW) for n in range(40)))

    assert [["taken"], ["duplicate"]] * 20 == asyncio.run(run())
    assert (40, 1) == (sum(sizes), len(sizes))


def test_a_disk_that_refuses_is_told_and_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it, no feature moves, and the same event is taken once there is room."""
    owned = Owner(folder(tmp_path))
    keep = owned._durable.keep

    def full(arrived: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(owned._durable, "keep", full)
    with pytest.raises(StateError, match="disk is full"):
        asyncio.run(owned.events([read("a")], NOW))
    assert 0.0 == told(asyncio.run(owned.contexts([ASKED]))[0])["session_views"]
    monkeypatch.setattr(owned._durable, "keep", keep)
    assert ["taken"] == asyncio.run(owned.events([read("a")], NOW))


def test_more_events_than_it_can_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded while the disk is slow."""
    monkeypatch.setattr(owner, "_MOST_WAITING", 3)
    owned = Owner(folder(tmp_path))
    with pytest.raises(StateError, match="more events are waiting"):
        asyncio.run(owned.events([read(f"e{n}", n - 60.0) for n in range(4)], NOW))
    assert ["taken"] * 3 == asyncio.run(owned.events([read(f"e{n}", n - 60.0) for n in range(3)], NOW))


def test_snapshots_are_written_on_the_way_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal stays short, and what was snapshot and what came after it are there when it is opened again."""
    monkeypatch.setattr(owner, "_SNAPSHOT", 10)
    owned = Owner(folder(tmp_path))

    async def run() -> Any:
        for n in range(55):
            await owned.events([read(f"e{n}", 10.0 * n - 560.0)], NOW)
        (found,) = await owned.contexts([ASKED])
        return found

    found = asyncio.run(run())
    assert 55.0 == told(found)["session_views"]
    assert owned._durable.journaled < 55
    owned._durable._file.close()
    assert found == asyncio.run(Owner(tmp_path).contexts([ASKED]))[0]


def test_closing_leaves_a_snapshot(tmp_path: Path) -> None:
    """The next one opens without taking anything again."""
    owned = Owner(folder(tmp_path))

    async def run() -> None:
        await owned.events([read("a")], NOW)
        await owned.close()

    asyncio.run(run())
    again = Owner(tmp_path)
    assert (0, 1.0) == (again._durable.journaled, told(asyncio.run(again.contexts([ASKED]))[0])["session_views"])


def test_a_state_has_one_owner(tmp_path: Path) -> None:
    """A second one is refused, and so is one of other definitions."""
    held = Owner(folder(tmp_path))
    with pytest.raises(InputError, match="one process has the state at a time"):
        Owner(tmp_path)
    asyncio.run(held.close())
    values = read_json(tmp_path / DEFINITIONS)
    values["features"]["forget"]["session"] = "2d"
    write_json(tmp_path / DEFINITIONS, values)
    with pytest.raises(InputError, match="written for other features"):
        Owner(tmp_path)


@pytest.mark.parametrize(("values", "said"), [(None, "attach"), ({"features": {}}, "no currency"), ([], "no currency")])
def test_a_folder_that_was_not_attached_is_refused(tmp_path: Path, values: Any, said: str) -> None:
    """The message names the file and the command that makes it."""
    if values is not None:
        write_json(tmp_path / DEFINITIONS, values)
    with pytest.raises(InputError, match=said):
        Definitions.read(tmp_path)
