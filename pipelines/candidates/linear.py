"""The interaction logit: alpha is linear in the encoded context; beta is so too, or a bent function of such a score.

eta = z·a - (z·b) t is one regression on z and z × t, under either link (`linear`); it is the base that the trees start
from. Slopes can be bent (`_slopes`): beta = exp(z·b), or `bounded`, low + span / (1 + exp(-z·b)). With `exp` the price
is counted from a pivot, eta = z·a - exp(z·b) (t - pivot). Where that is matters, since there the level is linear in the
context; so it is estimated with the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.candidates import History
from pipelines.candidates._progress import steps
from pipelines.candidates._regression import curved, newton, parted, regressors
from pipelines.candidates._shrinkage import HANDICAP, shrunk
from pipelines.candidates._slopes import LARGEST_LOG_SLOPE, Bend, Bounded, bend_of
from pipelines.candidates._slopes import SLOPES as SLOPES
from pipelines.demand import SMALLEST_BETA, Learning, log_loss, sigmoid
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var


@dataclass(frozen=True)
class Settings:
    """How the regression is fitted: the strengths `l2` and the kinds of slope, of SLOPES, among which it is chosen.

    relevance: rounds, at most, in which every weight has a strength of its own (`_shrinkage`), from the largest of `l2`
    on, so that others are not tried; 0 = one strength for all, that which the select window likes best.
    terms: bends, steps and products of the context that may be added (`terms`), at most; 0 = none.
    """

    family: str = "linear"
    curve: tuple[str, ...] = ("logit-log", "logit-linear", "probit-log", "probit-linear", "spline")
    l2: tuple[float, ...] = (64.0,)
    slopes: tuple[str, ...] = SLOPES
    relevance: int = 10
    terms: int = 40

    def __post_init__(self) -> None:
        """Refuse a penalty that is none, naming the value."""
        if not self.l2 or min(self.l2) <= 0:
            raise InputError(f"model.linear.l2={list(self.l2)} must hold at least one strength, all positive")
        if self.relevance < 0:
            raise InputError(f"model.linear.relevance={self.relevance} must not be negative")
        if not self.slopes or set(self.slopes) - set(SLOPES):
            raise InputError(
                f"model.linear.slopes={list(self.slopes)} must hold at least one of {SLOPES}, and no other"
            )


@dataclass(frozen=True)
class Model:
    """Two weight vectors over the encoded context, (D,) each: alpha = z·a, beta = z·b.

    Where `slope` is `exp`, beta = exp(z·b) and alpha = z·a + pivot·beta; where it is `bounded`, beta = low + span·s
    with s = 1 / (1 + exp(-z·b)).
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    slope: str = "linear"
    pivot: float = 0.0
    low: float = 0.0
    span: float = 1.0

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        alpha, beta = (z.astype(np.float64) @ np.column_stack([self.a, self.b])).T
        if self.slope == "exp":
            beta = np.exp(np.clip(beta, -LARGEST_LOG_SLOPE, LARGEST_LOG_SLOPE))
            alpha = alpha + self.pivot * beta
        elif self.slope == "bounded":
            beta = self.low + self.span * sigmoid(beta)
        return np.column_stack([alpha, np.maximum(beta, SMALLEST_BETA)]).astype(np.float32)

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import spox.opset.ai.onnx.v21 as op

        both = op.matmul(op.cast(z, to=np.float64), op.const(np.column_stack([self.a, self.b])))
        if self.slope == "exp":
            most = np.array([[np.inf, LARGEST_LOG_SLOPE]])
            both = op.min([op.max([both, op.const(-most)]), op.const(most)])
            both = op.where(op.const(np.array([[False, True]])), op.exp(both), both)
            both = op.matmul(both, op.const(np.array([[1.0, 0.0], [self.pivot, 1.0]])))
        elif self.slope == "bounded":
            bent = op.add(op.mul(op.sigmoid(both), op.const(self.span)), op.const(self.low))
            both = op.where(op.const(np.array([[False, True]])), bent, both)
        least = op.const(np.array([[-np.inf, SMALLEST_BETA]]))
        return op.cast(op.max([both, least]), to=np.float32)

    def save(self, folder: Path) -> None:
        """Write model.json into an existing folder."""
        told = {name: getattr(self, name) for name in ("slope", "pivot", "low", "span")}
        write_json(folder / "model.json", {"a": self.a.tolist(), "b": self.b.tolist(), **told})


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    told = read_json(folder / "model.json")
    return Model(**{**told, "a": np.array(told["a"]), "b": np.array(told["b"])})


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return the regression with the slope and strength that the offers like best, every loss, and these two.

    Without a select window the first of each is taken. Deterministic whatever the seed.
    """
    history: History = {"slope": [], "l2": [], "relevance": [], "fit_log_loss": [], "select_log_loss": []}
    slopes, strengths = (settings.slopes, settings.l2) if select else (settings.slopes[:1], settings.l2[:1])
    strengths = (max(strengths),) if settings.relevance else strengths
    finest: list[tuple[Model, float]] = []
    with steps(len(slopes) * (len(strengths) + 1), "linear") as advance:
        for slope in slopes:
            bend, weights, tried = bend_of(slope, fit), None, []
            for strength in strengths:
                weights = _fitted(fit, bend, strength, weights)
                loss = _noted(history, as_model(weights, bend), strength, 0, fit, select)
                tried.append((loss, strength, weights))
                advance()
            _, strength, weights = min(tried, key=lambda one: one[0])
            if settings.relevance:
                weights = shrunk(fit, bend, weights, settings.relevance)
                _noted(history, as_model(weights, bend), strength, settings.relevance, fit, select)
            finest.append((as_model(weights, bend), strength))
            advance()
    model, strength = min(finest, key=lambda one: _surprise(one[0], fit, select))
    return model, history, replace(settings, l2=(strength,), slopes=(model.slope,))


def _fitted(
    window: Learning, bend: Bend | None, strength: float, start: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the weights under one strength for all, (2 D,) or with a bend (2 D + E,)."""
    if bend:
        return curved(window, bend, strength, start)
    return newton(regressors(window), window, strength, start)


