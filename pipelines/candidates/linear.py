"""The interaction logit: alpha and beta are linear in the encoded context.

eta = z·a - (z·b) t is one regression on z and z × t, under either link. It is the base that the trees start from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History
from pipelines.candidates._progress import steps
from pipelines.demand import SMALLEST_BETA, Learning, link_slope, log_loss, log_odds, sigmoid
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

_UNSHRUNK = 1e-4  # penalty, as a share of the others', of the mean level and the mean slope
_STEPS, _HALVINGS = 50, 30  # of Newton's method, at most
_SETTLED = 1e-7  # nats of one offer: an improvement too small to go on for


@dataclass(frozen=True)
class Settings:
    """How the regression is fitted: `l2` holds the strengths among which the select window picks."""

    family: str = "linear"
    curve: tuple[str, ...] = ("logit-log", "logit-linear", "probit-log", "probit-linear", "spline")
    l2: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)

    def __post_init__(self) -> None:
        """Refuse a penalty that is none, naming the value."""
        if not self.l2 or min(self.l2) <= 0:
            raise InputError(f"model.linear.l2={list(self.l2)} must hold at least one strength, all positive")


@dataclass(frozen=True)
class Model:
    """Two weight vectors over the encoded context, (D,) each: alpha = z·a, beta = z·b."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        alpha, beta = (z.astype(np.float64) @ np.column_stack([self.a, self.b])).T
        return np.column_stack([alpha, np.maximum(beta, SMALLEST_BETA)]).astype(np.float32)

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import spox.opset.ai.onnx.v21 as op

        weights = op.const(np.column_stack([self.a, self.b]))
        least = op.const(np.array([[-np.inf, SMALLEST_BETA]]))
        both = op.matmul(op.cast(z, to=np.float64), weights)
        return op.cast(op.max([both, least]), to=np.float32)

    def save(self, folder: Path) -> None:
        """Write model.json into an existing folder."""
        write_json(folder / "model.json", {"a": self.a.tolist(), "b": self.b.tolist()})


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    values = read_json(folder / "model.json")
    return Model(np.array(values["a"]), np.array(values["b"]))


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return the regression with the strength that the select window likes best, each one's loss, and that strength.

    Without a select window the first strength is taken. Deterministic whatever the seed.
    """
    history: History = {"l2": [], "fit_log_loss": [], "select_log_loss": []}
    tried = settings.l2 if select is not None else settings.l2[:1]
    columns, weights, models = regressors(fit), np.zeros(2 * fit.z.shape[1]), []
    with steps(len(tried), "linear") as advance:
        for strength in tried:
            weights = newton(columns, fit, strength, weights)
            models.append(as_model(weights))
            history["l2"].append(strength)
            history["fit_log_loss"].append(fit.loss(models[-1].coefficients(fit.z)))
            chosen = history["fit_log_loss"][-1] if select is None else select.loss(models[-1].coefficients(select.z))
            history["select_log_loss"].append(chosen)
            advance()
    best = int(np.argmin(history["select_log_loss"]))
    return models[best], history, replace(settings, l2=(tried[best],))


def regressors(window: Learning) -> NDArray[np.float64]:
    """Return the columns of the regression, (N, 2 D): z, and -t z."""
    z = window.z.astype(np.float64)
    return np.hstack([z, -window.t[:, None] * z])


def as_model(weights: NDArray[np.float64]) -> Model:
    """Return the model of weights (2 D,) on the columns of `regressors`."""
    half = len(weights) // 2
    return Model(weights[:half], weights[half:])


def newton(
    columns: NDArray[np.float64], window: Learning, strength: float, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weights, (P,), that maximise the log likelihood less strength/2 × their squares; by Newton's method.

    The constants of level and slope stay all but unshrunk; two half offers at the mean price, one bought and one not,
    keep every weight finite.
    """
    penalty = np.full(len(start), strength)
    penalty[[len(start) // 2 - 1, -1]] *= _UNSHRUNK
    ghost = np.zeros(len(start))
    ghost[len(start) // 2 - 1] = 1.0

    def loss(weights: NDArray[np.float64]) -> float:
        q = sigmoid(log_odds(columns @ weights, window.link))
        level = sigmoid(log_odds(ghost @ weights, window.link))
        ghosts = -0.5 * float(np.log(np.clip(level * (1 - level), 1e-300, None)))
        return len(q) * log_loss(window.bought, q) + ghosts + 0.5 * float(penalty @ weights**2)

    weights, now = start, loss(start)
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(columns, window.bought, weights, window.link)
        ghostly = _derivatives(ghost[None, :], np.array([0.5]), weights, window.link)
        gradient, curvature = gradient + ghostly[0], curvature + ghostly[1]
        step = np.linalg.solve(curvature + np.diag(penalty), gradient - penalty * weights)
        for _ in range(_HALVINGS):
            later = loss(weights + step)
            if later <= now:
                break
            step = step / 2
        weights, gained, now = weights + step, now - later, later
        if gained < _SETTLED * max(len(window.t), 1):
            break
    return weights


def _derivatives(
    columns: NDArray[np.float64], bought: NDArray[Any], weights: NDArray[np.float64], link: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gradient (P,) and expected information (P, P) of the log likelihood."""
    eta = columns @ weights
    q, slope = sigmoid(log_odds(eta, link)), link_slope(eta, link)
    half = columns.astype(np.float32) * np.sqrt(q * (1 - q) * slope**2).astype(np.float32)[:, None]
    # single precision steers the steps, twice as fast; where they end is decided by the gradient alone
    return columns.T @ ((bought - q) * slope), (half.T @ half).astype(np.float64)
