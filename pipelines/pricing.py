"""From a demand curve to a price: ladder, guardrails, choice of the rung, exploration.

Pure functions on the Python Array API. The namespace comes from the arguments, so the same code prices with NumPy
in evaluation and becomes part of the ONNX policy with ndonnx. Shapes: N contexts, K rungs; columns are (N, 1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError

# The Array API has no common static type that NumPy and ndonnx share.
Array = Any

RULES = ("margin_floor", "largest_cut", "largest_rise", "min_price", "max_price", "support")
_TOLERANCE = 1e-9  # relative: a bound met to the last bit is met


@dataclass(frozen=True)
class Guardrails:
    """What a price may never do; the shop owns these (conf/guardrails/, docs/guardrails.md)."""

    largest_cut: float | None = None
    largest_rise: float | None = None
    margin_floor: float | None = None
    rungs: tuple[float, ...] | None = None
    endings: tuple[float, ...] = ()
    minor_unit: float | None = None
    exploration: float = 0.0
    support: float | None = None
    caution: float = 0.0

    def __post_init__(self) -> None:
        """Refuse guardrails that contradict themselves, naming the value."""
        if self.largest_cut is not None and not 0 <= self.largest_cut < 1:
            raise InputError(f"guardrails.largest_cut={self.largest_cut} must lie in [0, 1) or be null")
        if self.largest_rise is not None and not self.largest_rise >= 0:
            raise InputError(f"guardrails.largest_rise={self.largest_rise} must not be negative")
        if self.margin_floor is not None and not self.margin_floor >= 0:
            raise InputError(f"guardrails.margin_floor={self.margin_floor} must not be negative")
        if self.rungs is not None and (not self.rungs or min(self.rungs) <= 0):
            raise InputError(f"guardrails.rungs={list(self.rungs)} must be positive multipliers, or null")
        if not 0 <= self.exploration <= 0.5:
            raise InputError(f"guardrails.exploration={self.exploration} must lie in [0, 0.5]")
        if self.support is not None and not 0 < self.support < 1:
            raise InputError(f"guardrails.support={self.support} must lie in (0, 1) or be null")
        if not self.caution >= 0:
            raise InputError(f"guardrails.caution={self.caution} must not be negative")
        if self.minor_unit is not None and not 0 < self.minor_unit <= 1:
            raise InputError(f"guardrails.minor_unit={self.minor_unit} must lie in (0, 1] or be null")
        if self.minor_unit is not None and not _whole(1 / self.minor_unit):
            raise InputError(f"guardrails.minor_unit={self.minor_unit} must divide 1, e.g. 0.01, 0.05 or 1")
        if self.endings and self.minor_unit is None:
            raise InputError("guardrails.endings needs guardrails.minor_unit, e.g. 0.01")
        if any(not 0 <= e < 1 for e in self.endings):
            raise InputError(f"guardrails.endings={list(self.endings)} must lie in [0, 1), e.g. 0.99")
        if self.minor_unit is not None and not all(_whole(e / self.minor_unit) for e in self.endings):
            raise InputError(
                f"guardrails.endings={list(self.endings)} must be multiples of minor_unit={self.minor_unit}"
            )


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


def admitted_rungs(ladder: tuple[float, ...], guardrails: Guardrails) -> tuple[float, ...]:
    """Return the rungs that a policy may use: those shown by the source, cut down to `guardrails.rungs`.

    Raises InputError for a rung that was never shown: nothing is known of demand there.
    """
    if guardrails.rungs is None:
        return ladder
    unknown = [r for r in guardrails.rungs if all(abs(r - known) > 1e-6 for known in ladder)]
    if unknown:
        raise InputError(
            f"guardrails.rungs: {unknown} were never shown (the source's ladder is {list(ladder)}); nothing is "
            "known of the demand there. Name shown rungs only, or show these first"
        )
    return tuple(known for known in ladder if any(abs(r - known) <= 1e-6 for r in guardrails.rungs))


def ladder_prices(list_price: Array, multipliers: Array, guardrails: Guardrails) -> Array:
    """Return the price of every rung, (N, K): list price x multiplier, brought to an ending.

    Rounding moves a price *towards* the list price and never past it, so a rung at the edge of a guardrail stays
    inside it, and the rung 1 is the list price itself.
    """
    xp = list_price.__array_namespace__()
    raw = list_price * multipliers
    if guardrails.minor_unit is None:
        return raw
    units = float(round(1 / guardrails.minor_unit))
    # a rise is rounded as its mirror image: so rounding up, and no further than the list price, serves both directions
    side = xp.where(multipliers > 1, -1.0, xp.asarray(np.array([[1.0]])))
    near = _ending_above(raw * (side * units), side, units, guardrails)
    return side * xp.minimum(near / units, side * list_price)


def _ending_above(raw: Array, side: Array, units: float, guardrails: Guardrails) -> Array:
    """Return the nearest ending at or above `raw`, both in minor units; side: -1 where these are mirrored, else 1."""
    slack, xp = 1e-6, raw.__array_namespace__()  # of a minor unit: 8.00 x 1.1 is 8.8, not 8.799…
    if not guardrails.endings:
        return xp.ceil(raw - slack)
    offsets = [side * float(round(ending * units)) for ending in guardrails.endings]
    return functools.reduce(xp.minimum, [xp.ceil((raw - o - slack) / units) * units + o for o in offsets])


def distinct(prices: Array, ladder: tuple[float, ...]) -> Array:
    """Return which rungs stand for a price of their own, (N, K) bool: of equal prices the one nearest 1 stays.

    Where a cut and a rise both come out at the list price and 1 is no rung, the cut stays.
    """
    xp, neighbour = prices.__array_namespace__(), inward(ladder)
    alone = xp.asarray(np.array([[k == i for k, i in enumerate(neighbour)]]))
    return alone | (prices != xp.take(prices, xp.asarray(np.array(neighbour)), axis=1))


def inward(ladder: tuple[float, ...]) -> list[int]:
    """Return for each rung the index of its neighbour on the way to the list price, where rounding moves prices.

    A rung without one is its own.
    """
    last = len(ladder) - 1
    return [k + 1 if k < last and ladder[k + 1] <= 1 else max(k - 1, 0) if m > 1 else k for k, m in enumerate(ladder)]


def often_shown(offers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rungs may be everybody's price, (K,), by how many offers stood on each: at least 20 and 1 in 200.

    Where few offers stand on many rungs, half of what a rung has in the mean is enough.
    """
    often: NDArray[np.bool_] = offers >= max(min(20, offers.mean() / 2), 0.005 * offers.sum())
    return often


