"""Overlap and balance: whether every rung was shown to all kinds of contexts, and how like those contexts were.

N offers, K rungs, D encoded columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WORST = 10  # columns of a rung that are named
_ERRORS, _SLACK, _ENOUGH = 4.0, 0.05, 20  # standard errors, slack for rounding, and offers on a rung, of a mean weight
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def per_rung(
    rung: NDArray[Any],
    propensity: Floats,
    probability: Floats,
    ladder: tuple[float, ...],
    support: float,
    shopper: NDArray[Any] | None = None,
) -> list[dict[str, Any]]:
    """Return, rung by rung: how often it was shown, its estimated probability over contexts, and what it is worth.

    effective_sample_size: (sum w)^2 / sum w^2 with w = 1 / propensity of the offers on the rung: how many offers of a
    policy that always quotes this rung the log is worth (Kish 1965). mean_weight, tolerance: see `mean_weight`.
    """
    found, group = [], np.arange(len(rung)) if shopper is None else np.unique(shopper, return_inverse=True)[1]
    for k, multiplier in enumerate(ladder):
        w = 1 / propensity[rung == k]
        found.append(
            {
                "multiplier": multiplier,
                "share": float((rung == k).mean()),
                "probability": dict(
                    zip(map(str, _QUANTILES), np.quantile(probability[:, k], _QUANTILES).tolist(), strict=True)
                ),
                "unsupported": float((probability[:, k] < support).mean()),
                "effective_sample_size": float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0,
                **mean_weight(rung == k, propensity, np.maximum(probability[:, k], support), group),
            }
        )
    return found


def mean_weight(
    shown: NDArray[np.bool_], propensity: Floats, probability: Floats, group: NDArray[np.int64]
) -> dict[str, float | None]:
    """Return the mean over all offers of 1[shown] / propensity of one rung: 1 where the propensities are right.

    shown, propensity: (N,), whether an offer got the rung, and the chance of the rung that it got. probability: (N,)
    estimated, of this rung. group: (N,) clusters, from 0. tolerance: what chance and rounding explain, four standard
    errors and 0.05; None where the rung was shown too seldom to tell. The error is the larger of that of the weights
    seen (Poisson's, where the mean is below 1) and of those that the estimated probabilities p let expect, of variance
    (1 - p) / p: of a few small propensities the log may not hold one.
    """
    w = shown / propensity
    mean, n = float(w.mean()), len(w)
    if shown.sum() < _ENOUGH:
        return {"mean_weight": mean, "tolerance": None}
    seen = np.sqrt((np.bincount(group, w - mean) ** 2).sum()) / n / np.sqrt(min(mean, 1.0))
    expected = np.sqrt(((1 - probability) / probability).mean() / n)
    return {"mean_weight": mean, "tolerance": float(_ERRORS * max(seen, expected) + _SLACK)}


def misfits(rungs: list[dict[str, Any]], everywhere: bool = True) -> list[tuple[float, float, float]]:
    """Return multiplier, mean weight and tolerance of the rungs whose propensities do not fit.

    everywhere: whether every context had a chance of every rung. A live policy gives most contexts a chance of few, and
    an item may have some prices only; then a mean below 1 is the share of those that had one, and speaks against
    nothing.
    """
    told = [(r["multiplier"], r["mean_weight"], r["tolerance"]) for r in rungs if r.get("tolerance") is not None]
    return [
        (m, mean, tolerance) for m, mean, tolerance in told if (abs(mean - 1) if everywhere else mean - 1) > tolerance
    ]


def balance(
    z: NDArray[Any], names: tuple[str, ...], rung: NDArray[Any], propensity: Floats, ladder: tuple[float, ...]
) -> dict[str, Any]:
    """Return the standardised mean differences of the context between each rung and all, before and after weighting.

    d_kj = (mean of z_j on rung k - mean of z_j) / standard deviation of z_j; after: each offer of the rung weighs
    1 / propensity (Austin 2009). by_chance: what two standard errors of the weighted difference amount to.
    """
    spread = z.std(axis=0, dtype=np.float64)
    moved = np.flatnonzero(spread > 1e-9)
    x = (z[:, moved] - z[:, moved].mean(axis=0, dtype=np.float64)) / spread[moved]
    rows = []
    for k in np.unique(rung):
        here, w = x[rung == k], 1 / propensity[rung == k]
        noise = 2 * float(np.sqrt((w**2).sum()) / w.sum())
        after = w @ here / w.sum()
        rows += [
            {"column": names[j], "multiplier": ladder[k], "before": float(b), "after": float(a), "by_chance": noise}
            for j, b, a in zip(moved, here.mean(axis=0), after, strict=True)
        ]
    worst = sorted(rows, key=lambda row: -abs(row["after"]))[:WORST]
    return {
        "largest_before": max((abs(row["before"]) for row in rows), default=0.0),
        "largest_after": max((abs(row["after"]) for row in rows), default=0.0),
        "beyond_chance": float(np.mean([abs(row["after"]) > row["by_chance"] for row in rows])) if rows else 0.0,
        "worst": worst,
    }


def predictable(usual: Floats, probability: Floats, rung: NDArray[Any]) -> dict[str, float]:
    """Return how well the context tells the price, out of fold.

    concordance: of two offers at different prices, the share in which the dearer one was expected dearer; 0.5 is
    chance (Harrell et al. 1982). explained: 1 - log loss / log loss of the bare shares (McFadden 1974).
    """
    groups = [np.sort(usual[rung == k]) for k in np.unique(rung)]
    right = pairs = 0.0
    for high in range(len(groups)):
        for low in range(high):
            a, b = groups[low], groups[high]
            ends = [np.searchsorted(a, b, side=side).sum() for side in ("left", "right")]
            right, pairs = right + sum(ends) / 2, pairs + len(a) * len(b)
    shares = np.bincount(rung, minlength=probability.shape[1]) / len(rung)
    bare = -np.log(shares[rung]).mean()
    loss = -np.log(np.maximum(probability[np.arange(len(rung)), rung], 1e-12)).mean()
    return {
        "concordance": float(right / pairs) if pairs else 0.5,
        "explained": float(1 - loss / bare) if bare > 0 else 0.0,
    }
