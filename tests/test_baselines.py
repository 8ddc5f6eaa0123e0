"""The policies to beat, and the reference that all are valued with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipelines import baselines, graph, window
from pipelines.baselines import demand_model, imitation, logged_worth, logging_policy, reference_of
from pipelines.encoder import Encoder
from pipelines.files import read_json, read_table
from pipelines.manifest import GRAPH, Manifest
from pipelines.policy import Terms
from pipelines.pricing import Guardrails
from pipelines.window import on_ladder, scores
from tests import worlds
from tests.worlds import CATEGORICAL, LADDER, LOG, NUMERIC, config, enter_shop, info, offers

FREE = Terms(LADDER, LOG, Guardrails())


@pytest.fixture(scope="module")
def learned():
    """A train and a valid window, and the reference model on them."""
    train, valid = offers(4000, 0)[0], offers(500, 1)[0]
    return train, valid, demand_model((NUMERIC, CATEGORICAL), train, valid, 0)


def confounded(rows: int, seed: int):
    """Return offers in which the younger half mostly saw 0.9 and the older half mostly 1.1."""
    table = offers(rows, seed)[0]
    rng = np.random.default_rng(seed)
    usual = np.where(table["age"] > 0.5, 3, 1)
    rung = np.where(rng.random(rows) < 0.8, usual, rng.integers(0, 5, rows))
    return table.assign(rung=rung, multiplier=np.array(LADDER)[rung])


def test_the_reference_learns_demand(learned) -> None:
    """On other offers it is nearer to the truth than one curve for all, which in turn falls with the price."""
    train, valid, model = learned
    test, truth = offers(1000, 2)
    q = truth.drop(columns="offer_id").to_numpy()
    pooled = demand_model(((), ()), train, valid, 0).probability(test, np.array([LADDER]))
    found = model.probability(test, np.array([LADDER]))
    assert 0.7 * np.abs(pooled - q).mean() > np.abs(found - q).mean()
    assert (np.diff(pooled[0]) < 0).all()
    assert np.ptp(pooled, axis=0).max() < 1e-6


def test_the_reference_table_follows_the_offers(learned) -> None:
    """Row by row, with the logged propensities where there are any."""
    train, _, model = learned
    test = offers(100, 2)[0].assign(propensity=np.linspace(0.1, 0.9, 100))
    table = reference_of(model, train, test, info(), 0)
    assert ["offer_id", *(f"q_{k}" for k in range(5)), "propensity"] == list(table.columns)
    assert test["offer_id"].tolist() == table["offer_id"].tolist()
    assert test["propensity"].tolist() == table["propensity"].tolist()
    np.testing.assert_allclose(model.probability(test, np.array([LADDER]))[:, 2], table["q_2"])


def test_unlogged_propensities_are_guessed_from_what_was_shown(learned) -> None:
    """Those of the rung shown: high for the usual price of the shopper's group, low for the other, never nought."""
    train, test = confounded(4000, 5), confounded(1000, 6)
    table = reference_of(learned[2], train, test.assign(propensity=np.nan), info(propensity_logged=False), 0)
    usual = test["rung"].to_numpy() == np.where(test["age"] > 0.5, 3, 1)
    assert table["propensity"][usual].mean() > 0.6
    assert table["propensity"][~usual].mean() < 0.25
    assert table["propensity"].min() >= 0.01


def test_guessed_propensities_are_about_probabilities() -> None:
    """Over the rungs they sum to 1, but for what the least of them are raised by; a rung never shown has the least."""
    train = confounded(2000, 5)
    train = train[train["rung"] != 4]
    encoder = Encoder.fit(train, NUMERIC, CATEGORICAL)
    found = logging_policy(encoder, train, confounded(200, 6), 5, 0)
    assert (200, 5) == found.shape
    assert {0.01} == set(found[:, 4])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.05)
    assert np.array_equal(found, logging_policy(encoder, train, confounded(200, 6), 5, 0))


def test_a_log_of_one_rung_has_that_rung() -> None:
    """Nothing to regress: it was shown with certainty."""
    train = confounded(300, 5).assign(rung=2)
    found = logging_policy(Encoder.fit(train, NUMERIC, CATEGORICAL), train, train.head(7), 5, 0)
    assert [[0.01, 0.01, 1.0, 0.01, 0.01]] * 7 == found.tolist()


