"""How the features of an offer are read off the live histories: made once of the definitions, then only look-ups."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.behaviour.accumulators import Accumulator, needed
from pipelines.behaviour.definitions import TIMES, Feature, FeatureSet
from pipelines.behaviour.history import State, decayed
from pipelines.behaviour.layout import START, Layout
from pipelines.behaviour.measures import FACTS, MILLION, Moment
from pipelines.behaviour.series import Series
from pipelines.errors import InputError

Answer = dict[str, float | str]
Windowed = Callable[[list[Series | None], int, int], float]  # series, start of the history, instant of the offer


@dataclass(slots=True)
class Reads:
    """The features of one entity by how they are read: name, the slots, and what else it takes.

    means: sum and known. repeats: known and distinct. since: slot and unit in µs. rates: of, per and the prior.
    decays: slot and half-life in µs. windowed: a function of the series.
    """

    counts: list[tuple[str, int]] = field(default_factory=list)
    sums: list[tuple[str, int]] = field(default_factory=list)
    means: list[tuple[str, int, int]] = field(default_factory=list)
    repeats: list[tuple[str, int, int]] = field(default_factory=list)
    lasts: list[tuple[str, int]] = field(default_factory=list)
    since: list[tuple[str, int, float]] = field(default_factory=list)
    rates: list[tuple[str, int, int, tuple[float, ...]]] = field(default_factory=list)
    decays: list[tuple[str, int, int]] = field(default_factory=list)
    windowed: list[tuple[str, Windowed]] = field(default_factory=list)

    def fill(self, out: Answer, state: State, series: list[Series | None] | None, instant: int) -> None:
        """Write the entity's features at `instant` to `out`, which holds those of an empty history."""
        for name, slot in self.counts:
            out[name] = state[slot]
        for name, slot in self.sums:
            out[name] = state[slot] / MILLION
        for name, total, known in self.means:
            if state[known]:
                out[name] = state[total] / state[known] / MILLION
        for name, known, distinct in self.repeats:
            out[name] = state[known] - state[distinct]
        for name, slot in self.lasts:
            if state[slot] is not None:
                out[name] = state[slot]
        for name, slot, unit in self.since:
            if state[slot] is not None:
                out[name] = (instant - state[slot]) / unit
        for name, of, per, prior in self.rates:
            out[name] = rate(state[of], state[per], prior)
        for name, slot, half_life in self.decays:
            out[name] = decayed(state[slot], state[slot + 1], instant, half_life) / MILLION
        if series is not None:
            for name, read in self.windowed:
                out[name] = read(series, state[START], instant)


@dataclass(frozen=True, slots=True)
class Answers:
    """What is read for an offer: `empty`, every feature without any history; the facts; the reads of each entity.

    facts: name, whether it is a word, and how it is told.
    """

    empty: Answer
    facts: tuple[tuple[str, bool, Callable[[Moment], Any]], ...]
    reads: dict[str, Reads]

    def fill_facts(self, out: Answer, moment: Moment) -> None:
        """Write what is known without history to `out`; raises InputError naming a fact that is no number."""
        for name, is_word, of in self.facts:
            try:
                value = of(moment)
                if value is not None:
                    out[name] = value if is_word else float(value)
            except (TypeError, ValueError, ZeroDivisionError) as error:
                raise InputError(
                    f"{name}: {error}; see docs/schema.md for what a view, item or shopper tells"
                ) from None


def rate(of: float, per: float, prior: tuple[float, ...]) -> float:
    """Return (of + prior[0]) / (per + prior[1]); NaN where nothing is to divide by."""
    below = per + prior[1]
    return (of + prior[0]) / below if below else math.nan


def answers(features: FeatureSet, layouts: dict[str, Layout]) -> Answers:
    """Return how every feature is read off histories with these layouts."""
    made = Answers({}, tuple(_facts(features)), {entity: Reads() for entity in layouts})
    for name, feature in features.features.items():
        made.empty[name] = _empty(feature)
        if feature.aggregate != "fact":
            _add(made.reads[feature.entity], name, feature, layouts[feature.entity])
    return made


def _facts(features: FeatureSet) -> list[tuple[str, bool, Callable[[Moment], Any]]]:
    return [(n, f.is_word, FACTS[str(f.value)].of) for n, f in features.features.items() if f.aggregate == "fact"]


def _empty(feature: Feature) -> float | str:
    if feature.is_word:
        return ""
    match feature.aggregate:
        case "rate":
            return rate(0.0, 0.0, feature.prior)
        case "mean" | "last" | "time_since" | "age" | "fact":
            return math.nan
        case _:
            return 0.0


def _add(reads: Reads, name: str, feature: Feature, layout: Layout) -> None:
    made = needed(feature)
    if feature.window is not None:
        reads.windowed.append((name, _windowed(feature, made, layout)))
        return
    slots = {part: layout.slots[accumulator] for part, accumulator in made.items()}
    match feature.aggregate:
        case "count":
            reads.counts.append((name, slots["count"]))
        case "distinct":
            reads.counts.append((name, slots["distinct"]))
        case "sum":
            reads.sums.append((name, slots["sum"]))
        case "mean":
            reads.means.append((name, slots["sum"], slots["known"]))
        case "repeats":
            reads.repeats.append((name, slots["known"], slots["distinct"]))
        case "last":
            reads.lasts.append((name, slots["last"]))
        case "time_since" | "age":
            reads.since.append((name, next(iter(slots.values())), TIMES[feature.unit]))
        case "rate":
            reads.rates.append((name, slots["of"], slots["per"], feature.prior))
        case "decayed":
            reads.decays.append((name, slots["decayed"], made["decayed"].half_life or 1))


def _windowed(feature: Feature, made: dict[str, Accumulator], layout: Layout) -> Windowed:
    """Return the function that reads a count, sum, mean or rate of a window."""
    numbers = {part: layout.series[accumulator] for part, accumulator in made.items()}
    window = next(iter(made.values())).window or 0

    def total(series: list[Series | None], number: int, start: int, instant: int) -> float:
        found = series[number]
        return 0.0 if found is None else found.within(max(instant - window, start), instant)

    if feature.aggregate == "count":
        only = numbers["count"]
        return lambda series, start, instant: total(series, only, start, instant)
    if feature.aggregate == "sum":
        summed = numbers["sum"]
        return lambda series, start, instant: total(series, summed, start, instant) / MILLION
    if feature.aggregate == "rate":
        of, per = numbers["of"], numbers["per"]
        return lambda series, start, instant: rate(
            total(series, of, start, instant), total(series, per, start, instant), feature.prior
        )

    def mean(series: list[Series | None], start: int, instant: int) -> float:
        known = total(series, numbers["known"], start, instant)
        return total(series, numbers["sum"], start, instant) / known / MILLION if known else math.nan

    return mean
