"""Keras on TensorFlow, loaded without its greetings and made repeatable, and its curves for TensorBoard."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.candidates import History


def quiet_keras(seed: int | None = None) -> Any:
    """Return the module keras; with a seed, every later draw and sum of this process repeats."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with silent():
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    if seed is not None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
    return keras


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
