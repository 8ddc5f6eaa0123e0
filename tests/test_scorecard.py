"""The numbers of a scorecard, against scikit-learn and by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipelines import graph, scorecard
from pipelines.candidates import linear
from pipelines.candidates.controls import Controls
from pipelines.demand import probability
from pipelines.manifest import GRAPH
from pipelines.packing import pack, terms_of
from pipelines.pricing import Guardrails
from pipelines.window import on_ladder, quotes, targets, true_value
from tests.policies import tiny_policy
from tests.worlds import LADDER, belief, candidate, config, info, knowledge, offers, session, terms, window


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory):
    """A packed candidate, its manifest and its graph."""
    folder = tmp_path_factory.mktemp("policy")
    model = candidate(offers(400)[0])
    manifest = pack(
        folder, config(), info(), offers(300)[0], knowledge(model), terms_of(config(), info()), "linear", "linear", "-"
    )
    return model, manifest, graph.session(folder / GRAPH)


def random_outcomes(rows: int = 997, seed: int = 0):
    """Return outcomes and the probabilities that they had."""
    rng = np.random.default_rng(seed)
    q = rng.beta(1, 4, rows)
    return (rng.random(rows) < q).astype(np.int64), q


def test_log_loss_and_auc_are_those_of_scikit_learn() -> None:
    """On random outcomes."""
    bought, q = random_outcomes()
    found = scorecard.fit_metrics(bought, q)
    assert log_loss(bought, q) == pytest.approx(found["log_loss"])
    assert roc_auc_score(bought, q) == pytest.approx(found["auc"])


@pytest.mark.parametrize("outcome", [0, 1])
def test_a_window_with_one_outcome_has_no_auc(outcome: int) -> None:
    """None, and the other numbers are there."""
    found = scorecard.fit_metrics(np.full(50, outcome), np.linspace(0.1, 0.9, 50))
    assert found["auc"] is None
    assert math.isfinite(found["log_loss"])
    assert 0 < found["calibration_error"] < 1


def test_calibration_bins_hold_every_row_once() -> None:
    """Twenty bins of almost equal size, by predicted probability, with the means of a plain loop."""
    bought, q = random_outcomes()
    table = scorecard.calibration(bought, q)
    assert (20, 997) == (len(table), table["rows"].sum())
    assert {49, 50} == set(table["rows"])
    assert table["predicted"].is_monotonic_increasing
    first = np.argsort(q)[:50]
    assert (q[first].mean(), bought[first].mean(), 50) == pytest.approx(tuple(table.iloc[0]))
    assert q.mean() == pytest.approx(np.average(table["predicted"], weights=table["rows"]))
    assert bought.mean() == pytest.approx(np.average(table["observed"], weights=table["rows"]))


def test_fewer_rows_than_bins() -> None:
    """Each row is a bin of its own, and no bin is empty."""
    table = scorecard.calibration(np.array([0, 1, 1]), np.array([0.9, 0.1, 0.5]))
    assert [[0.1, 1.0, 1], [0.5, 1.0, 1], [0.9, 0.0, 1]] == table.to_numpy().tolist()


def test_calibration_error_finds_a_shift() -> None:
    """Probabilities that are all 0.1 too high are off by 0.1; true ones by sampling noise alone."""
    bought, q = random_outcomes(20_000)
    assert scorecard.fit_metrics(bought, q)["calibration_error"] < 0.015
    assert 0.1 == pytest.approx(scorecard.fit_metrics(bought, q + 0.1)["calibration_error"], abs=0.01)


def test_chance_alone_is_no_calibration_error() -> None:
    """Few purchases make few bins, so that true probabilities of rare purchases stay within a tenth of their rate."""
    rng = np.random.default_rng(3)
    q = rng.beta(1, 24, 6_000)
    bought = (rng.random(6_000) < q).astype(np.int64)
    assert scorecard.fit_metrics(bought, q)["calibration_error"] < 0.1 * bought.mean()
    few = np.array([0, 1, 1]), np.array([0.9, 0.1, 0.5])
    assert 2 / 3 - 0.5 == pytest.approx(scorecard.fit_metrics(*few)["calibration_error"])


def test_a_pick_is_scored_at_the_shock_of_each_offer() -> None:
    """Where an instrument tells the shocks the loss is that of the curves at them; without, that of the live curves."""
    found, shock = window(400), np.random.default_rng(0).normal(size=400)
    one = candidate(found.offers)
    a, b = (np.append(v[:-1], [extra, v[-1]]) for v, extra in ((one.model.a, 1.5), (one.model.b, 0.0)))
    model = linear.Model(a, b)
    live = dataclasses.replace(one, model=model, controls=Controls(shocks=(-1.0, 1.0)))
    bought, p = found.offers["bought"].to_numpy(), found.logged.propensity
    averaged = scorecard.balanced_log_loss(bought, found.logged.shown(probability(live, found.offers)), p)
    assert averaged == scorecard.scored_loss(live, found)
    expected = np.zeros(400)
    for n, s in enumerate(shock):
        at = dataclasses.replace(live, controls=Controls(shocks=(float(s),)))
        expected[n] = probability(at, found.offers[n : n + 1])[0, found.logged.rung[n]]
    told = scorecard.scored_loss(live, dataclasses.replace(found, shock=shock))
    assert scorecard.balanced_log_loss(bought, expected, p) == pytest.approx(told, rel=1e-6)
    assert abs(told - averaged) > 0.01


def test_the_balanced_log_loss_weighs_by_inverse_propensity() -> None:
    """By hand: a rung shown four times as seldom counts four times as much; equal propensities count alike."""
    bought, q = np.array([1, 0]), np.array([0.5, 0.2])
    expected = (1.25 * -math.log(0.5) + 5 * -math.log(0.8)) / 6.25
    assert expected == pytest.approx(scorecard.balanced_log_loss(bought, q, np.array([0.8, 0.2])))
    assert log_loss(bought, q) == pytest.approx(scorecard.balanced_log_loss(bought, q, np.array([0.3, 0.3])))


def test_weights_that_the_window_chose_are_charged() -> None:
    """By hand: 300 offers that count once and 100 that count thrice are worth 300."""
    found = window(400)
    logged = dataclasses.replace(found.logged, propensity=np.where(np.arange(400) < 300, 0.3, 0.1))
    found = dataclasses.replace(found, logged=logged)
    assert 0.4 + 2 / 300 == pytest.approx(scorecard.picking_loss(0.4, 2, found))
    assert 0.4 == scorecard.picking_loss(0.4, 0, found)


def test_certain_and_wrong_is_a_finite_loss() -> None:
    """A probability of nought for what was bought does not make the scorecard infinite."""
    found = scorecard.balanced_log_loss(np.array([1, 0]), np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    assert 20 < found < 30


def test_probabilities_are_those_at_the_rung_shown(policy) -> None:
    """Of the graph's demand, as the Python candidate has it."""
    model, _, running = policy
    found = window(100, 4)
    demand = graph.run(running, found.offers, ("demand",))["demand"]
    (expected,) = model.probabilities(found.offers)
    shown = expected[np.arange(100), found.offers["rung"]]
    np.testing.assert_allclose(shown, scorecard.shown_probability(demand, found), rtol=1e-6)


