"""The ladder: which price ratios are its rungs, and which rung an observed ratio stands on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import InputError

DIGITS = 6  # ratios that agree to so many digits are the same ratio
MOST_RUNGS = 40
_GAP = 0.005  # two neighbouring ratios further apart than this share are two rungs,
_WIDEST = 0.02  # unless the ratios between gaps spread over more than this: then they were not meant as one
_TENTHS = np.linspace(0.1, 0.9, 9)
_SAME = 0.01  # share by which logged propensities of one price may differ
_WHOLE = 0.05  # by how much those of all prices may sum to more or less than 1


def derived(ratios: pd.Series, where: str, exact: bool = False) -> tuple[float, ...]:
    """Return the observed ratios as a ladder: those of `few` if there are few, else their nine inner deciles."""
    rungs = few(ratios, exact)
    if rungs is None:
        deciles = np.unique(np.round(np.quantile(ratios.to_numpy(float), _TENTHS), DIGITS))
        rungs = tuple(float(rung) for rung in deciles if rung > 0)
    if len(rungs) < 2:
        raise InputError(
            f"{where}: every offer was shown at the same price (ratio to the list price {list(rungs)}), so nothing "
            "can be learned about demand at another; bring offers at two prices at least, or set source.rungs"
        )
    return rungs


def few(ratios: pd.Series, exact: bool = False) -> tuple[float, ...] | None:
    """Return the observed ratios as rungs, or None if they are many.

    Unless the ratios are `exact`, those that differ as prices rounded to the cent do are one: 15.99 of 19.99 is 0.8.
    """
    seen = np.unique(np.round(ratios.to_numpy(float), DIGITS))
    seen = seen[seen > 0]
    if not exact and len(seen):
        groups = np.split(seen, np.flatnonzero(np.diff(np.log(seen)) > _GAP) + 1)
        if len(groups) <= MOST_RUNGS and all(group[-1] <= group[0] * (1 + _WIDEST) for group in groups):
            return tuple(_plainest(group) for group in groups)
    return tuple(float(rung) for rung in seen) if len(seen) <= MOST_RUNGS else None


def summed(
    ratios: pd.Series, propensity: pd.Series, rung: NDArray[np.int64], exact: bool = False
) -> NDArray[np.float64] | None:
    """Return the propensity of each offer's rung, (N,), from those of the prices that rungs take in; None if unknown.

    A log tells only the propensity of the price shown. Where it is the same in every context, each price has one, they
    sum to 1, and a rung's is the sum over its prices. Where contexts differ, those of the prices not shown are missing.
    Neighbours may be one price that was rounded, where each by itself does not make sense; `exact`: they are not.
    """
    if not exact:
        apart = summed(ratios, propensity, rung, exact=True)
        if apart is not None:
            return apart
    seen, price = np.unique(np.round(ratios.to_numpy(float), DIGITS), return_inverse=True)
    if not exact:
        price = np.append(0, np.cumsum(np.diff(np.log(seen)) > _GAP))[price]
    p, offers = propensity.to_numpy(float), np.bincount(price).astype(float)
    chance = np.bincount(price, p) / np.maximum(offers, 1)
    same = np.abs(p - chance[price]) <= _SAME * chance[price]  # never so where one is missing
    if not same.all() or abs(chance.sum() - 1) > _WHOLE:
        return None
    whole = np.minimum(np.bincount(rung, (chance / offers)[price]), 1.0)
    found: NDArray[np.float64] = whole[rung]
    return found


def merging(rungs: int, logged: bool, unsummed: bool) -> list[str]:
    """Return a sentence for prices that were merged into rungs, and one for their propensities, where these are logged.

    unsummed: whether those of the rungs could not be told from them (`summed`).
    """
    said = {
        f"More than {MOST_RUNGS} price ratios were shown: each is taken as the nearest of {rungs} quantiles of them.":
            True,
        "The propensity of such a rung is the sum of those of its prices, which were the same in every context.":
            logged and not unsummed,
        "Propensities were logged, but of single prices, and are missing in places, differ between contexts or do not "
        "sum to 1, so that those of the rungs cannot be told from them: they are not used, and what a price does is "
        "observational here.":
            unsummed,
    }  # fmt: skip
    return [sentence for sentence, holds in said.items() if holds]


def _plainest(group: NDArray[np.float64]) -> float:
    """Return the number with the fewest digits near the middle of a rising group, and inside it."""
    middle = float(np.median(group))
    plain = (round(middle, digits) for digits in range(DIGITS))
    return next((number for number in plain if group[0] <= number <= group[-1]), round(middle, DIGITS))


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


def has_list_price(ladder: tuple[float, ...], listed: bool = True) -> bool:
    """Return whether the list price is a rung. listed: whether there are any; taken as 1, the rung 1 means nothing."""
    return listed and any(abs(rung - 1) < 10**-DIGITS for rung in ladder)
