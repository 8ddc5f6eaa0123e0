"""What must be kept of an entity's past to tell its features: a few accumulators, each shared by all that need it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.behaviour.definitions import Feature
from pipelines.behaviour.durations import microseconds


@dataclass(frozen=True)
class Accumulator:
    """One running quantity over an entity's events of the kinds `of` (empty: all) strictly before an instant.

    role: sum of the measure `value` in millionths; known: how many events have the measure; distinct: how many values
    it took; last: its last value that is not missing, by instant, then event id; latest, earliest: the instant of the
    last and first event; decayed: sum of value · 2^(-age / half_life), in millionths. A sum or known without an event
    is 0, the others missing. window, half_life: microseconds; window None: the entity's whole history.
    """

    entity: str
    role: str
    of: tuple[str, ...] = ()
    value: str = "one"
    window: int | None = None
    half_life: int | None = None

    @property
    def name(self) -> str:
        """Return its name as a column: unique, and the same in every run."""
        spans = [f"{span // 1_000_000}s" for span in (self.window, self.half_life) if span is not None]
        return "_".join([self.role, self.value, "of", *(self.of or ("any",)), "by", self.entity, *spans])


def needed(feature: Feature) -> dict[str, Accumulator]:
    """Return the accumulators that one feature (without parts) is made of, by the part that each plays in it.

    count: count. sum: sum. mean: sum, known. distinct: distinct. repeats: known, distinct. last: last. time_since:
    latest. age: earliest. rate: of, per. decayed: decayed. fact: none.
    """
    of, value = tuple(sorted(feature.of)), feature.value or "one"
    window = None if feature.window is None else microseconds(feature.window, "window")

    def one(role: str, value: str = value, of: tuple[str, ...] = of) -> Accumulator:
        return Accumulator(feature.entity, role, of, value, window)

    match feature.aggregate:
        case "count":
            return {"count": one("known", "one")}
        case "sum":
            return {"sum": one("sum")}
        case "mean":
            return {"sum": one("sum"), "known": one("known")}
        case "distinct":
            return {"distinct": one("distinct")}
        case "repeats":
            return {"known": one("known"), "distinct": one("distinct")}
        case "last":
            return {"last": one("last")}
        case "time_since":
            return {"latest": one("latest", "one")}
        case "age":
            return {"earliest": one("earliest", "one")}
        case "rate":
            return {"of": one("known", "one"), "per": one("known", "one", tuple(sorted(feature.per)))}
        case "decayed":
            half = microseconds(str(feature.half_life), "half_life")
            return {"decayed": Accumulator(feature.entity, "decayed", of, value, None, half)}
        case _:
            return {}


def all_needed(features: Iterable[Feature]) -> tuple[Accumulator, ...]:
    """Return every accumulator that the features need, once, in the order of first need."""
    return tuple(dict.fromkeys(made for feature in features for made in needed(feature).values()))
