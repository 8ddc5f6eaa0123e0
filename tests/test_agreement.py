"""The check of a graph against Python must be hard, and must be able to fail."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipelines import agreement, graph
from pipelines.candidates import Candidate
from pipelines.policy import LADDER
from pipelines.pricing import Guardrails
from tests.worlds import CATEGORICAL, NUMERIC, candidate, info, knowledge, offers, terms
from tests.worlds import LADDER as RUNGS

TERMS = terms(RUNGS, Guardrails(largest_cut=0.2, margin_floor=0.05, minor_unit=0.01, exploration=0.1))


def compiled(model: Candidate):
    """Return the graph of a candidate under TERMS."""
    proto = graph.compose(NUMERIC, CATEGORICAL, knowledge(model).graph, TERMS)
    return graph.session(proto.SerializeToString())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The contexts of the check."""
    return agreement.contexts(offers(500)[0], info(), np.random.default_rng(0))


def test_the_contexts_are_hard(table: pd.DataFrame) -> None:
    """Missing numbers, extremes of either sign, unseen and Chinese words, prices from cents to thousands, and u."""
    known = offers(500)[0]
    assert agreement.CONTEXTS == len(table) >= 10_000
    assert {True} == {bool(0.02 < table[n].isna().mean() < 0.98) for n in ("age", "unit_cost", "min_price", "u")}
    assert table["age"].min() < -100 * known["age"].max() < 100 * known["age"].max() < table["age"].max()
    assert {"", "never seen", "中文字符串", "中国"} < set(table["country"])
    assert table["list_price"].max() > 20 * known["list_price"].max()
    assert table["list_price"].min() < known["list_price"].min() / 2
    assert table["list_price"].min() > 0
    assert table["u"].dropna().between(0, 1, inclusive="left").all()
    assert (table["unit_cost"] > table["list_price"]).any()
    assert 0.05 < (table["personal"] == 0).mean() < 0.2


def test_a_fifth_of_the_contexts_is_real(table: pd.DataFrame) -> None:
    """What customers look like is checked too, not only what nobody looks like."""
    real = table.merge(offers(500)[0][["age", "list_price", "unit_cost", "country"]].drop_duplicates())
    assert 0.15 < len(real) / len(table) < 0.45


def test_the_contexts_are_the_same_for_the_same_seed(table: pd.DataFrame) -> None:
    """And the offers that they are drawn from stay as they were."""
    known = offers(500)[0]
    again = agreement.contexts(known, info(), np.random.default_rng(0))
    pd.testing.assert_frame_equal(table, again)
    pd.testing.assert_frame_equal(offers(500)[0], known)


def test_a_faithful_graph_agrees(table: pd.DataFrame) -> None:
    """Every price and every probability, and nothing is listed; in Python all answers occur."""
    model = candidate(offers(500)[0])
    found = agreement.compare(compiled(model), knowledge(model), table, TERMS)
    assert (len(table), 1.0, 1.0, []) == tuple(
        found[k] for k in ("contexts", "same_price", "same_probability", "mismatches")
    )
    assert found["largest_probability_gap"] < 1e-6
    quotes = agreement.python_quotes(knowledge(model), table, TERMS)
    assert {"", "no_admissible_price", "unit_cost_missing"} == set(quotes["fallback"])
    assert {(len(table), len(RUNGS))} == {quotes[n].shape for n in LADDER}


def test_a_sabotaged_graph_is_caught(table: pd.DataFrame) -> None:
    """A slope that is off by a fifth changes prices; the first twenty mismatches are listed, ready for JSON."""
    model = candidate(offers(500)[0])
    found = agreement.compare(compiled(candidate(offers(500)[0], bend=0.7)), knowledge(model), table, TERMS)
    assert found["same_price"] < 0.999
    assert found["same_probability"] < 0.9
    assert found["largest_probability_gap"] > 0.01
    assert 20 == len(found["mismatches"])
    first = json.loads(json.dumps(found["mismatches"], allow_nan=False))[0]
    assert first["graph"] != first["python"]
    assert set(table.columns) == set(first["context"])


def test_a_small_error_of_the_demand_is_caught_even_where_prices_agree(table: pd.DataFrame) -> None:
    """A slope that is off by 0.003 hardly moves a price, but the purchase probabilities say it."""
    model = candidate(offers(500)[0])
    found = agreement.compare(compiled(candidate(offers(500)[0], bend=0.01)), knowledge(model), table, TERMS)
    assert found["same_price"] > 0.99
    assert found["same_probability"] < 0.999
    assert any(m["graph"]["price"] == m["python"]["price"] for m in found["mismatches"])


def test_a_graph_without_an_answer_agrees_with_nothing(table: pd.DataFrame) -> None:
    """NaN on both sides is no agreement, and can still be written down."""
    model = candidate(offers(500)[0])
    model.model.a[-1] = np.nan
    found = agreement.compare(compiled(model), knowledge(model), table, TERMS)
    assert 0.0 == found["same_probability"]
    assert found["mismatches"][0]["graph"]["purchase_probability"] is None
    json.dumps(found, allow_nan=False)
