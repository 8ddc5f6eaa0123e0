"""Shrinkage: the horseshoe's posterior mean against quadrature, its limits, and the likelier of two slopes."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import block_diag

from pipelines.candidates import _shrinkage
from pipelines.candidates._regression import curved, derivatives, design, newton, penalties, regressors
from pipelines.candidates._shrinkage import Fitted, _Sampler, _stretched, ranked, shrunk
from pipelines.candidates._slopes import Bend, Bounded, Exp, bend_of
from pipelines.demand import Learning, log_loss, sigmoid

_MANY = 40_000  # draws, by which the mean is known to a few thousandths


def posterior_mean(
    information: np.ndarray, pull: np.ndarray, own: np.ndarray, penalty: np.ndarray, draws: int = 400
) -> np.ndarray:
    """Return the mean of the weights under one likelihood."""
    return _Sampler(own, penalty).mean(information, pull, draws)


def alone(told: np.ndarray, information: float) -> np.ndarray:
    """Return the posterior mean of weights of likeliest values `told`, one tau for all: sums over tau and every λ.

    Given tau, weights are independent: w = λ² tau² / (λ² tau² + 1 / information) · told; half-Cauchy tau and λ.
    """
    spread = np.tan((np.arange(2000) + 0.5) / 2000 * np.pi / 2)  # half-Cauchy, evenly over its quantiles
    density, mean = [], []
    for tau in spread:
        variance = (spread * tau) ** 2
        total = variance + 1 / information
        likelihood = np.exp(-0.5 * told[:, None] ** 2 / total) / np.sqrt(total)
        density.append(likelihood.mean(axis=1))
        mean.append((likelihood * variance / total).mean(axis=1) * told / density[-1])
    weight = np.prod(density, axis=1)
    return np.asarray(weight @ np.array(mean) / weight.sum())


def together(information: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Return the same of two weights under a likelihood in which they are correlated."""
    spread = np.tan((np.arange(200) + 0.5) / 200 * np.pi / 2)
    total, mean = 0.0, np.zeros(2)
    for tau in spread:
        strength = 1 / (spread * tau) ** 2
        first, second = (x.ravel() for x in np.meshgrid(strength, strength))
        matrix = information[None] + np.stack([first, 0 * first, 0 * first, second], axis=1).reshape(-1, 2, 2)
        at = np.linalg.solve(matrix, np.tile(pull, (len(matrix), 1))[:, :, None])[:, :, 0]
        density = np.sqrt(first * second / np.linalg.det(matrix)) * np.exp(0.5 * at @ pull)
        total, mean = total + density.sum(), mean + density @ at
    return mean / total


def test_the_posterior_mean_is_that_of_the_horseshoe() -> None:
    """Quadrature says the same, for weights that are noise, that may be, and that are not."""
    level, slope = np.array([0.05, -0.1, 0.5, 2.0]), np.array([0.0, 0.3, -0.3, 0.2])
    told = np.concatenate([level, slope])
    found = posterior_mean(25 * np.eye(8), 25 * told, np.ones(8, bool), np.ones(8), _MANY)
    np.testing.assert_allclose(np.concatenate([alone(level, 25), alone(slope, 25)]), found, atol=0.006)


def test_correlated_weights_share_what_they_explain() -> None:
    """Two columns that nearly say the same: the mean is that of quadrature in two dimensions."""
    information, pull = np.array([[20.0, 17.0], [17.0, 20.0]]), np.array([16.0, 12.0])
    found = posterior_mean(
        block_diag(information, np.eye(2)), np.append(pull, [0, 0]), np.ones(4, bool), np.ones(4), _MANY
    )
    np.testing.assert_allclose(together(information, pull), found[:2], atol=0.01)


def test_much_evidence_is_believed_and_none_is_not() -> None:
    """Sharp likelihoods leave their own maximum, flat ones nothing; a constant follows its own penalty alone."""
    told, own = np.array([1.0, -2.0, 0.3, 0.5]), np.array([True, False, True, False])
    np.testing.assert_allclose(told, posterior_mean(1e8 * np.eye(4), 1e8 * told, own, np.full(4, 1e-4)), atol=1e-3)
    assert np.abs(posterior_mean(1e-8 * np.eye(4), 1e-8 * told, own, np.ones(4))).max() < 1e-3
    found = posterior_mean(4 * np.eye(4), 4 * told, own, np.full(4, 4.0))
    np.testing.assert_allclose(told[~own] / 2, found[~own])


def drawn(rows: int, width: int, seed: int, bend: Bounded | None) -> Learning:
    """Return offers of many numbers of which one moves the level and one the slope."""
    rng = np.random.default_rng(seed)
    z = np.column_stack([rng.normal(size=(rows, width)), np.ones(rows)]).astype(np.float32)
    t, score = rng.normal(size=rows), 2.5 * z[:, 1]
    beta = bend.slope(score, np.zeros(2))[0] if bend else 1 + 0.4 * z[:, 1]
    bought = (rng.random(rows) < sigmoid(0.6 * z[:, 0] - 0.3 - beta * t)).astype(np.int64)
    return Learning(z, t, bought, np.ones(rows))


def surprise(weights: np.ndarray, window: Learning) -> float:
    """Return the log loss of straight weights."""
    return log_loss(window.bought, sigmoid(regressors(window) @ weights))


@pytest.mark.parametrize(("rows", "width"), [(3000, 60), (600, 100)])
def test_it_knows_new_offers_better_than_one_strength_for_all(rows: int, width: int) -> None:
    """Where 2 columns matter, unseen offers are likelier under it than under any of four strengths.

    Also from weights that fit by chance, of as many columns as leave six offers for each.
    """
    window, later = drawn(rows, width, 1, None), drawn(20_000, width, 2, None)
    plain = {strength: newton(regressors(window), window, strength) for strength in (1.0, 16.0, 64.0, 256.0)}
    best = min(surprise(weights, later) for weights in plain.values())
    for start in (1.0, 64.0):
        assert surprise(shrunk(window, None, plain[start], 10), later) < best - 0.001


