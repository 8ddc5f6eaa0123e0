"""How sure a mean of scores is: intervals clustered by shopper, the offers that a gain needs, out-of-fold demand.

N offers of G shoppers, K rungs. The scores are those of `value`.

Sources: Liang & Zeger (1986) for the clustered variance; Satterthwaite (1946) with the variance of a variance as in
O'Neill (2014) for the degrees of freedom; Chernozhukov et al. (2018) for cross-fitting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipelines.errors import InputError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided interval; freedom: the degrees of freedom of its Student quantile."""

    mean: float
    low: float
    high: float
    standard_error: float
    freedom: float = math.inf


def interval(scores: Floats, shopper: NDArray[Any], confidence: float = 0.95, floor: float = 0.0) -> Estimate:
    """Return the mean of `scores` (N,) with a two-sided Student interval, clustered by shopper.

    Var = G/(G-1) sum_g e_g^2 / N^2, with e_g = sum_{i in g} (s_i - mean) of the G shoppers, but at least floor^2:
    `floor` is a standard error that outcomes alone make (`value.noise`), which a sample too small to hold a purchase
    at a rarely shown rung does not see. Degrees of freedom: `freedom`.
    """
    mean, error, degrees = _spread(scores, shopper, floor)
    reach = _quantile(0.5 + confidence / 2, degrees) * error
    return Estimate(mean, mean - reach, mean + reach, error, degrees)


def lower_bound(scores: Floats, shopper: NDArray[Any], level: float = 0.95, floor: float = 0.0) -> float:
    """Return the one-sided lower bound of the mean of `scores` (N,): above the truth in a share 1 - level of logs.

    mean - t_{level} * standard error, with the error and the degrees of freedom of `interval`.
    """
    mean, error, degrees = _spread(scores, shopper, floor)
    return mean - _quantile(level, degrees) * error


def _spread(scores: Floats, shopper: NDArray[Any], floor: float) -> tuple[float, float, float]:
    mean = float(scores.mean())
    _, group = np.unique(shopper, return_inverse=True)
    sums: Floats = np.bincount(group, weights=scores - mean).astype(np.float64)
    count = len(sums)
    if count < 2:
        raise InputError(
            "an interval needs offers to at least two shoppers, and the window has one: bring more of the log, or "
            "where a table of offers has no column that tells them apart, leave source.columns.shopper null"
        )
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(scores))
    return mean, max(error, floor), freedom(sums)


def freedom(sums: Floats) -> float:
    """Return the degrees of freedom of the variance of `sums` (G,), the shoppers' residuals; G - 1 at most.

    2 G / (kurtosis - (G - 3)/(G - 1)), by Satterthwaite's matching of the variance of a sample variance: exactly
    G - 1 where the sums are normal (kurtosis 3), and about 2 where one heavy weight makes all of the variance, so
    that such an interval is as wide as its evidence is thin. It widens; it does not mend the skewness that a
    dominant weight brings, for which the effective sample size of the paired difference must be looked at.
    """
    count = len(sums)
    square = float((sums**2).mean())
    if square == 0 or count < 3:
        return float(count - 1)
    kurtosis = float((sums**4).mean()) / square**2
    degrees = 2 * count / (kurtosis - (count - 3) / (count - 1))
    return min(count - 1.0, degrees) if degrees > 0 else count - 1.0


def _quantile(level: float, degrees: float) -> float:
    return float(stdtrit(degrees, level)) if math.isfinite(degrees) else NormalDist().inv_cdf(level)


def offers_needed(
    standard_error: float,
    offers: int,
    gain: float,
    confidence: float = 0.95,
    power: float = 0.8,
    quantile: float | None = None,
) -> float:
    """Return about how many offers bring a one-sided lower bound above zero, with the given power.

    n = ((z_confidence + z_power) sigma / gain)^2, sigma the per-offer standard deviation of the paired score of
    *this* challenger and champion: standard_error x sqrt(offers). gain in the money of the standard error.
    quantile: in place of z_confidence, the Student quantile that the bound was made with.
    """
    if gain <= 0:
        return math.inf
    z = (NormalDist().inv_cdf(confidence) if quantile is None else quantile) + NormalDist().inv_cdf(power)
    return float((z * standard_error * np.sqrt(offers) / gain) ** 2)


def folds_of(shopper: NDArray[Any], folds: int, seed: int = 0) -> Rows:
    """Return the fold of every offer, (N,), 0 … folds - 1: each shopper whole in one, at random; at most G folds."""
    who, group = np.unique(shopper, return_inverse=True)
    if len(who) < 2 or folds < 2:
        raise InputError(f"cross-fitting needs two folds and two shoppers: {folds} folds, {len(who)} shoppers given")
    dealt = np.arange(len(who)) % min(folds, len(who))
    return np.random.default_rng(seed).permutation(dealt)[group].astype(np.int64)


def cross_fitted(
    fit_predict: Callable[[Rows, Rows], Floats], shopper: NDArray[Any], folds: int = 5, seed: int = 0
) -> Floats:
    """Return out-of-fold predictions, (N, K): no offer's comes from a model that saw an offer of its shopper.

    fit_predict: (rows to learn from, rows to predict) -> (rows to predict, K), called once per fold.
    """
    fold = folds_of(shopper, folds, seed)
    parts = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(int(fold.max()) + 1)]
    found = [np.asarray(fit_predict(learn, predict), dtype=np.float64) for learn, predict in parts]
    joined = np.empty((len(fold), *found[0].shape[1:]))
    for (_, predict), values in zip(parts, found, strict=True):
        joined[predict] = values
    return joined
