"""Off-policy estimators against enumeration, textbook formulas and simulation."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from pipelines import evidence, value
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


@pytest.mark.parametrize("bound", [0.5, 2.5, 4.0, 1e9])
def test_what_clipping_costs(bound: float) -> None:
    """Its bias over all that could have happened is that of the docstring, and nought where the demand is right."""
    w = TARGET / SHOWN
    bias = (SHOWN * (np.minimum(w, bound) - w) * PROFIT * (DEMAND - WRONG)).sum(axis=1).mean()
    found = expectation(lambda k, a, b: value.clipped(TARGET[[k]], WRONG[[k]], logged([k], [a], [b]), bound))
    assert pytest.approx(TRUE + bias) == found
    assert (abs(bias) < 1e-12) == (bound > 10)
    right = expectation(lambda k, a, b: value.clipped(TARGET[[k]], DEMAND[[k]], logged([k], [a], [b]), bound))
    assert pytest.approx(TRUE) == right


@pytest.mark.parametrize("bound", [0.0, 2.5, 3.0, 4.0, 1e9])
def test_what_switching_costs(bound: float) -> None:
    """Above the bound the demand model alone speaks: 0 is the direct method, no bound is doubly robust."""
    bias = -(TARGET * (TARGET / SHOWN > bound + 1e-9) * PROFIT * (DEMAND - WRONG)).sum(axis=1).mean()
    found = expectation(lambda k, a, b: value.switch(TARGET[[k]], WRONG[[k]], logged([k], [a], [b]), bound + 1e-9))
    assert pytest.approx(TRUE + bias) == found
    if bound == 0:
        promised = expectation(lambda k, a, b: value.direct(TARGET[[k]], WRONG[[k]], logged([k], [a], [b])))
        assert pytest.approx(promised) == found


def test_every_log_of_two_offers() -> None:
    """Over all logs of one offer to each kind of shopper, with their probabilities, the mean of means is the truth."""
    total = dict.fromkeys(("ips", "dr"), 0.0)
    for rungs, sales in itertools.product(
        itertools.product(range(3), repeat=2), itertools.product((0, 1), repeat=2)
    ):  # fmt: skip
        kinds = np.array([0, 1])
        q = DEMAND[kinds, rungs]
        chance = float(SHOWN[kinds, rungs].prod() * np.where(sales, q, 1 - q).prod())
        log = logged(kinds, rungs, sales)
        total["ips"] += chance * value.inverse_propensity(TARGET, log).mean()
        total["dr"] += chance * value.doubly_robust(TARGET, WRONG, log).mean()
    assert {"ips": TRUE, "dr": TRUE} == pytest.approx(total)


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


def test_the_evidence_of_a_difference_worked_by_hand() -> None:
    """Weights 3 - 1 and 10 - 1/0.1 x 0.7 of a pair of policies: sizes count, not signs."""
    log = logged([0, 1, 0], [1, 0, 0], [1, 0, 1])
    mine, theirs = TARGET[[0, 1, 0]], np.array([[0.2, 0.3, 0.5], [0.7, 0.3, 0.0], [1.0, 0.0, 0.0]])
    assert [2.0, 3.0, -2.0] == pytest.approx(value.weights(mine - theirs, log))
    assert 7.0**2 / (4 + 9 + 4) == pytest.approx(value.effective_sample_size(mine - theirs, log))


def test_without_overlap_there_is_no_value() -> None:
    """A policy that only uses rungs never shown has no self-normalised value and no evidence."""
    log = logged([0, 0], [0, 0], [1, 0])
    target = np.array([[0.0, 0.0, 1.0]] * 2)
    assert np.isnan(value.self_normalised(target, log)).all()
    assert 0.0 == value.effective_sample_size(target, log)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_with_one_offer_per_shopper_the_interval_is_the_textbook_one(confidence: float) -> None:
    """Mean, sample standard deviation over the root of N, and Student's quantile with N - 1 degrees of freedom."""
    scores = np.random.default_rng(0).uniform(2, 3, 50)  # flatter than the normal: its kurtosis asks for no less
    found = value.interval(scores, np.arange(50), confidence)
    error = scores.std(ddof=1) / math.sqrt(50)
    z = stats.t.ppf((1 + confidence) / 2, 49)
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


