"""A small Keras network whose last layer is the coefficients of the demand curve: alpha, and a score of beta.

beta is softplus of the score, or, where the network starts from an interaction logit with a bounded slope,
low + span / (1 + exp(-score)) with the bounds found there. Several members of different initial weights are trained at
once, each on its own log loss; their mean is the model. What is kept are moving averages of the weights (Polyak &
Juditsky, 1992).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History, linear
from pipelines.candidates._keras import averaged_epoch, network, quiet_keras, write_curves
from pipelines.candidates._progress import steps
from pipelines.candidates.shapes import SHAPES
from pipelines.demand import SMALLEST_BETA, Learning, log_odds
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from spox import Var

_LEAST = np.array([[-np.inf, SMALLEST_BETA]], np.float32)
_ROWS = 16_384  # read at once, to bound the memory
_STEPS = 64  # an epoch has at least as many, unless batches would become smaller than the next
_LEAST_BATCH = 64
_LEAST_SLOPE = 0.05  # to start from: below it softplus has hardly a gradient left
_SLOPES = ("linear", "bounded")  # of the base: those from which the network can go on
_CLEARLY = 2.0  # standard errors by which a network must be better to be taken in place of another
_UNMOVED = 1e-9  # of t: the price never moved


@dataclass(frozen=True)
class Settings:
    """How the network is built and trained; `logs` is the TensorBoard folder, if any.

    `patience` is in epochs. `averaging`: what the averaged weights keep of themselves per step; 0 = no averaging.
    `stop`: the epoch to stop at without a select window; null = all.
    """

    family: str = "dnn"
    curve: tuple[str, ...] = SHAPES
    hidden: tuple[int, ...] = (64, 64)
    members: int = 4
    epochs: int = 60
    patience: int = 12
    batch: int = 1024
    learning_rate: float = 5e-3
    weight_decay: float = 0.1
    averaging: float = 0.98
    base_l2: tuple[float, ...] = linear.Settings.l2
    base_slopes: tuple[str, ...] = _SLOPES
    terms: int = 0
    stop: int | None = None
    logs: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are no network, naming the value."""
        for key in ("members", "epochs", "patience", "batch", "learning_rate"):
            if getattr(self, key) <= 0:
                raise InputError(f"model.dnn.{key}={getattr(self, key)} must be positive")
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"model.dnn.hidden={list(self.hidden)} must name at least one layer, all positive")
        if not self.base_slopes or set(self.base_slopes) - set(_SLOPES):
            raise InputError(
                f"model.dnn.base_slopes={list(self.base_slopes)} must name some of {_SLOPES}, and no other"
            )
        if self.weight_decay < 0:
            raise InputError(f"model.dnn.weight_decay={self.weight_decay} must not be negative")
        if not 0 <= self.averaging < 1:
            raise InputError(f"model.dnn.averaging={self.averaging} must lie in [0, 1)")


