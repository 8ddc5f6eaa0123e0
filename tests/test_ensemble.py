"""The ensemble: weights that the offers like best, one graph for all members, and the stage that makes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines import ensemble
from pipelines.candidates import load_demand
from pipelines.candidates.damping import Damped
from pipelines.candidates.ensemble import Ensemble, stacked
from pipelines.demand import probability
from tests.worlds import candidate, config, enter_shop, in_graph, offers, without_mlflow


def outcomes(q: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return purchases with these chances."""
    return (np.random.default_rng(seed).random(len(q)) < q).astype(np.int64)


@pytest.fixture(scope="module")
def trio() -> Ensemble:
    """Three candidates of different slopes, one of them damped."""
    table = offers(300)[0]
    one, two, three = (candidate(table, bend=b) for b in (0.0, 2.0, -1.0))
    return Ensemble(("a", "b", "c"), (one, two, Damped(three, 0.5, (0.7, 0.6, 0.5, 0.45, 0.35))), (0.5, 0.3, 0.2))


def test_the_truth_among_wrong_curves_gets_the_weight() -> None:
    """Weights are non-negative, sum to 1, and leave out who gives nothing."""
    rng = np.random.default_rng(1)
    true = rng.uniform(0.05, 0.95, 20_000)
    curves = {"flat": np.full(20_000, 0.5), "true": true, "against": 1 - true, "noise": rng.uniform(0.05, 0.95, 20_000)}
    found = stacked(curves, outcomes(true), np.ones(20_000))
    assert pytest.approx(1) == sum(found.values())
    assert min(found.values()) > 0
    assert found["true"] > 0.97
    assert "against" not in found


def test_two_halves_of_the_truth_share_the_weight() -> None:
    """Where the truth is 70 to 30 of two curves, so are the weights."""
    rng = np.random.default_rng(2)
    one, two = rng.uniform(0.05, 0.95, (2, 60_000))
    found = stacked({"one": one, "two": two}, outcomes(0.7 * one + 0.3 * two), np.ones(60_000))
    assert found["one"] == pytest.approx(0.7, abs=0.03)


def test_the_weight_of_an_offer_counts() -> None:
    """Offers that weigh nothing decide nothing: the curve that is right on the others gets all."""
    rng = np.random.default_rng(3)
    true, half = rng.uniform(0.05, 0.95, 10_000), np.arange(10_000) < 5000
    curves = {"first": np.where(half, true, 1 - true), "second": np.where(half, 1 - true, true)}
    found = stacked(curves, outcomes(true), np.where(half, 2.0, 0.0))
    assert {"first": pytest.approx(1)} == found


def test_equal_curves_are_all_kept() -> None:
    """Nothing tells them apart, so they share alike, one alone has all, and many stay though each has little."""
    q, bought = np.full(100, 0.4), outcomes(np.full(100, 0.4))
    assert {"a": 0.5, "b": 0.5} == stacked({"a": q, "b": q}, bought, np.ones(100))
    assert {"a": 1.0} == stacked({"a": q}, bought, np.ones(100))
    many = stacked({str(i): q for i in range(60)}, bought, np.ones(100))
    assert 60 == len(many)


def test_the_mean_is_that_of_its_members(trio: Ensemble) -> None:
    """Each member's curve, by its weight."""
    table = offers(50, 5)[0]
    expected = sum(w * probability(m, table) for w, m in zip(trio.shares, trio.members, strict=True))
    np.testing.assert_allclose(expected, probability(trio, table))
    assert 3 == len(trio.probabilities(table)) == len(trio.weights)


def test_an_ensemble_of_ensembles_weighs_by_the_product(trio: Ensemble) -> None:
    """Weights multiply, and still sum to 1."""
    outer = Ensemble(("x", "y"), (trio, trio.members[0]), (0.5, 0.5))
    assert pytest.approx((0.25, 0.15, 0.1, 0.5)) == outer.weights
    assert pytest.approx(1) == sum(outer.weights)


def test_the_graph_is_the_ensemble(trio: Ensemble) -> None:
    """Every member's curve, in order, as Python has it."""
    table = offers(400, 6)[0]
    for expected, found in zip(trio.probabilities(table), in_graph(trio, table), strict=True):
        np.testing.assert_allclose(expected, found, rtol=1e-9)


def test_saved_and_loaded_is_the_same(trio: Ensemble, tmp_path: Path) -> None:
    """Names, weights and curves, to the last bit."""
    trio.save(tmp_path / "e")
    loaded, table = load_demand(tmp_path / "e"), offers(50, 5)[0]
    assert (trio.names, trio.shares, trio.weights) == (loaded.names, loaded.shares, loaded.weights)
    np.testing.assert_array_equal(probability(trio, table), probability(loaded, table))


def test_the_stage_writes_trial_and_demand_of_undamped_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both folders load, are damped as a whole and hold undamped members; the weights are told beside them."""
    enter_shop(tmp_path, monkeypatch)
    logged = without_mlflow(monkeypatch)
    ensemble.main(config())
    folder = Path("models/candidates/ensemble")
    for part in ("trial", "demand"):
        one = load_demand(folder / part)
        assert (Damped, Ensemble, ("linear",)) == (type(one), type(one.demand), one.demand.names)
        assert not isinstance(one.demand.members[0], Damped)
        assert {"linear": 1.0} == json.loads((folder / part / "about.json").read_text())["weights"]
    assert any("ensemble" in about for about in logged)
