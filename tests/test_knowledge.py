"""What a policy knows: with personal = 0 nothing personal has any effect, and what was never shown is not quoted."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import agreement, graph
from pipelines.candidates import Candidate, linear
from pipelines.candidates.controls import Controls
from pipelines.encoder import Encoder
from pipelines.knowledge import Knowledge, View, _switched, known
from pipelines.logging_policy import LoggingPolicy
from pipelines.policy import KNOTS, LADDER, QUOTE, Belief
from pipelines.pricing import Guardrails
from tests.worlds import CATEGORICAL, LOG, NUMERIC, candidate, enter_shop, info, offers, terms
from tests.worlds import LADDER as RUNGS

ALL = (*QUOTE, *LADDER, *KNOTS)
TERMS = terms(RUNGS, Guardrails(minor_unit=0.01, exploration=0.3))


@functools.cache
def knowledge() -> Knowledge:
    """Return a personal view that reads age and country, and one that reads neither."""
    table = offers(500)[0]
    encoder = Encoder.fit(table, ("list_price", "visits"), ())
    a, b = np.zeros(len(encoder.names)), np.zeros(len(encoder.names))
    a[-1], b[-1], b[encoder.names.index("visits")] = 0.2, 3.0, 0.5
    plain = Candidate(encoder, LOG, linear.Model(a, b), "linear", Controls())
    return Knowledge(View(candidate(table)), View(plain))


@functools.cache
def session() -> Any:
    """Return the graph of that knowledge."""
    return graph.session(graph.compose(NUMERIC, CATEGORICAL, knowledge().graph, TERMS).SerializeToString())


def request(**columns: Any) -> pd.DataFrame:
    """Return one request."""
    given = {"list_price": 20.0, "unit_cost": 9.0, "visits": 3.0, "age": 0.2, "country": "DE", "u": 0.5}
    return pd.DataFrame({k: [v] for k, v in (given | columns).items()})


def quote(**columns: Any) -> dict[str, list[Any]]:
    """Return everything that the graph says of one request."""
    return {k: v[:1].tolist() for k, v in graph.run(session(), request(**columns), ALL).items()}


_AGES = st.one_of(st.floats(-10, 10), st.just(math.nan), st.just(math.inf))
_WORDS = st.sampled_from(["", "DE", "FR", "中国", "火星"])


@settings(max_examples=100, deadline=None)
@given(_AGES, _WORDS, st.floats(0, 1, exclude_max=True), st.floats(0, 9))
def test_who_opts_out_is_quoted_the_same_whoever_they_are(age: float, country: str, u: float, visits: float) -> None:
    """With personal = 0 no personal column and no chance changes anything in the quote, to the last bit."""
    same = quote(personal=0.0, visits=visits)
    assert repr(same) == repr(quote(personal=0.0, visits=visits, age=age, country=country, u=u))
    assert [1.0] == same["propensity"]


def test_what_is_not_personal_still_counts() -> None:
    """Opted out, a context's other columns move the curve."""
    assert quote(personal=0.0, visits=0.0)["demand"] != quote(personal=0.0, visits=8.0)["demand"]


@pytest.mark.parametrize("personal", [1.0, math.nan])
def test_without_opting_out_personal_columns_and_chance_count(personal: float) -> None:
    """Age moves the curve and u the rung, and a missing switch is no opt-out."""
    assert quote(personal=personal, age=0.1)["demand"] != quote(personal=personal, age=0.9)["demand"]
    rungs = {quote(personal=personal, u=u)["rung"][0] for u in (0.0, 0.5, 0.99)}
    assert len(rungs) > 1


def test_the_switch_works_row_by_row_in_graph_and_python_alike() -> None:
    """In one batch some opt out and some do not; every price and probability agrees."""
    table = agreement.contexts(offers(500)[0], info(), np.random.default_rng(0)).head(2000)
    assert 0 < (table["personal"] == 0).sum() < len(table)
    found = agreement.compare(session(), knowledge(), table, TERMS)
    assert (1.0, 1.0) == (found["same_price"], found["same_probability"])


