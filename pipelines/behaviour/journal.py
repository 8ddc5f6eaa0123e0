"""Live features that survive a crash: each event is on disk, in a SQLite file, before it is acknowledged.

The file holds a snapshot of all histories and the events since. Opening it reads the snapshot and takes those events
again, in the same order, which gives the same state. One process has it at a time.
"""

from __future__ import annotations

import gc
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.behaviour.arrival import Arrived
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.layout import LATEST, digest
from pipelines.behaviour.measures import Event
from pipelines.behaviour.settled import decoded, encoded, read, settled
from pipelines.behaviour.state import FeatureState
from pipelines.errors import InputError

FORMAT = 1
APPLICATION = 0x50775374  # "PwSt", in the header of the file
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE history (entity TEXT, key TEXT, latest INTEGER NOT NULL, kept TEXT NOT NULL, PRIMARY KEY (entity, key))
    WITHOUT ROWID;
CREATE TABLE unsettled (number INTEGER PRIMARY KEY, event TEXT NOT NULL);
CREATE TABLE journal (number INTEGER PRIMARY KEY, event TEXT NOT NULL, now INTEGER)
"""
_DAMAGED = (OSError, sqlite3.DatabaseError, ValueError, TypeError, KeyError, IndexError)


@dataclass(frozen=True)
class Picture:
    """What a snapshot says: changed, rows of the table history; forgotten, by entity the latest instant that goes."""

    meta: dict[str, Any]
    changed: list[tuple[str, str, int, str]]
    waiting: list[str]
    forgotten: dict[str, int]


class DurableState:
    """A FeatureState (`state`) whose acknowledged events are on disk.

    What is known of items and shoppers is not: give it at each opening; an event keeps its item's facts of the time.
    `journaled`: events since the snapshot, which opening would take again, some 20,000 in a second.
    """

    def __init__(
        self,
        path: Path,
        features: FeatureSet,
        items: Mapping[str, Mapping[str, Any]] | None = None,
        shoppers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Open the file, or start one; raises InputError if it is damaged, foreign, in use, or of other features."""
        self.path = path
        self.state = FeatureState(features, items, shoppers)
        self.journaled = 0
        try:
            self._file = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: {error}; make its folder, and let this process write there") from None
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._file.close()
            raise InputError(f"{path}: {error}; one process has the state at a time: stop the other one") from None
        except _DAMAGED as error:
            self._file.close()
            raise InputError(
                f"{path} is damaged or was not written by live features ({error}): move it away, "
                "start anew and rebuild the state from the event log"
            ) from None
        except InputError:
            self._file.close()
            raise

    def add(self, event: Event, now: int | None = None) -> str:
        """Take one event; returns, once it is on disk, what FeatureState.add does. Many at once are much cheaper."""
        return self.add_many([event], now)[0]

    def add_many(self, events: Sequence[Event], now: int | None = None) -> list[str]:
        """Take events in order; returns, once all are on disk, what FeatureState.add says of each.

        Raises InputError, and takes none, if one cannot be read; if the disk refuses (sqlite3.OperationalError), none.
        """
        arrived = [self.state.arrived(event) for event in events]
        self.keep([(one, now) for one in arrived])
        return [self.state.take(one, now) for one in arrived]

    def keep(self, arrived: Sequence[tuple[Arrived, int | None]]) -> None:
        """Put events on disk that `state.take` is to take next, each with its `now`, in this order.

        It leaves the state alone, so another thread may ask for contexts meanwhile. Raises as `add_many` does.
        """
        rows = [(_written(one), now) for one, now in arrived]
        with self._transaction():
            self._file.executemany("INSERT INTO journal (event, now) VALUES (?, ?)", rows)
        self.journaled += len(rows)

    def snapshot(self) -> None:
        """Write down what has changed since the last snapshot, and empty the journal, in one transaction."""
        self.write(self.picture())

    def picture(self) -> Picture:
        """Return what a snapshot is to say of the state as it is now."""
        state, watermark = self.state, self.state.watermark
        return Picture(
            meta={"digest": digest(state.features), "newest": state.newest, "counted": dict(state.counted)},
            changed=list(self._changed()),
            waiting=[_written(one) for one in state.unsettled if one.instant >= watermark],
            forgotten={entity: watermark - layout.forget for entity, layout in state.layouts.items()},
        )

    def write(self, picture: Picture) -> None:
        """Write a snapshot; no event may be kept or taken since it was made, but contexts may be asked for."""
        with self._transaction():
            for entity, before in picture.forgotten.items():
                self._file.execute("DELETE FROM history WHERE entity = ? AND latest < ?", (entity, before))
            self._file.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", picture.changed)
            self._file.execute("DELETE FROM unsettled")
            waiting = [(event,) for event in picture.waiting]
            self._file.executemany("INSERT INTO unsettled (event) VALUES (?)", waiting)
            self._file.execute("DELETE FROM journal")
            self._note(picture.meta)
        self.journaled = 0
        for table in self.state.histories.values():
            for history in table.values():
                history.changed = bool(history.entries)

    def close(self) -> None:
        """Close the file; another process may open it then."""
        self._file.close()

    def _open(self) -> None:
        self._one("PRAGMA locking_mode = EXCLUSIVE")
        is_new = not self._one("SELECT count(*) FROM sqlite_master")
        if not is_new and self._one("PRAGMA application_id") != APPLICATION:
            raise ValueError("it lacks their mark")  # before anything is written
        self._one("PRAGMA journal_mode = WAL")
        self._one("PRAGMA synchronous = FULL")
        with self._transaction():  # takes the lock
            if is_new:
                self._create()
        if self._one("PRAGMA quick_check(1)") != "ok":
            raise ValueError("SQLite finds it inconsistent")
        self._read()

    def _create(self) -> None:
        for statement in _TABLES.split(";"):
            self._file.execute(statement)
        self._file.execute(f"PRAGMA application_id = {APPLICATION}")
        self._note({"format": FORMAT, "digest": digest(self.state.features)})

    def _read(self) -> None:
        meta = {name: json.loads(value) for name, value in self._file.execute("SELECT * FROM meta")}
        if meta["format"] != FORMAT or meta["digest"] != digest(self.state.features):
            raise InputError(
                f"{self.path} was written for other features (conf/features: accumulators, forget or lateness differ): "
                "take the definitions it was made with, or move it away and rebuild the state from the event log"
            )
        state = self.state
        if "newest" in meta:
            state.newest, state.watermark = meta["newest"], meta["newest"] - state.lateness
        with _uncollected():
            for entity, key, kept in self._file.execute("SELECT entity, key, kept FROM history"):
                named = read(key)
                history = decoded(state.layouts[entity], kept)
                state.restore(entity, named if isinstance(named, str) else (named[0], named[1]), history)
        self._take("SELECT event, NULL FROM unsettled ORDER BY number")
        state.counted = Counter(meta.get("counted", state.counted))
        self.journaled = self._take("SELECT event, now FROM journal ORDER BY number")

    def _take(self, select: str) -> int:
        taken = 0
        for text, now in self._file.execute(select):
            instant, event_id, kind, shopper_id, session_id, item_id, row, item = read(text)
            event = Event(instant, event_id, kind, shopper_id, session_id, item_id, row)
            self.state.take(self.state.arrived(event, item), now)
            taken += 1
        return taken

    def _changed(self) -> Iterator[tuple[str, str, int, str]]:
        for entity, table in self.state.histories.items():
            for key, history in table.items():
                kept = settled(history, self.state.watermark) if history.changed else None
                if kept is not None and kept.state is not None:
                    yield entity, json.dumps(key), kept.state[LATEST], encoded(kept)

    def _note(self, meta: Mapping[str, Any]) -> None:
        rows: Iterable[tuple[str, str]] = [(name, json.dumps(value)) for name, value in meta.items()]
        self._file.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _one(self, query: str) -> Any:
        found = self._file.execute(query).fetchone()
        return found[0] if found else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all that the block writes, or nothing; on return it is on disk."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make objects that all stay without looking for garbage among them, again and again: half of the time to open."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _written(arrived: Arrived) -> str:
    """Return an event as JSON, from which it can be taken again."""
    event = arrived.event
    names = (event.instant, event.event_id, event.kind, event.shopper_id, event.session_id, event.item_id)
    try:
        return json.dumps([*names, dict(event.row), dict(event.item)], separators=(",", ":"))
    except TypeError as error:
        raise InputError(
            f"event {event.event_id!r}: {error}; row and item may hold only numbers and texts, times in microseconds"
        ) from None
