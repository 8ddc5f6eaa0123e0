"""Checks that try to refute what the log seems to say of prices: the sign of the slope, and shuffled prices.

One unconstrained logit serves all of them. N offers, D encoded context columns, the last of them 1.

Sources: Liang & Zeger (1986) for the clustered variance; Fisher (1935), "The design of experiments", for shuffling;
Sharma & Kiciman (2020), "DoWhy", for the placebo treatment as a refutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.demand import sigmoid
from pipelines.errors import InputError

Floats = NDArray[np.float64]

_RIDGE = 1.0  # on the controls alone, so that a column which never moved, or the sum of others, stops nothing
_STEPS = 40
_CLOSE = 1e-8
_ROWS = 40_000  # offers of which a placebo is made: it needs the errors to be right, not small
_SURPRISING = 0.001  # probability below which placebos are taken as no chance


@dataclass(frozen=True)
class Slope:
    """How the log-odds of a purchase move with t: the estimate, its clustered standard error, and their ratio z."""

    estimate: float
    standard_error: float
    z: float


@dataclass(frozen=True)
class Placebo:
    """Slopes of prices that were shuffled among the offers, and so can have no effect.

    z: the z of every shuffle. beyond: share of them with |z| > 2, 0.046 in the mean if all is well. largest: the
    largest |z|. chance: the probability that so many, or so large a one, come from nothing (Bonferroni over the two).
    """

    z: tuple[float, ...]
    beyond: float
    largest: float
    chance: float

    @property
    def shows_effect(self) -> bool:
        """Whether a price without meaning seems to have an effect: then errors or data are wrong."""
        return self.chance < _SURPRISING


@dataclass(frozen=True)
class Logit:
    """A fitted logit: weights (C,), and their covariance (C, C), clustered by shopper."""

    weights: Floats
    covariance: Floats

    def slope(self, column: int) -> Slope:
        """Return the slope of one column."""
        estimate, error = float(self.weights[column]), float(np.sqrt(max(self.covariance[column, column], 0.0)))
        return Slope(estimate, error, estimate / error if error > 0 else 0.0)


def price_slope(
    z: NDArray[Any], t: Floats, bought: NDArray[Any], shopper: NDArray[Any], weight: Floats | None = None
) -> Slope:
    """Return the slope of logit(bought) = z·a + s t, which nothing forces to be negative.

    z: (N, D) controls, linear, ridge-penalised save the last (the constant). t, bought: (N,). shopper: (N,) clusters.
    weight: (N,), of every offer; all 1 where not given.
    """
    return logit(z, t[:, None], bought, shopper, weight).slope(-1)


def wrong_signed(slope: Slope, confidence: float = 0.95) -> bool:
    """Return whether demand *rises* with the price, by a one-sided test at this confidence.

    No shop's does: what raised the price also raised demand, and the context does not hold it.
    """
    return slope.z > NormalDist().inv_cdf(confidence)


def placebo(
    z: NDArray[Any], t: Floats, bought: NDArray[Any], shopper: NDArray[Any], seed: int, times: int = 20
) -> Placebo:
    """Return `price_slope` of prices shuffled among (at most 40,000 of) the offers, `times` over."""
    if times < 1:
        raise InputError(f"placebo: times={times} must be at least 1")
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(t))[:_ROWS])
    z, t, bought, shopper = z[kept].astype(np.float64), t[kept], bought[kept], shopper[kept]
    start = logit(z, np.zeros((len(z), 0)), bought, shopper).weights
    found = []
    for _ in range(times):
        shuffled = rng.permutation(t)[:, None]
        found.append(logit(z, shuffled, bought, shopper, start=np.append(start, 0.0)).slope(-1).z)
    return judged(found)


def judged(z: list[float]) -> Placebo:
    """Return what the z of shuffled prices say together."""
    from scipy.stats import binom

    size = np.abs(np.array(z))
    tail = 2 * (1 - NormalDist().cdf(2.0))
    many = float(binom.sf((size > 2).sum() - 1, len(size), tail))
    large = len(size) * 2 * (1 - NormalDist().cdf(float(size.max())))
    return Placebo(tuple(z), float((size > 2).mean()), float(size.max()), min(1.0, 2 * min(many, large)))


def logit(
    z: NDArray[Any],
    free: Floats,
    bought: NDArray[Any],
    shopper: NDArray[Any],
    weight: Floats | None = None,
    start: Floats | None = None,
) -> Logit:
    """Return the logit of `bought` on z (N, D) and the unpenalised columns `free` (N, F), weights (D + F,).

    Newton's method. Covariance: H^-1 (sum_g s_g s_g') H^-1 x G/(G-1) x (N-1)/(N-C), s_g the score summed over the
    offers of shopper g, H the penalised Hessian, C the columns (counted up to half of the offers).
    """
    x = np.hstack([z.astype(np.float64), free])
    w = np.ones(len(x)) if weight is None else weight
    penalty = np.zeros(x.shape[1])
    penalty[: z.shape[1] - 1] = _RIDGE
    penalty[z.shape[1] :] = 1e-6  # outcomes that a column separates would send its weight to infinity
    weights, hessian = _newton(x, bought.astype(np.float64), w, penalty, start)
    score = x * (w * (bought - sigmoid(x @ weights)))[:, None]
    names, group = np.unique(shopper, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            "a slope's error needs offers to at least two shoppers, and there is one: bring more of the log, or where "
            "a table of offers has no column that tells shoppers apart, leave source.columns.shopper null"
        )
    sums = _by_group(score, group, len(names))
    inverse = np.linalg.inv(hessian)
    few = len(names) / (len(names) - 1) * (len(x) - 1) / (len(x) - min(x.shape[1], len(x) // 2))
    return Logit(weights, few * inverse @ (sums.T @ sums) @ inverse)


def _newton(x: Floats, bought: Floats, w: Floats, penalty: Floats, start: Floats | None) -> tuple[Floats, Floats]:
    """Return the weights at the largest penalised likelihood, and the Hessian there; steps are halved as needed."""

    def loss(b: Floats) -> float:
        score = x @ b
        return float((w * (np.logaddexp(0, score) - bought * score)).sum() + (penalty * b**2).sum() / 2)

    b = np.zeros(x.shape[1]) if start is None else start
    now = loss(b)
    for _ in range(_STEPS):
        q = sigmoid(x @ b)
        hessian = _hessian(x, w * q * (1 - q), penalty)
        step = np.linalg.solve(hessian, x.T @ (w * (bought - q)) - penalty * b)
        then = loss(b + step)
        while then > now + 1e-9 * abs(now) and np.abs(step).max() > _CLOSE:
            step = step / 2
            then = loss(b + step)
        b, now = b + step, then
        if np.abs(step).max() < _CLOSE**0.5:
            break
    q = sigmoid(x @ b)
    return b, _hessian(x, w * q * (1 - q), penalty)


def _hessian(x: Floats, weight: Floats, penalty: Floats) -> Floats:
    return x.T @ (x * weight[:, None]) + np.diag(penalty) + 1e-9 * np.eye(x.shape[1])


def _by_group(values: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    """Return the sums (G, C) of the rows of `values` (N, C) over their groups (N,)."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    return np.add.reduceat(values[order], starts, axis=0)