@dataclass(frozen=True)
class Model:
    """The network: (N, D) encoded context -> (M, N, 2), every member's alpha and score of beta.

    bounds: low and span of a bounded beta; None: softplus.
    """

    net: Any
    bounds: tuple[float, float] | None = None

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        from keras import ops

        def mean(rows: NDArray[np.float32]) -> Any:
            out = self.net(rows)
            return ops.mean(ops.stack([out[..., 0], _slope(out[..., 1], self.bounds)], axis=-1), axis=0)

        parts = [np.asarray(mean(z[start : start + _ROWS])) for start in range(0, len(z), _ROWS)]
        both = np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
        return np.maximum(both, _LEAST)

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32.

        Flat matrices, the members side by side in their columns: as few and as plain nodes as a fast quote needs.
        """
        import spox.opset.ai.onnx.v21 as op
        from scipy.linalg import block_diag

        *hidden, kernel, bias, straight = self.net.get_weights()
        M, x = len(kernel), z
        for layer in range(0, len(hidden), 2):
            side_by_side = np.hstack(hidden[layer]) if layer == 0 else block_diag(*hidden[layer])
            x = op.relu(op.gemm(x, op.const(side_by_side), op.const(hidden[layer + 1].reshape(1, -1))))
        deep = np.column_stack([np.concatenate(kernel[:, :, 0] / M), block_diag(*kernel[:, :, 1:])])
        shallow, constant = (np.column_stack([w[..., 0].mean(0), w[..., 1].T]) for w in (straight, bias))
        out = op.gemm(x, op.const(deep), op.gemm(z, op.const(shallow), op.const(constant)))  # alpha; M slopes
        low, span = self.bounds or (0.0, 1.0)
        alpha, beta = np.zeros((2, 1 + M, 2), np.float32)
        alpha[0, 0], beta[1:, 1] = 1, span / M
        bent = op.sigmoid(out) if self.bounds else op.softplus(out)
        straightened = op.gemm(out, op.const(alpha), op.const(np.array([[0.0, low]], np.float32)))
        return op.max([op.gemm(bent, op.const(beta), straightened), op.const(_LEAST)])

    def save(self, folder: Path) -> None:
        """Write model.json (sizes and bounds) and model.npz (weights) into an existing folder.

        Not Keras' own format, which holds the date and so differs from run to run.
        """
        weights = self.net.get_weights()
        sizes = {"hidden": [w.shape[-1] for w in weights[1:-2:2]], "members": len(weights[0]), "bounds": self.bounds}
        write_json(folder / "model.json", {"width": weights[0].shape[1], **sizes})
        np.savez(folder / "model.npz", *weights)


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    told = read_json(folder / "model.json")
    with np.load(folder / "model.npz", allow_pickle=False) as arrays:
        weights = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
    quiet_keras()
    net = network(told["width"], tuple(told["hidden"]), told["members"], weights)
    bounds = told.get("bounds")
    return Model(net, (bounds[0], bounds[1]) if bounds else None)


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return the network of the best epoch, the log loss of both windows after each epoch, and settings to stop there.

    It starts from the slope under which the interaction logit is likelier, unless the network that starts from another
    one is clearly better on the select window: where hidden layers find what no straight score can, the bounds of that
    score are too narrow. Without a select window it starts from the first, and stops at `settings.stop`, on the same
    way down of the learning rate.
    """

    def started(slopes: tuple[str, ...]) -> tuple[Model, History, Settings]:
        base, _, found = linear.fit(fit, select, linear.Settings(l2=settings.base_l2, slopes=slopes), seed)
        return _trained(fit, select, base, replace(settings, base_l2=found.l2, base_slopes=found.slopes), seed)

    best = started(settings.base_slopes)
    if select is None:
        return best
    first = best[2].base_slopes[0]
    for slope in (slope for slope in settings.base_slopes if slope != first):
        other = started((slope,))
        best = other if _clearly_better(other[0], best[0], select) else best
    if settings.logs is not None:
        write_curves(Path(settings.logs), best[1])
    return best


def _clearly_better(one: Model, other: Model, window: Learning) -> bool:
    """Return whether its log loss is smaller by `_CLEARLY` standard errors of the difference."""
    lost = []
    for model in (other, one):
        q = np.clip(window.probability(model.coefficients(window.z)), 1e-12, 1 - 1e-12)
        lost.append(-window.weight * np.log(np.where(window.bought == 1, q, 1 - q)))
    gain = lost[0] - lost[1]
    return bool(gain.mean() > _CLEARLY * gain.std() / np.sqrt(len(gain)))


