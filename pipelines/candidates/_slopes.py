"""Slopes of demand that bend with their score s = z·b: its exponential, or a passage between two bounds.

Each has a few weights more than a and b, `rest`, (E,), all 0 before anything is learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.candidates._regression import newton, regressors
from pipelines.demand import Learning, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SLOPES = ("linear", "exp", "bounded")
LARGEST_LOG_SLOPE = 8.0  # of ln beta, either way
_PIVOT = 1.0  # penalty of the pivot: it stays at the mean price where slopes hardly differ, and nothing tells it
_LOW, _SPAN = 0.25, 1.5  # of the usual slope: the flattest, and how much steeper the steepest is; halfway it is usual
_LEAST_USUAL = 0.05  # slope of one curve for all, at least, from which bounds are counted
_BOUNDS = (1.0, 25.0)  # penalties of their logarithms: scores and span stretch each other, so the span hardly moves


class Bend(Protocol):
    """One kind of bent slope."""

    @property
    def penalty(self) -> Floats:
        """Return the penalties of the rest, (E,)."""

    def slope(self, score: Floats, rest: Floats) -> tuple[Floats, Floats]:
        """Return beta and d beta / d score, (N,) each."""

    def pivot(self, rest: Floats) -> float:
        """Return the price t at which a context's level is linear in it: eta = z·a - beta (t - pivot)."""

    def beside(self, score: Floats, t: Floats, rest: Floats) -> Floats:
        """Return d eta / d rest, (N, E)."""


@dataclass(frozen=True)
class Exp:
    """beta = exp(s); rest: the pivot."""

    @property
    def penalty(self) -> Floats:
        """Return the penalty of the pivot, (1,)."""
        return np.array([_PIVOT])

    def slope(self, score: Floats, rest: Floats) -> tuple[Floats, Floats]:
        """Return beta and d beta / d score, which are alike."""
        beta = np.exp(np.clip(score, -LARGEST_LOG_SLOPE, LARGEST_LOG_SLOPE))
        return beta, beta

    def pivot(self, rest: Floats) -> float:
        """Return the pivot."""
        return float(rest[0])

    def beside(self, score: Floats, t: Floats, rest: Floats) -> Floats:
        """Return d eta / d pivot, (N, 1)."""
        return self.slope(score, rest)[0][:, None]


@dataclass(frozen=True)
class Bounded:
    """beta = low + span / (1 + exp(-s)); rest: logarithms of low and span, counted from where they begin.

    As if each shopper were partly one who hardly looks at prices and partly one who hunts for low ones (after the
    latent classes of Kamakura & Russell 1989, "A probabilistic choice model for market segmentation and elasticity
    structure"; here their slopes are mixed, not their probabilities). usual: the slope of one curve for all.
    """

    usual: float

    @property
    def penalty(self) -> Floats:
        """Return the penalties of the two logarithms, (2,)."""
        return np.array(_BOUNDS)

    def bounds(self, rest: Floats) -> tuple[float, float]:
        """Return low and span."""
        low, span = self.usual * np.array([_LOW, _SPAN]) * np.exp(rest)
        return float(low), float(span)

    def slope(self, score: Floats, rest: Floats) -> tuple[Floats, Floats]:
        """Return beta and d beta / d score."""
        low, span = self.bounds(rest)
        share = sigmoid(score).astype(np.float64)
        return low + span * share, span * share * (1 - share)

    def pivot(self, rest: Floats) -> float:
        """Return the mean price: slopes do not vary enough for another one to matter."""
        return 0.0

    def beside(self, score: Floats, t: Floats, rest: Floats) -> Floats:
        """Return d eta / d (ln low, ln span), (N, 2)."""
        low, span = self.bounds(rest)
        return np.column_stack([-t * low, -t * span * sigmoid(score)])


def bend_of(slope: str, window: Learning) -> Bend | None:
    """Return the bend of a kind of slope, of SLOPES; a bounded one is counted from the slope of one curve for all."""
    if slope != "bounded":
        return Exp() if slope == "exp" else None
    alike = replace(window, z=window.z[:, -1:])
    return Bounded(max(float(newton(regressors(alike), alike, 1.0)[1]), _LEAST_USUAL))
