"""Shrinkage: the horseshoe's posterior mean against quadrature, its limits, and the likelier of two slopes."""

import dataclasses

import numpy as np
import pytest

from pipelines.candidates._regression import curved, newton, regressors
from pipelines.candidates._shrinkage import _posterior_mean, likelier, shrunk
from pipelines.candidates._slopes import Bounded, bend_of
from pipelines.demand import Learning, sigmoid


def expected(told: np.ndarray, information: float) -> np.ndarray:
    """Return the posterior mean of weights of likeliest values `told`, one tau for all: sums over tau and every λ.

    Given tau, weights are independent: w = λ² tau² / (λ² tau² + 1 / information) · told; half-Cauchy tau and λ.
    """
    angles = (np.arange(2000) + 0.5) / 2000 * np.pi / 2
    spread = np.tan(angles)  # draws of a half-Cauchy distribution, evenly over its quantiles
    density, mean = [], []
    for tau in spread:
        variance = (spread * tau) ** 2
        total = variance + 1 / information
        likelihood = np.exp(-0.5 * told[:, None] ** 2 / total) / np.sqrt(total)
        density.append(likelihood.mean(axis=1))
        mean.append((likelihood * variance / total).mean(axis=1) * told / density[-1])
    weight = np.prod(density, axis=1)
    return np.asarray(weight @ np.array(mean) / weight.sum())


def test_the_posterior_mean_is_that_of_the_horseshoe() -> None:
    """Quadrature says the same, for weights that are noise, that may be, and that are not."""
    information = 25.0
    level, slope = np.array([0.05, -0.1, 0.5, 2.0]), np.array([0.0, 0.3, -0.3, 0.2])
    told = np.concatenate([level, slope])
    found = _posterior_mean(information * np.eye(8), information * told, np.ones(8, bool), np.ones(8))
    np.testing.assert_allclose(
        np.concatenate([expected(level, information), expected(slope, information)]), found, atol=0.02
    )


def test_much_evidence_is_believed_and_none_is_not() -> None:
    """Sharp likelihoods leave their own maximum, flat ones nothing; a constant follows its own penalty alone."""
    told, own = np.array([1.0, -2.0, 0.3, 0.5]), np.array([True, False, True, False])
    penalty = np.full(4, 1e-4)
    np.testing.assert_allclose(told, _posterior_mean(1e8 * np.eye(4), 1e8 * told, own, penalty), atol=1e-3)
    assert np.abs(_posterior_mean(1e-8 * np.eye(4), 1e-8 * told, own, np.ones(4))).max() < 1e-3


def drawn(rows: int, width: int, seed: int, bend: Bounded | None) -> Learning:
    """Return offers of many numbers of which one moves the level and one the slope."""
    rng = np.random.default_rng(seed)
    z = np.column_stack([rng.normal(size=(rows, width)), np.ones(rows)]).astype(np.float32)
    t, score = rng.normal(size=rows), 2.5 * z[:, 1]
    beta = bend.slope(score, np.zeros(2))[0] if bend else 1 + 0.4 * z[:, 1]
    bought = (rng.random(rows) < sigmoid(0.6 * z[:, 0] - 0.3 - beta * t)).astype(np.int64)
    return Learning(z, t, bought, np.ones(rows))


def test_it_prices_new_offers_better_than_one_strength_for_all() -> None:
    """Of 60 columns 2 matter: offers not seen are likelier under it than under the best of four strengths."""
    window, later = drawn(3000, 60, 1, None), drawn(20_000, 60, 2, None)
    columns, beyond = regressors(window), regressors(later)

    def surprise(weights: np.ndarray) -> float:
        eta = beyond @ weights
        return float(np.log1p(np.exp(np.where(later.bought == 1, -eta, eta))).sum())

    plain = {strength: newton(columns, window, strength) for strength in (1.0, 16.0, 64.0, 256.0)}
    own = shrunk(window, None, 1.0, plain[1.0], 3)
    assert surprise(own) < min(surprise(weights) for weights in plain.values()) - 20


def test_the_same_offers_give_the_same_weights() -> None:
    """Draws are the same in every call."""
    window = drawn(500, 5, 1, None)
    start = newton(regressors(window), window, 1.0)
    np.testing.assert_array_equal(shrunk(window, None, 1.0, start, 2), shrunk(window, None, 1.0, start, 2))


@pytest.mark.parametrize("slope", ["linear", "bounded", "exp"])
@pytest.mark.parametrize("outcome", ["none", "all", "parted"])
def test_offers_that_one_rule_explains_leave_weights_finite(slope: str, outcome: str) -> None:
    """Nobody bought, everybody did, or a column tells who: the steps stay where the likelihood is known."""
    window = drawn(200, 4, 1, None)
    bought = {"none": np.zeros(200), "all": np.ones(200), "parted": window.z[:, 0] > 0}[outcome].astype(np.int64)
    window = dataclasses.replace(window, bought=bought)
    bend = bend_of(slope, window)
    start = curved(window, bend, 1.0) if bend else newton(regressors(window), window, 1.0)
    assert np.abs(shrunk(window, bend, 1.0, start, 5)).max() < 100


@pytest.mark.parametrize("bend", [None, Bounded(1.0)])
def test_the_likelier_slope_is_found(bend: Bounded | None) -> None:
    """Straight slopes stay straight, and bounded ones are seen."""
    assert (bend is None) == (likelier(drawn(20_000, 4, 3, bend)).bend is None)
