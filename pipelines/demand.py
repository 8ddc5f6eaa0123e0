"""The demand curve: purchase probability as a function of the price, for one context.

log-odds q(m) = g(alpha - beta * t(m)), beta > 0, with m = price / list price, t a rising function of m that all
contexts share, and g the link. A candidate maps the encoded context to (alpha, beta). Where several curves are averaged
or damped, the result is no longer of this form; so what every policy holds is the curve at the K rungs, (N, K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from pipelines.errors import InputError
from pipelines.pricing import Array

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

    from pipelines.encoder import Encoder

Encode = Callable[[Any], Any]  # the encoded context as an ONNX value, each encoder's made once
SMALLEST_BETA = 1e-3  # a curve always falls, however little
LINKS = ("logit", "probit")
AXES = ("log", "linear")
_CONSTANT = 1e-9  # a smaller spread is rounding: the price never moved
# Log-odds of the normal distribution function: Bowling et al., "A logistic approximation to the cumulative normal
# distribution" (JIEM 2009); off by 0.00014 at most, the same in NumPy, in ONNX and in Keras.
_PROBIT = (1.5976, 0.07056)


def log_odds(eta: Array, link: str) -> Array:
    """Return g(eta), any shape: eta itself under `logit`; under `probit` the log-odds of the normal tail Phi(eta)."""
    return eta if link == "logit" else (_PROBIT[0] + _PROBIT[1] * eta * eta) * eta


def link_slope(eta: Array, link: str) -> Array:
    """Return dg / d eta, any shape: by it score and information of the log likelihood are scaled."""
    return 1.0 + 0.0 * eta if link == "logit" else _PROBIT[0] + 3 * _PROBIT[1] * eta * eta


@dataclass(frozen=True)
class Curve:
    """What all contexts' curves share: the link, and the price scale t, piecewise linear through the rungs.

    rungs: (K,) multipliers, rising. values: (K,) t at each of them, rising. axis: between (and beyond) rungs t is
    linear in log m (`log`) or in m (`linear`).
    """

    link: str
    axis: str
    rungs: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a scale that does not exist or does not rise."""
        if self.axis not in AXES or self.link not in LINKS:
            raise InputError(f"curve: axis={self.axis!r} must be one of {AXES} and link={self.link!r} one of {LINKS}")
        if len(self.rungs) != len(self.values) or len(self.rungs) < 2 or (np.diff(self.values) < 0).any():
            raise InputError(f"curve: t must not fall over the rungs, not {self.values} at {self.rungs}")

    @classmethod
    def fit(cls, link: str, axis: str, rungs: tuple[float, ...], multipliers: NDArray[np.float64]) -> Self:
        """Return the plain scale log m or m, centred and scaled on the multipliers that were shown, (N,)."""
        values, at = (np.log(x) if axis == "log" else np.asarray(x) for x in (multipliers, np.array(rungs)))
        spread = float(values.std())
        t = (at - values.mean()) / (spread if spread > _CONSTANT else 1.0)
        return cls(link, axis, tuple(rungs), tuple(float(x) for x in t))

    def reshaped(self, values: NDArray[np.float64]) -> Self:
        """Return the curve with another t at the rungs, (K,)."""
        return replace(self, values=tuple(float(v) for v in values))

    def t(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scaled price of multipliers (N,); beyond the rungs it goes on with the last slope."""
        seen, at = (np.log(x) if self.axis == "log" else np.asarray(x) for x in (multipliers, np.array(self.rungs)))
        left = np.clip(np.searchsorted(at, seen) - 1, 0, len(at) - 2)
        values = np.array(self.values)
        slope = np.diff(values) / np.diff(at)
        t: NDArray[np.float64] = values[left] + slope[left] * (seen - at[left])
        return t

    def probability(self, coefficients: Array) -> Array:
        """Return q at the rungs, (N, K) double, for coefficients (N, 2)."""
        xp = coefficients.__array_namespace__()
        ab = xp.astype(coefficients, xp.float64)
        t = xp.asarray(np.array([self.values]))
        return 1 / (1 + xp.exp(log_odds(ab[:, 1:2] * t - ab[:, 0:1], self.link)))  # g is odd: g(-eta) = -g(eta)

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the curve of `to_json`."""
        return cls(values["link"], values["axis"], tuple(values["rungs"]), tuple(values["values"]))


def side_by_side(curves: list[Curve], coefficients: Array) -> Array:
    """Return `probability` of M curves of one link, (N, M·K) double, for the coefficients of each, (N, 2·M)."""
    xp = coefficients.__array_namespace__()
    ab = xp.astype(coefficients, xp.float64)
    owner = np.repeat(np.arange(len(curves)), [len(c.rungs) for c in curves])
    alpha, beta = (xp.take(ab, xp.asarray(2 * owner + i), axis=1) for i in (0, 1))
    t = xp.asarray(np.array([[v for c in curves for v in c.values]]))
    return 1 / (1 + xp.exp(log_odds(beta * t - alpha, curves[0].link)))


@dataclass(frozen=True)
class Learning:
    """What a candidate learns from: one window of offers, encoded.

    z: (N, D) float32 encoded context, last column 1. t: (N,) scaled price shown. bought: (N,) 0 or 1. weight: (N,) of
    each offer in losses, mean 1: 1 / propensity, so that every rung counts alike (not used to fit). link: of the curve.
    """

    z: NDArray[np.float32]
    t: NDArray[np.float64]
    bought: NDArray[np.int64]
    weight: NDArray[np.float64]
    link: str = "logit"

    def __post_init__(self) -> None:
        """Refuse windows of unequal length."""
        if not len(self.z) == len(self.t) == len(self.bought) == len(self.weight):
            raise InputError(f"z, t, bought have {len(self.z)}, {len(self.t)}, {len(self.bought)} rows")

    def probability(self, coefficients: NDArray[Any]) -> NDArray[np.float64]:
        """Return the purchase probability at the price shown, (N,), for coefficients (N, 2)."""
        ab = coefficients.astype(np.float64)
        return sigmoid(log_odds(ab[:, 0] - ab[:, 1] * self.t, self.link)).astype(np.float64)

    def loss(self, coefficients: NDArray[Any]) -> float:
        """Return the weighted log loss of coefficients (N, 2)."""
        return log_loss(self.bought, self.probability(coefficients), self.weight)


class DemandModel(Protocol):
    """A trained family member: encoded context -> the coefficients of its demand curve."""

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""

    def save(self, folder: Path) -> None:
        """Write the learned state into an existing folder, as data (no pickle)."""


class Demand(Protocol):
    """What a policy believes of the demand: raw context columns -> purchase probabilities at the source's rungs."""

    def probabilities(self, table: pd.DataFrame) -> list[NDArray[np.float64]]:
        """Return the curve of each member, (N, K) each: one, or several where curves are averaged."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Each member's weight in the mean; they sum to 1."""

    def graph(self, inputs: dict[str, Var], encode: Encode) -> list[Array]:
        """Return `probabilities` as ndonnx arrays, (N, K) double each; inputs are (N, 1) doubles and strings."""

    @property
    def encoder(self) -> Encoder:
        """How the raw columns are read (of several members, the first one's)."""

    def save(self, folder: Path) -> None:
        """Write the learned state as data into `folder`, which is made if absent."""


def mean_curve(curves: list[Array], weights: tuple[float, ...]) -> Array:
    """Return the weighted mean of curves (N, K), on the Array API."""
    total = curves[0] * weights[0]
    for curve, weight in zip(curves[1:], weights[1:], strict=True):
        total = total + curve * weight
    return total


def probability(demand: Demand, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the purchase probability of every row of a table at the source's rungs, (N, K)."""
    q: NDArray[np.float64] = mean_curve(demand.probabilities(table), demand.weights)
    return q


def sigmoid(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    q: NDArray[np.floating[Any]] = np.where(x >= 0, 1, small) / (1 + small)
    return q


def log_loss(
    bought: NDArray[np.int64], q: NDArray[np.floating[Any]], weight: NDArray[np.float64] | None = None
) -> float:
    """Return the mean negative log-likelihood in nats of outcomes (N,) under probabilities (N,), perhaps weighted."""
    q = np.clip(q, 1e-12, 1 - 1e-12)
    return float(-np.average(np.where(bought == 1, np.log(q), np.log1p(-q)), weights=weight))