def allowed(
    prices: Array,
    list_price: Array,
    unit_cost: Array,
    min_price: Array,
    max_price: Array,
    guardrails: Guardrails,
    shown: Array | None = None,
) -> dict[str, Array]:
    """Return for each rule in force which rungs it admits, (N, K) bool each.

    `min_price` and `max_price` are (N, 1), NaN where an item has none. A missing unit cost (NaN) meets no margin
    floor: what cannot be checked is not allowed. shown: (N, K) probabilities with which such contexts were shown each
    rung; None where that is not asked.
    """
    rules, ratios = {}, prices / list_price
    if guardrails.margin_floor is not None:
        rules["margin_floor"] = prices >= unit_cost * ((1 + guardrails.margin_floor) * (1 - _TOLERANCE))
    if guardrails.largest_cut is not None:
        rules["largest_cut"] = ratios >= 1 - guardrails.largest_cut - _TOLERANCE
    if guardrails.largest_rise is not None:
        rules["largest_rise"] = ratios <= 1 + guardrails.largest_rise + _TOLERANCE
    # "not below", so that NaN, which compares false, forbids nothing
    xp = prices.__array_namespace__()
    rules["min_price"] = xp.logical_not(prices < min_price)
    rules["max_price"] = xp.logical_not(prices > max_price)
    if guardrails.support is not None and shown is not None:
        rules["support"] = shown >= guardrails.support
    return rules