def test_elasticities_are_the_slopes_between_the_neighbours_of_the_usual_price(policy) -> None:
    """By hand at the list price, from the rungs beside it; quantiles rise."""
    _, manifest, _ = policy
    demand = belief([0.0, 1.0, -3.0], [2.0, 4.0, 1.0]).demand
    found = scorecard.elasticities(demand, manifest)
    span = math.log(1.1) - math.log(0.9)
    expected = [(math.log(q[3]) - math.log(q[1])) / span for q in demand]
    assert expected == pytest.approx(found.tolist())
    quantiles = scorecard.sensitivity(demand, manifest)
    assert ["p10", "p25", "p50", "p75", "p90"] == list(quantiles)
    assert sorted(quantiles.values()) == list(quantiles.values())
    assert np.median(expected) == pytest.approx(quantiles["p50"])


def test_quotes_are_counted(policy) -> None:
    """Shares of cheaper, dearer and fallback quotes, and how often each guardrail binds."""
    quotes = {
        "multiplier": np.array([0.9, 1.0, 1.1, 1.2]),
        "guardrail": np.array(["none", "max_price", "none", "none"], dtype=object),
        "fallback": np.array(["", "no_admissible_price", "", ""], dtype=object),
    }
    found = scorecard.quote_metrics(quotes)
    assert (0.25, 0.5, 0.25) == (found["share_cheaper"], found["share_dearer"], found["fallback_share"])
    assert {"none": 0.75, "max_price": 0.25} == found["guardrails"]
    assert 0.05 == pytest.approx(found["mean_price_change"])
    found = scorecard.quote_metrics(quotes, usual=1.2)
    assert (0.75, 0.0) == (found["share_cheaper"], found["share_dearer"])


