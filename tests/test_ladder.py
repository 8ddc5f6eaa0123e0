"""The ladder: observed ratios become rungs, prices find theirs, and there is always one to fall back on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import ladder
from pipelines.errors import InputError


def test_the_ladder_holds_few_ratios_and_deciles_of_many() -> None:
    """Up to 40 ratios are the ladder themselves; of more, the nine inner deciles are."""
    assert ladder.derived(pd.Series([1.0, 0.9, 4 / 3, 0.9000000001]), "t") == (0.9, 1.0, 1.333333)
    assert tuple(round(0.1 * k, 6) for k in range(1, 10)) == ladder.derived(pd.Series(np.linspace(0, 1, 101)), "t")
    with pytest.raises(InputError, match="t: every offer was shown at the same price"):
        ladder.derived(pd.Series([1.0, 1.0]), "t")


def test_prices_rounded_to_the_cent_share_a_rung() -> None:
    """Ratios that differ by rounding alone are one rung, called by its plainest number; exact ones stay apart."""
    listed = np.random.default_rng(4).uniform(3, 90, 600).round(2)
    ratios = pd.Series((listed * np.resize([0.75, 0.9, 1.0, 1.1], 600)).round(2) / listed)
    assert (0.75, 0.9, 1.0, 1.1) == ladder.derived(ratios, "t")
    near = pd.Series([19.95, 19.99, 24.99])
    assert (19.95, 19.99, 24.99) == ladder.derived(near, "t", exact=True)
    assert 2 == len(ladder.derived(near, "t"))


@given(st.lists(st.floats(0.2, 3.0), min_size=41, max_size=200, unique=True))
def test_any_ratios_make_a_rising_ladder(ratios: list[float]) -> None:
    """Whatever was shown, the ladder rises, is short, and lies within what was shown."""
    values = pd.Series(ratios)
    try:
        rungs = ladder.derived(values, "t")
    except InputError:
        assert values.max() <= values.min() * 1.021
        return
    assert list(rungs) == sorted(set(rungs))
    assert len(rungs) <= ladder.MOST_RUNGS
    assert values.min() - 1e-6 <= rungs[0] < rungs[-1] <= values.max() + 1e-6


def test_ratios_snap_to_the_nearest_rung() -> None:
    """A ratio takes the nearest rung, and none where that is further away than the tolerance."""
    rungs, ratios = (0.5, 1.0, 2.0), pd.Series([0.5, 0.75, 0.7501, 1.02, 1.03, 9.0])
    assert ladder.on_rung(ratios, rungs).tolist() == [0, 0, 1, 1, 1, 2]
    assert ladder.on_rung(ratios, rungs, snap=0.025).tolist() == [0, -1, -1, 1, -1, -1]


def test_the_last_resort_is_the_list_price_or_the_best_rung() -> None:
    """Where 1 is a rung it is the fallback; else the rung with the best profit, propensities counted."""
    offers = pd.DataFrame({"rung": [0] * 200 + [1] * 200, "list_price": 1.0, "unit_cost": 1.0})
    offers = offers.assign(bought=[1] * 160 + [0] * 40 + [1] * 80 + [0] * 120, propensity=np.nan)
    assert ladder.fallback(offers, (0.5, 1.0)) == 1.0
    assert ladder.fallback(offers, (2.0, 5.0)) == 5.0
    assert ladder.fallback(offers, (1.0, 5.0)) == 1.0
    assert ladder.fallback(offers, (1.0, 5.0), listed=False) == 5.0
    rare = np.where((offers["rung"] == 1) & (offers["bought"] == 0), 0.05, 0.9)
    assert ladder.fallback(offers.assign(propensity=rare), (2.0, 5.0)) == 2.0


def test_a_price_hardly_ever_shown_is_no_last_resort() -> None:
    """One lucky sale at a price shown thrice does not make it everybody's."""
    offers = pd.DataFrame({"rung": [0] * 200 + [1] * 200 + [2] * 3, "list_price": 1.0, "unit_cost": 0.0})
    offers = offers.assign(bought=[1] * 80 + [0] * 120 + [1] * 60 + [0] * 140 + [1] * 3, propensity=np.nan)
    assert ladder.fallback(offers, (1.5, 2.5, 50.0)) in (1.5, 2.5)


def test_the_last_resort_survives_a_step() -> None:
    """Where demand falls in a step, the rung below it is everybody's, not what a smooth curve would say."""
    rng = np.random.default_rng(8)
    rung = rng.integers(0, 5, 2500)
    bought = (rng.random(2500) < np.array([0.55, 0.55, 0.3, 0.08, 0.08])[rung]).astype(int)
    offers = pd.DataFrame({"rung": rung, "bought": bought, "list_price": 1.0, "unit_cost": 0.0, "propensity": 0.2})
    assert 9.99 == ladder.fallback(offers, (7.99, 9.99, 11.99, 14.99, 19.99), listed=False)


def test_prices_drawn_at_random_decide_the_last_resort() -> None:
    """Where some rows are flagged as priced at random, those tell the best rung, and not those that followed demand."""
    rng = np.random.default_rng(9)
    drawn, eager = rng.random(6000) < 0.2, rng.random(6000) < 0.5
    rung = np.where(drawn, rng.integers(0, 2, 6000), eager)
    bought = (rng.random(6000) < np.where(eager, 0.8, 0.3) * np.where(rung == 0, 1.0, 0.4)).astype(int)
    offers = pd.DataFrame({"rung": rung, "bought": bought, "list_price": 1.0, "unit_cost": 0.0, "propensity": np.nan})
    assert 2.0 == ladder.fallback(offers, (1.0, 2.0), listed=False)
    assert 1.0 == ladder.fallback(offers.assign(randomised=drawn.astype(float)), (1.0, 2.0), listed=False)
