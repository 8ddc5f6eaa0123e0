"""A small Keras network whose last layer is the coefficients of the demand curve: alpha, and softplus beta.

Several members of different initial weights are trained at once, each on its own log loss; their mean is the model.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History, linear
from pipelines.candidates._keras import quiet_keras, silent, write_curves
from pipelines.candidates._progress import steps
from pipelines.demand import SMALLEST_BETA, Learning
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from spox import Var

_LEAST = np.array([[-np.inf, SMALLEST_BETA]], np.float32)
_ROWS = 65_536  # read at once, to bound the memory
_STEPS = 64  # an epoch has at least as many, unless batches would become smaller than the next
_LEAST_BATCH = 64


@dataclass(frozen=True)
class Settings:
    """How the network is built and trained; `patience` is in epochs, `logs` the TensorBoard folder, if any."""

    family: str = "dnn"
    curve: str = "log"
    hidden: tuple[int, ...] = (48, 24)
    members: int = 3
    epochs: int = 60
    patience: int = 6
    batch: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    logs: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that are no network, naming the value."""
        for key in ("members", "epochs", "patience", "batch", "learning_rate"):
            if getattr(self, key) <= 0:
                raise InputError(f"model.dnn.{key}={getattr(self, key)} must be positive")
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"model.dnn.hidden={list(self.hidden)} must name at least one layer, all positive")
        if self.weight_decay < 0:
            raise InputError(f"model.dnn.weight_decay={self.weight_decay} must not be negative")


@dataclass(frozen=True)
class Model:
    """The network: (N, D) encoded context -> (N, 2)."""

    net: Any

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        parts = [np.asarray(self.net(z[start : start + _ROWS])) for start in range(0, len(z), _ROWS)]
        both = np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
        return np.maximum(both, _LEAST)

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import onnx
        import spox
        import spox.opset.ai.onnx.v21 as op

        with tempfile.TemporaryDirectory() as folder, silent():
            path = Path(folder) / "net.onnx"
            self.net(np.zeros((1, self.net.input_shape[-1]), np.float32))  # Keras exports what was called once
            self.net.export(path, format="onnx", verbose=False)
            net = onnx.load(path)
        (both,) = spox.inline(net)(z).values()
        return op.max([both, op.const(_LEAST)])

    def save(self, folder: Path) -> None:
        """Write model.json (layers) and model.npz (weights) into an existing folder.

        Not Keras' own format, which holds the date and so differs from run to run.
        """
        write_json(folder / "model.json", json.loads(self.net.to_json()))
        np.savez(folder / "model.npz", *self.net.get_weights())


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    net = quiet_keras().models.model_from_json(json.dumps(read_json(folder / "model.json")))
    with np.load(folder / "model.npz", allow_pickle=False) as arrays:
        net.set_weights([arrays[f"arr_{i}"] for i in range(len(arrays.files))])
    return Model(net)


def fit(train: Learning, valid: Learning, settings: Settings, seed: int) -> tuple[Model, History]:
    """Return the network of the best epoch, and the log loss of both windows after each epoch."""
    keras = quiet_keras(seed)
    net, members = _build(train.z.shape[1], settings)
    _start_at_pooled_curve(members, train, valid)
    batch = min(settings.batch, max(len(train.t) // _STEPS, _LEAST_BATCH), len(train.t))
    planned = settings.epochs * (len(train.t) // batch)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, planned)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    members.compile(optimizer=optimizer, loss=_member_loss)
    batches = _batches(len(train.t), batch, settings.epochs, np.random.default_rng(seed))
    outcomes, best = _outcomes(train), net.get_weights()
    history: History = {"train_log_loss": [], "valid_log_loss": []}
    with steps(settings.epochs, "dnn") as advance:
        for epoch in batches:
            # Batch by batch and not Keras' own loop: on small networks its data pipeline costs more than the learning.
            losses = [members.train_on_batch(train.z[rows], outcomes[rows]) for rows in epoch]
            history["train_log_loss"].append(float(np.mean(losses)))
            history["valid_log_loss"].append(linear.loss(Model(net).coefficients(valid.z), valid))
            advance()
            behind = len(history["valid_log_loss"]) - 1 - int(np.argmin(history["valid_log_loss"]))
            best = net.get_weights() if behind == 0 else best
            if behind >= settings.patience:
                break
    net.set_weights(best)
    if settings.logs is not None:
        write_curves(Path(settings.logs), history)
    return Model(net), history


def _batches(rows: int, batch: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Give for each epoch the rows of its batches, (B, batch); rows that fill no batch wait for another epoch."""
    count = rows // batch
    for _ in range(epochs):
        yield rng.permutation(rows)[: count * batch].reshape(count, batch)


def _build(width: int, settings: Settings) -> tuple[Any, Any]:
    """Return two models that share their layers: mean of the members (N, 2), and members side by side (N, 2M)."""
    import keras

    z = keras.Input((width,), name="z")
    curves = [_member(z, m, settings) for m in range(settings.members)]
    if len(curves) == 1:
        return keras.Model(z, curves[0], name="net"), keras.Model(z, curves[0], name="members")
    mean = keras.layers.Average(name="mean")(curves)
    side = keras.layers.Concatenate(name="side_by_side")(curves)
    return keras.Model(z, mean, name="net"), keras.Model(z, side, name="members")


def _member(z: Any, m: int, settings: Settings) -> Any:
    """Return one member's (alpha, beta): linear in the context and in what the hidden layers make of it.

    All layers are named, so that the same network is always the same text; the last ones start at no effect at all.
    """
    from keras import layers

    x = z
    for depth, size in enumerate(settings.hidden):
        x = layers.Dense(size, activation="silu", name=f"hidden_{m}_{depth}")(x)
    x = layers.Concatenate(name=f"joined_{m}")([x, z])
    alpha = layers.Dense(1, kernel_initializer="zeros", name=f"alpha_{m}")(x)
    beta = layers.Dense(1, kernel_initializer="zeros", activation="softplus", name=f"beta_{m}")(x)
    return layers.Concatenate(name=f"curve_{m}")([alpha, beta])


def _outcomes(window: Learning) -> NDArray[np.float32]:
    """Return (N, 2): the outcome and, because the loss needs it beside, the price."""
    return np.column_stack([window.bought, window.t]).astype(np.float32)


def _member_loss(outcomes: Any, coefficients: Any) -> Any:
    """Return the log loss, mean over the members, of (N, 2) outcome and price under (N, 2M) coefficients."""
    from keras import ops

    bought, t = outcomes[:, 0:1], outcomes[:, 1:2]
    logit = coefficients[:, 0::2] - coefficients[:, 1::2] * t
    return ops.mean(ops.softplus(logit) - bought * logit, axis=1)


def _start_at_pooled_curve(members: Any, train: Learning, valid: Learning) -> None:
    """Let every member begin as the one curve for all: no epoch is spent on finding it, and no slope is invented."""
    one, other = (Learning(w.z[:, -1:], w.t, w.bought) for w in (train, valid))
    model, _ = linear.fit(one, other, linear.Settings(), 0)
    alpha, beta = model.coefficients(np.ones((1, 1), np.float32))[0].astype(float)
    start = {"alpha": alpha, "beta": np.log(np.expm1(beta))}
    for layer in members.layers:
        kind = layer.name.split("_")[0]
        if kind in start:
            layer.bias.assign([start[kind]])
