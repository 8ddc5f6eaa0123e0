"""Damping: all is believed where the offers bear it out, nothing where nobody differs, and what lies between."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.candidates import linear, load_demand
from pipelines.candidates.controls import Controls, scored
from pipelines.candidates.damping import Damped, believed, damp, damped
from pipelines.candidates.learning import weighted
from pipelines.demand import probability
from tests.worlds import LADDER, candidate, in_graph, log_curve, offers


def curves(rows: int, spread: float, seed: int = 0) -> np.ndarray:
    """Return curves (N, 5) whose sensitivity differs by `spread`."""
    rng = np.random.default_rng(seed)
    both = np.column_stack([rng.normal(-0.4, 0.5, rows), 4 + spread * rng.uniform(-3.5, 3.5, rows)])
    return log_curve().probability(both)


def outcomes(q: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rung, purchase and weight of each context, shown a rung at random and buying with chance q."""
    rng = np.random.default_rng(seed)
    rung = rng.integers(0, q.shape[1], len(q))
    return rung, (rng.random(len(q)) < q[np.arange(len(q)), rung]).astype(np.int64), np.ones(len(q))


def test_undamped_curves_stay_as_they_are() -> None:
    """At s = 1 nothing changes, to the last bit."""
    q = curves(100, 1.0)
    np.testing.assert_array_equal(q, damped(q, 1.0, q.mean(axis=0)))


def test_wholly_damped_everybody_has_the_same_relative_demand() -> None:
    """At s = 0 the curves are multiples of the pooled one, as high over all rungs as they were."""
    q = 0.3 * curves(100, 1.0)  # no multiple is near 1
    shape = q.mean(axis=0)
    found = damped(q, 0.0, shape)
    np.testing.assert_allclose(q.sum(axis=1), found.sum(axis=1))
    np.testing.assert_allclose(np.tile(shape / shape[2], (100, 1)), found / found[:, 2:3])
    np.testing.assert_allclose(found, damped(q, 0.0, 7 * shape))


def test_wholly_damped_the_best_single_rung_is_everybodys() -> None:
    """Where cost shares are alike, s = 0 quotes what earns most as everybody's price, to likely buyers too."""
    q, margin = curves(500, 1.0), np.array(LADDER) - 0.6
    q[:100] = np.sqrt(q[:100])
    at = int((q.sum(axis=0) * margin).argmax())
    assert len(set((q * margin).argmax(axis=1))) > 1
    assert {at} == set((damped(q, 0.0, q.mean(axis=0)) * margin).argmax(axis=1))


def test_a_multiple_of_everybodys_promises_no_sure_sale() -> None:
    """Else one non-purchase at a cheap rung would refute the shape that all share."""
    q = np.array([[0.98, 0.97, 0.96], [0.9, 0.3, 0.05]])
    assert q.sum() / q[1].sum() * q[1, 0] > 1
    assert 0.989 < damped(q, 0.0, q.mean(axis=0)).max() < 0.991
    assert believed(q, np.zeros(2, np.int64), np.array([0, 1]), np.ones(2)) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_damping_never_raises_a_probability_above_one_nor_a_curve(share: float) -> None:
    """Also where nearly everybody or nobody buys: probabilities that do not rise with the price."""
    rng = np.random.default_rng(2)
    extreme = log_curve().probability(np.column_stack([rng.normal(0, 15, 200), rng.gamma(1, 5, 200)]))
    found = damped(extreme, share, extreme.mean(axis=0))
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.diff(found, axis=1) <= 1e-12).all()


def test_true_heterogeneity_is_believed_with_enough_offers() -> None:
    """With 20,000 offers of true curves all is believed, and no share leaves [0, 1]."""
    q = curves(20_000, 1.0)
    assert 0.95 < believed(q, *outcomes(q)) <= 1


def test_where_nobody_differs_hardly_anything_is_believed() -> None:
    """Curves that differ by noise alone, judged by offers of one pooled demand, are damped away in most windows."""
    shares = []
    for seed in range(12):
        told = curves(3000, 0.6, seed)
        true = damped(told, 0.0, told.mean(axis=0))
        shares.append(believed(told, *outcomes(true, seed + 50)))
    assert np.median(shares) < 0.1
    assert 0 <= min(shares) <= max(shares) < 0.9


