"""The checks that refute a price effect find what is wrong, and leave alone what is right."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.refutation import Slope, judged, placebo, price_slope, wrong_signed


def log(slope: float, hidden: float = 0.0, rows: int = 4_000, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return z, t, bought, shopper: demand with this slope, and a hidden shock that raises price and demand."""
    rng = np.random.default_rng(seed)
    x, shock = rng.normal(size=(rows, 3)), rng.normal(size=rows)
    z = np.column_stack([x, np.ones(rows)]).astype(np.float32)
    t = 0.5 * x[:, 0] + hidden * shock + rng.normal(size=rows)
    t = (t - t.mean()) / t.std()
    q = 1 / (1 + np.exp(1 - x[:, 0] - slope * t - 2 * hidden * shock))
    return z, t, (rng.random(rows) < q).astype(int), np.arange(rows) // 2


def test_the_slope_is_that_of_the_world() -> None:
    """The estimate is the truth within its error, with the context's own pull on the price taken out."""
    found = price_slope(*log(-0.6))
    assert abs(found.estimate + 0.6) < 3 * found.standard_error < 0.2
    assert found.z == pytest.approx(found.estimate / found.standard_error)
    assert not wrong_signed(found)


def test_errors_know_of_shoppers() -> None:
    """Each offer copied four times for the same shopper teaches nothing new: the error stays."""
    z, t, bought, shopper = log(-0.6, rows=1_500)
    once = price_slope(z, t, bought, shopper)
    rows = np.repeat(np.arange(len(t)), 4)
    many = price_slope(z[rows], t[rows], bought[rows], shopper[rows])
    alone = price_slope(z[rows], t[rows], bought[rows], np.arange(len(rows)))
    assert many.standard_error == pytest.approx(once.standard_error, rel=0.02)
    assert alone.standard_error < 0.6 * once.standard_error


def test_a_weight_of_two_is_an_offer_twice() -> None:
    """Weighted offers count as often as they weigh."""
    z, t, bought, shopper = log(-0.6, rows=500)
    twice = np.repeat(np.arange(500), 2)
    expected = price_slope(z[twice], t[twice], bought[twice], shopper[twice]).estimate
    assert price_slope(z, t, bought, shopper, np.full(500, 2.0)).estimate == pytest.approx(expected, abs=1e-6)


def test_demand_that_rises_with_the_price_is_found() -> None:
    """A hidden shock behind price and demand turns the sign, and the check says so; chance alone does not."""
    assert wrong_signed(price_slope(*log(-0.3, hidden=1.0)))
    assert not wrong_signed(Slope(0.1, 0.1, 1.0))
    assert wrong_signed(Slope(0.1, 0.1, 1.0), confidence=0.8)


@pytest.mark.parametrize("slope", [-1.0, 0.0])
def test_shuffled_prices_show_no_effect(slope: float) -> None:
    """Whether prices matter or not, shuffled ones do not, though the real ones may by far."""
    z, t, bought, shopper = log(slope)
    found = placebo(z, t, bought, shopper, seed=1)
    assert not found.shows_effect
    assert found.largest < 4
    assert 20 == len(found.z)
    assert (slope < 0) == (abs(price_slope(z, t, bought, shopper).z) > 10)


def test_placebos_with_wrong_errors_are_found() -> None:
    """Slopes that scatter three times as far as their errors say raise the alarm; ordinary scatter does not."""
    rng = np.random.default_rng(5)
    assert judged(list(3 * rng.normal(size=20))).shows_effect
    assert not judged(list(rng.normal(size=20))).shows_effect


def test_one_shopper_and_no_shuffle_are_refused() -> None:
    """An error needs two shoppers, and a placebo a shuffle."""
    z, t, bought, shopper = log(-0.6, rows=100)
    with pytest.raises(InputError, match="at least two shoppers"):
        price_slope(z, t, bought, np.zeros(100))
    with pytest.raises(InputError, match="times=0 must be at least 1"):
        placebo(z, t, bought, shopper, seed=0, times=0)
