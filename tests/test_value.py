"""Off-policy estimators against enumeration, textbook formulas and simulation."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from pipelines import value
from pipelines.errors import InputError
from pipelines.value import Logged

# Two kinds of shopper, three rungs: probabilities of being shown, true demand, profit of a sale, a target policy.
SHOWN = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
DEMAND = np.array([[0.5, 0.4, 0.2], [0.3, 0.1, 0.05]])
PROFIT = np.array([[2.0, 3.0, 4.0], [1.0, 2.0, 5.0]])
TARGET = np.array([[0.0, 0.9, 0.1], [1.0, 0.0, 0.0]])
TRUE = float((TARGET * DEMAND * PROFIT).sum(axis=1).mean())
WRONG = np.array([[0.9, 0.1, 0.6], [0.05, 0.7, 0.5]])


def logged(kind, rung, bought, shown=SHOWN, shopper=None) -> Logged:
    """Return the log of offers to shoppers of a kind at a rung."""
    kind, rung, bought = (np.asarray(v) for v in (kind, rung, bought))
    return Logged(
        rung=rung,
        propensity=shown[kind, rung],
        earned=PROFIT[kind, rung] * bought,
        shopper=np.arange(len(rung)) if shopper is None else shopper,
        unit_profit=PROFIT[kind],
    )


def expectation(score) -> float:
    """Return the exact mean of a score over every kind, rung and outcome, each with its probability."""
    total = 0.0
    for kind, rung, bought in itertools.product((0, 1), (0, 1, 2), (0, 1)):
        q = DEMAND[kind, rung]
        chance = 0.5 * SHOWN[kind, rung] * (q if bought else 1 - q)
        total += chance * float(score(kind, rung, bought)[0])
    return total


def test_inverse_propensity_is_unbiased() -> None:
    """Over all that could have happened, its mean is the target's true profit."""
    assert pytest.approx(TRUE) == expectation(
        lambda k, a, b: value.inverse_propensity(TARGET[[k]], logged([k], [a], [b]))
    )


def test_doubly_robust_is_right_if_the_propensities_are() -> None:
    """A demand model that is far off does no harm; the direct method with it is far off itself."""
    assert pytest.approx(TRUE) == expectation(
        lambda k, a, b: value.doubly_robust(TARGET[[k]], WRONG[[k]], logged([k], [a], [b]))
    )
    off = expectation(lambda k, a, b: value.direct(TARGET[[k]], WRONG[[k]], logged([k], [a], [b])))
    assert abs(off - TRUE) > 0.2


def test_doubly_robust_is_right_if_the_demand_is() -> None:
    """Propensities that are far off do no harm; inverse propensity with them is far off itself."""
    guessed = np.array([[0.3, 0.6, 0.1], [0.4, 0.3, 0.3]])
    assert pytest.approx(TRUE) == expectation(
        lambda k, a, b: value.doubly_robust(TARGET[[k]], DEMAND[[k]], logged([k], [a], [b], guessed))
    )
    off = expectation(lambda k, a, b: value.inverse_propensity(TARGET[[k]], logged([k], [a], [b], guessed)))
    assert abs(off - TRUE) > 0.1


def test_scores_worked_by_hand() -> None:
    """One sale at rung 1 and one miss at rung 0: weights 0.9/0.3 and 1/0.1."""
    log = logged([0, 1], [1, 0], [1, 0])
    target = TARGET[[0, 1]]
    assert [3.0, 10.0] == pytest.approx(value.weights(target, log))
    assert [9.0, 0.0] == pytest.approx(value.inverse_propensity(target, log))
    assert 9.0 / 13.0 == pytest.approx(value.self_normalised(target, log).mean())
    promised = [0.9 * 0.4 * 3 + 0.1 * 0.2 * 4, 0.3]
    assert promised == pytest.approx(value.direct(target, DEMAND, log))
    expected = [promised[0] + 3.0 * (3.0 - 1.2), promised[1] + 10.0 * (0.0 - 0.3)]
    assert expected == pytest.approx(value.doubly_robust(target, DEMAND, log))
    assert 13.0**2 / (9 + 100) == pytest.approx(value.effective_sample_size(target, log))


def test_a_policy_that_was_logged_is_worth_what_was_earned() -> None:
    """Weights are 1: every estimator gives the plain mean, and the log is worth all its offers."""
    log = logged([0, 1, 1, 0], [0, 1, 2, 2], [1, 0, 1, 1])
    target = SHOWN[[0, 1, 1, 0]]
    for score in (value.inverse_propensity(target, log), value.self_normalised(target, log)):
        assert log.earned.mean() == pytest.approx(score.mean())
    assert 4 == pytest.approx(value.effective_sample_size(target, log))


def test_without_overlap_there_is_no_value() -> None:
    """A policy that only uses rungs never shown has no self-normalised value and no evidence."""
    log = logged([0, 0], [0, 0], [1, 0])
    target = np.array([[0.0, 0.0, 1.0]] * 2)
    assert np.isnan(value.self_normalised(target, log)).all()
    assert 0.0 == value.effective_sample_size(target, log)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_with_one_offer_per_shopper_the_interval_is_the_textbook_one(confidence: float) -> None:
    """Mean, sample standard deviation over the root of N, and the normal quantile."""
    scores = np.random.default_rng(0).gamma(2, 3, 50)
    found = value.interval(scores, np.arange(50), confidence)
    error = scores.std(ddof=1) / math.sqrt(50)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    expected = (scores.mean(), scores.mean() - z * error, scores.mean() + z * error, error)
    assert expected == pytest.approx((found.mean, found.low, found.high, found.standard_error))