def test_the_lower_bound_is_one_sided() -> None:
    """At 95 % it is the lower end of the two-sided 90 % interval, and a floor widens both."""
    scores, who = np.random.default_rng(3).normal(1, 2, 80), np.arange(80)
    assert pytest.approx(value.interval(scores, who, 0.90).low) == value.lower_bound(scores, who, 0.95)
    wide = value.interval(scores, who, 0.90, floor=5.0)
    assert 5.0 == wide.standard_error
    assert pytest.approx(wide.low) == value.lower_bound(scores, who, 0.95, floor=5.0)
    assert value.interval(scores, who) == value.interval(scores, who, floor=0.01)


def test_one_heavy_shopper_leaves_few_degrees_of_freedom() -> None:
    """Normal sums of residuals have G - 1 in the mean; where one is all of the variance about two are left."""
    rng = np.random.default_rng(4)
    assert evidence.freedom(rng.normal(0, 1, 4000)) > 3400
    lone = np.zeros(1000)
    lone[0] = 1.0
    assert pytest.approx(2.0, abs=0.01) == evidence.freedom(lone - lone.mean())
    few = np.array([-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # kurtosis 4
    assert pytest.approx(2 * 8 / (4 - 5 / 7)) == evidence.freedom(few)
    assert 9.0 == evidence.freedom(np.zeros(10))
    assert 1.0 == evidence.freedom(np.array([-1.0, 1.0]))


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


def test_a_bound_is_passed_as_seldom_as_it_says() -> None:
    """Of 1,000 logs about 5 in 100 have a lower bound above a lead that is nought; the normal bound passes more."""
    rng, above = np.random.default_rng(5), {"student": 0, "normal": 0}
    for _ in range(1000):
        scores = rng.normal(0, 1, 8)
        above["student"] += value.lower_bound(scores, np.arange(8)) > 0
        found = value.interval(scores, np.arange(8))
        above["normal"] += found.mean - NormalDist().inv_cdf(0.95) * found.standard_error > 0
    assert 0.025 <= above["student"] / 1000 <= 0.07 < above["normal"] / 1000


def rare(rng: np.random.Generator, offers: int) -> Logged:
    """Return a log in which one rung was shown in 1 of 100 offers, the other in all else; both sell 1 in 10."""
    rung = (rng.random(offers) < 0.01).astype(np.int64)
    bought = rng.random(offers) < 0.1
    return Logged(rung, np.array([0.99, 0.01])[rung], 1.0 * bought, np.arange(offers), np.ones((offers, 2)))


def test_a_champion_that_was_hardly_shown_is_not_beaten_by_default() -> None:
    """Nobody happened to buy at its rung, so the spread of the scores is blind; chance purchases are not."""
    rng, above = np.random.default_rng(6), {"gain": 0, "blind": 0}
    mine, theirs, demand = (np.tile(row, (400, 1)) for row in ([1.0, 0.0], [0.0, 1.0], [0.07, 0.07]))
    for _ in range(300):
        log = rare(rng, 400)
        above["gain"] += value.gain(mine, theirs, demand, log).lower > 0
        scores = value.doubly_robust(mine, demand, log) - value.doubly_robust(theirs, demand, log)
        above["blind"] += value.lower_bound(scores, log.shopper) > 0
    assert above["gain"] <= 0.05 * 300
    assert above["blind"] >= 0.30 * 300


def test_the_noise_is_the_spread_that_purchases_make() -> None:
    """With the true demand and rungs held fixed, it is the standard deviation of the mean over repeated outcomes."""
    rng = np.random.default_rng(7)
    kind, rung = rng.integers(0, 2, 300), rng.integers(0, 3, 300)
    difference = TARGET[kind] - SHOWN[kind]
    means = []
    for _ in range(2000):
        log = logged(kind, rung, rng.random(300) < DEMAND[kind, rung])
        lead = value.doubly_robust(TARGET[kind], DEMAND[kind], log) - value.doubly_robust(
            SHOWN[kind], DEMAND[kind], log
        )
        means.append(lead.mean())
    assert np.std(means) == pytest.approx(value.noise(difference, DEMAND[kind], log), rel=0.06)


def test_the_gain_is_the_paired_difference() -> None:
    """Mean, error and bound are those of the difference of the scores; the offers needed are those of this pair."""
    log, kind = simulate(np.random.default_rng(8), 400)
    mine, theirs = TARGET[kind], SHOWN[kind]
    found = value.gain(mine, theirs, DEMAND[kind], log, level=0.975)
    scores = value.doubly_robust(mine, DEMAND[kind], log) - value.doubly_robust(theirs, DEMAND[kind], log)
    plain = value.interval(scores, log.shopper, 0.95)
    assert (plain.mean, len(kind)) == pytest.approx((found.mean, found.offers))
    assert found.standard_error >= plain.standard_error
    assert found.lower <= plain.low + 1e-12
    quantile = (found.mean - found.lower) / found.standard_error
    assert found.needed == value.offers_needed(found.standard_error, len(kind), found.mean, quantile=quantile)
    against = value.gain(theirs, mine, DEMAND[kind], log, level=0.975)
    assert math.inf in {found.needed, against.needed}
    assert found.effective_sample_size == against.effective_sample_size


def test_a_policy_has_no_lead_over_itself() -> None:
    """Nought, without any error, and without evidence of a difference."""
    log, kind = simulate(np.random.default_rng(9), 50)
    found = value.gain(TARGET[kind], TARGET[kind], DEMAND[kind], log)
    assert (0.0, 0.0, 0.0, math.inf, 0.0) == (
        found.mean, found.standard_error, found.lower, found.needed, found.effective_sample_size
    )  # fmt: skip


def test_offers_needed_inverts() -> None:
    """A gain tested on as many offers as asked for shows with the power asked for, and n goes with 1 / gain squared."""
    sigma, gain = 4.0, 0.1
    needed = value.offers_needed(sigma / math.sqrt(1000), 1000, gain, power=0.8)
    error = sigma / math.sqrt(needed)
    assert pytest.approx(0.8) == 1 - NormalDist().cdf(NormalDist().inv_cdf(0.95) - gain / error)
    assert 4 * needed == pytest.approx(value.offers_needed(sigma / math.sqrt(1000), 1000, gain / 2))
    assert needed < value.offers_needed(sigma / math.sqrt(1000), 1000, gain, quantile=2.0)
    assert math.inf == value.offers_needed(0.1, 1000, 0.0)
    assert math.inf == value.offers_needed(0.1, 1000, -1.0)


def test_the_power_is_what_was_asked_for() -> None:
    """Windows of as many offers as asked for show the gain in about 80 of 100 cases."""
    rng, needed = np.random.default_rng(10), round(value.offers_needed(1.0, 1, 0.25))
    shown = sum(value.lower_bound(rng.normal(0.25, 1, needed), np.arange(needed)) > 0 for _ in range(1000))
    assert 0.75 <= shown / 1000 <= 0.85


def test_the_sensitivity_holds_every_estimator() -> None:
    """Each is the estimator of its name, of a policy alone or of its lead; clipping touches the largest weights."""
    log, kind = simulate(np.random.default_rng(11), 400)
    target, other = TARGET[kind], SHOWN[kind]
    found = value.sensitivity(target, WRONG[kind], log)
    assert ["direct", "inverse_propensity", "self_normalised", "doubly_robust", "clipped", "switch"] == list(found)
    bound = value.usual_bound(value.weights(target, log))
    assert value.largest_weight(target, log) == bound  # 10, the weight of a tenth of the offers
    assert found["clipped"] == found["switch"] == found["doubly_robust"]
    assert value.direct(target, WRONG[kind], log).mean() == pytest.approx(found["direct"].mean)
    lead = value.sensitivity(target, WRONG[kind], log, other)
    own = value.sensitivity(other, WRONG[kind], log)
    for name in found:
        assert found[name].mean - own[name].mean == pytest.approx(lead[name].mean), name


def test_a_bound_touches_what_stands_out() -> None:
    """The 99 % quantile of the positive weights; nought where there is none."""
    w = np.concatenate([np.zeros(500), np.full(198, 2.0), [50.0, 90.0]])
    assert 2.0 < value.usual_bound(w) <= 50.0
    assert 0.0 == value.usual_bound(np.zeros(3))


def test_support_is_the_share_on_rungs_that_were_shown() -> None:
    """Half of the mass stands on a rung never shown, a further tenth on one shown in 1 of 50 cases."""
    shown = np.array([[0.98, 0.02, 0.0], [0.5, 0.5, 0.0]])
    target = np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]])
    assert 0.5 == value.unsupported(target, shown)
    assert pytest.approx(0.6) == value.unsupported(target, shown, least=0.05)
    assert 0.0 == value.unsupported(shown, shown)


