"""The columns of the batch SQL: what an entity's events are counted and added up by, and what becomes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from pipelines.behaviour.accumulators import Accumulator, all_needed, needed
from pipelines.behaviour.definitions import TIMES, Feature, FeatureSet
from pipelines.behaviour.measures import FACTS, MEASURES

EPOCH = 400  # half-lives: what is older weighs nothing, and 2^400 is still a number
_DIFFERENCES = ("sum", "known", "distinct")  # roles that are exact as differences
_READ_TOGETHER = {"k.": "words", "r.": "sentiment"}  # of a text that is known, everything is


def accumulators(features: FeatureSet, entity: str) -> tuple[Accumulator, ...]:
    """Return the accumulators of one entity."""
    return tuple(a for a in all_needed(features.features.values()) if a.entity == entity)


def measures(features: FeatureSet, entities: Iterable[str]) -> tuple[str, ...]:
    """Return the measures that the accumulators of these entities read."""
    read = (_read_as(a).value for entity in entities for a in accumulators(features, entity))
    return tuple(dict.fromkeys(value for value in read if value != "one"))


def _read_as(a: Accumulator) -> Accumulator:
    """Return the accumulator whose column says the same: of topics and words of a text, as many are known."""
    like = _READ_TOGETHER.get(MEASURES[a.value].sql[:2])
    return a if like is None or a.role != "known" else dataclasses.replace(a, value=like)


def seen(made: Iterable[Accumulator]) -> tuple[str, ...]:
    """Return the columns of one event that these accumulators add up: missing where it is none of theirs."""
    told = (_read_as(a) for a in made if a.of or a.role not in ("latest", "earliest"))
    return tuple(dict.fromkeys(f"{_taken(a)} AS {_column(a)}" for a in told))


def _scaled(a: Accumulator) -> bool:
    """Return whether its column is in whole millionths."""
    return (
        MEASURES[a.value].kind == "number" and a.role != "last" and (a.value != "one" or a.role in ("sum", "decayed"))
    )


def _column(a: Accumulator) -> str:
    name = "_or_".join(a.of) or "any"
    if a.value == "one" and not _scaled(a):
        return f"is_{name}"
    plain = "" if _scaled(a) or MEASURES[a.value].kind == "word" else "plain_"
    return f"{plain}{a.value}_of_{name}"


def _taken(a: Accumulator) -> str:
    value = "1" if a.value == "one" else a.value
    value = f"round({value} * 1e6)" if _scaled(a) else value
    return f"CASE WHEN {among(a.of)} THEN {value} END" if a.of else value


def among(kinds: Iterable[str]) -> str:
    """Return the condition that an event is of these kinds."""
    kinds = list(kinds)
    return f"kind = '{kinds[0]}'" if len(kinds) == 1 else f"kind IN ({', '.join(repr(kind) for kind in kinds)})"


def first_of(a: Accumulator, keys: tuple[str, ...]) -> str:
    """Return the column that is 1 where a value is seen for the first time, by which distinct ones are counted."""
    by, column = ", ".join(dict.fromkeys((*keys, _column(a)))), _column(a)
    first = f"row_number() OVER (PARTITION BY {by} ORDER BY instant, event_id) = 1"
    return f"CASE WHEN {column} IS NOT NULL AND {first} THEN 1 END AS first_{column}"


def frames(a: Accumulator) -> tuple[tuple[str, str], ...]:
    """Return the frames that an accumulator looks at, each by its name and between which bounds it lies.

    What is whole and added up is told as a difference: up to now, minus at this very instant, minus before the window.
    A frame that ends at the current row needs no search for its end, which for an item of many events takes longer than
    all the rest; and no engine adds a difference up anew for every row.
    """
    by = f"by_{a.entity}"
    if a.role not in _DIFFERENCES:
        back = None if a.half_life is None else EPOCH * a.half_life
        name, start = (by, "UNBOUNDED") if back is None else (f"{by}_{back // 1_000_000}s", str(back))
        return ((name, f"{start} PRECEDING AND 1 PRECEDING"),)
    told = [(f"{by}_to", "UNBOUNDED PRECEDING AND CURRENT ROW"), (f"{by}_at", "CURRENT ROW AND CURRENT ROW")]
    if a.window is not None:
        told.append((f"{by}_until_{a.window // 1_000_000}s", f"UNBOUNDED PRECEDING AND {a.window + 1} PRECEDING"))
    return tuple(told)


def counted(a: Accumulator) -> Iterator[str]:
    """Yield the columns that an accumulator is kept in: one, of a decayed sum two."""
    a = _read_as(a)
    column, overs = _column(a), [name for name, _ in frames(a)]
    at = f"CASE WHEN {column} = 1 THEN instant END" if a.of else "instant"
    told = {
        "sum": f"coalesce(sum({column}) OVER {{}}, 0)",
        "known": f"count({column}) OVER {{}}", "distinct": f"count(first_{column}) OVER {{}}",
        "latest": f"max({at}) OVER {{}}", "earliest": f"min({at}) OVER {{}}",
        "last": f"arg_max({column}, CASE WHEN {column} IS NOT NULL THEN place END) OVER {{}}",
    }  # fmt: skip
    if a.role != "decayed":
        yield f"{' - '.join(told[a.role].format(over) for over in overs)} AS {a.name}"
        return
    epoch, grown = _epoch(a, "instant")
    for odd in (0, 1):
        share = f"CASE WHEN {epoch} = {odd} THEN {column} * power(2e0, {grown}) END"
        yield f"sum({share}) OVER {overs[0]} AS {a.name}_{odd}"


def _epoch(a: Accumulator, instant: str) -> tuple[str, str]:
    """Return whether an instant's epoch is odd, and the half-lives from the epoch's start to the instant."""
    length = EPOCH * int(a.half_life or 0)
    return f"{instant} // {length} % 2", f"({instant} % {length}) / {a.half_life}e0"


def value(feature: Feature) -> str:
    """Return the expression of one feature over the accumulators' columns, the view `c` and its shopper `s`."""
    told = _value(feature)
    return f"coalesce({told}, '')" if feature.is_word else f"CAST({told} AS DOUBLE)"


