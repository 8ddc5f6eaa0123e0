"""Workers and the owner of the feature state, over a Unix socket: frames of JSON, each with its length before it.

A request is [number, what, …]; the answer has its number, so that a worker may ask many things before the first answer.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.behaviour.measures import Event
from pipelines.errors import InputError
from pipelines.serving.owner import Asking, StateError

if TYPE_CHECKING:
    from pipelines.serving.owner import Owner

_HEAD = struct.Struct("!I")
LONGEST = 16 * 1024 * 1024  # bytes of a frame
_AGAIN = 0.1  # seconds, until a lost owner is called again


async def read(reader: asyncio.StreamReader) -> Any:
    """Return what the next frame says. Raises asyncio.IncompleteReadError at the end, ValueError for what is none."""
    (size,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if size > LONGEST:
        raise ValueError(f"a frame of {size} bytes is longer than {LONGEST}")
    return orjson.loads(await reader.readexactly(size))


def framed(value: Any) -> bytes:
    """Return a value as a frame."""
    body = orjson.dumps(value)
    return _HEAD.pack(len(body)) + body


async def listen(owner: Owner, path: Path) -> asyncio.Server:
    """Answer for `owner` at `path`, to this user alone."""

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                number, what, *words = await read(reader)
                task = asyncio.create_task(_answer(owner, writer, number, what, words))
                running.add(task)
                task.add_done_callback(running.discard)
                await writer.drain()
        except (OSError, ValueError, TypeError, asyncio.IncompleteReadError):
            pass  # the worker went, or is none
        except asyncio.CancelledError:
            pass  # this process ends; asyncio would report it as a fault
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(attend, path)
    finally:
        os.umask(mask)


async def _answer(owner: Owner, writer: asyncio.StreamWriter, number: int, what: str, words: list[Any]) -> None:
    told: Any
    try:
        if what == "contexts":
            told = ["ok", await owner.contexts(words[0])]
        else:
            told = ["ok", await owner.events([Event(*event) for event in words[0]], words[1])]
    except InputError as error:
        told = ["refused", str(error)]
    except Exception as error:
        told = ["failed", str(error) if isinstance(error, StateError) else f"{type(error).__name__}: {error}"]
    if not writer.is_closing():
        writer.write(framed([number, *told]))


class Remote:
    """The owner as a worker sees it: what `Owner` answers, or StateError where it does not. It is called when asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._calling = asyncio.Lock()
        self._not_before = 0.0

    async def contexts(self, asked: Sequence[Asking]) -> list[list[float | str | None] | str]:
        """As Owner.contexts. Raises StateError."""
        found: list[list[float | str | None] | str] = await self._ask("contexts", asked)
        return found

    async def events(self, events: Sequence[Event], now: int) -> list[str]:
        """As Owner.events."""
        told = [(e.instant, e.event_id, e.kind, e.shopper_id, e.session_id, e.item_id, e.row) for e in events]
        answers: list[str] = await self._ask("events", told, now)
        return answers

    async def close(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _ask(self, what: str, *words: Any) -> Any:
        writer = self._writer
        if writer is None:
            writer = await self._called()
        if writer.transport.get_write_buffer_size() > LONGEST:
            raise StateError("its process does not keep up")
        self._number = number = self._number + 1
        done = asyncio.get_running_loop().create_future()
        self._answers[number] = done
        try:
            writer.write(framed([number, what, *words]))
            verdict, told = await done
        finally:
            self._answers.pop(number, None)
        if verdict == "ok":
            return told
        raise InputError(told) if verdict == "refused" else StateError(told)

    async def _called(self) -> asyncio.StreamWriter:
        async with self._calling:
            if self._writer is not None:
                return self._writer
            loop = asyncio.get_running_loop()
            if loop.time() < self._not_before:
                raise StateError("its process does not answer")
            try:
                reader, writer = await asyncio.open_unix_connection(self.path)
            except OSError as error:
                self._not_before = loop.time() + _AGAIN
                raise StateError(f"its process does not answer ({os.strerror(error.errno or 0)})") from None
            self._writer = writer
            self._reading = asyncio.create_task(self._read(reader, writer))
            return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                number, verdict, told = await read(reader)
                done = self._answers.get(number)
                if done is not None and not done.done():
                    done.set_result((verdict, told))
        except (OSError, ValueError, TypeError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writer = None
            writer.close()
            for done in self._answers.values():
                if not done.done():
                    done.set_exception(StateError("its process went before it answered"))
