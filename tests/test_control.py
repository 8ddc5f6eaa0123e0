"""A control function takes a hidden shock out of the price's effect, or says that it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.control import anchored_shock, endogeneity, first_stage
from pipelines.errors import InputError
from pipelines.refutation import logit, price_slope

SLOPE = -0.8


def log(
    hidden: float, pull: float = 0.8, rows: int = 20_000, seed: int = 0, share: float = 0.3
) -> dict[str, np.ndarray]:
    """Return a log in which an unseen shock raises price and demand; a share of the prices was drawn."""
    rng = np.random.default_rng(seed)
    x, shock, cost = rng.normal(size=(3, rows))
    drawn = (rng.random(rows) < share).astype(float)
    usual = 0.4 * x
    t = np.where(drawn == 1, rng.normal(size=rows), usual + pull * cost + hidden * shock + 0.6 * rng.normal(size=rows))
    q = 1 / (1 + np.exp(0.5 - 0.5 * x - SLOPE * t - hidden * shock))
    return {
        "z": np.column_stack([x, np.ones(rows)]), "t": t, "bought": (rng.random(rows) < q).astype(int),
        "shopper": np.arange(rows), "instrument": np.where(drawn == 1, 0.0, cost), "drawn": drawn, "usual": usual,
    }  # fmt: skip


def test_an_instrument_recovers_the_slope() -> None:
    """The plain logit is off by far more than its error; with the residual beside the price it is near the truth."""
    rng = np.random.default_rng(1)
    x, shock, cost = rng.normal(size=(3, 20_000))
    z = np.column_stack([x, np.ones(20_000)])
    t = 0.4 * x + 0.8 * cost + 0.8 * shock
    bought = (rng.random(20_000) < 1 / (1 + np.exp(0.5 - 0.5 * x - SLOPE * t - 0.8 * shock))).astype(int)
    shopper = np.arange(20_000)
    found = first_stage(z, t, cost)
    test = endogeneity(z, t, bought, found.shock, shopper)
    assert not found.weak
    assert found.effect == pytest.approx(0.8, abs=0.03)
    assert np.corrcoef(found.shock, shock)[0, 1] > 0.99
    assert abs(test.slope.estimate - SLOPE) > 0.3
    assert abs(test.corrected.estimate - SLOPE) < 0.06
    assert test.p_value < 1e-6


def test_randomised_rows_recover_the_slope() -> None:
    """The surprise of the chosen prices, 0 where one was drawn, brings the slope that a pure experiment shows.

    That is flatter than the slope of each shopper, for what is hidden is averaged over.
    """
    whole = log(hidden=0.8, share=1.0, rows=60_000, seed=1)
    truth = price_slope(whole["z"], whole["t"], whole["bought"], whole["shopper"]).estimate
    d = log(hidden=0.8, pull=0.0)
    shock = anchored_shock(d["t"], d["usual"], d["drawn"])
    test = endogeneity(d["z"], d["t"], d["bought"], shock, d["shopper"])
    assert (shock[d["drawn"] == 1] == 0).all()
    assert abs(test.slope.estimate - truth) > 0.3
    assert abs(test.corrected.estimate - truth) < 0.07
    assert test.p_value < 1e-6


def test_without_a_hidden_shock_nothing_is_found() -> None:
    """Over many logs the test rejects about as often as it says when prices answered to nothing hidden."""
    p = []
    for seed in range(60):
        d = log(hidden=0.0, rows=800, seed=seed)
        v = first_stage(d["z"], d["t"], d["instrument"]).shock
        p.append(endogeneity(d["z"], d["t"], d["bought"], v, d["shopper"]).p_value)
    assert np.mean(np.array(p) < 0.05) < 0.15
    assert 0.3 < np.mean(p) < 0.7


def test_a_weak_instrument_is_not_used() -> None:
    """A column that does not move the price, or never moved, gives no shock, and there is nothing to test."""
    d = log(hidden=0.8, pull=0.0, rows=2_000)
    for instrument in (np.random.default_rng(3).normal(size=2_000), np.ones(2_000), np.full(2_000, np.nan)):
        found = first_stage(d["z"], d["t"], instrument)
        assert found.weak
        assert (found.shock == 0).all()
        with pytest.raises(InputError, match="the shock is the same in every row"):
            endogeneity(d["z"], d["t"], d["bought"], found.shock, d["shopper"])


def test_gaps_in_the_instrument_are_no_values() -> None:
    """Rows without the instrument leave its effect where it was; unit and origin do not matter."""
    d = log(hidden=0.0, rows=6_000)
    whole = first_stage(d["z"], d["t"], d["instrument"])
    gaps = np.where(np.arange(6_000) % 5 == 0, np.nan, 40 + 100 * d["instrument"])
    assert first_stage(d["z"], d["t"], gaps).effect == pytest.approx(whole.effect, rel=0.1)


def test_repeated_offers_do_not_make_an_instrument_strong() -> None:
    """Offers copied for the same shopper leave F where it was."""
    d = log(hidden=0.5, pull=0.1, rows=1_000)
    rows = np.repeat(np.arange(1_000), 5)
    once = first_stage(d["z"], d["t"], d["instrument"], d["shopper"])
    many = first_stage(d["z"][rows], d["t"][rows], d["instrument"][rows], d["shopper"][rows])
    alone = first_stage(d["z"][rows], d["t"][rows], d["instrument"][rows])
    assert many.f == pytest.approx(once.f, rel=0.05)
    assert alone.f > 4 * once.f


def test_a_missing_flag_is_no_draw() -> None:
    """Only a 1 says that a price was drawn."""
    shock = anchored_shock(np.array([2.0, 2.0, 2.0]), np.array([0.5, 0.5, 0.5]), np.array([1.0, 0.0, np.nan]))
    assert [0.0, 1.5, 1.5] == shock.tolist()


def test_the_joint_fit_holds_the_plain_one() -> None:
    """Without further columns the logit behind the test is the one that the slope comes from."""
    d = log(hidden=0.5, rows=1_000)
    joint = logit(d["z"], d["t"][:, None], d["bought"], d["shopper"])
    assert price_slope(d["z"], d["t"], d["bought"], d["shopper"]) == joint.slope(-1)
