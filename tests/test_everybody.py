"""Everybody's demand: smooth where the offers bear it, bent where they refute that, however prices were dealt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines import everybody
from pipelines.everybody import Floats, Ints

RUNGS = np.array([8.0, 10.0, 12.0, 15.0, 20.0])
STEP = np.array([0.55, 0.55, 0.3, 0.08, 0.08])
SMOOTH = 1 / (1 + np.exp(-(2.2 - 0.2 * RUNGS)))


def outcomes(q: Floats, n: int, seed: int = 0, dealt: Floats | None = None) -> tuple[Ints, Ints]:
    """Return n rungs, dealt alike or as told, and what was bought there."""
    rng = np.random.default_rng(seed)
    rung = rng.choice(len(q), n, p=dealt)
    return rung, (rng.random(n) < q[rung]).astype(np.int64)


def errors(q: Floats, n: int, seeds: int = 20) -> tuple[float, float]:
    """Return the root mean square error of `demand`, and of each rung's own mean."""
    found, means = [], []
    for seed in range(seeds):
        rung, bought = outcomes(q, n, seed)
        found.append(everybody.demand(RUNGS, rung, bought, np.ones(n)) - q)
        means.append(np.array([bought[rung == k].mean() for k in range(len(q))]) - q)
    return float(np.sqrt(np.mean(np.square(found)))), float(np.sqrt(np.mean(np.square(means))))


def test_a_smooth_curve_is_known_better_than_its_rungs_one_by_one() -> None:
    """Where the logit is right, its error is smaller than that of means."""
    ours, means = errors(SMOOTH, 300)
    assert ours < 0.9 * means


def test_a_step_does_not_break_it() -> None:
    """Where demand falls in a step, the rungs' own means are followed, and the best rung is the one below the step."""
    ours, means = errors(STEP, 3000)
    assert ours < 1.2 * means
    rung, bought = outcomes(STEP, 3000)
    assert 1 == int((RUNGS * everybody.demand(RUNGS, rung, bought, np.ones(3000))).argmax())


def test_weights_undo_what_the_context_decided() -> None:
    """Shoppers who buy much were shown high prices; weighted by 1 / propensity, demand falls as it does."""
    rng = np.random.default_rng(1)
    eager = rng.random(20_000) < 0.5
    dealt = np.where(eager[:, None], [[0.05, 0.05, 0.1, 0.3, 0.5]], [[0.5, 0.3, 0.1, 0.05, 0.05]])
    rung = (np.cumsum(dealt, axis=1) < rng.random((20_000, 1))).sum(axis=1)
    bought = (rng.random(20_000) < np.where(eager, 1.4, 0.6) * SMOOTH[rung]).astype(np.int64)
    weight = 1 / dealt[np.arange(20_000), rung]
    assert np.abs(everybody.demand(RUNGS, rung, bought, weight) - SMOOTH).max() < 0.04
    assert np.abs(everybody.demand(RUNGS, rung, bought, np.ones(20_000)) - SMOOTH).max() > 0.08


def test_a_rung_that_was_hardly_shown_does_not_bend_the_others() -> None:
    """Weights of 1 / propensity alone, the same for all contexts, change nothing."""
    dealt = np.array([0.03, 0.05, 0.85, 0.05, 0.02])
    rung, bought = outcomes(SMOOTH, 2000, 3, dealt)
    plain = everybody.demand(RUNGS, rung, bought, np.ones(2000))
    np.testing.assert_allclose(plain, everybody.demand(RUNGS, rung, bought, 1 / dealt[rung]), rtol=1e-6)


def test_offers_tell_everybodys_demand_by_their_weights() -> None:
    """As `falling` of their columns."""
    rung, bought = outcomes(STEP, 3000)
    offers = pd.DataFrame({"rung": rung, "bought": bought, "weight": np.where(rung > 2, 3.0, 1.0)})
    expected = everybody.falling(RUNGS, rung, bought, offers["weight"].to_numpy())
    assert expected.tolist() == everybody.told(offers, RUNGS).tolist()
    assert (np.diff(expected) <= 0).all()
    assert 1 == int((RUNGS * expected).argmax())


@pytest.mark.parametrize("all_of_them", [0, 1])
def test_where_nobody_or_everybody_bought_there_is_one_answer(all_of_them: int) -> None:
    """One outcome throughout is that outcome's probability at every rung."""
    found = everybody.demand(RUNGS, np.array([0, 1, 2]), np.full(3, all_of_them), np.ones(3))
    assert [all_of_them] * 5 == found.tolist()


def test_rungs_that_were_never_shown_have_a_probability() -> None:
    """Between and beyond the rungs shown the curve answers."""
    rung, bought = outcomes(STEP, 2000, 5, np.array([0.25, 0.25, 0.25, 0.25, 0.0]))
    found = everybody.demand(RUNGS, rung, bought, np.ones(2000))
    assert ((found > 0) & (found < 1)).all()
