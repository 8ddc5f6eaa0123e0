"""The ladder: which price ratios are its rungs, and which rung an observed ratio stands on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import InputError

DIGITS = 6  # ratios that agree to so many digits are the same ratio
MOST_RUNGS = 25
_TENTHS = np.linspace(0.1, 0.9, 9)


def derived(ratios: pd.Series, where: str) -> tuple[float, ...]:
    """Return the observed ratios as a ladder: each of them if there are few, else their nine inner deciles."""
    seen = np.unique(np.round(ratios.to_numpy(float), DIGITS))
    if len(seen) > MOST_RUNGS:
        seen = np.unique(np.round(np.quantile(ratios.to_numpy(float), _TENTHS), DIGITS))
    seen = seen[seen > 0]
    if len(seen) < 2:
        raise InputError(
            f"{where}: every offer was shown at the same price (ratio to the list price {seen.tolist()}), so nothing "
            "can be learned about demand at another; bring offers at two prices at least, or set source.rungs"
        )
    return tuple(float(rung) for rung in seen)


def on_rung(ratios: pd.Series, ladder: tuple[float, ...], snap: float | None = None) -> NDArray[np.int64]:
    """Return for each ratio, (N,), the index of the nearest rung; of two as near the lower.

    -1 where even the nearest is further away than the share `snap` of itself; None takes any distance.
    """
    values = np.round(ratios.to_numpy(float), DIGITS)
    rungs = np.asarray(ladder)
    index = np.searchsorted((rungs[1:] + rungs[:-1]) / 2, values, side="left").astype(np.int64)
    if snap is None:
        return index
    far = np.abs(values - rungs[index]) > rungs[index] * snap + 10**-DIGITS / 2
    return np.where(far | ~np.isfinite(values), -1, index)


def fallback(offers: pd.DataFrame, ladder: tuple[float, ...]) -> float:
    """Return the multiplier of last resort: 1 if it is a rung, else the best single rung of these offers.

    Best by the mean profit of the offers shown at the rung, each weighted by 1 / propensity where it is known.
    """
    if any(abs(rung - 1) < 10**-DIGITS for rung in ladder):
        return 1.0
    weight = 1 / offers["propensity"].fillna(1.0)
    profit = (offers["price"] - offers["unit_cost"]) * offers["bought"] * weight
    by_rung = pd.DataFrame({"profit": profit, "weight": weight}).groupby(offers["rung"]).sum()
    best = int((by_rung["profit"] / by_rung["weight"]).to_numpy().argmax())
    return ladder[int(by_rung.index.to_numpy()[best])]
