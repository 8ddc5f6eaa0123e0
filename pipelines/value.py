"""What a policy would have earned on logged offers that it did not price: off-policy evaluation.

Every estimator returns one *score* per offer, whose mean is the estimated profit per offer; so values, differences
and their intervals (clustered by shopper, `evidence`) come from the same few lines. N offers, K rungs of the source's
ladder; pi (N, K) the target policy, p (N,) the propensity of the rung shown, w = pi / p there, r (N,) what was
earned, U (N, K) the profit of a sale, q (N, K) a demand model's purchase probabilities, fitted on other offers.

Sources: Horvitz & Thompson (1952) for inverse propensity; Swaminathan & Joachims (2015) for self-normalisation;
Dudík, Langford & Li (2011) for doubly robust; Ionides (2008) for truncated weights; Wang, Agarwal & Dudík (2017) for
switch; Kish (1965) for the effective sample size; Cole & Hernán (2008) for truncation at a quantile of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError
from pipelines.evidence import Estimate as Estimate
from pipelines.evidence import Floats as Floats
from pipelines.evidence import interval as interval
from pipelines.evidence import lower_bound as lower_bound
from pipelines.evidence import offers_needed as offers_needed


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

    def shown(self, table: Floats) -> Floats:
        """Return the entry of a (N, K) table at the rung that was shown, (N,)."""
        found: Floats = table[np.arange(len(self.rung)), self.rung]
        return found


def weights(target: Floats, logged: Logged) -> Floats:
    """Return w_i = pi(a_i | x_i) / p_i, (N,), for a target policy pi (N, K)."""
    return logged.shown(target) / logged.propensity


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
    """Return the scores direct + w_i (r_i - U_i q_i), (N,): right if either demand or propensities are."""
    return _corrected(weights(target, logged), target, demand, logged)


def clipped(target: Floats, demand: Floats, logged: Logged, bound: float) -> Floats:
    """Return the scores direct + min(w_i, bound) (r_i - U_i q_i), (N,): less noise, and a bias.

    Bias: E_x sum_k p_k (min(w_k, bound) - w_k) U_k (true q_k - q_k), nought only where the demand model is right.
    So it shows how much rests on few offers, and decides nothing.
    """
    return _corrected(np.minimum(weights(target, logged), bound), target, demand, logged)


def switch(target: Floats, demand: Floats, logged: Logged, bound: float) -> Floats:
    """Return the scores direct + w_i 1[w_i <= bound] (r_i - U_i q_i), (N,): switch-DR.

    Rungs whose weight exceeds `bound` are valued by the demand model alone. Bias: minus
    E_x sum_k pi_k 1[w_k > bound] U_k (true q_k - q_k). A sensitivity, like `clipped`.
    """
    w = weights(target, logged)
    return _corrected(np.where(w <= bound, w, 0.0), target, demand, logged)


def _corrected(w: Floats, target: Floats, demand: Floats, logged: Logged) -> Floats:
    surprise = logged.earned - logged.shown(logged.unit_profit * demand)
    robust: Floats = direct(target, demand, logged) + w * surprise
    return robust


def usual_bound(w: Floats) -> float:
    """Return the 99 % quantile of the positive weights: a bound that touches only what stands out; 0 without any."""
    positive = w[w > 0]
    return float(np.quantile(positive, 0.99)) if len(positive) else 0.0


def sensitivity(
    target: Floats, demand: Floats, logged: Logged, other: Floats | None = None, confidence: float = 0.95
) -> dict[str, Estimate]:
    """Return what each estimator says, by name: of the target's profit per offer, or of its lead over `other`.

    Both policies are clipped and switched at `usual_bound` of their own weights.
    """

    def scores(policy: Floats) -> dict[str, Floats]:
        bound = usual_bound(weights(policy, logged))
        return {
            "direct": direct(policy, demand, logged),
            "inverse_propensity": inverse_propensity(policy, logged),
            "self_normalised": self_normalised(policy, logged),
            "doubly_robust": doubly_robust(policy, demand, logged),
            "clipped": clipped(policy, demand, logged, bound),
            "switch": switch(policy, demand, logged, bound),
        }

    mine = scores(target)
    theirs = dict.fromkeys(mine, np.zeros(len(target))) if other is None else scores(other)
    return {name: interval(mine[name] - theirs[name], logged.shopper, confidence) for name in mine}


@dataclass(frozen=True)
class Gain:
    """The paired, doubly robust lead of one policy over another, in money per offer.

    lower: one-sided bound. needed: offers in the window with which such a lead would show with the power asked for
    (infinite where there is none). effective_sample_size: of the difference.
    """

    mean: float
    standard_error: float
    lower: float
    offers: int
    needed: float
    effective_sample_size: float


def gain(
    target: Floats, other: Floats, demand: Floats, logged: Logged, level: float = 0.95, power: float = 0.8
) -> Gain:
    """Return the lead of `target` over `other`, (N, K) each, with its one-sided lower bound at `level`."""
    scores = doubly_robust(target, demand, logged) - doubly_robust(other, demand, logged)
    floor = noise(target - other, demand, logged)
    found = interval(scores, logged.shopper, floor=floor)
    lower = lower_bound(scores, logged.shopper, level, floor)
    quantile = (found.mean - lower) / found.standard_error if found.standard_error > 0 else 0.0
    needed = offers_needed(found.standard_error, len(scores), found.mean, level, power, quantile)
    size = effective_sample_size(target - other, logged)
    return Gain(found.mean, found.standard_error, lower, len(scores), needed, size)


def noise(difference: Floats, demand: Floats, logged: Logged) -> float:
    """Return the standard error that chance purchases alone give the mean of a doubly robust difference.

    sqrt(sum_i d_i^2 U_i^2 q_i (1 - q_i)) / N with d = (pi - pi') / p at the rung shown, and q the demand model's: the
    outcome part of the variance with its expectation in place of what happened. The clustered variance alone is
    blind to it where a rung was shown so seldom that nobody bought there, and such a champion looks safely worse.
    """
    d, q = logged.shown(difference) / logged.propensity, np.clip(logged.shown(demand), 0.0, 1.0)
    return float(np.sqrt((d**2 * logged.shown(logged.unit_profit) ** 2 * q * (1 - q)).sum()) / len(d))


def kish(weight: Floats) -> float:
    """Return (sum w)^2 / sum w^2 of weights (N,), none negative: how many equal ones tell as much; 0 where all are 0.

    Kish, "Survey Sampling" (1965).
    """
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def effective_sample_size(target: Floats, logged: Logged) -> float:
    """Return (sum |w|)^2 / sum w^2: how many offers of the target policy's own the log is worth (Kish).

    Of a difference of two policies (N, K), how many offers carry the comparison: where one weight dominates it is
    about 1, and no interval from the normal or Student distribution holds what it says.
    """
    return kish(np.abs(weights(target, logged)))


def largest_weight(target: Floats, logged: Logged) -> float:
    """Return the largest w_i: by how much one offer's outcome counts for more than its own."""
    return float(weights(target, logged).max())


def unsupported(target: Floats, shown: Floats, least: float = 0.0) -> float:
    """Return the share of the target's mass (N, K) on rungs that such contexts were shown with probability <= least.

    shown: (N, K) probabilities of the logging policy; with the default, only rungs never shown count.
    """
    return float((target * (shown <= least)).sum() / target.sum())


def share_of_gain(value: float, single: float, perfect: float) -> float | None:
    """Return (V - V_single) / (V_perfect - V_single); None where there is nothing to gain."""
    room = perfect - single
    return (value - single) / room if room > 1e-12 * max(abs(perfect), 1.0) else None