def _trained(
    fit: Learning, select: Learning | None, base: linear.Model, settings: Settings, seed: int
) -> tuple[Model, History, Settings]:
    """Return what `fit` does, from one interaction logit, whose slope and strength the settings have."""
    keras = quiet_keras(seed)
    bounds = (base.low, base.span) if base.slope == "bounded" else None
    start = _start(base, fit, settings, np.random.default_rng(seed))
    net, kept = (network(fit.z.shape[1], settings.hidden, settings.members, start) for _ in range(2))
    batch = min(settings.batch, max(len(fit.t) // _STEPS, _LEAST_BATCH), len(fit.t))
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * (len(fit.t) // batch))
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    learn = averaged_epoch(net, kept, optimizer, _summed_loss(fit.link, bounds), settings.averaging)
    history = _learn(learn, Model(kept, bounds), fit, select, settings, batch, seed)
    if select is None:
        return Model(kept, bounds), history, settings
    stopped = int(np.argmin(history["select_log_loss"])) + 1
    return Model(kept, bounds), history, replace(settings, stop=stopped)


def _learn(
    learn: Any, kept: Model, fit: Learning, select: Learning | None, settings: Settings, batch: int, seed: int
) -> History:
    """Learn epoch by epoch and leave the best epoch's weights in `kept`; without a select window the last one's."""
    from keras import ops

    z = ops.convert_to_tensor(fit.z, "float32")
    outcomes = ops.convert_to_tensor(np.column_stack([fit.bought, fit.t]), "float32")
    epochs = settings.epochs if select is not None else settings.stop or settings.epochs
    history: History = {"fit_log_loss": []} if select is None else {"fit_log_loss": [], "select_log_loss": []}
    best = kept.net.get_weights()
    with steps(epochs, "dnn") as advance:
        for rows in _batches(len(fit.t), batch, epochs, np.random.default_rng(seed)):
            history["fit_log_loss"].append(float(learn(z, outcomes, rows)) / settings.members)
            advance()
            if select is None:
                continue
            losses = history["select_log_loss"]
            losses.append(select.loss(kept.coefficients(select.z)))
            behind = len(losses) - 1 - int(np.argmin(losses))
            best = kept.net.get_weights() if behind == 0 else best
            if behind >= settings.patience:
                break
    if select is not None:
        kept.net.set_weights(best)
    return history


def _batches(rows: int, batch: int, epochs: int, rng: np.random.Generator) -> Iterator[Any]:
    """Give for each epoch the rows of its batches, (B, batch); rows that fill no batch wait for another epoch."""
    from keras import ops

    count = rows // batch
    for _ in range(epochs):
        yield ops.convert_to_tensor(rng.permutation(rows)[: count * batch].reshape(count, batch), "int32")


def _start(
    base: linear.Model, fit: Learning, settings: Settings, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Return the first weights: every member begins as the interaction logit, with hidden layers that differ.

    A bounded slope is the base's own. Softplus bends: slopes of beta are divided by its slope at the mean context, so
    that they hold there.
    """
    M, sizes, weights = settings.members, (fit.z.shape[1], *settings.hidden), []
    for wide, size in pairwise(sizes):
        bound = np.sqrt(6 / (wide + size))  # Glorot & Bengio, 2010
        weights += [rng.uniform(-bound, bound, (M, wide, size)), np.zeros((M, 1, size))]
    straight, bias = np.column_stack([base.a, base.b]), np.array([base.a[-1], base.b[-1]])
    if base.slope != "bounded":
        moved = np.ptp(fit.t) > _UNMOVED
        beta = max(float(base.b[-1]), _LEAST_SLOPE if moved else SMALLEST_BETA)
        straight[:, 1] /= -np.expm1(-beta)
        bias[1] = np.log(np.expm1(beta))
    straight[-1] = 0
    weights += [np.zeros((M, sizes[-1], 2)), np.tile(bias, (M, 1, 1)), np.tile(straight, (M, 1, 1))]
    return [w.astype(np.float32) for w in weights]


def _slope(score: Any, bounds: tuple[float, float] | None) -> Any:
    """Return beta of a score, tensors of any shape."""
    from keras import ops

    return bounds[0] + bounds[1] * ops.sigmoid(score) if bounds else ops.softplus(score)


def _summed_loss(link: str, bounds: tuple[float, float] | None) -> Any:
    """Return the loss of one batch, log loss summed over the members, of (M, N, 2) outputs and (N, 2) outcome and t."""
    from keras import ops

    def loss(out: Any, outcomes: Any) -> Any:
        bought, t = outcomes[:, 0], outcomes[:, 1]
        odds = log_odds(out[..., 0] - _slope(out[..., 1], bounds) * t, link)
        return ops.sum(ops.mean(ops.softplus(odds) - bought * odds, axis=1))

    return loss
