"""The benchmark of features as one table: sizes x methods, with speed and growth beside what they are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table

Record = dict[str, Any]
REFERENCE = "by_hand"
NONE = "–"
COLUMNS = (
    "events",
    "method",
    "seconds",
    "of processors",
    "events / s",
    "speed to by hand",
    "growth",
    "memory, GB",
    "offers",
)


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Return the lines of the table.

    Speed: the seconds of the query written by hand as a multiple of these, for the same log. Growth: seconds per
    event as a multiple of the same method's for its shortest log. Each by the clock, then in brackets by the seconds of
    processors, which other programs on the machine disturb less.
    """
    return [(f"{r['events']:,}", r["method"].replace("_", " "), *_figures(r, records)) for r in records]


def _figures(record: Record, records: Sequence[Record]) -> tuple[str, ...]:
    if record["error"]:
        return (record["error"][:60], *[NONE] * (len(COLUMNS) - 3))
    return (
        f"{record['seconds']:,.1f}",
        f"{record['processor']:,.1f}",
        f"{record['events'] / record['seconds']:,.0f}",
        _ratio(record, records, "method"),
        _ratio(record, records, "size"),
        f"{record['memory'] / 1e9:.1f}",
        f"{record['offers']:,}",
    )


def _ratio(record: Record, records: Sequence[Record], across: str) -> str:
    """Return the speed beside the hand-written query's, or the growth since the shortest log, by both kinds of time."""
    rest = [r for r in records if not r["error"]]
    if across == "method":
        same = [r for r in rest if r["size"] == record["size"] and r["method"] == REFERENCE]
        return _both(lambda time: same[0][time] / record[time]) if same else NONE
    first = min((r for r in rest if r["method"] == record["method"]), key=lambda r: int(r["size"]))
    if first is record:
        return NONE
    return _both(lambda time: record[time] / record["events"] / (first[time] / first["events"]))


def _both(ratio: Callable[[str], float]) -> str:
    return f"{ratio('seconds'):.2f} ({ratio('processor'):.2f})"


def on_screen(records: Sequence[Record]) -> Table:
    """Return the table for a terminal."""
    table = Table(title="features of an event log")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows(records):
        table.add_row(*row)
    return table


def as_markdown(records: Sequence[Record], command: str) -> str:
    """Return the table with what it means, as Markdown."""
    lines = [
        "# Features of an event log", "",
        f"Made by `{command}`.", "",
        "The log is a simulated market's, repeated for other shoppers of the same items. Every method writes the same",
        "columns of every view to Parquet, in a process of its own. Speed to by hand: how many times as fast as a",
        "query for DuckDB written by hand (`pipelines/benchmark_features/by_hand.sql`). Growth: seconds per event, as",
        "a multiple of the same method's for its shortest log. In brackets: the same by the seconds of processors,",
        "which other programs on the machine disturb less. Memory: most that was resident at a time, children",
        "included.", "",
        "| " + " | ".join(COLUMNS) + " |",
        "| " + " | ".join("---" if name == "method" else "---:" for name in COLUMNS) + " |",
        *("| " + " | ".join(row) + " |" for row in rows(records)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
