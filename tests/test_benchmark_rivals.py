"""The rivals of the benchmark: each learns what it is meant to learn, from the log alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.benchmark import rivals
from pipelines.benchmark.offers import Offers, values
from pipelines.benchmark.rivals import RIVALS, Absent, Columns, best_single, classifier, imitation
from pipelines.benchmark.worlds import world

RUN = [name for name in RIVALS if name != "econml"]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Try few settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rivals, "_TRIALS", 3)
        patch.setattr(rivals, "_ROUNDS", 200)
        yield


def drawn(name: str, n: int, seed: int = 1) -> tuple[Offers, Offers]:
    made = world(name, seed)
    return made.draw(n, made.rng("learn")), made.draw(10_000, made.rng("fresh"))


def mixed(n: int = 400) -> Offers:
    """Return offers with a word, a missing number, and a list price of their own."""
    rng = np.random.default_rng(3)
    rung = rng.integers(0, 3, n)
    contexts = pd.DataFrame({"age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(0, 1, n))})
    contexts["country"] = rng.choice(np.array(["DE", "FR", "中国"], dtype=object), n)
    truth = np.tile([0.6, 0.4, 0.3], (n, 1))
    return Offers(
        contexts, np.array([0.8, 1.0, 1.2]), rng.uniform(5, 50, n), np.zeros(n), truth, np.full(n, 1 / 3), rung,
        (rng.random(n) < truth[np.arange(n), rung]).astype(np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_rungs_are_rungs_and_the_same_again(name: str) -> None:
    """Numbers, words and gaps are taken; seed and log decide."""
    learn = mixed()
    first, again = (RIVALS[name](learn, 4)(learn) for _ in range(2))  # type: ignore[operator]
    assert (len(learn.rung),) == first.shape
    assert set(first) <= {0, 1, 2}
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", RUN)
def test_a_policy_reads_neither_outcome_nor_truth_of_fresh_contexts(name: str) -> None:
    """Hiding them changes nothing."""
    learn = mixed()
    policy = RIVALS[name](learn, 4)
    blank = np.zeros(len(learn.rung), dtype=np.int64)
    hidden = replace(learn, truth=np.zeros_like(learn.truth), rung=blank, bought=blank, propensity=blank + 1.0)
    assert not isinstance(policy, Absent)
    np.testing.assert_array_equal(policy(learn), policy(hidden))


def test_no_rival_learns_from_the_truth() -> None:
    """What is learned stays the same when the truth is hidden."""
    learn = mixed()
    hidden = replace(learn, truth=np.zeros_like(learn.truth))
    for name in RUN:
        np.testing.assert_array_equal(*(RIVALS[name](one, 4)(learn) for one in (learn, hidden)))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["biggs1", "fast", "fast-null", "dube-misra"])
def test_the_best_single_rung_is_nearly_the_best(name: str) -> None:
    """It loses little of the profit of the true best, with prices at random."""
    learn, fresh = drawn(name, 10_000)
    assert values(best_single(learn)(fresh), fresh.truth, fresh.unit_profit).lost < 0.03


def test_the_best_single_rung_weighs_by_inverse_propensity() -> None:
    """By hand: eager people were shown the high price, which earns less when all are shown it."""
    eager = np.repeat([1, 0], 500)
    rung = np.concatenate([np.tile([1, 1, 1, 1, 0], 100), np.tile([0, 0, 0, 0, 1], 100)])
    learn = Offers(
        contexts=pd.DataFrame({"eager": eager}), ladder=np.array([1.0, 1.6]), list_price=np.ones(1000),
        unit_cost=np.zeros(1000), truth=np.zeros((1000, 2)), propensity=np.where(eager == rung, 0.8, 0.2), rung=rung,
        bought=np.where(eager == 1, 1, 1 - rung),
    )  # fmt: skip
    assert {0} == set(best_single(learn)(learn))  # 1.0 against 0.8; unweighted 1.0 against 1.28
    assert {1} == set(best_single(replace(learn, propensity=np.full(1000, np.nan)))(learn))


def test_a_rung_that_was_never_shown_is_not_the_best() -> None:
    """There is nothing to weigh."""
    learn = mixed()
    never = replace(learn, rung=np.minimum(learn.rung, 1), bought=np.zeros_like(learn.bought))
    assert set(best_single(never)(learn)) <= {0, 1}


def test_imitation_asks_what_was_asked() -> None:
    """Where the price shown rises with a feature so does the imitation's, and it earns less than one price."""
    learn, fresh = drawn("biggs4", 5_000)
    rungs = imitation(learn)(fresh)
    assert np.corrcoef(fresh.contexts["x00"], rungs)[0, 1] > 0.9
    assert values(rungs, fresh.truth, fresh.unit_profit).capture < -1


def test_the_classifier_finds_personal_prices() -> None:
    """It gains where demand is simple; fed with outcomes of nobody's, it does not."""
    learn, fresh = drawn("biggs1", 5_000)
    shuffled = replace(learn, bought=np.random.default_rng(1).permutation(learn.bought))
    found = values(classifier(learn, 1)(fresh), fresh.truth, fresh.unit_profit).capture
    lost = values(classifier(shuffled, 1)(fresh), fresh.truth, fresh.unit_profit).capture
    assert found > 0.4
    assert lost < 0


def test_words_that_were_never_seen_are_no_column() -> None:
    """They are all zeros, and the columns stay those learned."""
    columns = Columns.of(pd.DataFrame({"a": [1.0, np.nan], "w": ["x", "y"]}))
    found = columns.matrix(pd.DataFrame({"w": ["z", "y"], "a": [3.0, np.nan]}))
    np.testing.assert_array_equal([[3.0, 0.0, 0.0], [np.nan, 0.0, 1.0]], found)


@pytest.mark.skipif(importlib.util.find_spec("econml") is not None, reason="econml is installed")
def test_a_rival_that_is_not_installed_says_so() -> None:
    """Instead of failing."""
    assert Absent("econml is not installed") == RIVALS["econml"](mixed(), 1)
