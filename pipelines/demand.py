"""The demand curve: purchase probability as a function of the price, for one context.

logit q(m) = alpha - beta * t(m), beta > 0, with m = price / list price and t the standardised (log-)multiplier.
A candidate maps the encoded context to (alpha, beta); everything else about the curve is here, on the Array API.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from pipelines.errors import InputError
from pipelines.pricing import Array

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

SMALLEST_BETA = 1e-3  # a curve always falls, however little
_CONSTANT = 1e-9  # a smaller spread is rounding: the price never moved


@dataclass(frozen=True)
class Curve:
    """The price axis of a demand curve: t(m) = (f(m) - centre) / scale, f = log or the identity."""

    axis: str
    centre: float
    scale: float

    def __post_init__(self) -> None:
        """Refuse an axis that does not exist."""
        if self.axis not in ("log", "linear"):
            raise InputError(f"curve={self.axis!r} must be 'log' or 'linear'")

    @classmethod
    def fit(cls, axis: str, multipliers: NDArray[np.float64]) -> Self:
        """Centre and scale the axis on the multipliers that were shown, (N,)."""
        values = np.log(multipliers) if axis == "log" else multipliers
        spread = float(values.std())
        return cls(axis, float(values.mean()), spread if spread > _CONSTANT else 1.0)

    def t(self, multipliers: Array) -> Array:
        """Return the standardised price of any-shaped multipliers."""
        xp = multipliers.__array_namespace__()
        values = xp.log(multipliers) if self.axis == "log" else multipliers
        return (values - self.centre) / self.scale

    def probability(self, coefficients: Array, multipliers: Array) -> Array:
        """Return q, (N, K) double, for coefficients (N, 2) and multipliers (N, K) or (1, K)."""
        xp = coefficients.__array_namespace__()
        ab = xp.astype(coefficients, xp.float64)
        logit = ab[:, 0:1] - ab[:, 1:2] * self.t(multipliers)
        return 1 / (1 + xp.exp(-logit))

    def elasticity(self, coefficients: Array, multipliers: Array, probability: Array) -> Array:
        """Return d log q / d log price = -beta * dt/dlog(m) * (1 - q), shapes as in `probability`."""
        xp = coefficients.__array_namespace__()
        beta = xp.astype(coefficients, xp.float64)[:, 1:2]
        slope = multipliers / self.scale if self.axis == "linear" else xp.ones_like(multipliers) / self.scale
        return -beta * slope * (1 - probability)

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Learning:
    """What a candidate learns from: one window of offers, encoded.

    z: (N, D) float32 encoded context, last column 1. t: (N,) standardised price shown. bought: (N,) 0 or 1.
    """

    z: NDArray[np.float32]
    t: NDArray[np.float64]
    bought: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse windows of unequal length."""
        if not len(self.z) == len(self.t) == len(self.bought):
            raise InputError(f"z, t, bought have {len(self.z)}, {len(self.t)}, {len(self.bought)} rows")


class DemandModel(Protocol):
    """A trained candidate: encoded context -> the coefficients of its demand curve."""

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""

    def save(self, folder: Path) -> None:
        """Write the learned state into an existing folder, as data (no pickle)."""


def sigmoid(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    q: NDArray[np.floating[Any]] = np.where(x >= 0, 1, small) / (1 + small)
    return q


def log_loss(bought: NDArray[np.int64], q: NDArray[np.floating[Any]]) -> float:
    """Return the mean negative log-likelihood in nats of outcomes (N,) under probabilities (N,)."""
    q = np.clip(q, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(bought == 1, np.log(q), np.log1p(-q))))
