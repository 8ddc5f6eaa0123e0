"""Which columns of a log each feature reads, and which features carry nothing where the log lacks one.

Told by the definitions and measures themselves: the columns by their SQL, the loss by trying a measure on sample events
without the column.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from pipelines.behaviour.definitions import Feature, FeatureSet
from pipelines.behaviour.measures import FACTS, MEASURES, Event, Measure, Moment
from pipelines.tables import KINDS

_TEXTS = {"k": "keywords", "r": "text"}  # what a search is made of, what a review says
_FILLED = {"instant": "time"}
_SAMPLES = {  # two values of each column that a measure may read
    "price": (8.0, 12.0), "list_price": (10.0, 11.0), "quantity": (1.0, 2.0), "dwell_seconds": (3.0, 40.0),
    "page_depth": (1.0, 4.0), "rating": (2.0, 5.0), "path": ("home>item", "home>item>reviews"),
    "keywords": ("cheap green tea", "luxury 绿茶"), "text": ("very good", "bad and slow"),
}  # fmt: skip
_OF_ITEM = {"category": ("a", "b"), "unit_cost": (4.0, 5.0)}
_OF_SHOPPER = {
    "signup": (0, 86_400_000_000), "country": ("DE", "FR"), "language": ("de", "fr"), "device": ("phone", "desktop"),
    "tier": ("new", "gold"),
}  # fmt: skip
OPTIONAL = (*_SAMPLES, *_OF_ITEM, *_OF_SHOPPER, "channel")


def reads(feature: Feature) -> frozenset[str]:
    """Return the canonical columns, beside ids, times and kinds, that a feature (without parts) reads."""
    columns = {"category"} if feature.entity == "shopper_category" else set()
    if feature.value is None:
        return frozenset(columns)
    if feature.aggregate == "fact":
        fact = FACTS[feature.value]
        return frozenset({_FILLED.get(c, c) for c in re.findall(r"\b[cs]\.(\w+)", fact.sql)} - {"time"})
    sql = MEASURES[feature.value].sql
    columns |= set(re.findall(r"\b[ei]\.(\w+)", sql)) | {_TEXTS[t] for t in re.findall(r"\b([kr])\.\w+", sql)}
    if sql == "previous_step":  # the step before is read off its path
        columns |= {"path"}
    return frozenset(columns - {"kind", "session_id", "item_id"})


def lost(feature: Feature, absent: Collection[str]) -> bool:
    """Return whether a feature tells nothing where the log has none of the columns `absent`."""
    if feature.entity == "shopper_category" and "category" in absent:
        return True  # then it says the same as the shopper's own
    if feature.value is None or not reads(feature) & set(absent):
        return False
    if feature.aggregate == "fact":
        fact = FACTS[feature.value]
        return len({fact.of(moment) for moment in _moments(absent)}) < 2
    values = {MEASURES[feature.value].of(event) for event in _events(feature.of or KINDS, absent)}
    return len(values - {None}) < _least(MEASURES[feature.value])


def _least(measure: Measure) -> int:
    """Return how many values a measure must take to tell something: one, if it can also be missing."""
    whole = {measure.of(event) for event in _events(KINDS, ())}
    return 1 if None in whole or len(whole) < 2 else 2


def _rows(samples: dict[str, tuple[object, object]], absent: Collection[str], which: int) -> dict[str, object]:
    return {name: values[which] for name, values in samples.items() if name not in absent}


def _events(kinds: Iterable[str], absent: Collection[str]) -> list[Event]:
    return [
        Event(
            1, "e", kind, "u", "s", "i", _rows({**_SAMPLES}, absent, k), _rows({**_OF_ITEM}, absent, k),
            previous_step=step,
        )
        for kind in kinds for k in (0, 1) for step in ("search", "view")
    ]  # fmt: skip


def _moments(absent: Collection[str]) -> list[Moment]:
    made = []
    for k in (0, 1):
        row = {**_rows({**_SAMPLES, "channel": ("web", "app")}, absent, k)}
        instant = (1 + 30 * k) * 90_000_000_000
        made.append(Moment(instant, row, _rows({**_OF_ITEM}, absent, k), _rows({**_OF_SHOPPER}, absent, k)))
    return made


def without(features: FeatureSet, absent: Collection[str]) -> list[str]:
    """Return the names of the features that tell nothing without the columns `absent`."""
    return [name for name, feature in features.features.items() if lost(feature, absent)]
