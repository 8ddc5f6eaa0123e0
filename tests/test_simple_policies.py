"""Policies without a demand model, against brute force under the same guardrails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipelines import pricing
from pipelines.pricing import Guardrails
from pipelines.simple_policies import as_logged, best_single, bounds, greedy, single
from pipelines.window import true_value
from tests.worlds import LADDER, terms, window

FREE = terms(LADDER, Guardrails())
GUARDED = terms(LADDER, Guardrails(margin_floor=0.4, largest_rise=0.1, minor_unit=0.01))


def able(found, k: int) -> np.ndarray:
    """Return where GUARDED admits rung k; costs are 60 percent of the list price, so 0.8 is below the floor."""
    price = found.offers["list_price"] * LADDER[k]
    return ((price >= 1.4 * found.offers["unit_cost"]) & (LADDER[k] <= 1.1)).to_numpy()


def test_a_single_multiplier_is_its_rung() -> None:
    """Everybody pays it, where it is admissible; elsewhere the list price."""
    found = window(200)
    assert {1} == set(single(found, FREE, 0.9).argmax(axis=1))
    assert {2} == set(single(found, GUARDED, 1.2).argmax(axis=1))
    assert {2} == set(single(found, GUARDED, 0.8).argmax(axis=1))
    np.testing.assert_array_equal(single(found, FREE, 0.9).sum(axis=1), 1)


def test_a_bound_of_an_item_counts() -> None:
    """Items whose least price is above the multiplier keep the list price, the others do not."""
    found = window(200)
    odd = np.arange(200) % 2 == 1
    table = found.offers.assign(min_price=np.where(odd, found.offers["list_price"], np.nan))
    rung = single(dataclasses.replace(found, offers=table), FREE, 0.8).argmax(axis=1)
    assert np.where(odd, 2, 0).tolist() == rung.tolist()


def test_the_best_single_multiplier_earns_most_by_everybodys_demand() -> None:
    """It is the argument of the maximum over the policy's ladder, not the source's, and under its guardrails."""
    found = window(2000)
    demand = np.array([0.6, 0.55, 0.5, 0.25, 0.2])
    earned = dict(zip(LADDER, (found.logged.unit_profit * demand).sum(axis=0), strict=True))
    assert 1.0 == max(earned, key=earned.get) == best_single(found, FREE, demand)
    two = dataclasses.replace(FREE, ladder=(0.8, 0.9))
    assert max((0.8, 0.9), key=earned.get) == best_single(found, two, demand)


def test_the_best_single_multiplier_counts_what_the_guardrails_forbid() -> None:
    """Where a bound of the items forbids a rung they are quoted the fallback, which is the rung itself if so wanted."""
    found = window(2000)
    demand = np.array([0.9, 0.3, 0.2, 0.19, 0.18])
    table = found.offers.assign(unit_cost=0.0, min_price=0.85 * found.offers["list_price"])
    logged = dataclasses.replace(found.logged, unit_profit=table[["list_price"]].to_numpy() * np.array(LADDER))
    bound = dataclasses.replace(found, offers=table, logged=logged)
    assert 0.9 == best_single(bound, FREE, demand)
    assert 0.8 == best_single(bound, FREE, demand, alone=True)


def test_a_rung_hardly_ever_shown_is_not_the_best_single_one() -> None:
    """Whatever is believed of its demand."""
    found = window(2000)
    rung = np.where((found.logged.rung == 4) & (np.arange(2000) > 20), 0, found.logged.rung)
    seldom = dataclasses.replace(found, logged=dataclasses.replace(found.logged, rung=rung))
    demand = np.array([0.3, 0.3, 0.3, 0.3, 0.9])
    assert 1.2 == best_single(found, FREE, demand)
    assert 1.1 == best_single(seldom, FREE, demand)


def test_where_few_offers_stand_on_many_rungs_fewer_are_enough() -> None:
    """At least 20 and one in 200; or half of what a rung has in the mean, where that is fewer."""
    for offers, expected in (([200, 19, 20], [1, 0, 1]), ([9000, 40, 45], [1, 0, 0]), ([3, 3, 1, 5], [1, 1, 0, 1])):
        assert expected == pricing.often_shown(np.array(offers)).astype(int).tolist()


def test_greedy_takes_the_best_admissible_rung() -> None:
    """Row by row, as a plain loop finds it."""
    found = window(150)
    profit = np.random.default_rng(0).normal(0, 1, (150, len(LADDER)))
    may = np.column_stack([able(found, k) for k in range(len(LADDER))])
    expected = [max((k for k in range(5) if may[i, k]), key=lambda k, i=i: profit[i, k]) for i in range(150)]
    assert expected == greedy(profit, found, GUARDED).argmax(axis=1).tolist()
    assert [True, False] == [may[:, 2].all(), may[:, 0].any()]


def test_bounds_are_those_of_brute_force() -> None:
    """Perfect is the best rung of each offer by the truth, the best single the best column; both guarded."""
    found = window(300)
    profit = found.logged.unit_profit * found.truth
    limits = bounds(found, FREE)
    assert 1000 * profit.max(axis=1).mean() == pytest.approx(limits["perfect_per_1000"], rel=1e-6)
    assert 1000 * profit.mean(axis=0).max() == pytest.approx(limits["best_single_per_1000"], rel=1e-6)
    tight = bounds(found, GUARDED)
    assert tight["perfect_per_1000"] <= limits["perfect_per_1000"]
    assert tight["best_single_per_1000"] <= tight["perfect_per_1000"]
    assert bounds(window(300, truth=False), FREE) is None


def test_no_policy_beats_the_perfect_one() -> None:
    """Whatever profit a policy believes in, the truth is not more than the bound."""
    found = window(300)
    most = bounds(found, GUARDED)["perfect_per_1000"]
    for seed in range(5):
        target = greedy(np.random.default_rng(seed).normal(0, 1, (300, 5)), found, GUARDED)
        assert 1000 * true_value(target, found) <= most + 1e-9


def test_the_logged_policy_is_what_was_shown() -> None:
    """One at the rung shown; its doubly robust value is what was earned, up to the rounding of prices."""
    found = window(500)
    target = as_logged(found)
    np.testing.assert_array_equal(target.argmax(axis=1), found.logged.rung)
    np.testing.assert_array_equal(target.sum(axis=1), 1)
