"""Writes docs/features.md, and the table of docs/own-events.md, from the definitions: python -m pipelines.behaviour."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pipelines.behaviour.columns import OPTIONAL, reads, without
from pipelines.behaviour.definitions import Feature, FeatureSet
from pipelines.config import load
from pipelines.errors import InputError
from pipelines.tables import KINDS

FEATURES, OWN_EVENTS = Path("docs/features.md"), Path("docs/own-events.md")
BEGIN, END = "<!-- made by python -m pipelines.behaviour: begin -->", "<!-- end -->"
_ELSE = {  # what stands in for a column that the log lacks
    "list_price": "made of the prices shown, so nothing is lost",
    "quantity": "one piece each: {poorer} count pieces bought together as one",
}


def page(features: FeatureSet) -> str:
    """Return docs/features.md: every feature in the order of its definition, and how long a history is kept."""
    head = ("feature", "entity", "aggregate", "of", "value", "window", "personal", "on", "meaning")
    rows = [
        (f"`{name}`", f.entity, f.aggregate, _of(f), _value(f), _window(f), *_yes(f.is_personal, f.enabled), f.meaning)
        for name, f in features.define.items()
    ]
    kept = ", ".join(f"{entity} {span}" for entity, span in features.forget.items())
    return f"""# Features

What is known of shopper, item and session just before a price is shown. Made by `python -m pipelines.behaviour` from
`conf/features/{features.name}.yaml`: mend it there. Only events strictly before the offer count. A missing number is
NaN, a missing word the empty text. A feature with *n* parts is *n* columns, `name_1` to `name_n`. Features that are not
*on* (`enabled: false`) are defined and tested, but neither computed nor learned from until you switch them on: every
feature costs evidence, and on the simulated shop these four cost more than they tell (docs/benchmarks.md).

{_table(head, rows)}

A history without an event for so long is dropped: {kept}.
"""


def costs(features: FeatureSet) -> str:
    """Return the table of docs/own-events.md: what each column, or kind of event, costs if the log lacks it."""
    rows = []
    for column in OPTIONAL:
        if column == "price":  # always needed
            continue
        lost = without(features, {column})
        poorer = [name for name, f in features.features.items() if column in reads(f) and name not in lost]
        told = f"lost: {_names(lost)}" if lost else ""
        told += ("; " if told else "") + f"poorer: {_names(poorer)}" if poorer else ""
        rows.append((f"`{column}`", _ELSE.get(column, told).format(poorer=_names(poorer))))
    for kind in (k for k in KINDS if k not in ("view", "purchase")):
        lost = [name for name, f in features.features.items() if tuple(f.of) == (kind,)]
        rows.append((f"events of the kind {kind}", f"lost: {_names(lost)}" if lost else "nothing"))
    return _table(("the log has no", "what that costs"), rows)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _yes(*said: bool) -> tuple[str, ...]:
    return tuple("yes" if one else "" for one in said)


def _of(feature: Feature) -> str:
    of = ", ".join(feature.of) or ("" if feature.aggregate == "fact" else "any")
    if feature.aggregate == "rate":
        first, second = feature.prior
        return f"({of} + {first:g}) / ({', '.join(feature.per)} + {second:g})"
    return of


def _value(feature: Feature) -> str:
    parts = f", {feature.parts} parts" if feature.parts else ""
    return (
        (feature.value or "") + (f" in {feature.unit}s" if feature.aggregate in ("time_since", "age") else "") + parts
    )


def _window(feature: Feature) -> str:
    return feature.window or (f"half-life {feature.half_life}" if feature.half_life else "")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").strip() for cell in line) + " |" for line in lines)


def pages(features: FeatureSet) -> dict[Path, str]:
    """Return what each page should read; docs/own-events.md keeps all but its table."""
    text = OWN_EVENTS.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or END not in text.partition(BEGIN)[2]:
        raise InputError(f"{OWN_EVENTS}: the lines {BEGIN!r} and {END!r} must stand once around its table")
    before, _, rest = text.partition(BEGIN)
    return {FEATURES: page(features), OWN_EVENTS: f"{before}{BEGIN}\n{costs(features)}\n{END}{rest.partition(END)[2]}"}


def main() -> None:
    """Write the pages."""
    for path, text in pages(load().features).items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