def test_noise_among_truth_is_believed_in_part() -> None:
    """A deviation that exaggerates fourfold is not taken as it is."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-3.5, 3.5, 3000)
    level = np.full(3000, -0.4)
    true, told = (log_curve().probability(np.column_stack([level, 4 + f * x])) for f in (0.25, 1.0))
    assert 0.05 < believed(told, *outcomes(true)) < 0.7


def test_graph_and_copy_are_the_damped_demand(tmp_path: Path) -> None:
    """ONNX gives the damped curves of Python, and so does what was saved and loaded."""
    table = offers(200)[0]
    one = Damped(candidate(table), 0.4, (0.6, 0.5, 0.4, 0.3, 0.2))
    expected = probability(one, table)
    assert np.abs(expected - probability(one.demand, table)).max() > 0.02
    np.testing.assert_allclose(expected, in_graph(one, table)[0], rtol=1e-9)
    one.save(tmp_path / "d")
    loaded = load_demand(tmp_path / "d")
    np.testing.assert_array_equal(expected, probability(loaded, table))
    assert (one.share, one.pooled) == (loaded.share, loaded.pooled)


def test_trial_and_demand_are_damped_alike() -> None:
    """The share is what the trial's curves earned on the select window; the shapes are of the windows each saw."""
    select: pd.DataFrame = weighted(offers(3000, seed=1)[0])
    fit: pd.DataFrame = weighted(offers(3000, seed=2)[0])
    near, bent = candidate(select), candidate(select, bend=3.0)
    trial, demand = damp(near, bent, fit, select)
    assert 0.8 < trial.share == demand.share <= 1
    assert trial.pooled != demand.pooled
    assert damp(bent, near, fit, select)[1].share == damp(bent, bent, fit, select)[0].share


def test_where_prices_followed_a_shock_each_row_is_judged_at_its_own() -> None:
    """The same right curves are believed when the shock of each offer is told, and not when it is averaged away."""
    table, rng = offers(3000)[0], np.random.default_rng(3)
    shock = rng.normal(size=len(table))
    one = candidate(table)
    a, b = (np.append(v[:-1], [extra, v[-1]]) for v, extra in ((one.model.a, 2.5), (one.model.b, 0.0)))
    shocks = (-1.28, -0.52, 0.0, 0.52, 1.28)
    one = dataclasses.replace(one, model=linear.Model(a, b), controls=Controls(shocks=shocks))
    # the sensitive half was shown high prices when demand was high, the other half low ones
    rung = np.clip(np.round(2 + np.where(table["age"] > 0.5, 1.5, -1.5) * shock), 0, 4).astype(int)
    told = table.assign(shock=shock)
    q = probability(scored(one), told)[np.arange(len(table)), rung]
    told = told.assign(rung=rung, bought=(rng.random(len(table)) < q).astype(int), weight=1.0)
    known, averaged = (damp(one, one, t, t)[0].share for t in (told, told.drop(columns="shock")))
    assert known > 0.9
    assert averaged < 0.5


def test_unequal_weights_do_not_hide_what_the_log_bears_out() -> None:
    """Where a few offers at rare rungs weigh like all others, curves that the log as it is bears out are believed."""
    select: pd.DataFrame = weighted(offers(3000, seed=1)[0])
    one = candidate(select)
    rare = np.random.default_rng(4).random(len(select)) < 0.01
    heavy = select.assign(weight=np.where(rare, 200.0, 1.0))
    q = probability(one, select)
    rung, bought = (select[name].to_numpy() for name in ("rung", "bought"))
    assert believed(q, rung, bought, heavy["weight"].to_numpy()) < 0.5
    assert 0.8 < damp(one, one, select, heavy)[0].share


def test_everybodys_shape_is_what_the_offers_say() -> None:
    """Curves that all err alike are damped towards the demand that was seen, not towards their own mean."""
    fit, select = (weighted(offers(4000, seed=s)[0]) for s in (1, 2))
    rng = np.random.default_rng(5)
    true = np.array([0.6, 0.55, 0.5, 0.2, 0.1])  # one for all, and steep where the curves are not
    fit, select = (
        t.assign(bought=(rng.random(len(t)) < true[t["rung"].to_numpy()]).astype(np.int64), weight=1.0)
        for t in (fit, select)
    )
    wrong = candidate(select)
    found = damp(wrong, wrong, fit, select)[0]
    own = probability(wrong, select).mean(axis=0)
    assert found.share < 0.5
    assert np.abs(np.array(found.pooled) - true).max() < 0.05 < np.abs(own - true).max()
    assert (np.diff(found.pooled) <= 0).all()
