"""The walk over an ONNX file: it accepts what `export` makes and refuses every other thing, damaged ones too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from policies import tiny_policy

from pipelines.serving import anatomy
from pipelines.serving.anatomy import OddGraphError, inspect


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return (folder / "policy.onnx").read_bytes()


def small(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Return a model of these nodes, or of one Neg."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])
    return helper.make_model(helper.make_graph(nodes or (helper.make_node("Neg", ["x"], ["y"]),), "g", [value], []))


def refused(model: onnx.ModelProto | bytes, told: str) -> None:
    with pytest.raises(OddGraphError, match=told):
        inspect(model if isinstance(model, bytes) else model.SerializeToString())


def test_a_policy_is_accepted(graph: bytes) -> None:
    """What `export` writes holds nothing odd."""
    inspect(graph)


def test_long_lists_are_accepted() -> None:
    """The numbers of a forest are an attribute with a tag for each; so are negative ones and words."""
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml",
        nodes_values=np.linspace(-1, 1, 5000).tolist(), nodes_nodeids=[*range(5000), -1],
        nodes_modes=["BRANCH_LEQ"] * 300,
    )  # fmt: skip
    inspect(small(node).SerializeToString())


def within(node: onnx.NodeProto) -> onnx.ModelProto:
    """Return a model with a node in a branch of a branch."""
    for _ in range(2):
        node = helper.make_node("If", ["c"], ["y"], then_branch=helper.make_graph([node], "branch", [], []))
    return small(node)


@pytest.mark.parametrize("hidden", [small, within])
def test_custom_operators_wherever_they_are(hidden: Callable[[onnx.NodeProto], onnx.ModelProto]) -> None:
    """A node of another domain is found in branches too."""
    inspect(hidden(helper.make_node("Neg", ["x"], ["y"])).SerializeToString())
    refused(hidden(helper.make_node("Neg", ["x"], ["y"], domain="com.microsoft")), "domain 'com.microsoft'")


def test_external_data_wherever_it_is() -> None:
    """Weights in another file are found in initialisers, attributes, lists of tensors and branches."""
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    marked = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    marked.external_data.add(key="location", value="../secret")
    for tensor in (outside, marked):
        model = small()
        model.graph.initializer.append(tensor)
        refused(model, "external data")
        refused(small(helper.make_node("Constant", [], ["y"], value=tensor)), "external data")
        node = helper.make_node("Odd", [], ["y"])
        node.attribute.append(onnx.AttributeProto(name="all", tensors=[tensor], type=onnx.AttributeProto.TENSORS))
        refused(small(node), "external data")
        refused(within(helper.make_node("Constant", [], ["y"], value=tensor)), "external data")


def test_what_a_policy_never_has() -> None:
    """Functions, training information, sparse weights, devices and other domains' opsets are named in the refusal."""
    opset = small()
    opset.opset_import.add(domain="com.evil", version=1)
    refused(opset, "domain 'com.evil'")
    functions = small()
    functions.functions.add(name="f", domain="ai.onnx")
    refused(functions, "functions of its own")
    training = small()
    training.training_info.add()
    refused(training, "training information")
    sparse = small()
    sparse.graph.sparse_initializer.add()
    refused(sparse, "sparse weights")
    device = small()
    device.configuration.add(name="gpu")
    refused(device, "device configuration")
    opaque = small()
    opaque.graph.input[0].type.opaque_type.domain = "com.evil"
    refused(opaque, "opaque type")


def test_what_comes_twice_is_looked_at_twice(graph: bytes) -> None:
    """Protocol Buffers merge a message that comes twice, so a second graph could hide behind a first."""
    refused(graph + small(helper.make_node("Run", [], [], domain="evil")).SerializeToString(), "domain 'evil'")
    node = helper.make_node("Neg", ["x"], ["y"]).SerializeToString()
    doubled = (
        b"\x3a" + bytes([len(node) + 12]) + b"\x0a" + bytes([len(node) + 10]) + node + b"\x3a\x04evil" + b"\x3a\x02ai"
    )
    refused(doubled, "domain 'evil'")


def test_nesting_without_end() -> None:
    """A thousand branches in each other are refused before Python's stack ends."""
    content = b""
    for _ in range(1000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # graph of an attribute of a node
            size = len(content)
            content = tag + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content
    size = len(content)
    refused(b"\x3a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content, "nested more than")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no graph"),
        (b"\x08\x08", "holds no graph"),
        (b"\x3a\x05\x0a", "longer than what holds it"),
        (b"\x3a", "ends within a number"),
        (b"\x3a\xff\xff\xff\xff\xff\xff", "too long"),
        (b"\xba\x80\x00", "too long"),
        (b"\x38\x01", "is no message"),
        (b"\x0b", "wire type 3"),
        (b"\x20\x00\x00\x00ORTM", "."),
        (b"\x80\x05]q\x00.", "."),
    ],
    ids=repr,
)
def test_what_is_no_onnx_file(content: bytes, told: str) -> None:
    """Nothing, cut files, ONNX Runtime's own format and a pickle are refused as what they are."""
    refused(content, told)


@given(st.binary(max_size=200))
@example(Path(__file__).read_bytes())
def test_any_bytes_are_judged(content: bytes) -> None:
    """Whatever comes is accepted or refused with a reason; no other error comes out."""
    with suppress(OddGraphError):
        inspect(content)


@given(st.data())
def test_a_walk_never_accepts_what_the_parser_reads_as_odd(graph: bytes, data: st.DataObject) -> None:
    """Where ONNX's own parser finds a strange domain or outside weights in bytes changed at random, so do we."""
    content = bytearray(graph)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        inspect(bytes(content))
    except OddGraphError:
        return
    try:
        model = onnx.load_from_string(bytes(content))
    except Exception:  # what no parser reads, no runtime runs
        return
    domains = {node.domain for node in model.graph.node} | {opset.domain for opset in model.opset_import}
    assert domains <= set(anatomy.DOMAINS)
    assert not any(t.external_data or t.data_location for t in model.graph.initializer)
