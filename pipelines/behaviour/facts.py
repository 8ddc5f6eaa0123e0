"""What is known of items and shoppers, as a SQLite file that live use reads: one row by its id, when it is asked for.

Nothing is loaded at the start, and a process keeps only what it was asked for, so that a shop of millions costs no more
memory than its traffic. Nothing here imports more than the standard library.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.files import replacing

APPLICATION = 0x50774661  # "PwFa", in the header of the file
TABLES = ("items", "shoppers")
_KEPT = 50_000  # rows of each table that a process remembers
Row = Mapping[str, Any]


def write(path: Path, items: Iterable[tuple[str, Row]], shoppers: Iterable[tuple[str, Row]]) -> None:
    """Write the file in the place of the one before; instants in microseconds, what is missing left out."""
    with replacing(path) as draft:
        file = sqlite3.connect(draft, isolation_level=None)
        try:
            file.execute("PRAGMA journal_mode = OFF")  # nobody has seen it, and it takes its place as a whole
            file.execute(f"PRAGMA application_id = {APPLICATION}")
            for table, rows in zip(TABLES, (items, shoppers), strict=True):
                file.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID")
                file.execute("BEGIN")
                told = ((key, json.dumps(_known(row), ensure_ascii=False, allow_nan=False)) for key, row in rows)
                file.executemany(f"INSERT INTO {table} VALUES (?, ?)", told)
                file.execute("COMMIT")
        finally:
            file.close()
        with draft.open("rb") as written:
            os.fsync(written.fileno())


class Facts:
    """The file, open for reading: `items` and `shoppers` by id.

    A file that took its place is read from the next `refresh` on, which costs a look at its name.
    """

    def __init__(self, path: Path) -> None:
        """Open it; raises InputError where it is missing or another file."""
        self.path = path
        self.items, self.shoppers = Rows(self, "items"), Rows(self, "shoppers")
        self._file, self._seen = self._opened()

    def refresh(self) -> bool:
        """Read the file anew if another took its place, and return whether one did; a broken one is not taken."""
        try:
            if _identity(self.path) == self._seen:
                return False
            file, seen = self._opened()
        except (OSError, InputError):
            return False
        self._file.close()
        self._file, self._seen = file, seen
        for rows in (self.items, self.shoppers):
            rows.forget()
        return True

    def row(self, table: str, key: str) -> Row | None:
        """Return one row, None where there is none."""
        found = self._file.execute(f"SELECT row FROM {table} WHERE id = ?", (key,)).fetchone()
        return None if found is None else json.loads(found[0])

    def ids(self, table: str) -> Iterator[str]:
        """Return every id of a table."""
        yield from (key for (key,) in self._file.execute(f"SELECT id FROM {table} ORDER BY id"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _opened(self) -> tuple[sqlite3.Connection, tuple[int, int, int]]:
        try:
            seen = _identity(self.path)
            file = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            mark = file.execute("PRAGMA application_id").fetchone()[0]
        except FileNotFoundError:
            raise InputError(
                f"{self.path} is missing: `python -m pipelines.behaviour.attach` writes it from the clean tables"
            ) from None
        except (OSError, sqlite3.DatabaseError) as error:
            raise InputError(f"{self.path} cannot be read ({error}): {_AGAIN}") from None
        if mark != APPLICATION:
            file.close()
            raise InputError(f"{self.path} holds no items and shoppers: {_AGAIN}")
        return file, seen


class Rows(MutableMapping[str, Row]):
    """One table as a mapping; what is set in it holds for this process, until another file takes its place."""

    def __init__(self, facts: Facts, table: str) -> None:
        self._facts, self._table = facts, table
        self._kept: dict[str, Row | None] = {}

    def find(self, key: str) -> Row | None:
        """Return one row, None where there is none."""
        try:
            return self._kept[key]
        except KeyError:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[key] = self._facts.row(self._table, key)
            return found

    def forget(self) -> None:
        """Let go of what was read."""
        self._kept.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """Return one row, or `default`."""
        found = self.find(key)
        return default if found is None else found

    def __getitem__(self, key: str) -> Row:
        found = self.find(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, row: Row) -> None:
        self._kept[key] = row

    def __delitem__(self, key: str) -> None:
        self._kept[key] = None

    def __iter__(self) -> Iterator[str]:
        return self._facts.ids(self._table)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_AGAIN = "write it again with `python -m pipelines.behaviour.attach`"


def _known(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value == value}


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns
