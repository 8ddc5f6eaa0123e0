"""What a policy would have earned on logged offers that it did not price: off-policy evaluation.

Every estimator returns one *score* per offer, whose mean is the estimated profit per offer; so values, differences
and their intervals (clustered by shopper) come from the same few lines. N offers, K rungs of the source's ladder.

Sources: Horvitz & Thompson (1952) for inverse propensity; Swaminathan & Joachims (2015) for self-normalisation;
Dudík, Langford & Li (2011) for doubly robust; Liang & Zeger (1986) for the clustered variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Logged:
    """Offers as they were shown.

    rung: (N,) index of the rung shown. propensity: (N,) its probability then. earned: (N,) profit made, money.
    shopper: (N,) cluster labels. unit_profit: (N, K) price minus unit cost of every rung, money.
    """

    rung: NDArray[np.int64]
    propensity: Floats
    earned: Floats
    shopper: NDArray[Any]
    unit_profit: Floats

    def __post_init__(self) -> None:
        """Refuse offers that nothing can be learned from."""
        if not len(self.rung):
            raise InputError("no offers to evaluate on: the window is empty")
        if not (self.propensity > 0).all():
            raise InputError("propensities must be positive: a rung that could not be shown cannot have been shown")


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided interval."""

    mean: float
    low: float
    high: float
    standard_error: float


def weights(target: Floats, logged: Logged) -> Floats:
    """Return w_i = pi(a_i | x_i) / p_i, (N,), for a target policy pi (N, K)."""
    return target[np.arange(len(logged.rung)), logged.rung] / logged.propensity


def inverse_propensity(target: Floats, logged: Logged) -> Floats:
    """Return the scores w_i r_i, (N,): unbiased where every rung that pi uses had a chance, and noisy."""
    return weights(target, logged) * logged.earned


def self_normalised(target: Floats, logged: Logged) -> Floats:
    """Return scores whose mean is sum(w r) / sum(w), and whose spread is that of its linearisation, (N,)."""
    w = weights(target, logged)
    total = w.mean()
    if total <= 0:
        return np.full(len(w), np.nan)
    value = (w * logged.earned).mean() / total
    linear: Floats = value + w * (logged.earned - value) / total
    return linear


def direct(target: Floats, demand: Floats, logged: Logged) -> Floats:
    """Return the scores sum_k pi_k U_k q_k, (N,), of what the demand model (N, K) promises: never a value."""
    promised: Floats = (target * logged.unit_profit * demand).sum(axis=1)
    return promised


def doubly_robust(target: Floats, demand: Floats, logged: Logged) -> Floats:
    """Return the scores direct + w_i (r_i - U_i q_i), (N,): right if either demand or propensities are.

    demand: (N, K) purchase probabilities of a model that was fitted on other offers.
    """
    at = np.arange(len(logged.rung)), logged.rung
    surprise = logged.earned - (logged.unit_profit * demand)[at]
    robust: Floats = direct(target, demand, logged) + weights(target, logged) * surprise
    return robust


def interval(scores: Floats, shopper: NDArray[Any], confidence: float = 0.95) -> Estimate:
    """Return the mean of `scores` (N,) with a two-sided normal interval, clustered by shopper.

    Var = G/(G-1) * sum_g (sum_{i in g} (s_i - mean))^2 / N^2 over the G shoppers.
    """
    mean = float(scores.mean())
    _, group = np.unique(shopper, return_inverse=True)
    sums = np.bincount(group, weights=scores - mean)
    count = len(sums)
    if count < 2:
        raise InputError(
            "an interval needs offers to at least two shoppers, and the window has one; where the table has no "
            "column that tells them apart, leave source.columns.shopper null, so that each row is its own"
        )
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(scores))
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return Estimate(mean, mean - z * error, mean + z * error, error)


def effective_sample_size(target: Floats, logged: Logged) -> float:
    """Return (sum w)^2 / sum w^2: how many offers of the target policy's own the log is worth (Kish 1965)."""
    w = weights(target, logged)
    square = float((w**2).sum())
    return float(w.sum()) ** 2 / square if square > 0 else 0.0


def offers_needed(
    standard_error: float, offers: int, gain: float, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Return about how many offers bring the lower end of a two-sided interval above zero, with the given power.

    n = ((z_{(1 + confidence)/2} + z_power) * sigma / gain)^2, sigma the per-offer standard deviation of the paired
    score: standard_error x sqrt(offers). gain in money per offer.
    """
    if gain <= 0:
        return float("inf")
    z = NormalDist().inv_cdf(0.5 + confidence / 2) + NormalDist().inv_cdf(power)
    return float((z * standard_error * np.sqrt(offers) / gain) ** 2)


def share_of_gain(value: float, single: float, perfect: float) -> float | None:
    """Return (V - V_single) / (V_perfect - V_single); None where there is nothing to gain."""
    room = perfect - single
    return (value - single) / room if room > 1e-12 * max(abs(perfect), 1.0) else None
