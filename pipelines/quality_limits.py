"""How bad data may be: the thresholds of conf/config.yaml, section `quality`, and what breaks them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import InputError

_SHARES = ("rejected", "duplicates", "late", "backwards")


@dataclass(frozen=True)
class Quality:
    """Thresholds, each of which makes the stage `quality` fail; None or absent: only reported.

    rows: table -> at least so many clean rows. nulls: column -> greatest share missing, of the rows that should have a
    value. ranges: column -> [low, high], null for an open end. rejected: greatest share of a table's rows that rules
    set aside; duplicates: the same for the rules duplicate_…. late: greatest share of events that came later than
    features.lateness after the newest; backwards: of events before the one that came before in their session.
    drift: greatest PSI of a column since the last run; drift_inside: of a feature, from the fit to the certify window.

    A column is named alone, for every table that has it, or as table.column.
    """

    rows: dict[str, int] = field(default_factory=dict)
    nulls: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    rejected: float | None = 0.5
    duplicates: float | None = None
    late: float | None = None
    backwards: float | None = None
    drift: float | None = None
    drift_inside: float | None = None

    def __post_init__(self) -> None:
        """Refuse thresholds that nothing, or everything, could keep."""
        shares = {key: getattr(self, key) for key in _SHARES} | {f"nulls.{k}": v for k, v in self.nulls.items()}
        for key, share in shares.items():
            if share is not None and not (_is_number(share) and 0 <= share <= 1):
                raise InputError(
                    f"quality.{key}={share} must be a share from 0 to 1, or null for a report only; "
                    "a column of one table is named {table.column: share}"
                )
        for key in ("drift", "drift_inside"):
            if getattr(self, key) is not None and not getattr(self, key) > 0:
                raise InputError(f"quality.{key}={getattr(self, key)} must be above 0 (0.25 is much), or null")
        for key, least in self.rows.items():
            if not (_is_number(least) and least >= 0):
                raise InputError(f"quality.rows.{key}={least} must be a number that is not below 0")
        for key, ends in self.ranges.items():
            if not _is_range(ends):
                raise InputError(f"quality.ranges.{key}={ends} must be [low, high], with null for an open end")


def _is_range(ends: Any) -> bool:
    """Return whether `ends` are [low, high]: two numbers in order, either of which may be open."""
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return False
    known = [end for end in ends if end is not None]
    return all(map(_is_number, known)) and known == sorted(known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Breach:
    """One threshold that the data broke. value: what was found; count: of how many rows; of: all rows it concerns."""

    table: str
    column: str | None
    rule: str
    value: float
    threshold: float
    count: int
    of: int
    key: str

    @property
    def sentence(self) -> str:
        """Return what was found, where, and which threshold it breaks."""
        where = self.table if self.column is None else f"{self.table}.{self.column}"
        if self.rule == "rows":
            return f"{where}: {self.count:,} rows, and quality.{self.key} asks for {self.threshold:,}"
        rows = f"{self.count:,} of {self.of:,} rows" if self.of else f"{self.count:,} rows"
        return f"{where}: {self.rule} is {self.value:.6g} ({rows}), and quality.{self.key} allows {self.threshold:g}"


def breaches(report: Mapping[str, Any], limits: Quality) -> tuple[Breach, ...]:
    """Return every threshold that a report (see `quality`) breaks, tables in their order.

    Raises InputError where a threshold names a table or a column that there is none of.
    """
    tables = report["tables"]
    _known(report, limits)
    return (
        *(_few(name, one, limits) for name, one in tables.items() if one["rows"] < limits.rows.get(name, 0)),
        *(found for name, one in tables.items() for found in _columns(name, one, limits)),
        *(found for name, one in tables.items() for found in _set_aside(name, one, limits)),
        *_arrival(report["arrival"], limits),
        *_drifted(report, limits),
    )


def allowed(values: Mapping[str, Any], table: str, column: str) -> tuple[str, Any] | None:
    """Return the key and the threshold of a column: that of table.column before that of the column alone."""
    return next(((key, values[key]) for key in (f"{table}.{column}", column) if key in values), None)


def message(found: tuple[Breach, ...], where: str) -> str:
    """Return what to tell the user: each breach, and what to do."""
    listed = "; ".join(one.sentence for one in found)
    return (
        f"quality: {listed}. See {where}; mend the source, or change the threshold in conf/config.yaml, "
        "and run `dvc repro` again"
    )


def _few(name: str, table: Mapping[str, Any], limits: Quality) -> Breach:
    least, rows = limits.rows[name], table["rows"]
    return Breach(name, None, "rows", rows, least, rows, 0, f"rows.{name}")


def _columns(name: str, table: Mapping[str, Any], limits: Quality) -> Iterator[Breach]:
    for column, one in table["columns"].items():
        missing, given = allowed(limits.nulls, name, column), allowed(limits.ranges, name, column)
        share = one["missing"] / one["rows"] if one["rows"] else 0.0
        if missing and share > missing[1]:
            yield Breach(
                name, column, "share missing", share, missing[1], one["missing"], one["rows"], f"nulls.{missing[0]}"
            )
        if given and one.get("outside"):
            low, high = given[1]
            below = low is not None and one["min"] < low
            value, end = (one["min"], low) if below else (one["max"], high)
            rule = "least value" if below else "greatest value"
            yield Breach(name, column, rule, value, end, one["outside"], one["rows"], f"ranges.{given[0]}")


def _set_aside(name: str, table: Mapping[str, Any], limits: Quality) -> Iterator[Breach]:
    rows, rules = table["rows_in"], table["rejected"]
    for key, words, chosen in (
        ("rejected", "share rejected", dict(rules)),
        ("duplicates", "share of duplicates", {r: n for r, n in rules.items() if r.startswith("duplicate_")}),
    ):
        limit, count = getattr(limits, key), sum(chosen.values())
        if limit is not None and rows and count / rows > limit:
            most = ", ".join(f"{rule} {n:,}" for rule, n in sorted(chosen.items(), key=lambda kv: -kv[1])[:3])
            yield Breach(name, None, f"{words} ({most})", count / rows, limit, count, rows, key)


def _arrival(arrival: Mapping[str, Any] | None, limits: Quality) -> Iterator[Breach]:
    if not arrival or not arrival["rows"]:
        return
    words = {
        "late": f"share later than {arrival['lateness_seconds']:g} s",
        "backwards": "share with the clock run back",
    }
    for key, field_ in (("late", "beyond"), ("backwards", "backwards")):
        limit, count = getattr(limits, key), arrival[field_]
        if limit is not None and count / arrival["rows"] > limit:
            yield Breach("events", "time", words[key], count / arrival["rows"], limit, count, arrival["rows"], key)


def _drifted(report: Mapping[str, Any], limits: Quality) -> Iterator[Breach]:
    """Yield the columns whose PSI is above the threshold and above what chance makes."""
    since = (report["drift"] or {}).get("tables", {})
    for key, words, tables in (
        ("drift", "PSI since the last run", since),
        ("drift_inside", "PSI from the fit to the certify window", {"offers": report["drift_inside"] or {}}),
    ):
        limit = getattr(limits, key)
        for name, columns in tables.items() if limit is not None else ():
            for column, one in columns.items():
                if one["psi"] > limit and one["psi"] > one["by_chance"]:
                    rows = report["tables"][name]["rows"]
                    yield Breach(name, column, words, one["psi"], limit, rows, 0, key)


def _known(report: Mapping[str, Any], limits: Quality) -> None:
    tables = report["tables"]
    names = {k for t, one in tables.items() for c in one["columns"] for k in (c, f"{t}.{c}")}
    asked = (("rows", limits.rows, set(tables)), ("nulls", limits.nulls, names), ("ranges", limits.ranges, names))
    for key, given, known in asked:
        for name in sorted(set(given) - known):
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            what = "table" if key == "rows" else "column"
            raise InputError(
                f"conf: quality.{key}.{name}: the data of this run have no such {what}{hint}; "
                f"the tables are {', '.join(tables)}"
            )
