"""A policy: one context in, one quote out. The decision itself, on the Array API, shared by NumPy and the graph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from pipelines import pricing
from pipelines.demand import mean_curve
from pipelines.errors import InputError
from pipelines.pricing import Array, Guardrails

# What every policy takes beside its context; NaN where a request does not give it.
TERMS_OF_SALE = ("list_price", "unit_cost", "min_price", "max_price", "u", "personal")
GUARDRAIL_WORDS = (*pricing.RULES, "none")
FALLBACK_WORDS = ("", "no_admissible_price", "unit_cost_missing")
QUOTE = (
    "price", "multiplier", "rung", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity",
)  # fmt: skip
LADDER = ("ladder_price", "ladder_probability", "ladder_profit", "ladder_propensity")
KNOTS = ("demand",)  # the curve at the rungs of the source, whatever rungs the policy may quote
_SAME = 1e-6  # multipliers closer than this are one rung
_NOBODY = 1e-12  # a purchase probability below which there is no elasticity


@dataclass(frozen=True)
class Terms:
    """What a policy decides by, apart from the demand: its rungs, guardrails and assumptions.

    ladder: multipliers of the list price that this policy may quote. knots: those at which the demand is known, the
    source's rungs. fallback: the multiplier quoted where no rung is admissible (1: the list price), one of the knots.
    cost_share: unit cost as a share of the list price for requests without one.
    """

    ladder: tuple[float, ...]
    knots: tuple[float, ...]
    guardrails: Guardrails
    fallback: float = 1.0
    cost_share: float | None = None

    def __post_init__(self) -> None:
        """Refuse a policy that has nothing to quote, or quotes where nothing is known."""
        if not self.ladder or self.fallback <= 0:
            raise InputError(f"a policy needs rungs and a positive fallback, not {self.ladder}, {self.fallback}")
        self.knots_of((*self.ladder, self.fallback))

    def knots_of(self, rungs: tuple[float, ...]) -> list[int]:
        """Return the index in `knots` of each rung; InputError for one at which the demand is not known."""
        near = [int(np.abs(np.array(self.knots) - rung).argmin()) for rung in rungs]
        if unknown := [r for r, k in zip(rungs, near, strict=True) if abs(self.knots[k] - r) > _SAME]:
            raise InputError(f"nothing is known of the demand at {unknown}; it is known at {list(self.knots)}")
        return near

    def to_json(self) -> dict[str, Any]:
        """Return the terms as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the terms of `to_json`."""
        guardrails: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values["guardrails"].items()
        }
        return cls(
            ladder=tuple(values["ladder"]),
            knots=tuple(values["knots"]),
            guardrails=Guardrails(**guardrails),
            fallback=values["fallback"],
            cost_share=values["cost_share"],
        )


@dataclass(frozen=True)
class Belief:
    """What is believed of N contexts: the demand curve of each member at the K knots, and which knots were shown.

    curves: (N, K) each, averaged by `weights`. shown: (N, K) probabilities with which such contexts were shown each
    knot; None where that is not known or not asked. mean: their mean curve, (N, K), where it is known already.
    """

    curves: list[Array]
    weights: tuple[float, ...]
    shown: Array | None = None
    mean: Array | None = None

    @property
    def demand(self) -> Array:
        """The mean curve, (N, K)."""
        return mean_curve(self.curves, self.weights) if self.mean is None else self.mean


@dataclass(frozen=True)
class Options:
    """What may be quoted: (N, K) prices of the rungs, (N, 1) unit cost, and which rungs stand and are admitted.

    binding: (N, K) the index in `pricing.RULES` of the first rule that forbids the rung, or their number.
    """

    prices: Array
    cost: Array
    separate: Array
    rules: dict[str, Array]
    binding: Array
    admissible: Array


def options(sale: dict[str, Array], terms: Terms, shown: Array | None = None) -> Options:
    """Return the rungs of every context and what the guardrails leave of them; sale as in `decide`.

    shown: (N, K) over the knots, as in `Belief`.
    """
    xp = sale["list_price"].__array_namespace__()
    rungs = xp.asarray(np.array([terms.ladder]))
    list_price, cost = sale["list_price"], sale["unit_cost"]
    if terms.cost_share is not None:
        cost = xp.where(xp.isnan(cost), list_price * terms.cost_share, cost)
    prices = pricing.ladder_prices(list_price, rungs, terms.guardrails)
    seen = None if shown is None else pricing.columns(shown, terms.knots_of(terms.ladder))
    bounds = sale["min_price"], sale["max_price"]
    rules = pricing.allowed(prices, list_price, cost, *bounds, terms.guardrails, seen)
    # without a cost nothing is known of the profit, and what cannot be checked is not allowed
    separate = pricing.distinct(prices, terms.ladder) & (cost == cost)
    binding = pricing.binding_rule(rules)
    return Options(prices, cost, separate, rules, binding, separate & (binding == len(pricing.RULES)))


def at_prices(curve: Array, multipliers: Array, knots: list[int], terms: Terms) -> Array:
    """Return the purchase probability, (N, J), at prices that rounding moved off their knots towards the list price.

    curve: (N, K) at the knots. multipliers: (N, J), each at or inward of its knot (`knots`, J indices). Between knots
    the probability is linear in log m; beyond the inward neighbour it is the neighbour's.
    """
    xp = curve.__array_namespace__()
    inner = [pricing.inward(terms.knots)[k] for k in knots]
    here = pricing.columns(curve, knots)
    if terms.guardrails.minor_unit is None or inner == knots:
        return here
    there = pricing.columns(curve, inner)
    at = np.log(np.array(terms.knots))
    span = np.array([at[i] - at[k] if i != k else np.inf for k, i in zip(knots, inner, strict=True)])
    moved = (xp.log(multipliers) - xp.asarray(at[knots][None, :])) * xp.asarray(1 / span[None, :])
    share = xp.minimum(xp.maximum(moved, xp.asarray(np.array([[0.0]]))), xp.asarray(np.array([[1.0]])))
    return here + share * (there - here)


def elasticities(curve: Array, knots: tuple[float, ...]) -> Array:
    """Return d log q / d log m at the knots, (N, K), of curves (N, K): the slope between a knot's two neighbours."""
    xp = curve.__array_namespace__()
    at, last = np.log(np.array(knots)), len(knots) - 1
    left, right = np.maximum(np.arange(last + 1) - 1, 0), np.minimum(np.arange(last + 1) + 1, last)
    logs = xp.log(xp.maximum(curve, xp.asarray(np.array([[_NOBODY]]))))
    rise = xp.take(logs, xp.asarray(right), axis=1) - xp.take(logs, xp.asarray(left), axis=1)
    return rise * xp.asarray(1 / (at[right] - at[left])[None, :])


