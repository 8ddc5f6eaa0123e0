"""Policies that need no demand model, as rung probabilities (N, K) on a window, under the same guardrails as all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines import pricing
from pipelines.policy import Terms, fallback_price, options
from pipelines.value import Floats, direct
from pipelines.window import Window, on_ladder, true_value


def single(window: Window, terms: Terms, multiplier: float) -> Floats:
    """Return the policy of one multiplier for everybody, (N, K): where it is not admissible, the fallback."""
    able = options(window.sale, replace(terms, ladder=(multiplier,)))
    price = np.where(able.admissible, able.prices, fallback_price(window.sale["list_price"], terms))
    return on_ladder(price / window.sale["list_price"], window.info.ladder)


def best_single(window: Window, terms: Terms, demand: Floats, *, alone: bool = False) -> float:
    """Return the multiplier that would earn most as everybody's price on `window`; of equals the one nearest 1.

    demand: (K,) everybody's at the knots (`everybody`), which few offers bear better than values of single policies.
    alone: each rung is its own fallback, where the fallback is what is sought. Equals are rungs that the guardrails
    forbid everywhere: all of them come to the fallback. Rungs hardly shown are left out if others remain.
    """
    shown = np.bincount(window.logged.rung, minlength=len(terms.knots))
    able = pricing.often_shown(shown)[terms.knots_of(terms.ladder)]
    rungs = [m for m, often in zip(terms.ladder, able, strict=True) if often or not able.any()]
    curves = np.broadcast_to(demand, (len(window.offers), len(demand)))

    def earned(m: float) -> float:
        target = single(window, replace(terms, fallback=m) if alone else terms, m)
        return float(direct(target, curves, window.logged).mean())

    return max(sorted(rungs, key=lambda m: abs(np.log(m))), key=earned)


def greedy(profit: Floats, window: Window, terms: Terms) -> Floats:
    """Return the policy, (N, K), that takes the admissible rung where `profit` (N, len(terms.ladder)) is highest."""
    able = options(window.sale, terms)
    within = pricing.masked(profit, able.admissible)
    rung = pricing.best_rung(within)
    priced = pricing.at_rung(within, rung) > -np.inf
    price = np.where(priced, pricing.at_rung(able.prices, rung), fallback_price(window.sale["list_price"], terms))
    return on_ladder(price / window.sale["list_price"], window.info.ladder)


def bounds(window: Window, terms: Terms) -> dict[str, float] | None:
    """Return the true profit per 1,000 offers of the perfect policy and of the best single multiplier, if known."""
    if window.truth is None:
        return None
    index = [window.info.ladder.index(m) for m in terms.ladder]
    able = options(window.sale, terms)
    perfect = greedy((able.prices - able.cost) * window.truth[:, index], window, terms)
    singles = [true_value(single(window, terms, m), window) or 0.0 for m in terms.ladder]
    return {
        "perfect_per_1000": 1000 * (true_value(perfect, window) or 0.0),
        "best_single_per_1000": 1000 * max(singles),
    }


def as_logged(window: Window) -> Floats:
    """Return the rungs that were shown, (N, K)."""
    return np.asarray(window.logged.rung[:, None] == np.arange(len(window.info.ladder)), dtype=np.float64)
