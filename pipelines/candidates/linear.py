"""The interaction logit: alpha is linear in the encoded context, and so is beta (`linear`) or its logarithm (`exp`).

eta = z·a - (z·b) t is one regression on z and z × t, under either link; it is the base that the trees start from. With
beta = exp(z·b) the price is counted from a pivot, eta = z·a - exp(z·b) (t - pivot). Where that is matters, since there
the level is linear in the context; so it is estimated with the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.candidates import History
from pipelines.candidates._progress import steps
from pipelines.candidates._regression import LARGEST_LOG_SLOPE, curved, newton
from pipelines.demand import SMALLEST_BETA, Learning, log_loss
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

SLOPES = ("linear", "exp")
_HANDICAP = 4.0  # nats that an `exp` slope must gain: where nothing tells, the plain regression is the safer base


@dataclass(frozen=True)
class Settings:
    """How the regression is fitted: the strengths `l2` and the kinds of slope, of SLOPES, among which it is chosen."""

    family: str = "linear"
    curve: tuple[str, ...] = ("logit-log", "logit-linear", "probit-log", "probit-linear", "spline")
    l2: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)
    slopes: tuple[str, ...] = SLOPES

    def __post_init__(self) -> None:
        """Refuse a penalty that is none, naming the value."""
        if not self.l2 or min(self.l2) <= 0:
            raise InputError(f"model.linear.l2={list(self.l2)} must hold at least one strength, all positive")
        if not self.slopes or set(self.slopes) - set(SLOPES):
            raise InputError(
                f"model.linear.slopes={list(self.slopes)} must hold at least one of {SLOPES}, and no other"
            )


@dataclass(frozen=True)
class Model:
    """Two weight vectors over the encoded context, (D,) each: alpha = z·a, beta = z·b.

    Where `slope` is `exp`, beta = exp(z·b) and alpha = z·a + pivot·beta.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    slope: str = "linear"
    pivot: float = 0.0

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        alpha, beta = (z.astype(np.float64) @ np.column_stack([self.a, self.b])).T
        if self.slope == "exp":
            beta = np.exp(np.clip(beta, -LARGEST_LOG_SLOPE, LARGEST_LOG_SLOPE))
            alpha = alpha + self.pivot * beta
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
        least = op.const(np.array([[-np.inf, SMALLEST_BETA]]))
        return op.cast(op.max([both, least]), to=np.float32)

    def save(self, folder: Path) -> None:
        """Write model.json into an existing folder."""
        told = {"a": self.a.tolist(), "b": self.b.tolist(), "slope": self.slope, "pivot": self.pivot}
        write_json(folder / "model.json", told)


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    told = read_json(folder / "model.json")
    return Model(np.array(told["a"]), np.array(told["b"]), told["slope"], told["pivot"])


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return the regression with the slope and strength that the select window likes best, every loss, and these two.

    Without a select window the first of each is taken. Deterministic whatever the seed.
    """
    history: History = {"exp": [], "l2": [], "fit_log_loss": [], "select_log_loss": []}
    tried = [(slope, strength) for slope in settings.slopes for strength in settings.l2]
    columns = regressors(fit)
    weights = {"linear": np.zeros(columns.shape[1]), "exp": np.zeros(columns.shape[1] + 1)}
    models: list[Model] = []
    with steps(len(tried), "linear") as advance:
        for slope, strength in tried if select is not None else tried[:1]:
            start = weights[slope]
            exp = slope == "exp"
            weights[slope] = curved(fit, strength, start) if exp else newton(columns, fit, strength, start)
            models.append(as_model(weights[slope]))
            history["exp"].append(float(exp))
            history["l2"].append(strength)
            history["fit_log_loss"].append(fit.loss(models[-1].coefficients(fit.z)))
            chosen = history["fit_log_loss"][-1] if select is None else select.loss(models[-1].coefficients(select.z))
            history["select_log_loss"].append(chosen)
            advance()
    best = 0 if select is None else _best(models, history["select_log_loss"], fit, select)
    slope, strength = tried[best]
    return models[best], history, replace(settings, l2=(strength,), slopes=(slope,))


def _best(models: list[Model], losses: list[float], fit: Learning, select: Learning) -> int:
    """Return which model to take: of each slope the strength with the least loss, of these the likelier one.

    Two models of as many weights are compared by the offers of both windows: the select window alone is too few.
    """
    of_slope = [[i for i, m in enumerate(models) if m.slope == slope] for slope in SLOPES]
    finest = [min(these, key=losses.__getitem__) for these in of_slope if these]
    surprise = {i: _HANDICAP * (models[i].slope == "exp") for i in finest}
    for window in (fit, select):
        for i in finest:
            surprise[i] += len(window.t) * log_loss(window.bought, window.probability(models[i].coefficients(window.z)))
    return min(finest, key=surprise.__getitem__)


def regressors(window: Learning) -> NDArray[np.float64]:
    """Return the columns of the regression, (N, 2 D): z, and -t z."""
    z = window.z.astype(np.float64)
    return np.hstack([z, -window.t[:, None] * z])


def as_model(weights: NDArray[np.float64]) -> Model:
    """Return the model of weights (2 D,) on the columns of `regressors`, or of the (2 D + 1,) of `curved`."""
    half = len(weights) // 2
    if len(weights) % 2:
        return Model(weights[:half], weights[half:-1], "exp", float(weights[-1]))
    return Model(weights[:half], weights[half:])
