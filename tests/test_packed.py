"""A graph whose numbers are one input: the same answers, to the last bit, and nothing else of it changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from policies import CATEGORICAL, NUMERIC, REQUEST

from pipelines import graph
from pipelines.errors import InputError
from pipelines.manifest import GRAPH
from pipelines.policy import KNOTS, LADDER, QUOTE, TERMS_OF_SALE
from pipelines.serving.anatomy import OddGraphError, inspect
from pipelines.serving.packed import NUMBERS, inputs, packed
from pipelines.serving.runtime import Policy

OUTPUTS = (*QUOTE, *LADDER, *KNOTS)


def _contexts(count: int) -> list[dict[str, Any]]:
    """Return contexts of all kinds: with and without each field, unseen words, chance, costs above the price."""
    rng = np.random.default_rng(3)
    drawn = {
        "list_price": lambda: float(rng.uniform(0.5, 90)), "unit_cost": lambda: float(rng.uniform(0, 60)),
        "min_price": lambda: float(rng.uniform(0, 20)), "max_price": lambda: float(rng.uniform(20, 99)),
        "u": lambda: float(rng.random()), "personal": lambda: int(rng.integers(2)),
        **{name: lambda: float(rng.normal(10, 30)) for name in NUMERIC},
        **{name: lambda: str(rng.choice(["DE", "中国", "garden", "Atlantis", ""])) for name in CATEGORICAL},
    }  # fmt: skip
    return [{n: draw() for n, draw in drawn.items() if n == "list_price" or rng.random() < 0.7} for _ in range(count)]


def test_answers_are_the_same_to_the_last_bit(tiny: Path) -> None:
    """Alone and on a page, all outputs, beside the file as it is on an ordinary session."""
    policy, plain = Policy.load(tiny), graph.session(tiny / GRAPH)
    contexts = _contexts(300)
    for size in (1, 7, 100):
        for start in range(0, len(contexts), size):
            some = contexts[start : start + size]
            columns = policy.columns(some)
            even = [[*column, *column[-1:] * (size % 2)] for column in columns]
            told = graph.run(plain, dict(zip(policy.inputs, even, strict=True)), OUTPUTS)
            for name, answer in zip(OUTPUTS, policy.answers(columns, OUTPUTS), strict=True):
                assert _bits(told[name][: len(some)].tolist()) == _bits(answer), (name, some)
            if size == 1:
                row = policy.row(some[0])
                assert _bits([column[0] for column in columns]) == _bits(row)
                assert _bits([told[name].tolist()[0] for name in QUOTE]) == _bits([*policy.answer(row, QUOTE)])


def test_a_context_gets_the_same_answer_whatever_it_is_priced_with(tiny: Path) -> None:
    """Alone, in groups and on pages of every size, at every place: the same, to the last bit."""
    policy, rng = Policy.load(tiny), np.random.default_rng(8)
    rows = [policy.row(context) for context in _contexts(120)]
    alone = [_bits([*policy.answer(row, QUOTE)]) for row in rows]
    ladders = [[_bits(part[0]) for part in policy.answers([[v] for v in row], OUTPUTS)] for row in rows]
    for size in (2, 3, 4, 5, 7, 8, 9, 33, 70):
        for _ in range(6):
            chosen = rng.integers(len(rows), size=size).tolist()
            group = policy.group([rows[at] for at in chosen], QUOTE)
            assert [alone[at] for at in chosen] == [_bits([*answer]) for answer in group]
            columns = [list(column) for column in zip(*[rows[at] for at in chosen], strict=True)]
            page = zip(*policy.answers(columns, OUTPUTS), strict=True)
            assert [ladders[at] for at in chosen] == [_bits([*answer]) for answer in page]


def _bits(values: Any) -> Any:
    """Return values so that NaN equals itself, and 0.0 not -0.0."""
    if isinstance(values, list):
        return [_bits(value) for value in values]
    return values.hex() if isinstance(values, float) else values


def test_what_changes_in_the_file(tiny: Path) -> None:
    """One node and one input come, the inputs that were numbers go; ONNX itself finds nothing amiss."""
    content = (tiny / GRAPH).read_bytes()
    numbers = tuple(name for name, kind in inputs(content).items() if kind == "number")
    assert {*NUMERIC, *TERMS_OF_SALE} == set(numbers)
    assert dict.fromkeys(CATEGORICAL, "word") == {n: k for n, k in inputs(content).items() if k != "number"}
    made, was = onnx.load_from_string(packed(content, numbers)), onnx.load_from_string(content)
    onnx.checker.check_model(made)
    inspect(packed(content, numbers))
    assert {NUMBERS, *CATEGORICAL} == {value.name for value in made.graph.input}
    assert was.graph.node[:] == made.graph.node[1:]
    assert was.graph.initializer[:] == made.graph.initializer[:]
    assert was.graph.output[:] == made.graph.output[:]
    assert was.opset_import[:] == made.opset_import[:]
    assert ("Split", [NUMBERS], list(numbers)) == (
        made.graph.node[0].op_type, [*made.graph.node[0].input], [*made.graph.node[0].output]
    )  # fmt: skip


def test_many_numbers() -> None:
    """Lengths and counts above 127 take two bytes: 300 inputs come as one."""
    names = [f"number {n}" for n in range(300)]
    double = onnx.TensorProto.DOUBLE
    given = [onnx.helper.make_tensor_value_info(name, double, ["N", 1]) for name in names]
    out = onnx.helper.make_tensor_value_info("sum", double, ["N", 1])
    made = onnx.helper.make_graph([onnx.helper.make_node("Sum", names, ["sum"])], "sum", given, [out])
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    session = graph.session(packed(model.SerializeToString(), names), live=True)
    table = np.arange(600.0).reshape(2, 300)
    assert table.sum(axis=1).tolist() == session.run(["sum"], {NUMBERS: table})[0][:, 0].tolist()


def test_an_old_operator_set_is_refused(tiny: Path) -> None:
    """What `Split` of it would not understand does not load, and the message says what to do."""
    model = onnx.load(tiny / GRAPH)
    model.opset_import[0].version = 17
    with pytest.raises(OddGraphError, match=r"operator set is 17.*export it again"):
        packed(model.SerializeToString(), ["list_price"])
    for broken in (b"", b"\x3a\x00", b"\x3a\x02\x5a\x00", model.SerializeToString()[:-3]):
        with pytest.raises(InputError, match=r"does not load|disagree on"):
            Policy.of(Policy.load(tiny).manifest, broken, "here")


def test_threads_do_not_share_a_feed(tiny: Path) -> None:
    """Requests of several threads, as MLflow's server has them, each get their own answer."""
    policy = Policy.load(tiny)
    contexts = [{**REQUEST, "list_price": 10.0 + n} for n in range(40)]
    alone = [policy.quote([context]) for context in contexts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            assert alone == [*pool.map(lambda context: policy.quote([context]), contexts)]
