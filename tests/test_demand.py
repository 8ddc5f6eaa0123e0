"""The demand curve: it falls, it is a probability, and its elasticity is its derivative."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demand import SMALLEST_BETA, Curve, Learning, log_loss, sigmoid
from pipelines.errors import InputError

AXES = pytest.mark.parametrize("axis", ["log", "linear"])
_ALPHA, _BETA = st.floats(-15, 15), st.floats(SMALLEST_BETA, 10)
RUNGS = np.array([[0.7, 0.8, 0.9, 1.0, 1.1, 1.25]])
SHOWN = np.array([0.8, 0.9, 1.0, 1.1, 1.2])


@AXES
def test_the_axis_is_centred_on_the_prices_shown(axis: str) -> None:
    """On the multipliers it was learned from, t has mean 0 and spread 1."""
    t = Curve.fit(axis, SHOWN).t(SHOWN)
    assert pytest.approx(0, abs=1e-12) == t.mean()
    assert pytest.approx(1) == t.std()


@AXES
def test_a_price_that_never_moved_is_the_middle(axis: str) -> None:
    """Rounding in the mean of equal multipliers is not taken for a spread."""
    curve = Curve.fit(axis, np.full(7, 0.9))
    np.testing.assert_allclose(np.zeros(7), curve.t(np.full(7, 0.9)), atol=1e-12)
    assert curve.scale == 1.0


@given(alpha=_ALPHA, beta=_BETA, axis=st.sampled_from(["log", "linear"]))
def test_demand_falls(alpha: float, beta: float, axis: str) -> None:
    """A higher price never sells more, and every value is a probability."""
    q = Curve.fit(axis, SHOWN).probability(np.array([[alpha, beta]], np.float32), RUNGS)
    assert q.shape == RUNGS.shape
    assert (np.diff(q) <= 0).all()
    assert (np.diff(q[(q > 1e-9) & (q < 1 - 1e-9)]) < 0).all(), "strictly, where doubles can tell"
    assert q.min() > 0
    assert q.max() <= 1


def test_the_curve_is_its_formula() -> None:
    """With t = log m, alpha 0 and beta 2, halving the price gives 1 / (1 + 2⁻²)."""
    q = Curve("log", 0.0, 1.0).probability(np.array([[0.0, 2.0]]), np.array([[0.5, 1.0]]))
    np.testing.assert_allclose([[0.8, 0.5]], q)


@given(alpha=st.floats(-5, 5), beta=st.floats(SMALLEST_BETA, 5), axis=st.sampled_from(["log", "linear"]))
def test_elasticity_is_the_derivative(alpha: float, beta: float, axis: str) -> None:
    """It agrees with a small change of the price."""
    curve, both, step = Curve.fit(axis, SHOWN), np.array([[alpha, beta]]), 1e-5
    up, down = (np.log(curve.probability(both, RUNGS * np.exp(side * step))) for side in (1, -1))
    elasticity = curve.elasticity(both, RUNGS, curve.probability(both, RUNGS))
    np.testing.assert_allclose((up - down) / (2 * step), elasticity, rtol=1e-4, atol=1e-6)


def test_every_row_may_have_its_own_prices() -> None:
    """Multipliers (N, K) give for each row what (1, K) gives for it alone."""
    curve, both = Curve.fit("log", SHOWN), np.array([[0.5, 1.0], [-1.0, 0.2]])
    own = np.vstack([RUNGS, RUNGS * 1.1])
    np.testing.assert_array_equal(curve.probability(both[1:], own[1:]), curve.probability(both, own)[1:])


def test_an_unknown_axis_is_refused() -> None:
    """The message names the value and the choices."""
    with pytest.raises(InputError, match=r"curve='cubic' must be 'log' or 'linear'"):
        Curve("cubic", 0.0, 1.0)


def test_windows_of_unequal_length_are_refused() -> None:
    """A row without its price or outcome is named by the counts."""
    with pytest.raises(InputError, match="have 2, 3, 2 rows"):
        Learning(np.ones((2, 1), np.float32), np.zeros(3), np.zeros(2, np.int64))


@given(st.floats(-1000, 1000))
def test_sigmoid_never_overflows(x: float) -> None:
    """It is finite everywhere and symmetric."""
    with np.errstate(over="raise", invalid="raise"):
        q, other = sigmoid(np.array([x, -x]))
    assert pytest.approx(1) == q + other


def test_log_loss_is_in_nats_and_finite() -> None:
    """A coin costs ln 2; a certain miss costs much, not infinity."""
    assert pytest.approx(np.log(2)) == log_loss(np.array([0, 1]), np.array([0.5, 0.5]))
    assert 20 < log_loss(np.array([1]), np.array([0.0])) < 40
