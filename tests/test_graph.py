"""The graph is the Python policy: same prices, same words, same chances, whatever the terms and the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines import graph
from pipelines.policy import KNOTS, LADDER, QUOTE, TERMS_OF_SALE, Belief, Terms, decide, in_words
from pipelines.pricing import Guardrails
from tests.worlds import belief, session
from tests.worlds import terms as terms_of

STRICT = Guardrails(largest_cut=0.2, largest_rise=0.1, margin_floor=0.05, minor_unit=0.01, exploration=0.1)
ABSOLUTE = tuple(float(p) for p in range(19, 400, 20))
ALL = (*QUOTE, *LADDER, *KNOTS)
TERMS = {
    "default": terms_of((0.75, 0.8, 0.9, 1.0, 1.1, 1.2), STRICT),
    "endings": terms_of((0.8, 0.9, 1.0, 1.1), Guardrails(endings=(0.49, 0.99), minor_unit=0.01, exploration=0.5)),
    "no minor unit": terms_of((0.8, 1.0, 1.2), Guardrails(exploration=0.3), cost_share=0.6),
    "absolute prices": terms_of(ABSOLUTE, Guardrails(), fallback=159.0, cost_share=0.0),
    "fallback between": terms_of((0.7, 0.8, 0.9), STRICT, fallback=0.85),
    "few rungs": terms_of((0.9, 1.1), STRICT, knots=(0.8, 0.9, 1.0, 1.1, 1.2)),
    "one rung": terms_of((1.0,), STRICT, knots=(0.9, 1.0)),
}


def contexts(terms: Terms, rows: int, seed: int = 0) -> pd.DataFrame:
    """Return coefficients and terms of sale of every kind, a third of them missing where they may be."""
    rng = np.random.default_rng(seed)
    price = np.ones(rows) if max(terms.ladder) > 10 else np.round(np.exp(rng.normal(2, 2, rows)), 2).clip(0.01)

    def gaps(values):
        return np.where(rng.random(rows) < 0.33, np.nan, values)

    return pd.DataFrame(
        {
            "a": rng.normal(-1, 2, rows),
            "b": rng.gamma(1, 3, rows) + 1e-3,
            "w": rng.choice(np.array(["", "中文", "known"], dtype=object), rows),
            "list_price": price,
            "unit_cost": gaps(price * rng.uniform(0, 1.2, rows)),
            "min_price": gaps(price * rng.uniform(0.5, 1.2, rows)),
            "max_price": gaps(price * rng.uniform(0.7, max(terms.ladder) * 1.1, rows)),
            "u": gaps(rng.random(rows)),
            "personal": rng.choice([0.0, 1.0, np.nan], rows),
        }
    )


def in_python(table: pd.DataFrame, terms: Terms) -> dict[str, np.ndarray]:
    """Return the quotes of the Python policy, shaped as `graph.run` shapes them."""
    sale = {n: table[[n]].to_numpy() for n in TERMS_OF_SALE}
    quotes = in_words(decide(belief(table["a"], table["b"], terms.knots), sale, terms))
    return {k: v[:, 0] if k in QUOTE else v for k, v in quotes.items()}


def assert_same(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Prices, rungs and words to the last bit; what went through exp and log to twelve digits."""
    assert set(expected) == set(found)
    for name, values in found.items():
        assert expected[name].shape == values.shape, name
        if name in ("price", "ladder_price", "rung", "guardrail", "fallback", "propensity"):
            np.testing.assert_array_equal(expected[name], values, err_msg=name)
        else:
            np.testing.assert_allclose(values, expected[name], rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", TERMS)
def test_the_graph_quotes_as_python_does(name: str) -> None:
    """Every output of 3,000 contexts, whatever the terms."""
    terms, table = TERMS[name], contexts(TERMS[name], 3000)
    expected = in_python(table, terms)
    assert_same(expected, graph.run(session(terms), table, ALL))
    assert 1 == len(terms.ladder) or len(set(expected["rung"])) > 1


def test_members_that_disagree_and_rungs_never_shown_are_in_the_graph() -> None:
    """Caution and support are decided in the graph as in Python, and both change what is quoted."""
    import ndonnx as ndx

    found, table = {}, contexts(TERMS["default"], 500)
    knots = (0.8, 0.9, 1.0, 1.1, 1.2)
    members = [belief(1.0, 0.5, knots).curves[0], belief(0.0, 8.0, knots).curves[0]]
    shown = np.array([[0.01, 0.3, 0.3, 0.3, 0.09]])
    for name, rails in {"free": Guardrails(), "wary": Guardrails(support=0.05, caution=0.7)}.items():
        terms = terms_of(knots, rails, cost_share=0.3)

        def believe(inputs: dict, terms=terms) -> Belief:
            ones = 0 * ndx.asarray(inputs["list_price"]) + 1
            share = None if terms.guardrails.support is None else ones * ndx.asarray(shown)
            return Belief([ones * ndx.asarray(q) for q in members], (0.4, 0.6), share)

        made = graph.session(graph.compose((), (), believe, terms).SerializeToString())
        found[name] = graph.run(made, table, ALL)
        share = None if terms.guardrails.support is None else np.repeat(shown, len(table), axis=0)
        believed = Belief([np.repeat(q, len(table), axis=0) for q in members], (0.4, 0.6), share)
        expected = in_words(decide(believed, {n: table[[n]].to_numpy() for n in TERMS_OF_SALE}, terms))
        assert_same({k: v[:, 0] if k in QUOTE else v for k, v in expected.items()}, found[name])
    assert (found["free"]["price"] != found["wary"]["price"]).mean() > 0.1
    assert 0 in found["free"]["rung"]
    assert 0 not in found["wary"]["rung"]


def test_the_contexts_reach_every_answer() -> None:
    """All guardrails bind, both reasons for a fallback occur, exploration leaves the greedy rung."""
    found = in_python(contexts(TERMS["default"], 3000), TERMS["default"])
    words = {"margin_floor", "largest_cut", "largest_rise", "min_price", "max_price", "none"}
    assert words == set(found["guardrail"])
    assert {"", "no_admissible_price", "unit_cost_missing"} == set(found["fallback"])
    assert {0.05, 0.9, 0.95, 1.0} == set(found["propensity"].round(12))


def test_a_large_batch_is_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size give what one run gives, in order, and nothing is lost at the seams."""
    terms = TERMS["default"]
    table = contexts(terms, 101)
    whole = graph.run(session(terms), table, ALL)
    for size in (100, 101, 7, 1):
        monkeypatch.setattr(graph, "ROWS_AT_ONCE", size)
        assert_same(whole, graph.run(session(terms), table, ALL))


def test_more_rows_than_go_at_once() -> None:
    """The size in force is passed by a real batch."""
    terms = TERMS["one rung"]
    table = contexts(terms, graph.ROWS_AT_ONCE + 1)
    assert_same({"price": in_python(table, terms)["price"]}, graph.run(session(terms), table, ("price",)))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_shapes_do_not_depend_on_the_number_of_rows(name: str, rows: int) -> None:
    """No row, one row and two: (N,) for a quote's fields, (N, K) for the ladder's, and Python's answers."""
    terms, table = TERMS[name], contexts(TERMS[name], rows, seed=5)
    found = graph.run(session(terms), table, ALL)
    assert {(rows,)} == {found[n].shape for n in QUOTE}
    assert {(rows, len(terms.ladder))} == {found[n].shape for n in LADDER}
    assert {(rows, len(terms.knots))} == {found[n].shape for n in KNOTS}
    assert_same(in_python(table, terms), found)


def test_a_missing_column_counts_as_missing_values() -> None:
    """A request without bounds, u and words is priced as one that brings NaN and empty words."""
    terms = TERMS["default"]
    table = contexts(terms, 50)
    bare = table[["a", "b", "list_price", "unit_cost"]]
    expected = graph.run(
        session(terms), bare.assign(**dict.fromkeys(("min_price", "max_price", "u", "personal"), np.nan), w="")
    )
    assert_same(expected, graph.run(session(terms), bare))
    assert {1.0} == set(expected["propensity"])


def test_columns_may_be_lists_in_any_order() -> None:
    """A plain mapping serves as well as a table, and further columns are ignored."""
    terms = TERMS["default"]
    table = contexts(terms, 5)
    lists = {name: table[name].tolist() for name in reversed(table.columns)} | {"more": ["?"] * 5}
    assert_same(graph.run(session(terms), table), graph.run(session(terms), lists))


def test_unknown_and_missing_words_are_words() -> None:
    """None, NaN and Chinese in a column of words do not stop a quote."""
    terms = TERMS["default"]
    table = contexts(terms, 4)
    odd = table.assign(w=np.array([None, np.nan, "中文字符串", "x" * 5000], dtype=object))
    assert_same(graph.run(session(terms), table), graph.run(session(terms), odd))


def test_a_session_runs_on_one_thread() -> None:
    """One live quote gets one thread, of the CPU."""
    options = session(TERMS["default"]).get_session_options()
    assert (1, 1) == (options.intra_op_num_threads, options.inter_op_num_threads)
    assert ["CPUExecutionProvider"] == session(TERMS["default"]).get_providers()


def test_inputs_are_doubles_and_words_by_name() -> None:
    """Every context column and every term of sale is an input of its own, (N, 1)."""
    found = {i.name: (i.type, i.shape) for i in session(TERMS["default"]).get_inputs()}
    numbers = {n: ("tensor(double)", ["N", 1]) for n in ("a", "b", *TERMS_OF_SALE)}
    assert numbers | {"w": ("tensor(string)", ["N", 1])} == found


def test_no_output_is_a_copy() -> None:
    """An output bears its own name from the node that makes it: copies would only take time."""
    proto = graph.compose(("a",), (), lambda inputs: _flat(inputs), TERMS["default"])
    made = {name: node.op_type for node in proto.graph.node for name in node.output}
    assert set(ALL) <= set(made)
    assert "Identity" not in {made[name] for name in ALL}


def _flat(inputs: dict) -> Belief:
    import ndonnx as ndx

    knots = TERMS["default"].knots
    return Belief([0 * ndx.asarray(inputs["a"]) + ndx.asarray(np.full((1, len(knots)), 0.3))], (1.0,))