def test_copies_of_a_shopper_are_no_new_evidence() -> None:
    """Every row four times, under the same shopper: the interval is as wide as before; under new names it is half."""
    scores = np.random.default_rng(0).gamma(2, 3, 400)
    once = value.interval(scores, np.arange(400)).standard_error
    copies = np.repeat(scores, 4)
    assert once == pytest.approx(value.interval(copies, np.repeat(np.arange(400), 4)).standard_error)
    assert once / 2 == pytest.approx(value.interval(copies, np.arange(1600)).standard_error, rel=1e-3)


def test_the_clustered_variance_worked_by_hand() -> None:
    """Scores 1, 3 | 5 of two shoppers: mean 3, sums of residuals -2 and 2, variance 2/1 x 8 / 9."""
    found = value.interval(np.array([1.0, 3.0, 5.0]), np.array(["a", "a", "b"]))
    assert (3.0, 4 / 3) == pytest.approx((found.mean, found.standard_error))


def test_shoppers_need_not_be_sorted_or_numbers() -> None:
    """Only who is who matters."""
    scores, who = np.array([1.0, 2.0, 4.0, 8.0]), np.array(["b", "甲", "b", ""], dtype=object)
    order = [2, 0, 3, 1]
    assert value.interval(scores, who) == value.interval(scores[order], who[order])


def simulate(rng: np.random.Generator, shoppers: int) -> tuple[Logged, np.ndarray]:
    """Return a log in which each shopper, of one kind, is seen one to four times, and the kinds of the offers."""
    times = rng.integers(1, 5, shoppers)
    kind, shopper = np.repeat(rng.integers(0, 2, shoppers), times), np.repeat(np.arange(shoppers), times)
    rung = (rng.random(len(kind))[:, None] > SHOWN[kind].cumsum(axis=1)).sum(axis=1).clip(0, 2)
    bought = rng.random(len(kind)) < DEMAND[kind, rung]
    return logged(kind, rung, bought, shopper=shopper), kind


def test_intervals_cover_the_true_value() -> None:
    """Of 400 logs about 95 in 100 intervals hold the truth, doubly robust and self-normalised; both centre on it."""
    rng = np.random.default_rng(1)
    held, means = {"dr": 0, "sn": 0}, {"dr": [], "sn": []}
    for _ in range(400):
        log, kind = simulate(rng, 150)
        scores = {
            "dr": value.doubly_robust(TARGET[kind], WRONG[kind], log),
            "sn": value.self_normalised(TARGET[kind], log),
        }
        for name, score in scores.items():
            found = value.interval(score, log.shopper)
            held[name] += found.low <= TRUE <= found.high
            means[name].append(found.mean)
    for name, count in held.items():
        assert 0.90 <= count / 400 <= 0.985, name
        # self-normalising costs a bias of the order of 1 / N, hence twice the noise of 400 means and a bit
        allowed = 4 * np.std(means[name]) / 20 + (0.02 if name == "sn" else 0)
        assert pytest.approx(TRUE, abs=allowed) == np.mean(means[name]), name


def test_clustering_is_what_makes_correlated_intervals_honest() -> None:
    """Where a shopper's offers go alike, intervals that take them for independent miss the truth far too often."""
    rng, held = np.random.default_rng(2), {"clustered": 0, "naive": 0}
    for _ in range(300):
        scores = np.repeat(rng.normal(0, 1, 60), 5) + rng.normal(0, 0.3, 300)
        for name, who in (("clustered", np.repeat(np.arange(60), 5)), ("naive", np.arange(300))):
            found = value.interval(scores, who)
            held[name] += found.low <= 0 <= found.high
    assert held["clustered"] >= 0.90 * 300
    assert held["naive"] <= 0.75 * 300


def test_offers_needed_inverts() -> None:
    """A gain tested on as many offers as asked for shows with the power asked for, and n goes with 1 / gain squared."""
    sigma, gain = 4.0, 0.1
    needed = value.offers_needed(sigma / math.sqrt(1000), 1000, gain, power=0.8)
    error = sigma / math.sqrt(needed)
    assert 0.8 == pytest.approx(1 - NormalDist().cdf(NormalDist().inv_cdf(0.975) - gain / error))
    assert 4 * needed == pytest.approx(value.offers_needed(sigma / math.sqrt(1000), 1000, gain / 2))
    assert math.inf == value.offers_needed(0.1, 1000, 0.0)
    assert math.inf == value.offers_needed(0.1, 1000, -1.0)


@pytest.mark.parametrize(
    ("worth", "single", "perfect", "expected"),
    [
        (12.0, 10.0, 14.0, 0.5),
        (10.0, 10.0, 14.0, 0.0),
        (14.0, 10.0, 14.0, 1.0),
        (9.0, 10.0, 14.0, -0.25),
        (10.0, 10.0, 10.0, None),
        (10.0, 10.0, 10.0 + 1e-12, None),
        (0.0, 0.0, 0.0, None),
        (-3.0, -4.0, -2.0, 0.5),
    ],
)
def test_share_of_gain(worth: float, single: float, perfect: float, expected: float | None) -> None:
    """Nought is one price for all, one is perfect; None where there is nothing to gain."""
    assert expected == value.share_of_gain(worth, single, perfect)


def test_an_empty_window_is_refused() -> None:
    """Nothing can be estimated from no offer."""
    with pytest.raises(InputError, match="the window is empty"):
        logged(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan])
def test_impossible_propensities_are_refused(bad: float) -> None:
    """What was shown had a chance to be."""
    with pytest.raises(InputError, match="propensities must be positive"):
        logged([0], [0], [1], shown=np.full((2, 3), bad))


def test_one_shopper_has_no_interval() -> None:
    """From one shopper nothing is known of the spread between shoppers; the message says what to do."""
    with pytest.raises(InputError, match="two shoppers"):
        value.interval(np.array([1.0, 2.0]), np.array(["a", "a"]))
