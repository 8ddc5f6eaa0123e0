"""The source events: the user's own log, written to data/raw/ in canonical columns without passing through memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines import tidy
from pipelines.errors import InputError
from pipelines.files import scratch, write_json, write_table
from pipelines.sources import EventsSource, event_files, external
from pipelines.sources.event_files import NUMBERS, TIMES
from pipelines.tables import EVENTS, ITEMS, SHOPPERS

TOLD = "source.json"  # beside the tables: what was found in the log, and what had to be assumed
_FACTORS = {"seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0}
_WHEN = "WHERE time_us BETWEEN 788918400000000 AND 4102444800000000"  # 1995 to 2099: clean sets the others aside
_ORDER = "time_us::HUGEINT * 1099511627776 + row"  # by time, then by place in the log
_SHOWN = 12  # words of a long list that a message shows


@dataclass(frozen=True)
class Found:
    """What the log holds: files, rows, rows by word for the kind, how each time column is to be read."""

    files: int
    rows: int
    words: dict[str, int]
    units: dict[str, str]
    unreadable: frozenset[str]  # number and time columns with cells that are none


def write(source: EventsSource, folder: Path) -> str:
    """Write `events`, `items`, `shoppers` and what was found to `folder`; return it in a sentence for the user."""
    with scratch(folder.with_name(".ingest.scratch")) as drafts, event_files.connection() as duck:
        files = event_files.draft(source, drafts)
        duck.execute(f"CREATE VIEW log AS SELECT * FROM read_parquet('{drafts}/*.parquet')")
        found = _survey(duck, source, files)
        columns = ", ".join(_readable(key, source, found) for key in source.used_columns)
        duck.execute(f"CREATE VIEW typed AS SELECT row, {columns} FROM log")
        folder.mkdir()
        _write_events(duck, source, folder / "events.parquet")
        for name, own, made in (("items", source.items, _write_items), ("shoppers", source.shoppers, _write_shoppers)):
            out = folder / f"{name}.parquet"
            made(duck, source, out) if own is None else _write_own(Path(own), source, name, out)
        write_json(folder / TOLD, told(source, found))
    left_out = {word: n for word, n in found.words.items() if word.lower() in _ignored(source)}
    unknown = {
        word: n for word, n in found.words.items() if word.lower() not in (*source.told_kinds, *_ignored(source))
    }
    return (
        f"{found.files:,} file(s), {found.rows:,} rows; {_listed('kinds', found.words)}"
        + (f"; {_listed('ignored', left_out)}" if left_out else "")
        + (f"; {_listed('in no list of source.kinds (clean sets them aside)', unknown)}" if unknown else "")
    )


def _listed(name: str, words: dict[str, int]) -> str:
    shown = [f"{word or 'nothing'} {n:,}" for word, n in list(words.items())[:_SHOWN]]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{name}: {', '.join(shown)}{more}"


def _ignored(source: EventsSource) -> set[str]:
    return {word.lower() for word in source.ignored}


def told(source: EventsSource, found: Found) -> dict[str, Any]:
    """Return what was found and assumed, for the stages after it."""
    parts = source.used_columns
    ignored = {word: n for word, n in found.words.items() if word.lower() in _ignored(source)}
    facts = [name for name in SHOPPERS.columns if name in parts and name != "shopper_id"]
    said = {
        f"Times are {found.units['time']} since 1970, told by their size (source.time_unit)."
        if source.time_unit is None
        else f"Times are {found.units['time']} since 1970.": found.units["time"] != "iso",
        "Times without a zone are taken as UTC.": found.units["time"] == "iso",
        "The log has no event id: a row's place in it takes its place, and orders events of the same microsecond.":
            "event_id" not in parts,
        f"The log has no session: a new one begins after {source.session_minutes} minutes without an event of the "
        "shopper.": "session_id" not in parts,
        f"The log has no channel: it is taken as {source.channel!r}.": "channel" not in parts,
        "Items are made of the log, each with the first category, title, cost and bounds that it is given there.":
            source.items is None,
        f"Shoppers are made of the log: {', '.join(facts)} as the shopper's first event has it.":
            source.shoppers is None and bool(facts),
        f"Events of the kinds {', '.join(sorted(ignored))} are left out on purpose ({sum(ignored.values()):,} rows).":
            bool(ignored),
    }  # fmt: skip
    return {
        "files": found.files,
        "rows": found.rows,
        "kinds": found.words,
        "ignored": ignored,
        "time_unit": found.units["time"],
        "assumptions": [sentence for sentence, holds in said.items() if holds],
    }


def _survey(duck: duckdb.DuckDBPyConnection, source: EventsSource, files: int) -> Found:
    """Return what the log holds; refuse one whose columns cannot play their parts."""
    parts = source.used_columns
    wanted = ["count(*) AS rows"]
    for key in (k for k in parts if k in NUMBERS or k in TIMES):
        wanted += [f"count({key}_text) AS {key}_lost", f"any_value({key}_text) AS {key}_example"]
        wanted.append(f"count({key if key in NUMBERS else f'coalesce({key}_us, {key}_number)'}) AS {key}_known")
        if key in TIMES:
            wanted += [f"count({key}_us) AS {key}_iso", f"max(abs({key}_number)) AS {key}_most"]
    row = duck.sql(f"SELECT {', '.join(wanted)} FROM log").to_arrow_table().to_pylist()[0]
    kinds = duck.execute("SELECT coalesce(kind, ''), count(*) FROM log GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    units = {key: _unit(source, key, row) for key in TIMES if key in parts}
    lost = frozenset(key for key in parts if row.get(f"{key}_lost"))
    for key in lost:
        if row[f"{key}_lost"] > row[f"{key}_known"]:
            what = "times (ISO 8601, or a number since 1970)" if key in TIMES else "numbers (with a decimal point)"
            raise InputError(
                f"{source.path}: column {parts[key]!r} (source.columns.{key}) must hold {what}, but "
                f"{row[f'{key}_lost']:,} of {row[f'{key}_lost'] + row[f'{key}_known']:,} values are none, e.g. "
                f"{row[f'{key}_example']!r}; convert the column, or name another"
            )
    found = Found(files, row["rows"], dict(kinds), units, lost)
    _refuse_strange_kinds(source, found)
    return found


def _unit(source: EventsSource, key: str, row: dict[str, Any]) -> str:
    """Return how a time column is to be read: ISO 8601, or the unit that its greatest number can be in.

    In seconds 1e11 would be the year 5138, in milliseconds 1e14: greater numbers are of the next finer unit.
    """
    if row[f"{key}_iso"] * 2 >= row[f"{key}_known"]:
        read = "iso"
    elif key == "time" and source.time_unit not in (None, "iso"):
        read = str(source.time_unit)
    else:
        most = row[f"{key}_most"]
        read = "seconds" if most < 1e11 else "milliseconds" if most < 1e14 else "microseconds"
    if key == "time" and source.time_unit is not None and (read == "iso") != (source.time_unit == "iso"):
        found = "ISO 8601" if read == "iso" else "numbers"
        raise InputError(
            f"{source.path}: column {source.columns.time!r} holds {found}, but source.time_unit={source.time_unit}; "
            "mend it, or set it to null to have it told by the values"
        )
    return read


def _refuse_strange_kinds(source: EventsSource, found: Found) -> None:
    """Refuse a log in which no word for the kind of event means a view, or none a purchase."""
    meant = {source.told_kinds.get(word.lower()) for word in found.words}
    for kind in ("view", "purchase"):
        if kind not in meant:
            words = [word for word, ours in source.told_kinds.items() if ours == kind]
            raise InputError(
                f"{source.path}: no event is a {kind} (column {source.columns.kind!r} never holds "
                f"{' or '.join(map(repr, words))}); {_listed('it holds', found.words)}; say in source.kinds which word "
                f"means {kind}"
            )


def _readable(key: str, source: EventsSource, found: Found) -> str:
    """Return one canonical column: a number or time as such if every cell is one, else all as text, as they came."""
    if key in NUMBERS:
        value = f"{key} / 1000" if key == "dwell_seconds" and source.dwell_unit == "milliseconds" else key
        return (f"coalesce({key}_text, CAST({value} AS VARCHAR))" if key in found.unreadable else value) + f" AS {key}"
    if key not in TIMES:
        return key
    factor = _FACTORS.get(found.units[key], 1e6)
    whole = f"CASE WHEN abs({key}_number) * {factor} < 9e15 THEN CAST(round({key}_number * {factor}) AS BIGINT) END"
    instant = f"coalesce({key}_us, {whole})"
    moment = f"make_timestamptz({instant})"
    text = f"strftime({moment} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"{instant} AS {key}_us, {f'coalesce({key}_text, {text})' if key in found.unreadable else moment} AS {key}"


def _write_events(duck: duckdb.DuckDBPyConnection, source: EventsSource, path: Path) -> None:
    """Write the events that are not ignored, in the order of the log."""
    parts, made = source.used_columns, {"event_id": "'row-' || lpad(CAST(row AS VARCHAR), 12, '0')"}
    made["session_id"] = "session_id"
    selected = [c if c in parts else f"{made.get(c, _empty(c))} AS {c}" for c in EVENTS.columns]
    words = ", ".join("'" + word.replace("'", "''") + "'" for word in sorted(_ignored(source)))
    wanted = f"lower(coalesce(kind, '')) NOT IN ({words})" if words else "true"
    log, order = ("typed", "") if "session_id" in parts else (f"({_SESSIONS})", "ORDER BY row")
    query = f"SELECT {', '.join(selected)} FROM {log} WHERE {wanted} {order}"
    duck.execute(
        f"COPY ({query.replace('$gap', str(source.session_minutes * 60_000_000))}) TO '{path}' (FORMAT parquet)"
    )


# A shopper's session ends with a pause; what has no readable time stays for `clean` to catch.
_SESSIONS = """
SELECT *, coalesce(CAST(sum(begins) OVER (PARTITION BY shopper_id ORDER BY time_us, row) AS VARCHAR), '0') AS session_id
FROM (
    SELECT *, CASE WHEN time_us - lag(time_us) OVER (PARTITION BY shopper_id ORDER BY time_us, row) <= $gap
        THEN 0 ELSE 1 END AS begins
    FROM typed
)
"""


def _write_own(path: Path, source: EventsSource, name: str, out: Path) -> None:
    """Write the user's own table of items or shoppers, in canonical names."""
    schema, needed = (ITEMS, ("item_id", "category")) if name == "items" else (SHOPPERS, ("shopper_id",))
    where = f"put your table there, set it to null to have {name} made of the log"
    table = external.read(path, f"source.{name}", needed[:1], where)
    external.require(table, [(f"source.{name}", column) for column in needed], path)
    kept = [column for column in schema.columns if column in table and column not in source.protected]
    for column in (c for c in kept if c in NUMBERS):
        external.require_number(table[column], f"source.{name}", path)
        table[column] = table[column].where(tidy.present(table[column]))
    write_table(out, table[kept])


