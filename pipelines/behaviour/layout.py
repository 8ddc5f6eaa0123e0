"""How one entity's past is kept live: a list with a slot for each quantity, and what each kind of event does to it.

Made once of the accumulators (pipelines/behaviour/accumulators.py), so that an event costs a few additions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.behaviour.accumulators import Accumulator, all_needed
from pipelines.behaviour.definitions import ENTITIES, KINDS, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.measures import MEASURES

LATEST, START, STEP = 0, 1, 2  # slots of every entity: instant of its last and first event, and the last one's step
_FIRST = 3  # the slots from here on are accumulators'
_FRESH: dict[str, tuple[Any, ...]] = {  # what the slots of a role hold before the first event
    "known": (0.0,),
    "sum": (0.0,),
    "distinct": (0.0, None),  # how many values, and the set of them
    "last": (None, None),  # the value, and (instant, event id) of its event
    "latest": (None,),
    "earliest": (None,),
    "decayed": (0.0, None),  # the sum, and the instant for which it holds
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One value read off an event by `of`: a measure, as whole millionths where it is added up (`scaled`).

    of_step: whether it depends on the step before the event.
    """

    name: str
    of: Callable[[Any], Any]
    is_word: bool
    scaled: bool
    of_step: bool


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """What a series of one entity keeps: instants, and running sums if `summed`, for as long as `window` (µs)."""

    summed: bool
    window: int


@dataclass(slots=True)
class Updates:
    """What an event of one kind does to an entity: pairs of a slot and the place of the value it takes.

    decays: slot, half-life in µs, place. series: number of the series, place.
    """

    counts: tuple[int, ...] = ()
    knowns: tuple[tuple[int, int], ...] = ()
    sums: tuple[tuple[int, int], ...] = ()
    distincts: tuple[tuple[int, int], ...] = ()
    lasts: tuple[tuple[int, int], ...] = ()
    latests: tuple[int, ...] = ()
    earliests: tuple[int, ...] = ()
    decays: tuple[tuple[int, int, int], ...] = ()
    series: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The slots of one kind of entity: how it starts, where each accumulator is, what each kind of event changes.

    forget: microseconds. slots: the first slot of each accumulator without a window; series: of each with one, the
    number of its series.
    """

    entity: str
    forget: int
    fresh: list[Any]
    slots: dict[Accumulator, int]
    series: dict[Accumulator, int]
    kinds: tuple[SeriesKind, ...]
    updates: dict[str, Updates]


class Readings:
    """The values that must be read off an event of each kind, each once: `of[kind]`, in the order of their places."""

    def __init__(self) -> None:
        """Start with none."""
        self.of: dict[str, list[Reading]] = {kind: [] for kind in KINDS}

    def place(self, kind: str, made: Accumulator) -> int:
        """Return the place of what `made` takes of an event of `kind`."""
        measure = MEASURES[made.value]
        is_word = measure.kind == "word"
        scaled = made.role in ("sum", "decayed", "known") and not is_word
        reading = Reading(measure.name, measure.of, is_word, scaled, "previous_step" in measure.sql)
        if reading not in self.of[kind]:
            self.of[kind].append(reading)
        return self.of[kind].index(reading)


def layouts(features: FeatureSet) -> tuple[dict[str, Layout], Readings]:
    """Return the layout of every entity, and what must be read off each kind of event."""
    readings = Readings()
    every = all_needed(features.features.values())
    return {entity: _layout(entity, features, every, readings) for entity in ENTITIES}, readings


def digest(features: FeatureSet) -> str:
    """Return a SHA-256 of all that the histories depend on: two sets of features with the same can share a state."""
    made = [vars(accumulator) for accumulator in all_needed(features.features.values())]
    told = json.dumps([made, sorted(features.forget.items()), features.lateness], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _layout(entity: str, features: FeatureSet, every: Iterable[Accumulator], readings: Readings) -> Layout:
    mine = [made for made in every if made.entity == entity]
    fresh: list[Any] = [None] * _FIRST
    slots: dict[Accumulator, int] = {}
    for made in mine:
        if made.window is None:
            slots[made] = len(fresh)
            fresh += _FRESH[made.role]
    series, kinds = _series([made for made in mine if made.window is not None])
    updates = {kind: _updates(kind, slots, series, readings) for kind in KINDS}
    forget = microseconds(features.forget[entity], f"features.forget.{entity}")
    return Layout(entity, forget, fresh, slots, series, kinds, updates)


def _series(windowed: Sequence[Accumulator]) -> tuple[dict[Accumulator, int], tuple[SeriesKind, ...]]:
    """Return the series of every accumulator with a window: one for all windows over the same values."""
    same: dict[tuple[str, tuple[str, ...], str], list[Accumulator]] = {}
    for made in windowed:
        same.setdefault((made.role, made.of, made.value), []).append(made)
    numbers = {made: number for number, sharing in enumerate(same.values()) for made in sharing}
    kinds = [SeriesKind(s[0].role == "sum", max(made.window or 0 for made in s)) for s in same.values()]
    return numbers, tuple(kinds)


def _updates(kind: str, slots: dict[Accumulator, int], series: dict[Accumulator, int], readings: Readings) -> Updates:
    taking = [(made, slot) for made, slot in slots.items() if not made.of or kind in made.of]

    def pairs(role: str) -> tuple[tuple[int, int], ...]:
        chosen = [(m, slot) for m, slot in taking if m.role == role and (role, m.value) != ("known", "one")]
        return tuple((slot, readings.place(kind, made)) for made, slot in chosen)

    windowed = {number: made for made, number in series.items() if not made.of or kind in made.of}
    return Updates(
        counts=tuple(slot for made, slot in taking if (made.role, made.value) == ("known", "one")),
        knowns=pairs("known"),
        sums=pairs("sum"),
        distincts=pairs("distinct"),
        lasts=pairs("last"),
        latests=tuple(slot for made, slot in taking if made.role == "latest"),
        earliests=tuple(slot for made, slot in taking if made.role == "earliest"),
        decays=tuple((s, m.half_life or 1, readings.place(kind, m)) for m, s in taking if m.role == "decayed"),
        series=tuple((number, readings.place(kind, made)) for number, made in windowed.items()),
    )
