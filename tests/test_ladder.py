"""The ladder: observed ratios become rungs, prices find theirs, and there is always one to fall back on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines import ladder
from pipelines.errors import InputError


def test_the_ladder_holds_few_ratios_and_deciles_of_many() -> None:
    """Up to 25 ratios are the ladder themselves; of more, the nine inner deciles are."""
    assert ladder.derived(pd.Series([1.0, 0.9, 4 / 3, 0.9000000001]), "t") == (0.9, 1.0, 1.333333)
    assert tuple(round(0.1 * k, 6) for k in range(1, 10)) == ladder.derived(pd.Series(np.linspace(0, 1, 101)), "t")
    with pytest.raises(InputError, match="t: every offer was shown at the same price"):
        ladder.derived(pd.Series([1.0, 1.0]), "t")


def test_ratios_snap_to_the_nearest_rung() -> None:
    """A ratio takes the nearest rung, and none where that is further away than the tolerance."""
    rungs, ratios = (0.5, 1.0, 2.0), pd.Series([0.5, 0.75, 0.7501, 1.02, 1.03, 9.0])
    assert ladder.on_rung(ratios, rungs).tolist() == [0, 0, 1, 1, 1, 2]
    assert ladder.on_rung(ratios, rungs, snap=0.025).tolist() == [0, -1, -1, 1, -1, -1]


def test_the_last_resort_is_the_list_price_or_the_best_rung() -> None:
    """Where 1 is a rung it is the fallback; else the rung with the best mean profit, propensities counted."""
    offers = pd.DataFrame({"rung": [0, 0, 1, 1], "price": [2.0, 2.0, 5.0, 5.0], "unit_cost": 1.0})
    offers = offers.assign(bought=[1, 1, 1, 0], propensity=np.nan)
    assert ladder.fallback(offers, (0.5, 1.0)) == 1.0
    assert ladder.fallback(offers, (2.0, 5.0)) == 5.0
    assert ladder.fallback(offers.assign(propensity=[0.5, 0.5, 0.9, 0.1]), (2.0, 5.0)) == 2.0