def columns(values: Array, kept: list[int]) -> Array:
    """Return the columns `kept` of `values` (N, K); all of them in order are the values themselves."""
    if kept == list(range(values.shape[1])):
        return values
    xp = values.__array_namespace__()
    return xp.take(values, xp.asarray(np.array(kept)), axis=1)


def masked(profit: Array, admissible: Array) -> Array:
    """Return profit (N, K) with minus infinity where a rung is not admissible."""
    return profit.__array_namespace__().where(admissible, profit, -np.inf)


def cautious(gains: list[Array], weights: tuple[float, ...], caution: float) -> Array:
    """Return the members' mean gain less `caution` of its standard deviations between members, (N, K).

    gains: each member's expected profit of every rung less that of the fallback price, (N, K) each.
    """
    mean = gains[0] * weights[0]
    square = gains[0] * gains[0] * weights[0]
    for gain, weight in zip(gains[1:], weights[1:], strict=True):
        mean = mean + gain * weight
        square = square + gain * gain * weight
    xp = mean.__array_namespace__()
    return mean - caution * xp.sqrt(xp.maximum(square - mean * mean, xp.asarray(np.array([[0.0]]))))


def best_rung(masked_profit: Array) -> Array:
    """Return the rung with the highest expected profit, (N, 1) int64; of equals the cheapest."""
    return masked_profit.__array_namespace__().argmax(masked_profit, axis=1, keepdims=True)


def at_rung(values: Array, rung: Array) -> Array:
    """Return the (N, 1) entries of `values` (N, K) at `rung` (N, 1) int64."""
    return values.__array_namespace__().take_along_axis(values, rung, axis=1)


def propensities(greedy: Array, admissible: Array, exploration: float) -> Array:
    """Return the probability of each rung, (N, K): the greedy rung, smoothed over its admissible neighbours.

    Half of `exploration` goes to either adjacent rung; the share of one that is absent or forbidden stays with the
    greedy rung. Without an admissible rung all mass lies on `greedy` and means nothing.
    """
    xp = admissible.__array_namespace__()
    rungs = xp.asarray(np.arange(admissible.shape[1])[None, :])
    beside = admissible & (abs(rungs - greedy) == 1)
    share = xp.where(beside, exploration / 2, xp.asarray(np.array([[0.0]])))
    rest = 1 - xp.sum(share, axis=1, keepdims=True)
    return xp.where(rungs == greedy, rest, share)


def draw(probabilities: Array, greedy: Array, u: Array) -> tuple[Array, Array]:
    """Return the rung that `u` in [0, 1) selects and its propensity, both (N, 1).

    The rung is the first whose cumulated probability exceeds `u`: the same `u` always gives the same rung. Without
    `u` (NaN) the greedy rung is taken, with propensity 1. A `u` out of range takes no rung without a chance.
    """
    xp = probabilities.__array_namespace__()
    cumulated = xp.cumulative_sum(probabilities, axis=1)
    passed = xp.sum(
        xp.astype(cumulated <= xp.maximum(u, xp.asarray(np.array([[0.0]]))), xp.int64), axis=1, keepdims=True
    )
    # `passed` runs off the ladder where rounding leaves the last sum below u
    rung = xp.where(xp.isnan(u) | (passed >= probabilities.shape[1]), greedy, passed)
    return rung, xp.where(xp.isnan(u), 1.0, at_rung(probabilities, rung))


def binding_rule(rules: dict[str, Array]) -> Array:
    """Return the index in `RULES` of the first rule that forbids each rung, or len(RULES), (N, K) int64."""
    xp = next(iter(rules.values())).__array_namespace__()
    bound = xp.asarray(np.array([[len(RULES)]]))
    for index in reversed(range(len(RULES))):
        if RULES[index] in rules:
            bound = xp.where(rules[RULES[index]], bound, index)
    return bound