def test_the_share_of_the_gain_has_its_ends_where_they_belong() -> None:
    """The bounds of the truth: one for the perfect policy, nought for the single; without a truth there is none."""
    found = window(400)
    profit = found.logged.unit_profit * found.truth
    perfect = np.eye(5)[profit.argmax(axis=1)]
    single = np.eye(5)[np.full(400, profit.mean(axis=0).argmax())]
    bounds = {
        "perfect_per_1000": 1000 * float(profit.max(axis=1).mean()),
        "best_single_per_1000": 1000 * float(profit.mean(axis=0).max()),
    }
    listed = on_ladder(np.full((400, 1), 1.0), LADDER)
    for target, expected in ((perfect, 1.0), (single, 0.0)):
        card = scorecard.profit_metrics(target, target, found, listed, bounds, 0.95)
        assert (expected, expected) == pytest.approx((card["share_of_gain"], card["share_of_gain_as_run"]))
    mixed = scorecard.profit_metrics(single, perfect, found, listed, bounds, 0.95)
    assert (1.0, 0.0) == pytest.approx((mixed["share_of_gain"], mixed["share_of_gain_as_run"]))
    assert "share_of_gain" not in scorecard.profit_metrics(perfect, perfect, found, listed, None, 0.95)


def test_one_quote_is_timed_with_words_and_gaps(tmp_path: Path) -> None:
    """A median in microseconds, also for a policy some of whose inputs the table lacks."""
    tiny_policy(tmp_path)
    running = graph.session(tmp_path / GRAPH)
    assert 1 < scorecard.quote_microseconds(running, offers(3)[0]) < 1e6


def test_a_scorecard_is_whole(policy) -> None:
    """It says which graph on which data, how well it fits and what it earns; all of it can be written as JSON."""
    model, manifest, running = policy
    found = window(400, seed=2)
    listed = on_ladder(np.full((400, 1), 1.0), LADDER)
    quoted = graph.run(running, found.offers, scorecard.NEEDED)
    card = scorecard.measured(manifest, quoted, found, listed, None, 0.95)
    assert (manifest.graph_sha256, 400, True) == (card["graph_sha256"], card["offers"], card["agreement"]["passed"])
    assert card == json.loads(json.dumps(card, allow_nan=False))
    q = scorecard.shown_probability(quoted["demand"], found)
    assert log_loss(found.offers["bought"], q) == pytest.approx(card["log_loss"])
    python = quotes(knowledge(model).belief(found.offers), found, manifest.terms)
    again = scorecard.measured(manifest, python, found, listed, None, 0.95)
    assert card["profit_per_1000"] == pytest.approx(again["profit_per_1000"])


def test_a_claim_is_the_models_own_and_decides_nothing(policy) -> None:
    """A model that believes in twice the demand claims twice the profit, and is paid what its prices earn."""
    _, manifest, running = policy
    found = window(400, seed=2)
    listed = on_ladder(np.full((400, 1), 1.0), LADDER)
    quoted = graph.run(running, found.offers, scorecard.NEEDED)
    honest = scorecard.measured(manifest, quoted, found, listed, None, 0.95)
    boastful = scorecard.measured(manifest, quoted | {"demand": 2 * quoted["demand"]}, found, listed, None, 0.95)
    assert 2 * honest["claimed_per_1000"] == pytest.approx(boastful["claimed_per_1000"])
    assert honest["profit_per_1000"] == boastful["profit_per_1000"]
    assert boastful["optimism"] > honest["optimism"]


def test_the_verdict_counts_the_policy_as_it_runs() -> None:
    """With exploration the profit is that of the mixture, not of the greedy prices."""
    found = window(400)
    table = found.offers.assign(a=-0.4, b=np.where(found.offers["age"] > 0.5, 6.0, 1.2))
    found = dataclasses.replace(found, offers=table)
    running, quoted = targets(session(terms(LADDER, Guardrails(exploration=0.5))), found)
    card = scorecard.profit_metrics(running, quoted, found, running, None, 0.95)
    assert 1000 * true_value(running, found) == pytest.approx(card["true_profit_per_1000"])
    assert true_value(quoted, found) > true_value(running, found)