def test_imitation_repeats_the_prices_of_the_past() -> None:
    """It quotes the group's usual price, whatever the profit, and stays inside the guardrails."""
    train = confounded(4000, 5)
    encoder = Encoder.fit(train, NUMERIC, CATEGORICAL)
    found = worlds.window(400, seed=6)
    rung = imitation(encoder, train, found, FREE).argmax(axis=1)
    old = found.offers["age"].to_numpy() > 0.6
    young = found.offers["age"].to_numpy() < 0.4
    assert np.mean(rung[old]) > 2.3 > 1.7 > np.mean(rung[young])
    cheap = dataclasses.replace(FREE, guardrails=Guardrails(largest_rise=0.0))
    assert imitation(encoder, train, found, cheap).argmax(axis=1).max() <= 2


def test_what_was_logged_is_counted_not_estimated() -> None:
    """The mean of what was earned, and never called observational."""
    found = worlds.window(300, propensity_logged=False)
    listed = on_ladder(np.ones((300, 1)), found.info.ladder)
    card = logged_worth(found, listed, None, 0.95)
    earned = (found.offers["price"] - found.offers["unit_cost"]) * found.offers["bought"]
    assert 1000 * earned.mean() == pytest.approx(card["profit_per_1000"])
    assert card["profit_low"] < card["profit_per_1000"] < card["profit_high"]
    expected = card["profit_per_1000"] - 1000 * scores(listed, found).mean()
    assert expected == pytest.approx(card["gain_over_list_price"]["per_1000"])
    assert "effective_sample_size" not in card


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def test_the_list_price_is_packed_like_a_candidate(shop: Path) -> None:
    """So that a champion always serves: it quotes the list price to all, with propensity 1, and its check passed."""
    manifest = Manifest.read(baselines.LIST_PRICE)
    assert ("list_price", True, (1.0,)) == (manifest.name, manifest.check["passed"], manifest.terms.ladder)
    table = offers(200, 7)[0].assign(u=np.linspace(0, 0.99, 200))
    found = graph.run(graph.session(baselines.LIST_PRICE / GRAPH), table)
    assert table["list_price"].tolist() == found["price"].tolist()
    assert {1.0} == set(found["propensity"])


def test_every_baseline_has_a_scorecard(shop: Path) -> None:
    """List price, best single multiplier, imitation and the log; bounds where the truth is known."""
    found = read_json(Path("models/scorecards/baselines.json"))
    assert {"list_price", "single", "imitation", "logged"} == set(found["policies"])
    for name, card in found["policies"].items():
        assert card["profit_low"] < card["profit_per_1000"] < card["profit_high"], name
        assert card["true_profit_per_1000"] <= found["bounds"]["perfect_per_1000"], name
    assert found["policies"]["single"]["multiplier"] in LADDER
    assert 0 < found["policies"]["list_price"]["log_loss"] < 1
    assert 0 == found["policies"]["list_price"]["gain_over_list_price"]["per_1000"]
    assert found["bounds"]["best_single_per_1000"] <= found["bounds"]["perfect_per_1000"]


def test_the_best_single_multiplier_is_chosen_before_the_test_window(shop: Path) -> None:
    """Changing outcomes of the test window changes no multiplier and no reference demand."""
    before = read_json(Path("models/scorecards/baselines.json")), read_table(window.REFERENCE)
    table = read_table(Path("data/offers/test.parquet"))
    table["bought"] = (table["rung"] == 4).astype(np.int64)
    table.to_parquet("data/offers/test.parquet")
    baselines.main(config())
    after = read_json(Path("models/scorecards/baselines.json")), read_table(window.REFERENCE)
    assert before[0]["policies"]["single"]["multiplier"] == after[0]["policies"]["single"]["multiplier"]
    assert before[0]["policies"]["single"]["profit_per_1000"] != after[0]["policies"]["single"]["profit_per_1000"]
    assert before[1].equals(after[1])


def test_outside_a_simulation_there_are_no_bounds(shop: Path) -> None:
    """Without the truth the same estimates come out, and None where only the truth knows."""
    before = read_json(Path("models/scorecards/baselines.json"))
    window.TRUTH.unlink()
    baselines.main(config())
    after = read_json(Path("models/scorecards/baselines.json"))
    assert after["bounds"] is None
    for name, card in after["policies"].items():
        assert card.get("true_profit_per_1000") is None, name
        assert before["policies"][name]["profit_per_1000"] == card["profit_per_1000"], name
