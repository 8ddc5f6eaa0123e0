"""Everybody's demand: one purchase probability per rung for all offers, from few of them as well as from many.

A logit in m and log m, which few offers bear better than a mean per rung. Where the offers refute it (a kink, a step,
thresholds), each rung's probability moves towards its own mean, the further the more is known of it: empirical Bayes,
after Morris, "Parametric empirical Bayes inference" (JASA 1983), with the between-rung variance of DerSimonian & Laird
(1986). N offers, K rungs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_REFUTED = 0.01  # probability of such deviations by chance, below which the curve is refuted
_PARAMETERS = 3  # of the curve
_SMALLEST = 1e-6  # of a probability


def demand(rungs: Floats, rung: Ints, bought: Ints, weight: Floats) -> Floats:
    """Return the purchase probability at the rungs, (K,).

    rungs: (K,) multipliers. rung, bought, weight: (N,). weight: 1 / propensity, or 1 where all are alike. It makes the
    offers of one rung those of all contexts; how much a rung counts is how often it was shown.
    """
    if len(np.unique(bought)) == 1:
        return np.full(len(rungs), float(bought[0]))
    total = np.bincount(rung, weight, len(rungs))
    stable = weight * (np.bincount(rung, minlength=len(rungs)) / np.maximum(total, 1e-300))[rung]
    return _mended(_curve(rungs, rung, bought, stable), rung, bought, stable)


def told(offers: pd.DataFrame, rungs: Floats) -> Floats:
    """Return everybody's demand at the rungs, (K,), as offers (`rung`, `bought`, `weight`) tell it; it never rises."""
    rung, bought = (offers[name].to_numpy(np.int64) for name in ("rung", "bought"))
    return falling(rungs, rung, bought, offers["weight"].to_numpy(float))


def falling(rungs: Floats, rung: Ints, bought: Ints, weight: Floats) -> Floats:
    """Return the nearest to `demand` that never rises with the price, each rung weighing as often as it was shown."""
    from sklearn.isotonic import IsotonicRegression

    often = np.bincount(rung, minlength=len(rungs)) + 1.0
    q = demand(rungs, rung, bought, weight)
    found: Floats = IsotonicRegression(increasing=False).fit_transform(np.arange(len(rungs)), q, sample_weight=often)
    return found


def _curve(rungs: Floats, rung: Ints, bought: Ints, weight: Floats) -> Floats:
    """Return the logit's probabilities, (K,)."""
    from sklearn.linear_model import LogisticRegression

    scale = np.column_stack([rungs, np.log(rungs)])
    columns = (scale - scale.mean(axis=0)) / (scale.std(axis=0) + 1e-12)
    found: Floats = LogisticRegression(C=1.0).fit(columns[rung], bought, weight).predict_proba(columns)[:, 1]
    return np.clip(found, _SMALLEST, 1 - _SMALLEST)


def _mended(q: Floats, rung: Ints, bought: Ints, weight: Floats) -> Floats:
    """Return q (K,) moved towards the mean of each rung, if these refute it.

    With d the deviation of a rung's mean from q and v its variance under q: Q = sum d^2 / v is chi-squared where q is
    right; tau^2, in units of the Bernoulli variance, is what Q exceeds its degrees of freedom by.
    """
    from scipy.stats import chi2

    total, squares = (np.bincount(rung, w, len(q)) for w in (weight, weight**2))
    seen = total > 0
    free = int(seen.sum()) - _PARAMETERS
    if free < 1:
        return q
    size = total[seen] ** 2 / squares[seen]  # Kish
    spread = q[seen] * (1 - q[seen])
    d = np.bincount(rung, weight * bought, len(q))[seen] / total[seen] - q[seen]
    surprise = float((size * d**2 / spread).sum())
    if chi2.sf(surprise, free) > _REFUTED:
        return q
    between = (surprise - free) / (size.sum() - (size**2).sum() / size.sum())
    mended = q.copy()
    mended[seen] += d * between / (between + 1 / size)
    return np.clip(mended, _SMALLEST, 1 - _SMALLEST)
