"""The data-quality report for reading: a section of the report page, and a page of its own for a run that failed.

Pure but for `write`: the profile that `quality` made in, HTML out. Names and words come from users' tables and are
escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines import wording
from pipelines.drawing import bar
from pipelines.files import read_json, replacing
from pipelines.wording import percent

TEMPLATE = Path(__file__).with_name("report_quality.html.jinja")
STYLE = Path(__file__).with_name("report.css")
PROFILE = Path("data/quality/profile.json")
LITTLE, MUCH = 0.10, 0.25  # levels of PSI, see quality_drift
SHOWN = 6  # columns that moved most; the others are folded away

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data quality: {{ run }}</title><style>{{ style }}</style></head>
<body><main><h1>Data quality of “{{ run }}”</h1>{{ section }}</main></body></html>
"""


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report as a page of its own."""
    text = _world().from_string(_PAGE).render(run=report["run"], style=style(), section=section(report))
    with replacing(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read(path: Path = PROFILE) -> dict[str, Any] | None:
    """Return the report that `quality` wrote; None where that stage was left out."""
    found: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return found


def style() -> Markup:
    """Return the style sheet of the pages."""
    return Markup(STYLE.read_text(encoding="utf-8"))


def section(report: Mapping[str, Any] | None) -> Markup:
    """Return the section, as HTML; nothing where there is no report."""
    if report is None:
        return Markup("")
    told = {
        "broken": report["breaches"],
        "tables": [_table(name, one) for name, one in report["tables"].items()],
        "arrival": report["arrival"],
        "inside": drifted({"": report["drift_inside"]}),
        "since": drifted(report["drift"]["tables"]) if report["drift"] else None,
        "columns": [(name, *_columns(one)) for name, one in report["tables"].items()],
        "much": MUCH,
        "shown": SHOWN,
        "bar": bar,
    }
    return Markup(_world().from_string(TEMPLATE.read_text(encoding="utf-8")).render(told))


def _world() -> jinja2.Environment:
    world = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters |= {"percent": percent, "number": number, "whole": "{:,}".format, "short": short}
    return world


def _table(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's line: rows, how many were set aside, and why, most frequent rule first."""
    rules = sorted(one["rejected"].items(), key=lambda rule: (-rule[1], rule[0]))
    doubles = sum(rows for rule, rows in rules if rule.startswith("duplicate_"))
    share = sum(one["rejected"].values()) / one["rows_in"] if one["rows_in"] else 0.0
    return {"name": name, "rows": one["rows"], "share": share, "duplicates": doubles, "rules": rules}


def drifted(moved: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return the columns by how far they moved, most first; with a word for it, and a bar that is full at 0.25."""
    every: list[dict[str, Any]] = [
        {"name": f"{table}.{c}".lstrip("."), **one} for table, columns in moved.items() for c, one in columns.items()
    ]
    ranked = sorted(every, key=lambda one: (-one["psi"], one["name"]))
    return [one | {"word": moved_word(one["psi"], one["by_chance"]), "share": one["psi"] / MUCH} for one in ranked]


def moved_word(psi: float, by_chance: float) -> str:
    """Return how far a column moved, in a word; within what chance makes it did not."""
    if psi <= by_chance or psi < LITTLE:
        return "hardly"
    return "much" if psi >= MUCH else "somewhat"


def _columns(table: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the columns of numbers that hold any, and all others; each with its name and the share missing."""
    every = [
        {"name": name, **one, "share": one["missing"] / one["rows"] if one["rows"] else None}
        for name, one in table["columns"].items()
    ]
    numbers = [one for one in every if one["kind"] == "number" and "median" in one]
    return numbers, [one | {"holds": _holds(one)} for one in every if one not in numbers]


def _holds(one: Mapping[str, Any]) -> str:
    """Return what a column of words, times or keys holds, in a line."""
    if one["kind"] == "time":
        return f"{one['first'][:16]} … {one['last'][:16]}" if one["first"] else "nothing"
    if one["kind"] == "number" or not one["distinct"]:
        return "nothing"
    kinds = "one value" if one["distinct"] == 1 else f"{one['distinct']:,} different"
    total = one["rows"] - one["missing"]
    most = ", ".join(f"{short(text)} {percent(rows / total)}" for text, rows in one.get("frequent", []) if total)
    return f"{kinds}: {most}" if most else kinds


def number(value: float) -> str:
    """Return a number of unknown size for reading, with about four digits."""
    return wording.number(value, ",.0f" if abs(value) >= 1000 else ".4g")


def short(text: str) -> str:
    """Return a text that is at most 40 characters long."""
    return text if len(text) <= 40 else text[:39] + "…"