def test_out_of_fold_demand_never_saw_its_shopper() -> None:
    """Each shopper is whole in one fold, every offer is predicted once, and in the order of the table."""
    who = np.array(["b", "a", "b", "c", "d", "a", "e", "b"], dtype=object)
    seen: list[tuple[set, set]] = []

    def fit_predict(learn: np.ndarray, predict: np.ndarray) -> np.ndarray:
        seen.append((set(who[learn]), set(who[predict])))
        return np.stack([predict, -predict], axis=1)

    found = evidence.cross_fitted(fit_predict, who, folds=3)
    assert np.array_equal(np.stack([np.arange(8), -np.arange(8)], axis=1), found)
    assert 3 == len(seen)
    assert all(not learned & predicted for learned, predicted in seen)
    assert set("abcde") == set.union(*(predicted for _, predicted in seen))


def test_folds_depend_on_who_and_seed_alone() -> None:
    """Not on the order of the rows; with fewer shoppers than folds each is one; one shopper cannot be cross-fitted."""
    who = np.random.default_rng(12).integers(0, 40, 300)
    order = np.random.default_rng(13).permutation(300)
    fold = evidence.folds_of(who, 5, seed=1)
    assert np.array_equal(fold[order], evidence.folds_of(who[order], 5, seed=1))
    assert not np.array_equal(fold, evidence.folds_of(who, 5, seed=2))
    assert {8} == {len(set(who[fold == k])) for k in range(5)}
    assert {0, 1, 2} == set(evidence.folds_of(np.array([7, 8, 9]), 5))
    with pytest.raises(InputError, match="two folds and two shoppers"):
        evidence.folds_of(np.array([1, 1]), 5)


def test_out_of_fold_demand_is_what_makes_doubly_robust_honest() -> None:
    """A reference that remembers the very outcomes it is corrected with has no surprise left: its error is none."""
    log, kind = simulate(np.random.default_rng(14), 300)
    bought = log.earned / log.shown(log.unit_profit)

    def remembered(rows: np.ndarray) -> np.ndarray:
        found = np.full((len(kind), 3), bought[rows].mean())
        found[rows, log.rung[rows]] = bought[rows]
        return found

    target = TARGET[kind]
    inside = value.doubly_robust(target, remembered(np.arange(len(kind))), log)
    assert pytest.approx(value.direct(target, remembered(np.arange(len(kind))), log)) == inside
    outside = evidence.cross_fitted(lambda learn, predict: remembered(learn)[predict], log.shopper)
    assert (
        abs(value.doubly_robust(target, outside, log).mean() - TRUE)
        < 4 * value.interval(value.doubly_robust(target, outside, log), log.shopper).standard_error
    )


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
