"""The shape of the demand curve: found where the offers can tell, the first one listed elsewhere; rising always."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipelines.candidates import shapes
from pipelines.candidates.shapes import PLAIN, SHAPES, Shown, bent, choose, fitted
from pipelines.demand import Curve, sigmoid

RUNGS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def shown(rows: int, t: dict[float, float], seed: int = 0) -> Shown:
    """Return a randomised window with logit q = alpha(x) - beta(x) t(m), t by multiplier."""
    rng = np.random.default_rng(seed)
    x, rung = rng.normal(size=rows), rng.integers(0, len(RUNGS), rows)
    scale = np.array([t[m] for m in RUNGS])[rung]
    bought = rng.random(rows) < sigmoid(0.3 + 0.5 * x - (1.2 + 0.3 * x) * scale)
    z = np.column_stack([x, np.ones(rows)]).astype(np.float32)
    return Shown(z, np.array(RUNGS)[rung], rung, bought.astype(np.int64), np.ones(rows))


LINEAR = {m: 2.5 * (m - 1) for m in RUNGS}
LOGARITHMIC = {m: 1.5 * float(np.log(m)) for m in RUNGS}
STEP = {0.25: -1.5, 0.5: -1.5, 0.75: -1.5, 1.0: 1.5, 1.5: 1.5, 2.0: 1.5}  # a threshold that nearly all share
AXES = ("logit-log", "logit-linear")


@pytest.mark.parametrize(("truth", "expected"), [(LINEAR, "logit-linear"), (LOGARITHMIC, "logit-log")])
def test_the_true_axis_is_found(truth: dict[float, float], expected: str) -> None:
    """A world linear in the price picks a linear axis, one of constant elasticity the logarithm."""
    name, curve, losses = choose(shown(20_000, truth), shown(10_000, truth, 1), RUNGS, AXES, 0)
    assert expected == name
    assert PLAIN[expected] == (curve.link, curve.axis)
    assert losses[name] == min(losses.values())
    assert set(AXES) == set(losses)


def test_a_step_is_found_by_the_spline_alone() -> None:
    """Where demand falls at a threshold, no plain shape comes near, and t still rises from rung to rung."""
    name, curve, losses = choose(shown(20_000, STEP), shown(10_000, STEP, 1), RUNGS, SHAPES, 0)
    assert "spline" == name
    assert losses["spline"] < min(loss for s, loss in losses.items() if s != "spline") - 0.01
    gaps = np.diff(curve.values)
    assert (gaps > 0).all()
    assert 2 == gaps.argmax(), "the step stands between 0.75 and 1"


def test_where_the_plain_shape_is_true_the_spline_stays_near_it() -> None:
    """Each rung moves little from a scale that fits."""
    plain = Curve.fit("logit", "log", RUNGS, shown(20_000, LOGARITHMIC).multiplier)
    moved = bent(shown(20_000, LOGARITHMIC), plain)
    assert np.abs(np.array(moved.values) - np.array(plain.values)).max() < 0.15


def test_t_rises_though_the_offers_do_not() -> None:
    """Rungs whose demand seems to rise are pooled to all but one value."""
    odd = {0.25: 1.0, 0.5: -1.0, 0.75: 0.0, 1.0: 0.5, 1.5: 1.0, 2.0: 2.0}
    window = shown(20_000, odd)
    gaps = np.diff(bent(window, Curve.fit("logit", "log", RUNGS, window.multiplier)).values)
    assert gaps.min() > 0
    assert gaps[0] < 0.01


def test_a_rung_with_few_offers_keeps_to_the_plain_shape() -> None:
    """Ten offers on a rung say little against the scale; thousands say much."""
    window = shown(20_000, STEP)
    plain = Curve.fit("logit", "log", RUNGS, window.multiplier)
    kept = (window.rung != 2) | (np.cumsum(window.rung == 2) <= 10)
    few = Shown(*(getattr(window, n)[kept] for n in ("z", "multiplier", "rung", "bought", "weight")))
    moves = [abs(bent(w, plain).values[2] - plain.values[2]) for w in (few, window)]
    assert moves[0] < moves[1] / 2


def test_a_shape_is_fitted_anew_on_another_window() -> None:
    """Name, link and axis stay; scale and bend are those of the new window."""
    first, later = shown(5000, STEP), shown(5000, STEP, 7)
    plain = fitted("logit-linear", later, Curve.fit("logit", "linear", RUNGS, first.multiplier), 0)
    assert Curve.fit("logit", "linear", RUNGS, later.multiplier) == plain
    spline = fitted("spline", later, plain, 0)
    assert ("logit", "linear") == (spline.link, spline.axis)
    assert spline.values != plain.values


def test_where_offers_cannot_tell_the_first_shape_stands() -> None:
    """Of 120 offers either axis may fit better by chance, and what is listed first is kept; 20,000 overrule it."""
    for order in (AXES, AXES[::-1]):
        for rows, expected in ((60, order[0]), (10_000, "logit-linear")):
            assert expected == choose(shown(rows, LINEAR, 3), shown(rows, LINEAR, 4), RUNGS, order, 0)[0]


def test_weights_of_offers_have_no_say_in_the_shape() -> None:
    """A few offers that weigh heavily, as under unequal propensities, choose no shape by chance."""
    fit, select = shown(2000, LINEAR), shown(1000, LINEAR, 1)
    heavy = dataclasses.replace(select, weight=np.where(np.arange(1000) < 10, 100.0, 0.1))
    assert choose(fit, select, RUNGS, SHAPES, 0)[2] == choose(fit, heavy, RUNGS, SHAPES, 0)[2]


def test_the_curve_is_that_of_the_fit_window() -> None:
    """The select window helps to name the shape; its prices do not move the scale of the trial."""
    fit, select = shown(2000, LINEAR), shown(1000, LINEAR, 1)
    _, curve, _ = choose(fit, select, RUNGS, ("logit-log",), 0)
    assert Curve.fit("logit", "log", RUNGS, fit.multiplier) == curve


def test_only_the_shapes_asked_for_are_candidates() -> None:
    """The spline starts from a plain shape that may itself not be chosen."""
    name, _, losses = choose(shown(2000, LINEAR), shown(1000, LINEAR, 1), RUNGS, ("spline",), 0)
    assert ("spline", ["spline"]) == (name, list(losses))


def test_a_large_window_is_sampled_and_a_small_one_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 offers 500 are drawn, by the seed; under the limit all are kept."""
    window = shown(2000, LINEAR)
    assert window is window.some(2000, 0)
    some, again, other = window.some(500, 1), window.some(500, 1), window.some(500, 2)
    assert {500} == {len(getattr(some, n)) for n in ("z", "multiplier", "rung", "bought", "weight")}
    np.testing.assert_array_equal(some.z, again.z)
    assert (some.z != other.z).any()
    monkeypatch.setattr(shapes, "_ROWS", 300)
    assert choose(window, window, RUNGS, AXES, 0)[0] in AXES
