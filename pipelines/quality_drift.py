"""How far a column has moved: the population stability index (PSI) between two profiles of it.

PSI = Σ_j (p_j - r_j) · ln(p_j / r_j) over the bins j, with r the shares of the reference and p those of now: the
symmetric divergence of Kullback and Leibler (1951, On Information and Sufficiency), under this name in Siddiqi (2006,
Credit Risk Scorecards), from whom the levels are: below 0.10 little, from 0.25 on much. Numbers are cut at the deciles
of the reference, with a bin below its least value and one above its greatest; words are their own bins, the rarer ones
together; what is missing is a bin of its own. So that an empty bin gives no infinity, every bin is counted half an
observation more (Krichevsky and Trofimov, 1981): share = (n_j + ½) / (N + k/2).

Two samples of the same population differ too: then PSI is about chi²(k - 1) · (1/N + 1/M) (Yurdakul and Naranjo, 2020,
Statistical properties of the population stability index). Its 95 % point is `by_chance`; rows of one shopper are alike,
so for offers the truth lies somewhat higher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from pipelines.quality_profile import Table, counts

Floats = NDArray[np.float64]


def psi(reference: Sequence[int], now: Sequence[int]) -> float:
    """Return the PSI between the counts of the same k bins, at least two; 0 where both have the same shares."""
    r, p = (_shares(one) for one in (reference, now))
    return float(((p - r) * np.log(p / r)).sum())


def by_chance(reference: Sequence[int], now: Sequence[int]) -> float:
    """Return what PSI stays below in 95 % of cases where nothing moved; bins empty in both do not count."""
    n, m = sum(reference), sum(now)
    bins = sum(a + b > 0 for a, b in zip(reference, now, strict=True))
    if bins < 2 or not n or not m:
        return 0.0
    return float(chi2.ppf(0.95, bins - 1) * (1 / n + 1 / m))


def _shares(bins: Sequence[int]) -> Floats:
    smooth: Floats = np.asarray(bins, dtype=float) + 0.5
    return np.asarray(smooth / smooth.sum())


def moved(table: Table, reference: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the drift of `table` against the bins of a reference: column -> {psi, by_chance, missing_before, …}.

    A column that one of the two has not, or has as another kind, is left out; so is one without a single value then.
    """
    found = {}
    for column, bins in reference.items():
        if table.columns.get(column) != ("word" if "words" in bins else "number"):
            continue
        now, before = counts(table, column, bins), bins["counts"]
        if sum(before) and sum(now):
            found[column] = {
                "psi": round(psi(before, now), 6),
                "by_chance": round(by_chance(before, now), 6),
                "missing_before": round(before[-1] / sum(before), 6),
                "missing_now": round(now[-1] / sum(now), 6),
            }
    return found


def bins_of(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bins of those columns of a profile that have any."""
    return {column: one["bins"] for column, one in profile.items() if "bins" in one}
