"""Segments: known groups are found again, in words that a person can check, at the price that brute force finds."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.encoder import Encoder
from pipelines.policy import Belief, Terms
from pipelines.pricing import Guardrails
from pipelines.segments import Question, Step, best_prices, cut, priced, readable, rule, summary
from pipelines.simple_policies import bounds
from pipelines.window import Window
from tests.worlds import CATEGORICAL, LADDER, NUMERIC, window

FREE = Terms(LADDER, LADDER, Guardrails())
X, MISSING = Question("x"), Question("x", missing=True)
GUARDED = replace(FREE, guardrails=Guardrails(largest_rise=0.1, margin_floor=0.45))


@pytest.fixture(scope="module")
def shop() -> Window:
    """A window in which the older half answers strongly to prices."""
    return window(600)


def knowing(found: Window) -> Belief:
    """Return the belief of one who knows the true demand."""
    assert found.truth is not None
    return Belief([found.truth], (1.0,))


def encoder(found: Window) -> Encoder:
    """Return how the raw columns are read."""
    return Encoder.fit(found.offers, NUMERIC, CATEGORICAL)


def test_the_groups_that_there_are_are_found(shop: Window) -> None:
    """Age alone decides the sensitivity: two prices, told apart at 0.5, keep the whole gain."""
    found = summary(encoder(shop), knowing(shop), shop, FREE, bounds(shop, FREE), 0.95)
    assert found["kept"]["truth"] > 0.97
    assert all("age" in row["rule"] for row in found["segments"])
    assert len({row["multiplier"] for row in found["segments"]}) >= 2
    cheap, dear = found["segments"][0], found["segments"][-1]
    assert re.match(r"age > 0\.(49|5)|0\.(49|5)\d* < age ≤", cheap["rule"]), cheap
    assert re.search(r"age ≤ 0\.(49|5)", dear["rule"]), dear
    assert cheap["change"] < 0 < dear["change"]


def test_segments_hold_every_offer_once(shop: Window) -> None:
    """Shares sum to one, five segments at most, cheapest first, and all is plain data."""
    found = summary(encoder(shop), knowing(shop), shop, GUARDED, None, 0.95)
    rows = found["segments"]
    assert 1 == pytest.approx(sum(r["share"] for r in rows))
    assert 600 == sum(r["offers"] for r in rows)
    assert len(rows) <= 5
    assert sorted(r["multiplier"] for r in rows) == [r["multiplier"] for r in rows]
    assert found == json.loads(json.dumps(found, allow_nan=False))


def test_a_segment_has_the_price_that_brute_force_finds(shop: Window) -> None:
    """The multiplier with the best mean expected profit there, each offer held to the guardrails by itself."""
    segment = (np.arange(600) % 3).astype(np.int64)
    found = best_prices(segment, knowing(shop), shop, GUARDED)
    listed, cost = (shop.offers[c].to_numpy() for c in ("list_price", "unit_cost"))
    for s in range(3):
        means = {}
        for m in LADDER:
            allowed = (listed * m >= cost * 1.45) & (m <= 1.1)
            rung = np.where(allowed, LADDER.index(m), LADDER.index(1.0))
            profit = (listed * np.array(LADDER)[rung] - cost) * shop.truth[np.arange(600), rung]
            means[m] = profit[segment == s].mean()
        assert max(means.values()) == pytest.approx(means[found[s]])


def test_the_model_ranks_one_price_below_segments_below_persons(shop: Window) -> None:
    """By construction, whatever the guardrails."""
    for terms in (FREE, GUARDED):
        gains = summary(encoder(shop), knowing(shop), shop, terms, None, 0.95)["gains"]["modelled"]
        assert -1e-9 <= gains["segments"] <= gains["personal"] + 1e-9


def test_a_forbidden_price_is_nobodys(shop: Window) -> None:
    """No offer of a segment is quoted what its guardrails forbid; it gets the list price instead."""
    segment, belief = np.zeros(600, np.int64), knowing(shop)
    target = priced(segment, {0: 1.2}, belief, shop, GUARDED)
    assert {LADDER.index(1.0)} == set(target.argmax(axis=1))
    np.testing.assert_array_equal(target.sum(axis=1), 1)


def test_shoppers_alike_are_one_segment(shop: Window) -> None:
    """Where everybody is quoted the same, and where there is nothing to ask, the rule is everybody."""
    alike = Belief([np.repeat(shop.truth.mean(axis=0, keepdims=True), 600, axis=0)], (1.0,))
    for learned, belief in ((encoder(shop), alike), (Encoder((), ()), knowing(shop))):
        found = summary(learned, belief, shop, FREE, None, 0.95)
        assert ["everybody"] == [r["rule"] for r in found["segments"]]
        assert found["single"] == found["segments"][0]["multiplier"]


def test_few_offers_are_one_segment() -> None:
    """A segment needs at least twenty offers, so thirty cannot be cut."""
    segment, ways = cut(np.arange(30.0)[:, None], np.arange(30.0))
    assert {0} == set(segment)
    assert {0: []} == ways


def test_ways_lead_where_the_tree_put_each_offer() -> None:
    """Following the steps by hand gives the same segments."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (500, 3))
    segment, ways = cut(x, np.where(x[:, 0] > 0.3, 1.2, np.where(x[:, 2] > 0, 0.9, 0.8)))
    assert 3 <= len(ways) <= 5
    for s, way in ways.items():
        inside = np.ones(500, bool)
        for column, below, threshold in way:
            inside &= (x[:, column] <= threshold) == below
        np.testing.assert_array_equal(segment == s, inside)


@pytest.mark.parametrize(
    ("expected", "steps"),
    [
        ("everybody", []),
        ("page_depth > 6.5", [Step(Question("page_depth"), False, 6.5)]),
        ("1.5 < x ≤ 6.5", [Step(X, True, 9.0), Step(X, True, 6.5), Step(X, False, 1.5)]),
        ("device = ios", [Step(Question("device", "android"), True, 0.5), Step(Question("device", "ios"), False, 0.5)]),
        ("国家 is not a = b", [Step(Question("国家", "a = b"), True, 0.5)]),
        ("x > 2 and x is known", [Step(MISSING, True, 0.5), Step(X, False, 2.0)]),
        ("x is missing", [Step(MISSING, False, 0.5)]),
        ("−2 < x ≤ −0.5", [Step(X, False, -2.0), Step(X, True, -0.5)]),
    ],
)
def test_rules_are_readable(expected: str, steps: list[Step]) -> None:
    """Each column once, with its tightest bounds, and no more words than needed."""
    assert expected == rule(steps)


def test_missing_numbers_and_rare_words_can_be_asked_for() -> None:
    """A missing number takes the fill that the encoder learned; a word never seen answers no to all."""
    table = pd.DataFrame({"n": [1.0, np.nan, 3.0, 5.0], "w": ["a", "b", "a", "b"]})
    learned = Encoder.fit(table, ("n",), ("w",))
    x, questions = readable(learned, pd.DataFrame({"n": [np.nan], "w": ["never"]}))
    assert [("n", None, False), ("n", None, True), ("w", "a", False), ("w", "b", False)] == [
        (q.column, q.word, q.missing) for q in questions
    ]
    assert [[3.0, 1.0, 0.0, 0.0]] == x.tolist()
