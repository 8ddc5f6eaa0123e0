"""The one definition of every feature: conf/features/, read into values that refuse nonsense.

From it come the batch SQL (pipelines/behaviour/sql.py), the live update (pipelines/behaviour/state.py) and the table of
docs/features.md and of the policy's inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.measures import FACTS, MEASURES
from pipelines.errors import InputError, nearest

KINDS = ("view", "search", "cart", "purchase", "review")  # tables.KINDS, which live use must not load pandas for
ENTITIES = {  # the columns that name one of each
    "shopper": ("shopper_id",),
    "item": ("item_id",),
    "session": ("shopper_id", "session_id"),
    "shopper_item": ("shopper_id", "item_id"),
    "shopper_category": ("shopper_id", "category"),
}
AGGREGATES = (
    "count", "sum", "mean", "distinct", "repeats", "last", "time_since", "age", "rate", "decayed", "fact",
)  # fmt: skip
WITH_VALUE = ("sum", "mean", "distinct", "repeats", "last", "fact")
WINDOWED = ("count", "sum", "mean", "rate")  # those that a window may bound
TIMES = {"second": 1e6, "minute": 60e6, "hour": 3600e6, "day": 86400e6}


@dataclass(frozen=True)
class Feature:
    """One feature of an offer: which events of which entity, before the offer, become a number or a word, and how.

    entity: whose events; `offer` only with aggregate fact. of: kinds of event, empty = all. value: a measure
    (measures.MEASURES), or with aggregate fact a fact (measures.FACTS). window: how far to look back (7d), null = as
    far as the entity's history goes. per, prior: of a rate, (count of `of` + prior[0]) / (count of `per` + prior[1]).
    half_life: of decayed, after which an event counts half. unit: of time_since and age. parts: read `value` as
    value_1 … value_parts, and make as many features. personal: whether it says something of the shopper; null = yes,
    but for item and offer. enabled: whether prices are learned from it; if not, it is neither computed nor asked for.

    aggregate: count of events; sum, mean of the value; distinct values; repeats (count - distinct); last value;
    time_since the last event; age, time since the first; rate; decayed count or sum; fact, no history.
    """

    entity: str = "shopper"
    aggregate: str = "count"
    of: tuple[str, ...] = ()
    value: str | None = None
    window: str | None = None
    per: tuple[str, ...] = ()
    prior: tuple[float, ...] = (0.0, 0.0)
    half_life: str | None = None
    unit: str = "day"
    parts: int | None = None
    personal: bool | None = None
    enabled: bool = True
    meaning: str = ""

    def __post_init__(self) -> None:
        """Refuse a definition that means nothing, naming the key."""
        _known("aggregate", self.aggregate, AGGREGATES)
        _known("entity", self.entity, (*ENTITIES, "offer") if self.aggregate == "fact" else tuple(ENTITIES))
        for kind in (*self.of, *self.per):
            _known("of" if kind in self.of else "per", kind, KINDS)
        _known("unit", self.unit, tuple(TIMES))
        if not self.meaning:
            raise InputError("meaning is empty: say in one line what the feature is, and its unit")
        if (self.value is None) and self.aggregate in WITH_VALUE:
            raise InputError(f"value is missing: {self.aggregate} needs one")
        self._check_value()
        if self.window is not None and self.aggregate not in WINDOWED:
            raise InputError(f"window={self.window} goes with {', '.join(WINDOWED)} only, not with {self.aggregate}")
        if (self.half_life is None) == (self.aggregate == "decayed"):
            raise InputError(f"half_life={self.half_life}: decayed needs one, and nothing else takes one")
        if bool(self.per) != (self.aggregate == "rate") or len(self.prior) != 2 or min(self.prior) < 0:
            raise InputError(f"per={list(self.per)}, prior={list(self.prior)}: a rate needs `per` and two numbers >= 0")
        for span, key in ((self.window, "window"), (self.half_life, "half_life")):
            if span is not None:
                microseconds(span, key)

    def _check_value(self) -> None:
        names = FACTS if self.aggregate == "fact" else MEASURES
        for value in self.values:
            _known("value", value, tuple(names))
        if self.value is None or self.aggregate in ("last", "fact"):
            return
        wanted = "word" if self.aggregate in ("distinct", "repeats") else "number"
        if self.parts is None and MEASURES[self.value].kind != wanted:
            raise InputError(f"value={self.value} is a {MEASURES[self.value].kind}: {self.aggregate} takes a {wanted}")

    @property
    def values(self) -> tuple[str, ...]:
        """Return the measures that it reads: none, one, or its parts."""
        if self.value is None:
            return ()
        return (self.value,) if self.parts is None else tuple(f"{self.value}_{k + 1}" for k in range(self.parts))

    @property
    def is_word(self) -> bool:
        """Return whether it is a word and not a number."""
        if self.aggregate == "fact":
            return FACTS[str(self.value)].kind == "word"
        return self.aggregate == "last" and MEASURES[self.values[0]].kind == "word"

    @property
    def is_personal(self) -> bool:
        """Return whether it says something of the shopper."""
        return self.entity not in ("item", "offer") if self.personal is None else self.personal


@dataclass(frozen=True)
class FeatureSet:
    """All features of an offer, by name, and what holds for all: conf/features/<name>.yaml.

    forget: by entity, after how long without an event its history is dropped (batch and live alike), so that live
    state is bounded. lateness: how much later than the latest event a live event may arrive.
    """

    define: dict[str, Any] = field(default_factory=dict)
    forget: dict[str, str] = field(default_factory=dict)
    lateness: str = "60s"
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse entities that do not exist, and spans that are none."""
        microseconds(self.lateness, "features.lateness")
        for entity, span in self.forget.items():
            if entity not in ENTITIES:
                raise InputError(f"conf: features.forget.{entity}: no such entity (known: {', '.join(ENTITIES)})")
            microseconds(span, f"features.forget.{entity}")
        if self.define and (absent := set(ENTITIES) - set(self.forget)):
            raise InputError(f"conf: features.forget lacks {sorted(absent)}: say after how long each is forgotten")

    @property
    def features(self) -> dict[str, Feature]:
        """Return every single enabled feature by name; one with parts becomes name_1, name_2 …"""
        found: dict[str, Feature] = {}
        for name, feature in self.define.items():
            if not feature.enabled:
                continue
            if feature.parts is None:
                found[name] = feature
                continue
            for k, value in enumerate(feature.values):
                told = {**vars(feature), "value": value, "parts": None, "meaning": f"{feature.meaning}, {k + 1}"}
                found[f"{name}_{k + 1}"] = Feature(**told)
        return found

    def with_all(self) -> FeatureSet:
        """Return the same with every feature enabled."""
        return replace(self, define={name: replace(feature, enabled=True) for name, feature in self.define.items()})

    @property
    def numeric(self) -> tuple[str, ...]:
        """Return the names of the numbers."""
        return tuple(name for name, feature in self.features.items() if not feature.is_word)

    @property
    def categorical(self) -> tuple[str, ...]:
        """Return the names of the words."""
        return tuple(name for name, feature in self.features.items() if feature.is_word)

    @property
    def personal(self) -> tuple[str, ...]:
        """Return the names of those that say something of the shopper."""
        return tuple(name for name, feature in self.features.items() if feature.is_personal)

    @property
    def meanings(self) -> dict[str, str]:
        """Return what each is, in one line."""
        return {name: feature.meaning for name, feature in self.features.items()}


def _known(key: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise InputError(f"{key}={word!r} does not exist{nearest(word, list(known))}")