def _noted(
    history: History, model: Model, strength: float, rounds: int, fit: Learning, select: Learning | None
) -> float:
    """Note a model and its losses, and return that of the select window, or of fit where there is none.

    The slope is noted by its place in SLOPES.
    """
    losses = [window.loss(model.coefficients(window.z)) for window in (fit, select or fit)]
    told = {"slope": float(SLOPES.index(model.slope)), "l2": strength, "relevance": float(rounds)}
    for name, value in {**told, "fit_log_loss": losses[0], "select_log_loss": losses[1]}.items():
        history[name].append(value)
    return losses[1]


def _surprise(model: Model, fit: Learning, select: Learning | None) -> float:
    """Return minus the log likelihood of both windows, in nats, plus the handicap of a bent slope.

    Models of about as many weights are compared by the offers of both windows: the select window alone is too few.
    """
    windows = [fit] if select is None else [fit, select]
    lost = [len(w.t) * log_loss(w.bought, w.probability(model.coefficients(w.z))) for w in windows]
    return sum(lost) + HANDICAP * (model.slope != "linear")


def as_model(weights: NDArray[np.float64], bend: Bend | None = None) -> Model:
    """Return the model of weights (2 D,) on the columns of `regressors`, or of the (2 D + E,) of a bend."""
    if bend is None:
        a, b = np.split(weights, 2)
        return Model(a, b)
    a, b, rest = parted(weights, bend)
    if isinstance(bend, Bounded):
        low, span = bend.bounds(rest)
        return Model(a, b, "bounded", low=low, span=span)
    return Model(a, b, "exp", bend.pivot(rest))
