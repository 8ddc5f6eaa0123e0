"""What stands beside the context while a candidate learns: the usual price, and a shock no live price has."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.candidates import Candidate, linear, load_demand
from pipelines.candidates.controls import Controls, scored
from pipelines.candidates.damping import Damped
from pipelines.candidates.ensemble import Ensemble
from pipelines.candidates.learning import learn, weighted
from pipelines.demand import probability
from pipelines.encoder import Encoder
from pipelines.logging_policy import LoggingPolicy
from tests.worlds import CATEGORICAL, LADDER, LOG, NUMERIC, in_graph, offers

ONES = np.array([[2.0, 1.0], [3.0, 1.0]], np.float32)


@functools.cache
def controls(*shocks: float) -> Controls:
    """Return controls with a usual price that depends on the age, and these shocks."""
    table = offers(2000)[0]
    table = table[(table["age"] > 0.5) | (table["rung"] < 3)]
    habit = LoggingPolicy.fit(table, (NUMERIC, CATEGORICAL), len(LADDER), 0)
    return Controls(habit, LADDER, -0.05, 0.1, shocks)


def test_without_controls_nothing_is_added() -> None:
    """The encoded context itself, learning and serving."""
    assert not Controls().any
    assert ONES is Controls().learning(ONES, pd.DataFrame())
    assert ONES is Controls().serving(ONES, pd.DataFrame())[0]


def test_the_columns_stand_before_the_constant() -> None:
    """While learning: context, usual price on its scale, shock, and last the ones."""
    table = pd.DataFrame({"usual": [0.05, -0.05], "shock": [1.5, -0.5]})
    expected = np.array([[2.0, 1.0, 1.5, 1.0], [3.0, 0.0, -0.5, 1.0]])
    np.testing.assert_allclose(expected, controls(0.0).learning(ONES, table), rtol=1e-6)
    np.testing.assert_allclose(expected[:, [0, 1, 3]], controls().learning(ONES, table), rtol=1e-6)
    np.testing.assert_allclose(expected[:, [0, 2, 3]], Controls(shocks=(0.0,)).learning(ONES, table), rtol=1e-6)


def test_live_the_usual_price_is_that_of_such_contexts_and_the_shock_none_of_theirs() -> None:
    """The logged columns `usual` and `shock` play no part; there is one view for each shock to average over."""
    table = offers(50, 3)[0].assign(usual=9.0, shock=9.0)
    z = Encoder.fit(table, NUMERIC, CATEGORICAL).encode(table)
    low, high = controls(-1.0, 2.0).serving(z, table)
    assert {-1.0} == set(low[:, -2])
    assert {2.0} == set(high[:, -2])
    usual = controls().habit.probability(table) @ np.log(np.array(LADDER))
    np.testing.assert_allclose((usual + 0.05) / 0.1, low[:, -3], rtol=1e-4, atol=1e-5)
    old = table["age"].to_numpy() > 0.5
    assert low[old, -3].mean() > low[~old, -3].mean() + 0.2


@pytest.mark.parametrize("shocks", [(), (0.0,), (-1.0, 0.0, 2.0)])
def test_the_graph_has_the_controls(shocks: tuple[float, ...], tmp_path: Path) -> None:
    """ONNX and Python agree on a candidate with a usual price and shocks, and so does its copy on disk."""
    table, beside = offers(300, 4)[0], controls(*shocks)
    encoder = Encoder.fit(table, NUMERIC, CATEGORICAL)
    size = len(encoder.names) + 1 + bool(shocks)
    rng = np.random.default_rng(0)
    a, b = 0.3 * rng.normal(size=size), 0.3 * rng.normal(size=size)
    b[-1] = 4.0
    one = Candidate(encoder, LOG, linear.Model(a, b), "linear", beside)
    expected = probability(one, table)
    np.testing.assert_allclose(expected, in_graph(one, table)[0], rtol=1e-5)
    one.save(tmp_path / "c")
    np.testing.assert_array_equal(expected, probability(load_demand(tmp_path / "c"), table))


def test_several_shocks_give_the_mean_of_their_curves() -> None:
    """The curve of a live price is the mean over the shocks that there were."""
    table = offers(100, 4)[0]
    encoder = Encoder.fit(table, NUMERIC, CATEGORICAL)
    weights = np.append(np.zeros(len(encoder.names) - 1), [1.0, 0.5])
    model = linear.Model(weights, 0 * weights + np.append(np.zeros(len(weights) - 1), 2.0))
    each = [probability(Candidate(encoder, LOG, model, "linear", Controls(shocks=(s,))), table) for s in (-2.0, 1.0)]
    both = Candidate(encoder, LOG, model, "linear", Controls(shocks=(-2.0, 1.0)))
    np.testing.assert_allclose((each[0] + each[1]) / 2, probability(both, table))
    assert np.abs(each[0] - each[1]).min() > 0.1


def test_outcomes_are_held_against_the_curve_at_their_own_shock() -> None:
    """Of a candidate, an ensemble and a damped demand; without a column `shock`, or a shock, it is the live curve."""
    table, beside = offers(60, 4)[0], Controls(shocks=(-1.0, 1.0))
    encoder = Encoder.fit(table, NUMERIC, CATEGORICAL)
    weights = np.append(np.zeros(len(encoder.names) - 1), [1.0, 0.5])
    one = Candidate(encoder, LOG, linear.Model(weights, 0 * weights + np.eye(len(weights))[-1] * 2), "linear", beside)
    told = table.assign(shock=np.where(np.arange(60) % 2, -1.0, 3.0))
    expected = np.empty((60, len(LADDER)))
    for shock in (-1.0, 3.0):
        at = dataclasses.replace(one, controls=Controls(shocks=(shock,)))
        expected[told["shock"] == shock] = probability(at, table)[told["shock"] == shock]
    both = Ensemble(("a", "b"), (one, one), (0.4, 0.6))
    for demand in (one, both, Damped(both, 1.0, (1.0,) * len(LADDER))):
        np.testing.assert_allclose(expected, probability(scored(demand), told))
        np.testing.assert_array_equal(probability(demand, told), probability(scored(demand), table))
    assert np.abs(expected - probability(one, told)).max() > 0.1
    plain = dataclasses.replace(one, controls=Controls(), model=linear.Model(weights[1:], weights[1:] + 1))
    np.testing.assert_array_equal(probability(plain, told), probability(scored(plain), told))


def _hidden(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return offers whose prices follow a hidden demand shock, told as `shock`, and the true mean curve (K,)."""
    rng, at = np.random.default_rng(seed + 100), np.log(np.array(LADDER))  # not the draws of `offers`
    table, shock = offers(rows, seed)[0], rng.normal(size=rows)
    rung = np.clip(np.round(2 + shock + 0.7 * rng.normal(size=rows)), 0, 4).astype(int)
    q = 1 / (1 + np.exp(-(-0.4 + 1.0 * shock[:, None] - 4.0 * at)))
    bought = (rng.random(rows) < q[np.arange(rows), rung]).astype(np.int64)
    changed = {"rung": rung, "multiplier": np.array(LADDER)[rung], "bought": bought, "shock": shock}
    return weighted(table.assign(**changed, propensity=np.nan)), q.mean(axis=0)


def test_a_shock_repairs_what_hidden_demand_spoils() -> None:
    """Prices that rose with demand hide its fall; with the shock beside the context the fall comes back."""
    (fit, true), (select, _) = _hidden(6000, 0), _hidden(3000, 1)
    falls = {}
    for name, beside in {"blind": Controls(), "told": Controls(shocks=(-1.28, -0.52, 0.0, 0.52, 1.28))}.items():
        settings = linear.Settings(curve=("logit-log",))
        learned = learn(fit, select, (NUMERIC, CATEGORICAL), LADDER, settings, 0, beside)
        mean = probability(learned.demand, select).mean(axis=0)
        falls[name] = mean[0] - mean[-1]
    assert falls["told"] == pytest.approx(true[0] - true[-1], abs=0.06)
    assert falls["blind"] < 0.5 * (true[0] - true[-1])