def _write_items(duck: duckdb.DuckDBPyConnection, source: EventsSource, out: Path) -> None:
    """Write the items of the log, each fact the first that is given of it; a category never given is 'unknown'."""
    facts = [c for c in ITEMS.columns if c in source.used_columns and c not in ("item_id", "list_price")]
    first = "".join(f", arg_min({c}, {_ORDER}) FILTER ({_WHEN}) AS {c}" for c in facts)
    made = {c: c if c in facts else _empty(c) for c in ITEMS.columns}
    made |= {"item_id": "item_id", "category": "coalesce(category, 'unknown')" if "category" in facts else "'unknown'"}
    chosen = ", ".join(f"{made[c]} AS {c}" for c in ITEMS.columns)
    grouped = f"SELECT item_id{first} FROM typed WHERE item_id IS NOT NULL GROUP BY item_id"
    duck.execute(f"COPY (SELECT {chosen} FROM ({grouped}) ORDER BY item_id) TO '{out}' (FORMAT parquet)")


def _write_shoppers(duck: duckdb.DuckDBPyConnection, source: EventsSource, out: Path) -> None:
    """Write the shoppers of the log with what their first event says: a later one knew what earlier offers did not."""
    facts = [c for c in SHOPPERS.columns if c in source.used_columns and c != "shopper_id"]
    first = ", ".join(["row: row", *(f"{c}: {c}" for c in facts)])
    chosen = ", ".join(
        f"{f'first.{c}' if c in facts else _empty(c)} AS {c}" for c in SHOPPERS.columns if c != "shopper_id"
    )
    grouped = f"SELECT shopper_id, arg_min({{{first}}}, {_ORDER}) FILTER ({_WHEN}) AS first FROM typed"
    query = f"SELECT shopper_id, {chosen} FROM ({grouped} WHERE shopper_id IS NOT NULL GROUP BY shopper_id)"
    duck.execute(f"COPY ({query} ORDER BY shopper_id) TO '{out}' (FORMAT parquet)")


def _empty(column: str) -> str:
    kind = "DOUBLE" if column in NUMBERS else "TIMESTAMPTZ" if column in TIMES else "VARCHAR"
    return f"CAST(NULL AS {kind})"
