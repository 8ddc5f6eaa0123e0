"""The benchmark worlds: their logs are honest, their room is the one known, and a score is what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.benchmark import worlds
from pipelines.benchmark.offers import Offers, capture, table, values
from pipelines.benchmark.worlds import WORLDS, World, world
from pipelines.errors import InputError

ALL = tuple(WORLDS)
CONFOUNDED = {"biggs4", "biggs6", "fast-confounded"}


def fresh(name: str, n: int = 20_000, seed: int = 1) -> Offers:
    made = world(name, seed)
    return made.draw(n, made.rng("fresh"))


def logged(offers: Offers) -> np.ndarray:
    """Return the (N, K) table of probabilities of the rungs."""
    assert offers.logging is not None
    return offers.logging


@pytest.mark.parametrize("name", ALL)
def test_propensities_are_those_of_the_rungs(name: str) -> None:
    """They sum to 1 over the ladder, and that of an offer is that of its rung."""
    offers = fresh(name)
    chances = logged(offers)
    np.testing.assert_allclose(1.0, chances.sum(axis=1), atol=1e-12)
    assert chances.min() > 0
    np.testing.assert_array_equal(chances[np.arange(len(chances)), offers.rung], offers.propensity)


@pytest.mark.parametrize("name", ALL)
def test_rungs_are_shown_as_often_as_the_propensities_say(name: str) -> None:
    """In each third of the contexts by the first feature, and at each rung, within noise."""
    offers = fresh(name)
    chances = logged(offers)
    third = pd.qcut(offers.contexts["x00"].rank(method="first"), 3, labels=False).to_numpy()
    for part in range(3):
        for rung in range(len(offers.ladder)):
            expected, shown = chances[third == part, rung], offers.rung[third == part] == rung
            noise = np.sqrt((expected * (1 - expected)).sum()) / len(expected)
            assert pytest.approx(expected.mean(), abs=4.5 * noise) == shown.mean()


@pytest.mark.parametrize("name", ALL)
def test_offers_are_bought_as_often_as_the_truth_says(name: str) -> None:
    """At each rung, within noise; and the true demand falls with the price."""
    offers = fresh(name)
    assert (np.diff(offers.truth, axis=1) <= 0).all()
    for rung in range(len(offers.ladder)):
        at = offers.rung == rung
        q = offers.truth[at, rung]
        noise = np.sqrt((q * (1 - q)).sum()) / at.sum()
        assert pytest.approx(q.mean(), abs=4.5 * noise + 1e-9) == offers.bought[at].mean()


@pytest.mark.parametrize("name", ALL)
def test_only_a_confounded_world_sets_prices_by_the_context(name: str) -> None:
    """At random every context has the same chances."""
    made = world(name, 1)
    spread = np.ptp(logged(fresh(name)), axis=0).max()
    assert (name in CONFOUNDED) == made.confounded == (spread > 1e-12)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("biggs1", 0.070, 0.085), ("biggs4", 0.097, 0.113), ("biggs6", 0.053, 0.067),
        ("fast", 0.05, 0.08), ("fast-null", -1e-9, 1e-9),
    ],
)  # fmt: skip
def test_what_personal_prices_can_gain_is_what_is_known(name: str, low: float, high: float) -> None:
    """A perfect policy gains so much over the best single rung, whatever the seed."""
    for seed in (1, 2):
        offers = fresh(name, 30_000, seed)
        best = (offers.unit_profit * offers.truth).argmax(axis=1)
        assert low <= values(best, offers.truth, offers.unit_profit).headroom <= high


def test_what_personal_prices_can_gain_with_forty_dummies() -> None:
    """About a fifth in the mean over the coefficients that the seeds draw."""
    found = []
    for seed in range(8):
        offers = fresh("dube-misra", 10_000, seed)
        best = (offers.unit_profit * offers.truth).argmax(axis=1)
        found.append(values(best, offers.truth, offers.unit_profit).headroom)
    assert 0.16 < np.mean(found) < 0.28


def test_where_nobody_differs_one_rung_is_best_for_all() -> None:
    """Purchase probabilities differ in the null world, best rungs do not."""
    offers = fresh("fast-null")
    assert 1 == len(set((offers.unit_profit * offers.truth).argmax(axis=1)))
    assert offers.truth[:, 0].std() > 0.05


@pytest.mark.parametrize("name", ALL)
def test_name_and_seed_decide(name: str) -> None:
    """The same give the same offers, another seed or another stream gives others."""
    made = world(name, 1)

    def again(one: World, stream: str) -> pd.DataFrame:
        return table(one.draw(500, one.rng(stream)))

    first = again(made, "learn")
    pd.testing.assert_frame_equal(first, again(world(name, 1), "learn"))
    assert not first["price"].equals(again(world(name, 2), "learn")["price"])
    assert not first["price"].equals(again(made, "fresh")["price"])


def test_coefficients_are_those_of_the_seed() -> None:
    """Learn and fresh offers of a seed share them: the same context has the same demand."""
    x, prices = np.eye(40)[:5], np.array([99.0, 199.0])
    one, same, other = (world("dube-misra", seed).demand(x, prices) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_the_table_is_a_users_own() -> None:
    """Price, outcome, propensity, a time of its own for every row, and the features under their names."""
    offers = fresh("biggs4", 1_000)
    found = table(offers)
    assert ["price", "bought", "propensity", "time", "x00", "x01"] == list(found)
    assert found["time"].is_monotonic_increasing
    assert found["time"].is_unique
    np.testing.assert_array_equal(offers.ladder[offers.rung], found["price"])
    assert set(offers.ladder) == set(found["price"])


@pytest.mark.parametrize("name", [n for n in ALL if n != "fast-null"])
def test_capture_is_one_for_the_perfect_and_none_for_the_single(name: str) -> None:
    """And negative for the worst."""
    offers = fresh(name, 5_000)
    profit = offers.unit_profit * offers.truth
    single = np.full(5_000, profit.mean(axis=0).argmax())
    assert pytest.approx(1.0) == capture(profit.argmax(axis=1), offers.truth, offers.unit_profit)
    assert pytest.approx(0.0, abs=1e-12) == capture(single, offers.truth, offers.unit_profit)
    assert capture(profit.argmin(axis=1), offers.truth, offers.unit_profit) < 0


def test_capture_by_hand() -> None:
    """Two people, two prices: single 1.0, perfect 1.5, this policy 1.0 + 0.25."""
    truth = np.array([[1.0, 0.0], [0.5, 1.0]])
    profit = np.array([[1.0, 2.0], [1.0, 2.0]])
    found = values(np.array([0, 0]), truth, profit)
    assert (0.75, 1.0, 1.5, 1) == (found.policy, found.single, found.perfect, found.single_rung)
    assert pytest.approx(-0.5) == found.capture
    assert pytest.approx(0.25) == found.lost
    assert pytest.approx(0.5) == found.headroom


def test_capture_is_not_defined_where_there_is_nothing_to_gain() -> None:
    """The profit lost still is."""
    offers = fresh("fast-null", 2_000)
    single = int((offers.unit_profit * offers.truth).mean(axis=0).argmax())
    found = values(np.full(2_000, single + 1), offers.truth, offers.unit_profit)
    assert np.isnan(found.capture)
    assert 0.01 < found.lost < 0.5


def test_profit_is_price_less_cost() -> None:
    """Per item, where list prices and costs differ."""
    one = np.zeros(2)
    offers = Offers(
        contexts=pd.DataFrame({"a": one}), ladder=np.array([0.5, 1.0]), list_price=np.array([10.0, 20.0]),
        unit_cost=np.array([4.0, 12.0]), truth=np.full((2, 2), 0.5), propensity=one + 0.5,
        rung=np.array([0, 1]), bought=np.array([0, 1]),
    )  # fmt: skip
    np.testing.assert_array_equal([[1.0, 6.0], [-2.0, 8.0]], offers.unit_profit)


def test_a_world_that_does_not_exist_is_refused() -> None:
    """With the nearest that does."""
    with pytest.raises(InputError, match=r"worlds=bigs1: there is no such world \(did you mean 'biggs1'\?\)"):
        world("bigs1", 1)


def test_offers_of_different_sizes_are_refused() -> None:
    """Before they are scored."""
    one = np.zeros(2)
    with pytest.raises(InputError, match=r"offers of sizes \[1, 2\]"):
        Offers(pd.DataFrame({"a": one}), np.ones(2), one, one, np.ones((1, 2)), one, one.astype(int), one.astype(int))


def test_normal_chances_are_the_mass_nearest_each_rung() -> None:
    """Against the frequencies of draws."""
    ladder = np.array([1.0, 2.0, 4.0])
    draws = np.random.default_rng(1).normal(2.5, 1.5, 200_000)
    counted = np.bincount(np.abs(draws[:, None] - ladder).argmin(axis=1), minlength=3) / len(draws)
    np.testing.assert_allclose(counted, worlds._normal_chances(ladder, np.array([2.5]), 1.5)[0], atol=0.005)