def test_a_column_for_every_word_of_a_category_is_no_obstacle() -> None:
    """Indicators that sum to the constant leave the information singular; 60,000 offers made rounding errors of it."""
    rng, rows = np.random.default_rng(1), 60_000
    word = rng.integers(0, 2, rows)
    z = np.column_stack([word == 0, word == 1, np.ones(rows)]).astype(np.float32)
    t = rng.normal(size=rows)
    window = Learning(z, t, (rng.random(rows) < sigmoid(0.4 * word - t)).astype(np.int64), np.ones(rows))
    for bend in (None, bend_of("bounded", window)):
        start = curved(window, bend, 1.0) if bend else newton(regressors(window), window, 1.0)
        found = shrunk(window, bend, start, 3)
        assert found[1] - found[0] == pytest.approx(0.4, abs=0.1)


def test_the_same_offers_give_the_same_weights() -> None:
    """Draws are the same in every call."""
    window = drawn(500, 5, 1, None)
    start = newton(regressors(window), window, 1.0)
    np.testing.assert_array_equal(shrunk(window, None, start, 2), shrunk(window, None, start, 2))


def test_the_start_does_not_decide() -> None:
    """From weak and from strong penalties the rounds lead to the same slopes, bounds included."""
    window = drawn(20_000, 6, 3, Bounded(1.0))
    bend = bend_of("bounded", window)
    assert bend is not None
    found = [design(window, bend, shrunk(window, bend, curved(window, bend, s), 10))[0] for s in (1.0, 256.0)]
    assert np.sqrt(np.mean((found[0] - found[1]) ** 2)) < 0.02


@pytest.mark.parametrize("bend", [Exp(), Bounded(1.0)])
def test_what_a_bend_has_of_its_own_follows_the_offers(bend: Bend) -> None:
    """Its weights, the constants and the spread of the score are where the penalised likelihood has its top."""
    window = drawn(4000, 3, 3, Bounded(1.0))
    start = curved(window, bend, 256.0)
    found = _stretched(window, bend, start)
    gradient, _ = derivatives(*design(window, bend, found), window.bought, window.link)
    own = np.array([3, 7, *range(8, len(found))])
    pulled = gradient - np.where(np.arange(len(found)) < 8, 0, penalties(len(found), 1.0, bend) * found)
    np.testing.assert_allclose(0, pulled[own], atol=0.5)
    spread = np.var(window.z[:, :-1] @ found[4:7]) / _shrinkage._SPREAD**2
    assert gradient[4:7] @ found[4:7] == pytest.approx(spread, abs=0.5)  # nor would a wider or narrower score be better
    np.testing.assert_allclose(found[4:7] / start[4:7], found[4] / start[4])


@pytest.mark.parametrize("slope", ["linear", "bounded", "exp"])
@pytest.mark.parametrize("outcome", ["none", "all", "parted"])
def test_offers_that_one_rule_explains_leave_weights_finite(slope: str, outcome: str) -> None:
    """Nobody bought, everybody did, or a column tells who."""
    window = drawn(200, 4, 1, None)
    bought = {"none": np.zeros(200), "all": np.ones(200), "parted": window.z[:, 0] > 0}[outcome].astype(np.int64)
    window = dataclasses.replace(window, bought=bought)
    bend = bend_of(slope, window)
    start = curved(window, bend, 1.0) if bend else newton(regressors(window), window, 1.0)
    assert np.abs(shrunk(window, bend, start, 10)).max() < 500


def test_where_nobody_bought_half_an_offer_did() -> None:
    """Straight slopes keep the half offer bought that `newton` adds."""
    window = dataclasses.replace(drawn(50, 1, 1, None), bought=np.zeros(50, np.int64))
    found = shrunk(window, None, newton(regressors(window), window, 1.0), 10)
    assert 0.005 < sigmoid(design(window, None, found)[0]).mean() < 0.02


@pytest.mark.parametrize(("rows", "width"), [(1500, 10), (4000, 25)])
def test_bounded_slopes_settle(rows: int, width: int) -> None:
    """Few offers, many columns: further rounds lead nowhere else, and the start under another link to the same cost."""
    for seed in (1, 2, 3):
        window = drawn(rows, width, seed, Bounded(1.0))
        bend = bend_of("bounded", window)
        assert bend is not None
        start = curved(window, bend, 16.0)
        costs = [Fitted(bend, shrunk(window, bend, start, n, 100), "logit").cost(window) for n in (6, 7, 8, 20)]
        assert max(costs) - min(costs) < 2
        other = ranked(dataclasses.replace(window, link="probit"))
        cold, warm = ({one.bend is None: one.cost(window) for one in ranked(window, like)} for like in ((), other))
        assert all(abs(cold[straight] - warm[straight]) < 2 for straight in (False, True))


@pytest.mark.parametrize(("rows", "width"), [(20_000, 4), (3000, 60)])
def test_straight_slopes_stay_straight(rows: int, width: int) -> None:
    """However many columns there are to fit by chance."""
    assert all(ranked(drawn(rows, width, seed, None))[0].bend is None for seed in (1, 2, 3))


def test_bounded_slopes_are_seen_and_a_wide_context_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 20,000 offers of four columns they are likelier; beyond `_WIDE` weights there are straight ones alone."""
    window = drawn(20_000, 4, 3, Bounded(1.0))
    assert ranked(window)[0].bend is not None
    monkeypatch.setattr(_shrinkage, "_WIDE", 9)
    assert ranked(window)[0].bend is None
