"""The owner of the feature state: the one process that takes events and computes contexts.

One worker has it within; several ask it over a Unix socket (wire.py). Events are on disk before they are acknowledged;
the disk is written to in a thread of its own, many events at once, so that contexts need not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.behaviour.arrival import Arrived
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.exported import DEFINITIONS, FACTS, STATE, from_json
from pipelines.behaviour.facts import Facts
from pipelines.behaviour.journal import DurableState
from pipelines.behaviour.measures import Event
from pipelines.errors import InputError
from pipelines.files import read_json

_MOST_WAITING = 20_000  # events
_AT_ONCE = 2_000  # events of one write
_SNAPSHOT = 2_000  # events, at least, until the next snapshot
_Waiting = tuple[list[Arrived], int, "asyncio.Future[list[str]]"]  # events of a request, its clock, who waits for it
Asking = tuple[str, str, str, int, Mapping[str, Any]]  # shopper, item, session, instant in µs, what the request knows


class StateError(Exception):
    """The feature state does not answer now: it is gone, busy or slow. The text says which."""


@dataclass(frozen=True)
class Definitions:
    """What live use was attached to: the features, and the currency of the log."""

    features: FeatureSet
    currency: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read live.json. Raises InputError."""
        path = folder / DEFINITIONS
        if not path.is_file():
            raise InputError(f"{path} is missing: `python -m pipelines.behaviour.attach --to {folder}` makes it")
        values = read_json(path)
        if not isinstance(values, dict) or not isinstance(values.get("currency"), str):
            raise InputError(f"{path}: there is no currency; make it again with `python -m pipelines.behaviour.attach`")
        return cls(from_json(values.get("features"), str(path)), values["currency"])


class Owner:
    """The feature state of this process, for one event loop."""

    def __init__(self, folder: Path) -> None:
        """Open the state of `folder`; raises InputError where it is damaged, in use or of other definitions."""
        self.features = Definitions.read(folder).features
        self.facts = Facts(folder / FACTS)
        self._names = tuple(self.features.features)
        self._durable = DurableState(folder / STATE, self.features)
        self._state = self._durable.state
        self._state.items, self._state.shoppers = self.facts.items, self.facts.shoppers
        self._disk = ThreadPoolExecutor(1, "feature-state")
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._writing: asyncio.Task[None] | None = None
        self._looked = 0.0

    async def contexts(self, asked: Sequence[Asking]) -> list[list[float | str | None] | str]:
        """Return for each the values of the features in their order, NaN as None; or, as a text, why there are none."""
        self._look()
        return [self._context(*one) for one in asked]

    async def events(self, events: Sequence[Event], now: int) -> list[str]:
        """Take events; return, once they are on disk, what `FeatureState.add` says of each.

        now: in µs. Raises InputError where one cannot be read, and StateError where they cannot be written down now.
        """
        if self._count + len(events) > _MOST_WAITING:
            raise StateError("more events are waiting to be written than it can hold")
        self._look()
        arrived = [self._state.arrived(event) for event in events]
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((arrived, now, done))
        self._count += len(arrived)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        try:
            answers: list[str] = await done
        except sqlite3.Error as error:
            raise StateError(f"events cannot be written: {error}") from None
        return answers

    async def close(self) -> None:
        """Write down what is waiting and a snapshot, and close the files."""
        if self._writing is not None:
            await self._writing
        with contextlib.suppress(sqlite3.Error):  # the journal has all of it
            await asyncio.get_running_loop().run_in_executor(self._disk, self._durable.snapshot)
        self._disk.shutdown()
        self._durable.close()
        self.facts.close()

    def _context(
        self, shopper: str, item: str, session: str, instant: int, row: Mapping[str, Any]
    ) -> list[float | str | None] | str:
        facts = None
        if row.get("unit_cost") is not None:
            facts = {**(self.facts.items.get(item) or {}), "unit_cost": row["unit_cost"]}
        try:
            found = self._state.context(shopper, item, session, instant, row, facts)
        except InputError as error:
            return str(error)
        values = map(found.__getitem__, self._names)
        return [None if value != value else value for value in values]

    async def _write(self) -> None:
        """Write what is waiting, as much at once as has gathered meanwhile, until nothing is."""
        try:
            while self._waiting:
                await self._write_some()
        finally:
            self._writing = None
            for _, _, done in self._waiting:  # none, unless this is a fault of ours
                done.cancel()

    async def _write_some(self) -> None:
        loop, batch, count = asyncio.get_running_loop(), list[_Waiting](), 0
        while self._waiting and (not batch or count + len(self._waiting[0][0]) <= _AT_ONCE):
            batch.append(self._waiting.popleft())
            count += len(batch[-1][0])
        self._count -= count
        try:
            kept = [(one, now) for arrived, now, _ in batch for one in arrived]
            await loop.run_in_executor(self._disk, self._durable.keep, kept)
        except Exception as error:  # nothing of it is on disk, so nothing is taken; each caller is told
            for _, _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        for arrived, now, done in batch:
            answers = [self._state.take(one, now) for one in arrived]
            if not done.done():  # its caller may have gone
                done.set_result(answers)
        if self._durable.journaled >= self._worth_it():
            with contextlib.suppress(sqlite3.Error):  # the journal has all of it, and grows until one succeeds
                picture = self._durable.picture()
                await loop.run_in_executor(self._disk, self._durable.write, picture)

    def _worth_it(self) -> float:
        """Return after how many events a snapshot is worth what it costs: a look at every history."""
        state = self._state
        return max(_SNAPSHOT, 2 * len(state.unsettled), sum(map(len, state.histories.values())) / 20)

    def _look(self) -> None:
        """Look at most once in a second whether items and shoppers were written anew."""
        if (now := time.monotonic()) > self._looked + 1:
            self._looked = now
            self.facts.refresh()
