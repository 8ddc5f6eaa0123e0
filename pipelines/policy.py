"""A policy: one context in, one quote out. The decision itself, on the Array API, shared by NumPy and the graph."""

from __future__ import annotations

import functools
import operator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from pipelines import pricing
from pipelines.demand import Curve
from pipelines.errors import InputError
from pipelines.pricing import Array, Guardrails

# What every policy takes beside its context; NaN where a request does not give it.
TERMS_OF_SALE = ("list_price", "unit_cost", "min_price", "max_price", "u")
GUARDRAIL_WORDS = (*pricing.RULES, "none")
FALLBACK_WORDS = ("", "no_admissible_price", "unit_cost_missing")
QUOTE = (
    "price", "multiplier", "rung", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity", "alpha", "beta",
)  # fmt: skip
_SAME = 1e-9  # multipliers closer than this are one rung
LADDER = ("ladder_price", "ladder_probability", "ladder_profit", "ladder_propensity")


@dataclass(frozen=True)
class Terms:
    """What a policy decides by, apart from the demand: its rungs, guardrails and assumptions.

    ladder: multipliers of the list price that this policy may quote. fallback: the multiplier quoted where no rung is
    admissible (1: the list price). cost_share: unit cost as a share of the list price for requests without one.
    """

    ladder: tuple[float, ...]
    curve: Curve
    guardrails: Guardrails
    fallback: float = 1.0
    cost_share: float | None = None

    def __post_init__(self) -> None:
        """Refuse a policy that has nothing to quote."""
        if not self.ladder or self.fallback <= 0:
            raise InputError(f"a policy needs rungs and a positive fallback, not {self.ladder}, {self.fallback}")

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
            curve=Curve(**values["curve"]),
            guardrails=Guardrails(**guardrails),
            fallback=values["fallback"],
            cost_share=values["cost_share"],
        )


@dataclass(frozen=True)
class Options:
    """What may be quoted: (N, K) prices of the rungs, (N, 1) unit cost, and which rungs stand and are admitted."""

    prices: Array
    cost: Array
    separate: Array
    rules: dict[str, Array]
    admissible: Array


def options(sale: dict[str, Array], terms: Terms) -> Options:
    """Return the rungs of every context and what the guardrails leave of them; sale as in `decide`."""
    xp = sale["list_price"].__array_namespace__()
    rungs = xp.asarray(np.array([terms.ladder]))
    list_price, cost = sale["list_price"], sale["unit_cost"]
    if terms.cost_share is not None:
        cost = xp.where(xp.isnan(cost), list_price * terms.cost_share, cost)
    prices = pricing.ladder_prices(list_price, rungs, terms.guardrails)
    rules = pricing.allowed(prices, list_price, cost, sale["min_price"], sale["max_price"], terms.guardrails)
    # without a cost nothing is known of the profit, and what cannot be checked is not allowed
    separate = pricing.distinct(prices, terms.ladder) & (cost == cost)
    return Options(prices, cost, separate, rules, functools.reduce(operator.and_, rules.values(), separate))


def decide(coefficients: Array, sale: dict[str, Array], terms: Terms) -> dict[str, Array]:
    """Return the quote of each context, (N, 1) each, and what stands behind it on the ladder, (N, K) each.

    coefficients: (N, 2) alpha and beta. sale: `TERMS_OF_SALE`, (N, 1) double each. `guardrail` and `fallback` are
    indices into GUARDRAIL_WORDS and FALLBACK_WORDS. `rung` is -1 and `propensity` 1 where the fallback was quoted.
    """
    xp = coefficients.__array_namespace__()
    list_price, able = sale["list_price"], options(sale, terms)
    probability = terms.curve.probability(coefficients, able.prices / list_price)
    profit = (able.prices - able.cost) * probability
    wanted = pricing.best_rung(pricing.masked(profit, able.separate))
    within = pricing.masked(profit, able.admissible)
    greedy = pricing.best_rung(within)
    priced = pricing.at_rung(within, greedy) > -xp.inf
    propensity = pricing.propensities(greedy, able.admissible, terms.guardrails.exploration)
    rung, drawn = pricing.draw(propensity, greedy, sale["u"])
    price = xp.where(priced, pricing.at_rung(able.prices, rung), fallback_price(list_price, terms))
    multiplier = price / list_price
    bought = terms.curve.probability(coefficients, multiplier)
    costless = xp.isnan(able.cost)  # no profit is known, so no rung was wanted
    reason = 1 + xp.astype(costless, xp.int64)  # an index into FALLBACK_WORDS
    last_resort = xp.asarray(np.array([[abs(r - terms.fallback) < _SAME for r in terms.ladder]], dtype=float))
    return {
        "price": price,
        "multiplier": multiplier,
        "rung": xp.where(priced, rung, -1),
        "purchase_probability": bought,
        "expected_profit": (price - able.cost) * bought,
        "price_sensitivity": terms.curve.elasticity(coefficients, multiplier, bought),
        "guardrail": xp.where(costless, len(pricing.RULES), pricing.binding_rule(wanted, able.rules)),
        "fallback": xp.where(priced, 0, reason),
        "propensity": xp.where(priced, drawn, 1.0),
        "alpha": xp.astype(coefficients, xp.float64)[:, 0:1],
        "beta": xp.astype(coefficients, xp.float64)[:, 1:2],
        "ladder_price": able.prices,
        "ladder_probability": probability,
        "ladder_profit": profit,
        "ladder_propensity": xp.where(priced, propensity, last_resort),
    }


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
