"""The batch SQL of a set of features: a few SELECTs in DuckDB's dialect, plain enough that sqlglot makes Spark's of it.

`python -m pipelines.behaviour.sql` prints it. Tables that it starts from: events (with `instant`, whole microseconds
since 1970), items, shoppers (with `signup`, the same), searches and reviews (pipelines/behaviour/texts.py). Every frame
ends one microsecond before the offer, or has what happens at the offer's very time taken off: that is not "before".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipelines.behaviour import sql_columns as columns
from pipelines.behaviour.definitions import ENTITIES, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.measures import FACTS, MEASURES
from pipelines.behaviour.sql_columns import accumulators
from pipelines.errors import InputError

OF_ITEM = ("unit_cost", "min_price", "max_price")
OFFER = ("list_price", *OF_ITEM, "price", "propensity")  # of every offer, after its names and its instant
TAKEN = ("offer_id", "shopper_id", "item_id", "time", "instant", *OFFER, "bought", "multiplier", "rung")


@dataclass(frozen=True)
class Step:
    """One named result that later steps read: what it is, and the SELECT that makes it."""

    name: str
    about: str
    select: str

    @property
    def statement(self) -> str:
        """Return it as one statement of SQL."""
        return f"-- {self.about}\nCREATE OR REPLACE TEMP TABLE {self.name} AS\n{self.select};"


def steps(features: FeatureSet, forgetful: Collection[str] = tuple(ENTITIES)) -> tuple[Step, ...]:
    """Return the steps to one row per view: `log`, `item_log`, `of_<entity>` …, `sold` and, last, `offers`.

    forgetful: the entities of which some may have a gap longer than features.forget (`longest` tells); those without
    one need no lives.
    """
    made = [log(features), item_log(features)] if accumulators(features, "item") else [log(features)]
    made += [of_entity(features, entity, entity in forgetful) for entity in ENTITIES if accumulators(features, entity)]
    return (*made, sold(), offers(features))


def longest(entity: str) -> str:
    """Return the query for the longest time, in microseconds, between first and last event of one such entity."""
    table, keys = _log_of(entity), ", ".join(ENTITIES[entity])
    return f"SELECT max(span) FROM (SELECT max(instant) - min(instant) AS span FROM {table} GROUP BY {keys}) AS spans"


def log(features: FeatureSet) -> Step:
    """Return the step of all events: their names, what a view shows, and what is read off each."""
    entities = [entity for entity in ENTITIES if entity != "item"]
    facts = " ".join(
        FACTS[value].sql for f in features.features.values() if f.aggregate == "fact" for value in f.values
    )
    shown = dict.fromkeys((*OFFER, *re.findall(r"\bc\.(\w+)", facts)))
    shown = {name: None for name in shown if name not in ("instant", "category")}
    kept = [f"{'i' if name in OF_ITEM else 'e'}.{name}" for name in shown]
    keys = ["e.event_id", "e.kind", "e.instant", "e.shopper_id", "e.session_id", "e.item_id", "i.category"]
    return Step(
        "log",
        "every event, and what is read off it",
        _read(features, [*keys, *kept], columns.measures(features, entities)),
    )


def item_log(features: FeatureSet) -> Step:
    """Return the step of the events of items: only what the features of items need."""
    keys = ["e.event_id", "e.kind", "e.instant", "e.item_id", "e.shopper_id"]
    read = _read(features, keys, columns.measures(features, ["item"]))
    return Step("item_log", "every event with an item, as far as items need it", f"{read}\nWHERE e.item_id IS NOT NULL")


def of_entity(features: FeatureSet, entity: str, forgetful: bool) -> Step:
    """Return the step of what each view's `entity` did before: one row per view, one column per accumulator."""
    made = accumulators(features, entity)
    keys = ENTITIES[entity]
    lives = (*keys, "life") if forgetful else keys
    ranked = [columns.first_of(a, lives) for a in made if a.role == "distinct"]
    if any(a.role == "last" for a in made):
        ranked.append(f"row_number() OVER (PARTITION BY {', '.join(lives)} ORDER BY instant, event_id) AS place")
    parts = [("seen", _seen(features, entity, forgetful))]
    if forgetful:
        by, gap = ", ".join(keys), microseconds(features.forget[entity], f"features.forget.{entity}")
        parts += [
            ("gaps", _select(["*", f"lag(instant) OVER (PARTITION BY {by} ORDER BY instant) AS before"], "seen")),
            ("lives", _select(
                ["*", f"count(CASE WHEN instant - before > {gap} THEN 1 END)"
                      f" OVER (PARTITION BY {by} ORDER BY instant) AS life"], "gaps",
            )),
        ]  # fmt: skip
    if ranked:
        parts.append(("ranked", _select(["*", *dict.fromkeys(ranked)], parts[-1][0])))
    counted = list(dict.fromkeys(text for a in made for text in columns.counted(a)))
    frames = ",\n    ".join(
        f"{name} AS (\n        PARTITION BY {', '.join(lives)} ORDER BY instant RANGE BETWEEN {bounds}\n    )"
        for name, bounds in dict.fromkeys(frame for a in made for frame in columns.frames(a))
    )
    names = ["event_id", *_carried(entity)]
    parts.append(("counted", _select([*names, "kind", *counted], parts[-1][0]) + f"\nWINDOW\n    {frames}"))
    names += [text.rsplit(" AS ", 1)[1] for text in counted]
    body = ",\n".join(f"{name} AS (\n{_indented(text)}\n)" for name, text in parts)
    about = f"what the {entity.replace('_', ' and ')} did before each view" + _until(features, entity, forgetful)
    last = _select(names, "counted")
    return Step(f"of_{entity}", about, f"WITH {body}\n{last}\nWHERE kind = 'view'")


