"""ceiling: the shop's own formula, fitted, comes near the truth; other worlds are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.benchmark import ceiling
from pipelines.benchmark.offers import Offers
from pipelines.errors import InputError

LADDER = np.array([0.8, 0.9, 1.0, 1.1])


def contexts(rows: int, seed: int) -> pd.DataFrame:
    """Return contexts with every column that the formula reads; some are missing."""
    rng = np.random.default_rng(seed)
    numbers = {
        "item_rating": rng.choice([3.0, 4.0, 4.5, np.nan], rows),
        "category_views_by_shopper": rng.integers(0, 5, rows),
        "shopper_views": rng.integers(0, 9, rows),
        "page_depth": rng.integers(1, 15, rows),
        "weekday": rng.integers(0, 7, rows),
        "item_views_by_shopper": rng.integers(0, 3, rows),
        "session_carts": rng.integers(0, 2, rows),
        "session_views": rng.integers(0, 9, rows),
        "discount_share": rng.choice([0.0, 0.5, 1.0, np.nan], rows),
        "list_price": rng.lognormal(3.5, 0.4, rows),
        "search_bargain": rng.integers(0, 3, rows),
        "search_premium": rng.integers(0, 3, rows),
        "hour": rng.integers(0, 24, rows),
        "session_dwell": rng.exponential(100, rows),
        "bought_before": rng.integers(0, 2, rows),
        "days_since_purchase": rng.choice([1.0, 9.0, np.nan], rows),
    }
    words = {
        "path": ["home>category>item", "home>search>item>reviews"],
        "channel": ["web", "social"],
        "tier": ["basic", "silver", "gold"],
        "category": ["home", "toys"],
        "device": ["ios", "android", "desktop"],
    }
    return pd.DataFrame({**numbers, **{name: rng.choice(options, rows) for name, options in words.items()}})


def test_the_formula_is_found_again() -> None:
    """Weights fitted on the probabilities that some weights give lead to nearly all of the possible gain."""
    table, rng = contexts(2_000, 1), np.random.default_rng(2)
    wish, hunt = ceiling.wishes(table), ceiling.hunts(table)
    true = np.concatenate([rng.normal(0, 0.2, wish.shape[1]), rng.normal(0, 0.8, hunt.shape[1]), [1.0, 3.0]])
    q = np.asarray(ceiling.curves(true, wish, hunt, np.log(LADDER)[None, :]))
    offers = Offers(
        contexts=table,
        ladder=LADDER,
        list_price=table["list_price"].to_numpy(),
        unit_cost=0.6 * table["list_price"].to_numpy(),
        truth=q,
        propensity=np.full(2_000, 0.25),
        rung=np.zeros(2_000, np.int64),
        bought=np.zeros(2_000, np.int64),
    )
    found = ceiling.fitted(wish, hunt, np.log(LADDER)[None, :], q)
    assert ceiling.captured(found, offers) > 0.9
    assert ceiling.captured(np.concatenate([np.zeros(len(true) - 2), [1.0, 3.0]]), offers) < 0.5


def test_a_world_of_another_formula_is_refused() -> None:
    """Neither the null market nor an offers world has this formula."""
    for name in ("null", "biggs1"):
        with pytest.raises(InputError, match=name):
            ceiling.Job(name, 1, Path())
