"""The demand curve: it falls, it is a probability, and its price scale is piecewise linear."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demand import (
    AXES,
    LINKS,
    SMALLEST_BETA,
    Curve,
    Learning,
    link_slope,
    log_loss,
    log_odds,
    mean_curve,
    side_by_side,
    sigmoid,
)
from pipelines.errors import InputError

BOTH_AXES = pytest.mark.parametrize("axis", AXES)
BOTH_LINKS = pytest.mark.parametrize("link", LINKS)
_ALPHA, _BETA = st.floats(-15, 15), st.floats(SMALLEST_BETA, 10)
RUNGS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
SHOWN = np.array([0.8, 0.9, 1.0, 1.1, 1.2])


@BOTH_AXES
def test_the_axis_is_centred_on_the_prices_shown(axis: str) -> None:
    """On the multipliers it was learned from, where they are rungs, t has mean 0 and spread 1."""
    t = Curve.fit("logit", axis, tuple(SHOWN), SHOWN).t(SHOWN)
    assert pytest.approx(0, abs=1e-12) == t.mean()
    assert pytest.approx(1) == t.std()


@BOTH_AXES
def test_a_price_that_never_moved_is_the_middle(axis: str) -> None:
    """Rounding in the mean of equal multipliers is not taken for a spread."""
    curve = Curve.fit("logit", axis, (0.9, 1.0), np.full(7, 0.9))
    np.testing.assert_allclose(np.zeros(7), curve.t(np.full(7, 0.9)), atol=1e-12)
    assert 0.09 < curve.values[1] < 0.11, "the scale is that of the axis itself"


@BOTH_AXES
def test_t_is_piecewise_linear_through_its_values(axis: str) -> None:
    """At a rung its value, half way between two on the axis their mean, beyond the ends on with the last slope."""
    curve = Curve("logit", axis, (0.8, 1.0, 1.25), (-1.0, 0.5, 1.0))
    of = np.log if axis == "log" else np.asarray
    back = np.exp if axis == "log" else np.asarray
    low, mid, high = of(np.array(curve.rungs))
    asked = back(np.array([low, mid, high, (low + mid) / 2, 2 * low - mid, 2 * high - mid]))
    np.testing.assert_allclose([-1.0, 0.5, 1.0, -0.25, -2.5, 1.5], curve.t(asked), atol=1e-12)


@given(alpha=_ALPHA, beta=_BETA, axis=st.sampled_from(AXES), link=st.sampled_from(LINKS))
def test_demand_falls(alpha: float, beta: float, axis: str, link: str) -> None:
    """A higher price never sells more, and every value is a probability."""
    q = Curve.fit(link, axis, RUNGS, SHOWN).probability(np.array([[alpha, beta]], np.float32))
    assert (1, len(RUNGS)) == q.shape
    assert (np.diff(q) <= 0).all()
    assert (np.diff(q[(q > 1e-9) & (q < 1 - 1e-9)]) < 0).all(), "strictly, where doubles can tell"
    assert q.min() >= 0
    assert q.max() <= 1


def test_the_curve_is_its_formula() -> None:
    """With t = log m, alpha 0 and beta 2, halving the price gives 1 / (1 + 2⁻²)."""
    q = Curve("logit", "log", (0.5, 1.0), (float(np.log(0.5)), 0.0)).probability(np.array([[0.0, 2.0]]))
    np.testing.assert_allclose([[0.8, 0.5]], q)


def test_probit_is_the_normal_distribution_to_two_ten_thousandths() -> None:
    """Also where t makes the argument: q = Phi(alpha - beta t)."""
    eta = np.linspace(-6, 6, 1201)
    exact = np.array([NormalDist().cdf(x) for x in eta])
    assert np.abs(sigmoid(log_odds(eta, "probit")) - exact).max() < 2e-4
    q = Curve("probit", "linear", (0.5, 1.0), (0.5, 1.0)).probability(np.array([[1.0, 2.0]]))
    np.testing.assert_allclose([[0.5, NormalDist().cdf(-1)]], q, atol=2e-4)


@BOTH_LINKS
def test_the_link_slope_is_the_derivative(link: str) -> None:
    """As a small difference finds it, and it never falls to zero."""
    eta, step = np.linspace(-8, 8, 101), 1e-6
    difference = (log_odds(eta + step, link) - log_odds(eta - step, link)) / (2 * step)
    np.testing.assert_allclose(difference, link_slope(eta, link), rtol=1e-6)
    assert link_slope(eta, link).min() >= 1


@BOTH_LINKS
def test_a_window_has_the_probability_of_its_curve(link: str) -> None:
    """At the price shown, a window says what the curve says at that rung."""
    curve, both = Curve.fit(link, "log", RUNGS, SHOWN), np.array([[0.5, 1.0], [-1.0, 0.2], [3.0, 2.0]])
    rung = np.array([0, 3, 5])
    window = Learning(np.ones((3, 1), np.float32), np.array(curve.values)[rung], np.ones(3, int), np.ones(3), link)
    np.testing.assert_allclose(curve.probability(both)[np.arange(3), rung], window.probability(both), rtol=1e-12)


def test_a_loss_is_weighted() -> None:
    """An offer of weight 3 counts three times."""
    z, both = np.ones((2, 1), np.float32), np.array([[0.3, 1.0], [0.3, 1.0]])
    one = Learning(z, np.array([0.0, 1.0]), np.array([1, 0]), np.array([1.0, 3.0]))
    q = one.probability(both)
    assert pytest.approx(-(np.log(q[0]) + 3 * np.log(1 - q[1])) / 4) == one.loss(both)


def test_the_mean_curve_weighs_its_members() -> None:
    """One quarter of the first and three of the second."""
    first, second = np.array([[0.8, 0.4]]), np.array([[0.4, 0.2]])
    np.testing.assert_allclose([[0.5, 0.25]], mean_curve([first, second], (0.25, 0.75)))


@pytest.mark.parametrize(
    ("link", "axis", "values", "named"),
    [
        ("logit", "cubic", (0.0, 1.0), "axis='cubic'"),
        ("cauchit", "log", (0.0, 1.0), "link='cauchit'"),
        ("logit", "log", (1.0, 0.0), "must not fall"),
        ("logit", "log", (0.0, 1.0, 2.0), "must not fall over the rungs"),
    ],
)
def test_a_scale_that_is_none_is_refused(link: str, axis: str, values: tuple[float, ...], named: str) -> None:
    """The message names the value."""
    with pytest.raises(InputError, match=named):
        Curve(link, axis, (0.9, 1.0), values)


def test_a_curve_survives_json() -> None:
    """What is saved is what is read."""
    curve = Curve.fit("probit", "linear", RUNGS, SHOWN)
    assert curve == Curve.from_json(json.loads(json.dumps(curve.to_json())))
    assert (2.0, 3.0) == curve.reshaped(np.arange(2.0, 8.0)).values[:2]


def test_windows_of_unequal_length_are_refused() -> None:
    """A row without its price or outcome is named by the counts."""
    with pytest.raises(InputError, match="have 2, 3, 2 rows"):
        Learning(np.ones((2, 1), np.float32), np.zeros(3), np.zeros(2, np.int64), np.ones(2))


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


@BOTH_LINKS
def test_curves_side_by_side_are_the_curves_one_by_one(link: str) -> None:
    """Each of several curves takes its own two coefficients and its own price scale, to the last bit."""
    curves = [Curve.fit(link, axis, RUNGS, SHOWN) for axis in AXES]
    both = np.array([[0.3, 1.5, -1.0, 4.0], [2.0, 0.1, 0.0, 7.0]], np.float32)
    expected = np.hstack([curves[0].probability(both[:, :2]), curves[1].probability(both[:, 2:])])
    np.testing.assert_array_equal(expected, side_by_side(curves, both))
