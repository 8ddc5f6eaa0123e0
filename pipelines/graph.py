"""The policy as one ONNX graph: raw named inputs in, a quote out; and how Python runs it.

Only NumPy and ONNX Runtime are imported to run a graph; composing one needs ndonnx and spox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.policy import (
    FALLBACK_WORDS,
    GUARDRAIL_WORDS,
    KNOTS,
    LADDER,
    QUOTE,
    TERMS_OF_SALE,
    Belief,
    Terms,
    decide,
)

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

    Columns = Mapping[str, Any] | pd.DataFrame

ROWS_AT_ONCE = 20_000


def compose(
    numeric: tuple[str, ...],
    categorical: tuple[str, ...],
    believe: Callable[[dict[str, Var]], Belief],
    terms: Terms,
) -> onnx.ModelProto:
    """Return the policy graph.

    Inputs: every context column and `TERMS_OF_SALE`, (N, 1), double or string. believe: inputs -> what is
    believed of them. Outputs: `policy.QUOTE`, (N, 1) each; `policy.LADDER` and `policy.KNOTS`, (N, K) each.
    """
    import ndonnx as ndx
    import spox
    import spox.opset.ai.onnx.ml.v4 as ml

    numbers = dict.fromkeys((*numeric, *TERMS_OF_SALE))
    inputs = {name: spox.argument(spox.Tensor(np.float64, ("N", 1))) for name in numbers}
    inputs |= {name: spox.argument(spox.Tensor(np.str_, ("N", 1))) for name in categorical}
    sale = {name: ndx.asarray(inputs[name]) for name in TERMS_OF_SALE}
    quotes = decide(believe(inputs), sale, terms)
    outputs = {name: quotes[name].unwrap_spox() for name in (*QUOTE, *LADDER, *KNOTS)}
    for name, words in (("guardrail", GUARDRAIL_WORDS), ("fallback", FALLBACK_WORDS)):
        outputs[name] = ml.label_encoder(
            outputs[name], keys_int64s=list(range(len(words))), values_strings=list(words), default_string=""
        )
    proto: onnx.ModelProto = spox.build(inputs, outputs, drop_unused_inputs=False)
    _without_copies(proto)
    return proto


def _without_copies(proto: onnx.ModelProto) -> None:
    """Name what an output copies by the output's own name, and drop the copy: one node less to run for each."""
    nodes, outputs = proto.graph.node, {o.name for o in proto.graph.output}
    if any(attribute.HasField("g") for node in nodes for attribute in node.attribute):
        return  # a branch may know the value by its old name
    made = {name for node in nodes if node.op_type != "Identity" for name in node.output}
    named: dict[str, str] = {}
    for node in list(nodes):
        if node.op_type == "Identity" and node.output[0] in outputs and node.input[0] in made - named.keys():
            named[node.input[0]] = node.output[0]
            nodes.remove(node)
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [named.get(name, name) for name in names]


def session(graph: bytes | Path, live: bool = False) -> Any:
    """Return an ONNX Runtime session on one CPU thread, which is what one live quote gets.

    live: for a quote or a page at a time. Then no memory is used twice within a run: for one row that saves an eighth
    of the time, and for many thousands it would take gigabytes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_reuse = not live
    options.log_severity_level = 3  # composing leaves unused initialisers behind; the warnings tell users nothing
    # A policy is one file: a graph that asks for weights beside it was not made by `export`.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/nonexistent")
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(graph: Any, columns: Columns, outputs: tuple[str, ...] = QUOTE) -> dict[str, NDArray[Any]]:
    """Return the outputs for a table of contexts: (N,) for `QUOTE` entries, (N, K) for the others.

    graph: a `session`. columns: a DataFrame or a mapping of (N,) columns; an absent input counts as missing.
    """
    rows = len(columns["list_price"])
    feed = {i.name: _column(columns, i.name, i.type, rows) for i in graph.get_inputs()}
    starts = range(0, max(rows, 1), ROWS_AT_ONCE)
    parts = [graph.run(list(outputs), {k: v[s : s + ROWS_AT_ONCE] for k, v in feed.items()}) for s in starts]
    joined = [np.concatenate(p) for p in zip(*parts, strict=True)]
    return {n: v[:, 0] if n in QUOTE else v for n, v in zip(outputs, joined, strict=True)}


def _column(columns: Columns, name: str, kind: str, rows: int) -> NDArray[Any]:
    words = kind == "tensor(string)"
    if name not in columns:
        return np.full((rows, 1), "" if words else np.nan, dtype=object if words else np.float64)
    values = np.asarray(columns[name], dtype=object if words else np.float64)
    return values.reshape(rows, 1)
