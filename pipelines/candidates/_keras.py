"""Keras on TensorFlow: quiet and repeatable, networks of several members side by side, their averaged learning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.candidates import History


def quiet_keras(seed: int | None = None) -> Any:
    """Return the module keras; with a seed, every later draw and sum of this process repeats."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # sums over more threads would depend on the machine
    with silent():
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    if seed is not None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
    return keras


def network(width: int, hidden: tuple[int, ...], members: int, weights: list[NDArray[np.float32]]) -> Any:
    """Return the network (N, D) -> (M, N, 2) with given weights: members that share nothing but their input.

    Each is linear in its input and in what its hidden layers make of it. The weights: kernel (M, from, to) and bias
    (M, 1, to) of every hidden layer and of the last one; then the kernel that leads straight from input to output.
    """
    import keras

    z = x = keras.Input((width,), name="z")
    for depth, size in enumerate(hidden):
        x = _members_layer(members, size, f"hidden_{depth}", activation="relu")(x)
    deep, straight = _members_layer(members, 2, "deep"), _members_layer(members, 2, "straight", bias=False)
    net = keras.Model(z, keras.layers.Add(name="curve")([deep(x), straight(z)]), name="net")
    net.set_weights(weights)
    return net


def _members_layer(members: int, size: int, name: str, activation: str | None = None, bias: bool = True) -> Any:
    """Return a dense layer of which every member has its own weights: (N, D) or (M, N, D) -> (M, N, size).

    One product for all members, which costs less than a layer for each; the weights start at zero.
    """
    import keras

    class Members(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: tuple[int | None, ...]) -> None:
            self.kernel = self.add_weight(shape=(members, shape[-1], size), initializer="zeros", name="kernel")
            self.bias = self.add_weight(shape=(members, 1, size), initializer="zeros", name="bias") if bias else None

        def call(self, x: Any) -> Any:
            y = keras.ops.matmul(x, self.kernel)
            return keras.activations.get(activation)(y if self.bias is None else y + self.bias)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return members, shape[-2], size

    return Members(name=name)


def averaged_epoch(net: Any, kept: Any, optimizer: Any, loss: Any, memory: float) -> Callable[[Any, Any, Any], Any]:
    """Return a function that learns one epoch: z (N, D), outcomes (N, 2), rows (B, batch) -> the mean loss.

    `kept` follows `net`, whose shape it has: after step s it is the moving average with weight
    min(memory, (1 + s) / (10 + s)) for what it was. loss: of z and outcomes of one batch, a sum over the members.
    """
    import tensorflow as tf

    weights = net.trainable_variables
    pairs = list(zip(kept.trainable_variables, weights, strict=True))
    optimizer.build(weights)

    def epoch(z: Any, outcomes: Any, rows: Any) -> Any:
        total = tf.constant(0.0)
        for batch in rows:
            with tf.GradientTape() as tape:
                lost = loss(net(tf.gather(z, batch), training=True), tf.gather(outcomes, batch))
            optimizer.apply(tape.gradient(lost, weights), weights)
            step = tf.cast(optimizer.iterations, tf.float32)
            share = tf.minimum(memory, (1 + step) / (10 + step))
            for average, weight in pairs:
                average.assign(share * average + (1 - share) * weight)
            total += lost
        return total / tf.cast(tf.shape(rows)[0], tf.float32)

    return tf.function(epoch)  # type: ignore[no-any-return]


def write_curves(folder: Path, history: History) -> None:
    """Write learning curves for TensorBoard into a new folder below `folder`, named by the time in UTC.

    TensorBoard itself is not needed for it: what its `summary.scalar` does is spelled out.
    """
    import tensorflow as tf

    proto = tf.compat.v1.SummaryMetadata
    scalar = proto(plugin_data=proto.PluginData(plugin_name="scalars"))
    run = folder / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    with tf.summary.create_file_writer(str(run)).as_default():
        for name, values in history.items():
            for step, value in enumerate(values):
                tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=scalar)


@contextmanager
def silent() -> Iterator[None]:
    """Keep standard error from the C++ libraries, which heed no Python setting; an exception still passes."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a file of ours
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
