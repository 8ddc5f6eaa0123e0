"""What a table holds, column by column: counted by DuckDB, so that a log larger than memory is no trouble.

A profile is plain data (JSON) and does not depend on the order of the rows. Above `SAMPLE` rows the quantiles are those
of a part of about that size, picked by a hash of the key; all other numbers are of every row.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.engine import connected

SAMPLE = 2_000_000
FREQUENT, BINS_OF_WORDS = 8, 50
QUANTILES = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
FREE_TEXT = ("text", "title")  # only counted: nobody's words are shown
KEYS = ("event_id", "shopper_id", "session_id", "item_id", "offer_id")
OF_KIND = {  # in an event log: which kinds of event a column belongs to; elsewhere its absence is no gap
    "item_id": ("view", "cart", "purchase", "review"),
    "dwell_seconds": ("view",),
    "page_depth": ("view",),
    "path": ("view",),
    "keywords": ("search",),
    "rating": ("review",),
    "text": ("review",),
    "list_price": ("view",),
    "price": ("view", "purchase"),
    "propensity": ("view",),
    "quantity": ("purchase",),
}
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")

Bins = dict[str, Any]  # cuts (numbers) or words, rising; counts: of each bin, and last of what is missing
Range = Sequence[float | None]


@dataclass(frozen=True)
class Table:
    """A table of Parquet files that DuckDB knows as `name`; columns: name -> number, word, time or key."""

    name: str
    rows: int
    columns: dict[str, str]
    connection: Any

    def first(self, query: str) -> tuple[Any, ...]:
        """Return the first row of a query."""
        row: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return row

    def expected(self, column: str) -> str:
        """Return the condition under which a row should have a value in `column`."""
        kinds = OF_KIND.get(column, ())
        told = ", ".join(f"'{kind}'" for kind in kinds)
        return f"kind IN ({told})" if kinds and "kind" in self.columns else "true"

    def value(self, column: str) -> str:
        """Return the column's value in SQL: a missing word is empty, and a number that is not finite is missing."""
        named = quoted(column)
        if self.columns[column] == "number":
            return f"CASE WHEN isfinite({named}::DOUBLE) THEN {named}::DOUBLE END"
        return f"NULLIF({named}::VARCHAR, '')"


@contextmanager
def session() -> Iterator[Any]:
    """Give a connection that is bounded in memory and threads, and spills to disk."""
    with tempfile.TemporaryDirectory() as spill, connected(2, "2GB", Path(spill)) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # what a time without a zone is in
        yield connection