def decide(belief: Belief, sale: dict[str, Array], terms: Terms) -> dict[str, Array]:
    """Return the quote of each context, (N, 1) each, and what stands behind it on the ladder, (N, K) each.

    sale: `TERMS_OF_SALE`, (N, 1) double each. `guardrail` and `fallback` are indices into GUARDRAIL_WORDS and
    FALLBACK_WORDS. `rung` is -1 and `propensity` 1 where the fallback was quoted, and `u` plays no part where
    `personal` is 0: chance is drawn by shopper.
    """
    list_price, able, demand = sale["list_price"], options(sale, terms, belief.shown), belief.demand
    xp = list_price.__array_namespace__()
    knots, last_resort = terms.knots_of(terms.ladder), terms.knots_of((terms.fallback,))
    instead = fallback_price(list_price, terms)
    ratios = able.prices / list_price
    probability = at_prices(demand, ratios, knots, terms)
    profit = (able.prices - able.cost) * probability
    valued = profit
    if terms.guardrails.caution > 0 and len(belief.curves) > 1:
        valued = pricing.cautious(
            _gains(belief, able, instead, list_price, terms), belief.weights, terms.guardrails.caution
        )
    wanted = pricing.best_rung(pricing.masked(valued, able.separate))
    within = pricing.masked(valued, able.admissible)
    greedy = pricing.best_rung(within)
    priced = pricing.at_rung(within, greedy) > -xp.inf
    propensity = pricing.propensities(greedy, able.admissible, terms.guardrails.exploration)
    chance = xp.where(sale["personal"] == 0, xp.nan, sale["u"])
    rung, drawn = pricing.draw(propensity, greedy, chance)
    price = xp.where(priced, pricing.at_rung(able.prices, rung), instead)
    elasticity = elasticities(demand, terms.knots)
    slope = pricing.at_rung(pricing.columns(elasticity, knots), rung)
    bought = xp.where(
        priced, pricing.at_rung(probability, rung), at_prices(demand, instead / list_price, last_resort, terms)
    )
    costless = xp.isnan(able.cost)  # no profit is known, so no rung was wanted
    reason = xp.where(costless, 2, xp.asarray(np.array([[1]])))  # an index into FALLBACK_WORDS
    alone = xp.asarray(np.array([[float(k == last_resort[0]) for k in knots]]))
    return {
        "price": price,
        "multiplier": price / list_price,
        "rung": xp.where(priced, rung, -1),
        "purchase_probability": bought,
        "expected_profit": (price - able.cost) * bought,
        "price_sensitivity": xp.where(priced, slope, pricing.columns(elasticity, last_resort)),
        "guardrail": xp.where(costless, len(pricing.RULES), pricing.at_rung(able.binding, wanted)),
        "fallback": xp.where(priced, 0, reason),
        "propensity": xp.where(priced, drawn, 1.0),
        "ladder_price": able.prices,
        "ladder_probability": probability,
        "ladder_profit": profit,
        "ladder_propensity": xp.where(priced, propensity, alone),
        "demand": demand,
    }


def _gains(belief: Belief, able: Options, instead: Array, list_price: Array, terms: Terms) -> list[Array]:
    """Return each member's expected profit of every rung less that of the fallback price, (N, K) each."""
    knots, last_resort = terms.knots_of(terms.ladder), terms.knots_of((terms.fallback,))
    ratios, margin = able.prices / list_price, instead - able.cost
    return [
        (able.prices - able.cost) * at_prices(q, ratios, knots, terms)
        - margin * at_prices(q, instead / list_price, last_resort, terms)
        for q in belief.curves
    ]


def fallback_price(list_price: Array, terms: Terms) -> Array:
    """Return list price x fallback, (N, 1), brought to the same endings as a rung there would be."""
    if terms.fallback == 1.0:
        return list_price
    xp = list_price.__array_namespace__()
    return pricing.ladder_prices(list_price, xp.asarray(np.array([[terms.fallback]])), terms.guardrails)


def in_words(quotes: dict[str, Array]) -> dict[str, Array]:
    """Return NumPy quotes with guardrail and fallback as words."""
    return {
        **quotes,
        "guardrail": np.array(GUARDRAIL_WORDS, dtype=object)[quotes["guardrail"]],
        "fallback": np.array(FALLBACK_WORDS, dtype=object)[quotes["fallback"]],
    }
