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


def test_the_list_price_is_a_rung_or_not() -> None:
    """The rung 1 is the list price, where there are list prices; where they are taken as 1 it is a price."""
    assert ladder.has_list_price((0.5, 1.0))
    assert not ladder.has_list_price((0.5, 0.9))
    assert not ladder.has_list_price((0.5, 1.0), listed=False)


def test_prices_that_lie_close_are_summed_too() -> None:
    """Sixty ratios nearer to each other than a rounded price's two ends, each with its own chance."""
    ratio = pd.Series(np.repeat(0.9 * 1.003 ** np.arange(60), 3))
    rung = np.repeat(np.arange(60) // 20, 3)
    found = ladder.summed(ratio, pd.Series(np.full(180, 1 / 60)), rung)
    assert found is not None
    np.testing.assert_allclose(found, 1 / 3)


def test_two_roundings_of_one_price_have_its_propensity() -> None:
    """Ratios of 0.8 that cents made 0.7996 or 0.8004 are one price with one chance."""
    ratio = pd.Series([0.7996, 0.8004, 1.0, 0.9996] * 5)
    found = ladder.summed(ratio, pd.Series(np.full(20, 0.5)), np.array([0, 0, 1, 1] * 5))
    assert found is not None
    np.testing.assert_allclose(found, 0.5)
