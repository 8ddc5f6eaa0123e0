"""The interaction logit: alpha and beta are linear in the encoded context.

logit q = z·a - (z·b) t is one logistic regression on z and z × t. It is the base that the trees start from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History
from pipelines.candidates._progress import steps
from pipelines.demand import SMALLEST_BETA, Learning, log_loss, sigmoid
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

_FREE = 100.0  # a column this much larger is penalised 10,000 times less: the mean slope stays unshrunk


@dataclass(frozen=True)
class Settings:
    """How the regression is fitted: `l2` holds the strengths among which the valid window picks."""

    family: str = "linear"
    curve: str = "log"
    l2: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0)

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


def fit(train: Learning, valid: Learning, settings: Settings, seed: int) -> tuple[Model, History]:
    """Return the regression with the strength that the valid window likes best, and the loss of each strength.

    Deterministic whatever the seed.
    """
    from sklearn.linear_model import LogisticRegression

    columns, bought, weight = _regression(train)
    history: History = {"l2": [], "train_log_loss": [], "valid_log_loss": []}
    models = []
    # Newton's method: indifferent to the columns' scales, quick where rows far outnumber columns, and quicker still
    # from the weights of the strength before.
    regression = LogisticRegression(solver="newton-cholesky", warm_start=True)
    with steps(len(settings.l2), "linear") as advance:
        for strength in settings.l2:
            regression.set_params(C=1 / strength).fit(columns, bought, sample_weight=weight)
            models.append(_model(regression))
            history["l2"].append(strength)
            for name, window in {"train": train, "valid": valid}.items():
                history[f"{name}_log_loss"].append(loss(models[-1].coefficients(window.z), window))
            advance()
    return models[int(np.argmin(history["valid_log_loss"]))], history


def loss(coefficients: NDArray[np.float32], window: Learning) -> float:
    """Return the log loss of coefficients (N, 2) on the offers of a window."""
    return log_loss(window.bought, sigmoid(coefficients[:, 0] - coefficients[:, 1] * window.t))


def _regression(train: Learning) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return columns, outcomes and weights, with two half offers added so that both outcomes always occur."""
    z, t = train.z[:, :-1].astype(np.float64), train.t[:, None]
    columns = np.hstack([z, -t * z, -t * _FREE])
    bought = np.concatenate([train.bought, [0, 1]])
    weight = np.concatenate([np.ones(len(train.t)), [0.5, 0.5]])
    return np.vstack([columns, np.zeros((2, columns.shape[1]))]), bought, weight


def _model(regression: Any) -> Model:
    """Return the model of a fitted regression on the columns of `_regression`."""
    weights = regression.coef_[0]
    half = (len(weights) - 1) // 2
    return Model(
        a=np.append(weights[:half], regression.intercept_),
        b=np.append(weights[half:-1], weights[-1] * _FREE),
    )