def test_a_personal_model_fed_with_blanks_would_not_do() -> None:
    """The impersonal curve is that of the impersonal model, not of the personal one without its columns."""
    asked = request(personal=0.0)
    (believed,) = knowledge().belief(asked).curves
    np.testing.assert_array_equal(knowledge().impersonal.demand.probabilities(asked)[0], believed)
    (blank,) = knowledge().belief(request(age=math.nan, country="")).curves
    assert np.abs(blank - believed).max() > 0.01


def test_without_personal_columns_the_switch_does_nothing() -> None:
    """One view alone answers for all."""
    alone = Knowledge(knowledge().personal)
    on, off = (alone.belief(request(personal=p)).curves[0] for p in (1.0, 0.0))
    np.testing.assert_array_equal(on, off)


@functools.cache
def selective() -> tuple[LoggingPolicy, LoggingPolicy]:
    """Return what was shown (the young never the dearest rung), by all columns and by those not personal."""
    table = offers(4000)[0]
    table = table[(table["age"] > 0.5) | (table["rung"] != 4)]
    kept = tuple(n for n in NUMERIC if n != "age")
    fitted = (LoggingPolicy.fit(table, columns, 5, 0) for columns in ((NUMERIC, CATEGORICAL), (kept, ())))
    return next(fitted), next(fitted)


def test_a_rung_never_shown_to_such_contexts_is_not_quoted() -> None:
    """The young, who would buy at the dearest rung, were never shown it: not quoted, and the guardrail says so."""
    wary = terms(RUNGS, Guardrails(support=0.05))
    shown, impersonal = selective()
    both = knowledge()
    asked = Knowledge(
        dataclasses.replace(both.personal, shown=shown), dataclasses.replace(both.impersonal, shown=impersonal)
    )
    made = graph.session(graph.compose(NUMERIC, CATEGORICAL, asked.graph, wary).SerializeToString())
    young = pd.concat([request(age=a, unit_cost=15.0) for a in (0.02, 0.1, 0.2)])
    found = graph.run(made, young, ALL)
    assert {3} == set(found["rung"])
    assert {"support"} == set(found["guardrail"])
    assert 0 == found["ladder_propensity"][:, 4].max()
    free = graph.run(session(), young.assign(u=np.nan), ("rung",))
    assert {4} == set(free["rung"]), "without the guardrail it is the best"
    table = agreement.contexts(offers(500)[0], info(), np.random.default_rng(0)).head(1500)
    same = agreement.compare(made, asked, table, wary)
    assert (1.0, 1.0) == (same["same_price"], same["same_probability"])


def test_what_is_known_is_read_from_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The impersonal demand where a column is personal, what was shown where a guardrail asks for it."""
    enter_shop(tmp_path, monkeypatch)
    demand, plain = Path("models/candidates/linear/demand"), Path("models/baselines/impersonal")
    found = known(demand, info(), Guardrails(), plain)
    assert found.impersonal is not None
    assert (None, None) == (found.personal.shown, found.impersonal.shown)
    assert {"age", "visits", "list_price"} == {n.name for n in found.encoder.numbers}
    assert not {"age", "country"} & {n.name for n in found.impersonal.demand.encoder.numbers}
    wary = known(demand, info(), Guardrails(support=0.02), plain)
    assert not {"age"} & {n.name for n in wary.impersonal.shown.encoder.numbers}
    assert "age" in {n.name for n in wary.personal.shown.encoder.numbers}
    assert known(demand, info(personal=()), Guardrails(), plain).impersonal is None


def test_who_opts_out_has_the_impersonal_curve_whatever_the_weights() -> None:
    """Not the mean of its copies, which rounding would move."""
    view = knowledge().impersonal
    plain = view.demand.probabilities(request())[0]
    several = Belief([plain * 0.9, plain * 0.7, plain * 0.8], (0.1, 0.2, 0.7))
    found = _switched(several, Belief([plain], (1.0,)), np.array([[True]]))
    np.testing.assert_array_equal(plain, found.demand)