def sold() -> Step:
    """Return the step of the views that were bought: the last one of the item in the session before each purchase."""
    select = """SELECT DISTINCT event_id
FROM (
    SELECT v.event_id, row_number() OVER (PARTITION BY p.event_id ORDER BY v.instant DESC, v.event_id DESC) AS back
    FROM log AS p
    JOIN log AS v ON v.shopper_id = p.shopper_id AND v.session_id = p.session_id AND v.item_id = p.item_id
    WHERE p.kind = 'purchase' AND v.kind = 'view' AND v.instant < p.instant
) AS pairs
WHERE back = 1"""
    return Step("sold", "the views that a purchase followed", select)


def offers(features: FeatureSet) -> Step:
    """Return the last step: one row per view, with the offer's columns, then every feature under its name."""
    for name, feature in features.features.items():
        if name in TAKEN and name != feature.value:
            raise InputError(f"conf: features.define.{name}: every offer has a column of that name; call it another")
    told = [
        "c.event_id AS offer_id", "c.shopper_id", "c.item_id", "c.instant",
        *(f"CAST(c.{name} AS DOUBLE) AS {name}" for name in OFFER),
        "CAST(CASE WHEN sold.event_id IS NOT NULL THEN 1 ELSE 0 END AS BIGINT) AS bought",
        *(f"{columns.value(feature)} AS {name}" for name, feature in features.features.items() if name not in OFFER),
    ]  # fmt: skip
    joins = [f"LEFT JOIN of_{e} ON of_{e}.event_id = c.event_id" for e in ENTITIES if accumulators(features, e)]
    joins += ["LEFT JOIN sold ON sold.event_id = c.event_id", "LEFT JOIN shoppers AS s ON s.shopper_id = c.shopper_id"]
    select = _select(told, "log AS c") + "\n" + "\n".join(joins) + "\nWHERE c.kind = 'view'"
    return Step("offers", "every view as an offer, with its features", select)


def _log_of(entity: str) -> str:
    return "item_log" if entity == "item" else "log"


def _read(features: FeatureSet, kept: list[str], measures: tuple[str, ...]) -> str:
    """Return the SELECT of events with some measures, joined with what these need and nothing else.

    The step before is that of the session's event before, unless the session was forgotten in between.
    """
    named = [column.split(".")[-1] for column in kept]  # a measure of that name is that column
    told = [*kept, *(f"{MEASURES[name].sql} AS {name}" for name in measures if name not in named)]
    text = " ".join(told)
    source = "events"
    if "previous_step" in text:
        visit = "PARTITION BY e.shopper_id, e.session_id ORDER BY e.instant, e.event_id"
        gap = microseconds(features.forget["session"], "features.forget.session")
        kept_on = f"e.instant - lag(e.instant) OVER ({visit}) <= {gap}"
        before = f"CASE WHEN {kept_on} THEN lag({MEASURES['step'].sql}) OVER ({visit}) END AS previous_step"
        inner = _select(["e.*", before], "events AS e")
        source = f"(\n{_indented(inner)}\n)"
    joins = [
        f"LEFT JOIN {table} AS {short} ON {short}.{key} = e.{of}"
        for short, table, key, of in (
            ("i", "items", "item_id", "item_id"),
            ("k", "searches", "text", "keywords"),
            ("r", "reviews", "text", "text"),
        )
        if re.search(rf"\b{short}\.", text)
    ]
    return "\n".join([_select(told, f"{source} AS e"), *joins])


def _seen(features: FeatureSet, entity: str, forgetful: bool) -> str:
    """Return the SELECT of an entity's events; of all kinds only where every event counts, or keeps it remembered."""
    made, keys = accumulators(features, entity), ENTITIES[entity]
    wanted = [f"{key} IS NOT NULL" for key in keys if key in ("item_id", "category")]
    if not forgetful and all(a.of for a in made):
        kinds = dict.fromkeys(("view", *(kind for a in made for kind in a.of)))
        wanted.append(columns.among(kinds))
    where = f"\nWHERE {' AND '.join(wanted)}" if wanted else ""
    kept = ["event_id", "kind", "instant", *keys, *_carried(entity), *columns.seen(made)]
    return _select(kept, _log_of(entity)) + where


def _carried(entity: str) -> tuple[str, ...]:
    """Return what leads an item's row back to its offer, where a large log is worked on by shoppers in parts."""
    return ("shopper_id",) if entity == "item" else ()


def _until(features: FeatureSet, entity: str, forgetful: bool) -> str:
    return f", forgotten after {features.forget[entity]} without an event" if forgetful else ""


def _select(columns: Iterable[str], source: str) -> str:
    return "SELECT\n    " + ",\n    ".join(columns) + f"\nFROM {source}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def main() -> None:
    """Print the SQL of conf/features/, as it is when every history may be forgotten."""
    from pipelines.config import load

    print("\n\n".join(step.statement for step in steps(load().features)))


if __name__ == "__main__":
    main()