def parts(path: Path) -> list[Path]:
    """Return the files of a table: `path` itself, or the Parquet files below it if it is a folder; none if absent."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []


def opened(connection: Any, name: str, files: Sequence[Path]) -> Table:
    """Return the table that `files` make together; a column that one of them lacks is missing there."""
    connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS SELECT * FROM {reading(files)}")
    described = connection.execute(f"DESCRIBE {quoted(name)}").fetchall()
    rows = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
    return Table(name, rows, {column: _kind(column, kind) for column, kind, *_ in described}, connection)


def reading(files: Sequence[Path], more: str = "") -> str:
    """Return the SQL that reads Parquet files."""
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false{more})"


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _kind(column: str, kind: str) -> str:
    if column in KEYS:
        return "key"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return "time"
    return "number" if kind.removeprefix("U").startswith(_NUMBERS) else "word"


def columns(table: Table, ranges: Mapping[str, Range]) -> dict[str, dict[str, Any]]:
    """Return the profile of every column; ranges: column -> [low, high], outside of which values are counted."""
    found = {}
    for column, kind in table.columns.items():
        if kind == "number":
            found[column] = number(table, column, ranges.get(column))
        elif kind == "time":
            found[column] = _time(table, column)
        else:
            found[column] = word(table, column, kind == "word" and column not in FREE_TEXT)
    return found


def number(table: Table, column: str, allowed: Range | None = None) -> dict[str, Any]:
    """Return rows, missing, min, 1 %, median, 99 %, max and the bins of a column of numbers."""
    key, every = quoted(next(iter(table.columns))), math.ceil(table.rows / SAMPLE)
    picked = f"hash({key}) % {every} = 0" if every > 1 else "true"
    rows, missing, low, high, quantiles, outside = table.first(
        f"SELECT count(*) FILTER (w), count(*) FILTER (w AND x IS NULL), min(x), max(x), "
        f"quantile_disc(x, {list(QUANTILES)}) FILTER (s), count(*) FILTER ({_outside(allowed)}) "
        f"FROM (SELECT {table.value(column)} AS x, {table.expected(column)} AS w, {picked} AS s "
        f"FROM {quoted(table.name)})"
    )
    found = {"kind": "number", "rows": rows, "missing": missing} | ({"outside": outside} if allowed else {})
    if low is None:
        return found
    at = dict(zip(QUANTILES, quantiles or [low] * len(QUANTILES), strict=True))
    cuts = sorted({math.nextafter(low, -math.inf), *(at[q] for q in QUANTILES[1:-1]), high})
    return {
        **found, "min": low, "low": at[0.01], "median": at[0.5], "high": at[0.99], "max": high,
        "bins": {"cuts": cuts, "counts": counts(table, column, {"cuts": cuts})},
    }  # fmt: skip


def word(table: Table, column: str, shown: bool = True) -> dict[str, Any]:
    """Return rows, missing, distinct, and where they may be shown the most frequent words of a column and its bins."""
    rows, missing = _gaps(table, column)
    told = "SELECT x, count(*) AS n FROM words GROUP BY x"
    source = f"WITH words AS (SELECT {table.value(column)} AS x FROM {quoted(table.name)})"
    distinct = table.first(f"{source} SELECT count(x) FROM (SELECT DISTINCT x FROM words)")[0]
    found = {"kind": table.columns[column], "rows": rows, "missing": missing, "distinct": distinct}
    if not shown:
        return found
    most = table.connection.execute(
        f"{source} SELECT x, n FROM ({told}) WHERE x IS NOT NULL ORDER BY n DESC, x LIMIT {BINS_OF_WORDS}"
    ).fetchall()
    words = sorted(text for text, _ in most)
    return {
        **found,
        "frequent": [[text, n] for text, n in most[:FREQUENT]],
        "bins": {"words": words, "counts": counts(table, column, {"words": words})},
    }


def counts(table: Table, column: str, bins: Bins) -> list[int]:
    """Return how many rows lie in each of `bins`: those between cuts (or the words, then all others), then missing."""
    given = f"SELECT {table.value(column)} AS x FROM {quoted(table.name)}"
    missing = _gaps(table, column)[1]
    if "words" in bins:
        listed = ", ".join("'" + text.replace("'", "''") + "'" for text in bins["words"]) or "NULL"
        found = dict(table.connection.execute(f"SELECT x, count(*) FROM ({given}) WHERE x IN ({listed}) GROUP BY x")
                     .fetchall())  # fmt: skip
        known = [int(found.get(text, 0)) for text in bins["words"]]
        return [*known, int(table.first(f"SELECT count(x) FROM ({given})")[0]) - sum(known), missing]
    upto = ", ".join(f"count(*) FILTER (x <= {cut!r}::DOUBLE)" for cut in bins["cuts"])
    below = table.first(f"SELECT {upto}, count(x) FROM ({given})")
    return [*(int(b - a) for a, b in zip((0, *below), below, strict=False)), missing]


def _gaps(table: Table, column: str) -> tuple[int, int]:
    """Return how many rows should have a value, and how many of them have none."""
    rows, missing = table.first(
        f"SELECT count(*) FILTER (w), count(*) FILTER (w AND x IS NULL) FROM (SELECT {table.value(column)} AS x, "
        f"{table.expected(column)} AS w FROM {quoted(table.name)})"
    )
    return int(rows), int(missing)


def _time(table: Table, column: str) -> dict[str, Any]:
    rows, missing = _gaps(table, column)
    ends = table.first(f"SELECT min(epoch_us(x)), max(epoch_us(x)) FROM (SELECT {quoted(column)} AS x FROM "
                       f"{quoted(table.name)})")  # fmt: skip
    first, last = (None if us is None else moment(us) for us in ends)
    return {"kind": "time", "rows": rows, "missing": missing, "first": first, "last": last}


def moment(microseconds: int) -> str:
    """Return a time in ISO 8601, UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()


def _outside(allowed: Range | None) -> str:
    low, high = allowed or (None, None)
    ends = [f"x {sign} {float(end)!r}::DOUBLE" for sign, end in (("<", low), (">", high)) if end is not None]
    return " OR ".join(ends) or "false"