def _value(feature: Feature) -> str:
    if feature.aggregate == "fact":
        return FACTS[str(feature.value)].sql
    made = needed(feature)
    at = {part: _read_as(a).name for part, a in made.items()}
    number = {part: f"coalesce({name}, 0)" for part, name in at.items()}
    unit = f"{TIMES[feature.unit] / 1e6:.0f}e6"
    match feature.aggregate:
        case "count":
            return number["count"]
        case "sum":
            return f"{number['sum']} / 1e6"
        case "mean":
            return f"CASE WHEN {at['known']} > 0 THEN {at['sum']} / {at['known']} / 1e6 END"
        case "distinct":
            return number["distinct"]
        case "repeats":
            return f"{number['known']} - {number['distinct']}"
        case "time_since":
            return f"(c.instant - {at['latest']}) / {unit}"
        case "age":
            return f"(c.instant - {at['earliest']}) / {unit}"
        case "rate":
            of, per = (
                f"{number[k]} + {prior!r}" for k, prior in zip(("of", "per"), map(float, feature.prior), strict=True)
            )
            return f"CASE WHEN {per} > 0 THEN ({of}) / ({per}) END"
        case "decayed":
            return _decayed(made["decayed"])
        case _:
            return at["last"]


def _decayed(a: Accumulator) -> str:
    """Return a decayed sum: of this epoch, and of the one before, each grown since its start, then aged to now.

    Rounded, because no order of adding is given to fractions, and the same log should give the same bytes.
    """
    epoch, grown = _epoch(a, "c.instant")
    even, odd, faded = f"coalesce({a.name}_0, 0)", f"coalesce({a.name}_1, 0)", f"power(2e0, -{EPOCH})"
    both = f"CASE WHEN {epoch} = 0 THEN {even} + {odd} * {faded} ELSE {odd} + {even} * {faded} END"
    return f"round(({both}) * power(2e0, -({grown})) / 1e6, 9)"
