"""The files of an event log, here or in an object store, each copied once to a local draft in canonical columns."""

from __future__ import annotations

import csv
import importlib
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from pipelines.errors import InputError, nearest
from pipelines.sources import NEEDED_COLUMNS, EventsSource

SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz")
IDS = ("event_id", "shopper_id", "session_id", "item_id")
TIMES = ("time", "signup")
NUMBERS = (
    "dwell_seconds", "page_depth", "rating", "list_price", "price", "propensity", "quantity", "unit_cost", "min_price",
    "max_price",
)  # fmt: skip
_NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "UTINY", "USMALL",
            "UINT", "UBIG", "UHUGE")  # fmt: skip
_HEADER = 1_000_000  # bytes that a CSV header has at most
_MARKS = re.compile(r"[\[*?]")  # by which a path becomes a glob
_LIMITS = {"threads": 2, "memory_limit": "4GB", "preserve_insertion_order": True}


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a DuckDB that is bounded in memory and threads, spills to disk and keeps rows in their order."""
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(":memory:", config={**_LIMITS, "temp_directory": spill}) as made,
    ):
        made.execute("SET TimeZone = 'UTC'")
        yield made


def found(source: EventsSource) -> tuple[Any, list[str]]:
    """Return the file system of `source.path` and the log's files in it, by name: one, a folder's, or a glob's.

    A path that exists is itself, though brackets may stand in it. In a folder, at any depth, names that begin with a
    dot or an underscore are none of the log's.
    """
    path = source.path
    try:
        fsspec = importlib.import_module("fsspec")  # here: it costs time, and only a log needs it
        system, inside = fsspec.core.url_to_fs(path)
    except Exception as error:  # a package that is missing, a library that it needs, an address that means nothing
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"source.path={path} cannot be opened: {told}; install what it names") from None
    try:
        if system.isfile(inside):
            names = [inside]
        elif system.isdir(inside):
            names = [name for name in system.find(inside) if not _hidden(name, inside)]
        else:
            names = [name for name in system.glob(inside) if system.isfile(name)] if _MARKS.search(inside) else []
    except Exception as error:  # each store has errors of its own: no such bucket, no permission, no connection
        raise InputError(
            f"source.path={path} cannot be reached: {_first_line(error)}; mend it, or its access"
        ) from None
    ours = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    if not names:
        raise InputError(f"source.path={path}: there is no such file, folder with files, or glob; put your log there")
    if not ours:
        raise InputError(f"source.path={path}: {len(names)} file(s), none ends in {', '.join(SUFFIXES)}; save it so")
    kinds = {"Parquet" if name.lower().endswith(SUFFIXES[:2]) else "CSV" for name in ours}
    if len(kinds) > 1:
        raise InputError(
            f"source.path={path} holds Parquet and CSV files; choose one kind by a glob, e.g. {path}/*.csv"
        )
    return system, [_as_given(name) for name in ours] if "file" in _protocols(system) else ours


def _as_given(name: str) -> str:
    """Return a local file as the user would name it."""
    below = Path(name).is_relative_to(Path.cwd())
    return str(Path(name).relative_to(Path.cwd())) if below else name


def _hidden(name: str, below: str) -> bool:
    parts = PurePosixPath(name).parts[len(PurePosixPath(below).parts) :]
    return any(part.startswith((".", "_")) for part in parts)


def draft(source: EventsSource, folder: Path) -> int:
    """Copy the log's files, one by one, as Parquet to `folder`, and return how many they are.

    Every row has `row`, its place in the log; ids and words as text; of a number its value and, in `<name>_text`, what
    stood there if it was none; of a time `<name>_us` (microseconds since 1970), `<name>_number` if it was a bare
    number, and `<name>_text` if neither.
    """
    system, names = found(source)
    remote = "file" not in _protocols(system)
    rows = 0
    first: tuple[str, list[str]] | None = None
    with connection() as duck:
        if remote:
            duck.register_filesystem(system)
        for k, name in enumerate(names):
            address = f"{_protocols(system)[0]}://{name}" if remote else name
            try:
                table, types = _opened(duck, system, name, address)
                _refuse_other_columns(source, name, list(types), first)
                first = first or (name, list(types))
                query = f"SELECT {_canonical(source, types, name)}, {rows} + row_number() OVER () AS row FROM {table}"
                out = folder / f"part-{k:06d}.parquet"
                rows += duck.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)").fetchall()[0][0]
            except (duckdb.Error, OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
                raise InputError(
                    f"{address} cannot be read as {'Parquet' if name.lower().endswith(SUFFIXES[:2]) else 'CSV'}: "
                    f"{_first_line(error)}; save it again (CSV as UTF-8), or leave it out of source.path"
                ) from None
    if not rows:
        raise InputError(f"source.path={source.path}: {len(names)} file(s), but not one row; bring a log with events")
    return len(names)


def _protocols(system: Any) -> tuple[str, ...]:
    known: str | tuple[str, ...] = system.protocol
    return (known,) if isinstance(known, str) else tuple(known)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) if lines else type(error).__name__


def _opened(duck: duckdb.DuckDBPyConnection, system: Any, name: str, address: str) -> tuple[str, dict[str, str]]:
    """Return how SQL reads one file, and its columns with their types; of CSV all are text."""
    quoted = _MARKS.sub(r"[\g<0>]", address).replace("'", "''")  # DuckDB takes every address for a glob
    if name.lower().endswith(SUFFIXES[:2]):
        table = f"read_parquet('{quoted}')"
        return table, {row[0]: row[1] for row in duck.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
    if system.size(name) == 0:
        raise InputError(f"{address} is empty: not even a header; delete it, or save the log again")
    mark, header = _header(system, name)
    if repeated := {column for column in header if column and header.count(column) > 1}:
        raise InputError(f"{address}: column {min(repeated)!r} occurs twice; rename one of the two")
    columns = {column or f"unnamed {k}": "VARCHAR" for k, column in enumerate(header)}
    typed = ", ".join(f"'{column.replace(chr(39), chr(39) * 2)}': 'VARCHAR'" for column in columns)
    return (
        f"read_csv('{quoted}', auto_detect=false, header=true, delim='{mark}', quote='\"', escape='\"', nullstr='', "
        f"columns={{{typed}}})",
        columns,
    )


def _header(system: Any, name: str) -> tuple[str, list[str]]:
    """Return what separates the columns of a CSV file, and their names."""
    with system.open(name, "rb", compression="gzip" if name.lower().endswith(".gz") else None) as file:
        line = file.read(_HEADER).partition(b"\n")[0].decode("utf-8-sig").rstrip("\r")
    mark = max((",", ";", "\t", "|"), key=line.count)
    return mark, [column.strip() for column in next(csv.reader([line], delimiter=mark), [])]


def _refuse_other_columns(
    source: EventsSource, name: str, columns: list[str], first: tuple[str, list[str]] | None
) -> None:
    """Refuse a file that lacks a column which is to be read, naming all that it lacks."""
    absent = {key: theirs for key, theirs in source.used_columns.items() if theirs not in columns}
    if not absent:
        return
    if first is not None:
        raise InputError(
            f"{name} lacks {', '.join(repr(c) for c in absent.values())}, which {first[0]} has: all files of a log "
            "must have the same columns; save it again, or leave it out of source.path"
        )
    told = "; ".join(f"{theirs!r} (source.columns.{key}){nearest(theirs, columns)}" for key, theirs in absent.items())
    optional = [key for key in absent if key not in NEEDED_COLUMNS]
    advice = f", or set to null what the log does not have ({', '.join(optional)})" if optional else ""
    raise InputError(f"{name}: there is no column {told}; name the right one in conf/source{advice}")


def _canonical(source: EventsSource, types: Mapping[str, str], name: str) -> str:
    """Return the SELECT list that brings one file's columns to canonical ones."""
    parts = []
    for key, theirs in source.used_columns.items():
        kind, column = types[theirs].upper(), '"' + theirs.replace('"', '""') + '"'
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "BLOB")):
            raise InputError(
                f"{name}: column {theirs!r} (source.columns.{key}) holds several values in one cell ({types[theirs]}); "
                "spread them over columns and rows of their own"
            )
        numeric = kind.startswith(_NUMERIC)
        text = f"nullif(trim(CAST({column} AS VARCHAR), e' \\t\\r\\n'), '')"
        if key in TIMES:
            parts += _time(key, column, text, kind, numeric)
        elif key in NUMBERS:
            number = f"CAST({column} AS DOUBLE)" if numeric else f"TRY_CAST({text} AS DOUBLE)"
            parts.append(f"CASE WHEN NOT isnan({number}) THEN {number} END AS {key}")
            parts.append(f"CASE WHEN {number} IS NULL THEN {text} END AS {key}_text")
        elif key in IDS and kind in ("FLOAT", "DOUBLE"):  # 17850 and 17850.0 are the same id
            parts.append(
                f"CASE WHEN {column} % 1 = 0 THEN CAST(CAST({column} AS HUGEINT) AS VARCHAR) ELSE {text} END AS {key}"
            )
        else:
            parts.append(f"{text} AS {key}")
    return ", ".join(parts)


def _time(key: str, column: str, text: str, kind: str, numeric: bool) -> list[str]:
    """Return a time's columns; words such as `now`, which would be another time each day, and infinity are none."""
    digits = f"CASE WHEN regexp_matches({text}, '[0-9]') THEN {text} END"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        moment, number = f"epoch_us(CAST({column} AS TIMESTAMPTZ))", "CAST(NULL AS DOUBLE)"
    else:
        moment = "CAST(NULL AS BIGINT)" if numeric else f"epoch_us(TRY_CAST({digits} AS TIMESTAMPTZ))"
        number = f"TRY_CAST({column if numeric else digits} AS DOUBLE)"
    lost = f"CASE WHEN {moment} IS NULL AND {number} IS NULL THEN {text} END"
    number = f"CASE WHEN isfinite({number}) THEN {number} END"
    return [f"{moment} AS {key}_us", f"{number} AS {key}_number", f"{lost} AS {key}_text"]
