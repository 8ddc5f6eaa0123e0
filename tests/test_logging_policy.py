"""What was shown is learned from the log: close to the truth, shrunk where little is known, the same in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import spox

from pipelines.errors import InputError
from pipelines.logging_policy import (
    CHOSEN,
    CONSTANT,
    DRAWN,
    LEAST,
    SHOWN,
    LoggingPolicy,
    cross_fitted,
    logged_or,
    propensities,
)

COLUMNS = (("a", "b"), ("kind",))


def log(rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return offers whose rung follows the context, with a fourth rung never shown, and the true probabilities."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "kind": rng.choice(["x", "y"], rows)})
    pull = table["a"].to_numpy() + np.where(table["kind"] == "x", 0.8, -0.8)
    score = np.column_stack([-pull, np.zeros(rows), pull])
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    table["rung"] = (rng.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1)
    table["shopper_id"] = [f"s{n // 2}" for n in range(rows)]
    table["propensity"] = np.nan
    return table, np.column_stack([p, np.zeros(rows)])


OFFERS, TRUE = log(6_000)
POLICY = LoggingPolicy.fit(OFFERS, COLUMNS, 4, 1)


def test_estimates_are_near_the_true_propensities() -> None:
    """On a confounded log the estimates are close on new contexts, rows sum to 1, and no rung appears from nowhere."""
    fresh, true = log(4_000, seed=1)
    found = POLICY.probability(fresh)
    assert np.abs(found - true).mean() < 0.015 < 0.12 < np.abs(true.mean(axis=0) - true).mean()
    assert np.allclose(1, found.sum(axis=1))
    assert (found[:, 3] == 0).all()
    assert np.abs(cross_fitted(OFFERS, COLUMNS, 4, 1) - TRUE).mean() < 0.02


def test_noise_is_not_taken_for_a_rule() -> None:
    """With 400 rows, 40 columns and prices at random, no propensity strays far from the shares."""
    rng = np.random.default_rng(3)
    names = tuple(f"x{n}" for n in range(40))
    table = pd.DataFrame(rng.normal(size=(400, 40)), columns=list(names))
    table = table.assign(rung=rng.integers(0, 5, 400), shopper_id=np.arange(400).astype(str))
    found = LoggingPolicy.fit(table, (names, ()), 5, 1).probability(table)
    assert 0.1 < found.min() < found.max() < 0.35


def test_out_of_fold_means_without_the_shopper() -> None:
    """What one shopper was shown does not move that shopper's own estimate."""
    changed = OFFERS.copy()
    changed.loc[0, "rung"] = (changed.loc[0, "rung"] + 1) % 3
    before, after = (cross_fitted(t, COLUMNS, 4, 1, strength=10.0) for t in (OFFERS, changed))
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("columns", [COLUMNS, ((), ("kind",)), (("a",), ())])
def test_the_graph_equals_numpy(columns: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    """The graph gives the probabilities of Python, also for missing numbers and strange words."""
    policy = LoggingPolicy.fit(OFFERS, columns, 4, 1)
    table = OFFERS.head(300).copy()
    table.loc[:9, "a"] = np.nan
    table.loc[5:14, "kind"] = "z"
    inputs = {n: spox.argument(spox.Tensor(np.float64, ("N", 1))) for n in columns[0]}
    inputs |= {n: spox.argument(spox.Tensor(np.str_, ("N", 1))) for n in columns[1]}
    content = spox.build(inputs, {"p": policy.graph(inputs)}).SerializeToString()
    feeds = {n: table[[n]].to_numpy(float) for n in columns[0]} | {n: table[[n]].to_numpy(object) for n in columns[1]}
    found = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    assert np.float64 == found.dtype
    assert np.abs(found - policy.probability(table)).max() < 1e-9


def test_a_policy_is_kept_as_data(tmp_path: Path) -> None:
    """Saved and loaded it is the same, also where the context says nothing."""
    alike = LoggingPolicy.fit(OFFERS, ((), ()), 4, 1)
    assert CONSTANT == alike.strength
    for policy in (POLICY, alike):
        policy.save(tmp_path / "p.json")
        again = LoggingPolicy.load(tmp_path / "p.json")
        assert np.array_equal(policy.probability(OFFERS), again.probability(OFFERS))
        assert (policy.offers, policy.strength) == (again.offers, again.strength)


def test_one_rung_is_certain() -> None:
    """Where one rung alone was shown its probability is 1."""
    found = LoggingPolicy.fit(OFFERS.assign(rung=2), COLUMNS, 4, 1).probability(OFFERS)
    assert np.allclose([0, 0, 1, 0], found)


def test_a_rung_beyond_the_ladder_is_refused() -> None:
    """Offers of another ladder, and no offers at all, are named."""
    with pytest.raises(InputError, match="rungs 0 to 2 were shown, but the ladder has 2"):
        LoggingPolicy.fit(OFFERS, COLUMNS, 2, 1)
    with pytest.raises(InputError, match="no offers to learn from"):
        LoggingPolicy.fit(OFFERS.head(0), ((), ()), 4, 1)


def test_logged_propensities_come_first_and_estimates_have_a_floor() -> None:
    """What was logged stays; what is estimated is never tiny."""
    table = OFFERS.head(3).assign(propensity=[0.25, np.nan, np.nan], rung=[0, 1, 2])
    assert [0.25, 0.6, LEAST] == logged_or(
        table, np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0]])
    ).tolist()


def test_rows_priced_at_random_have_the_shares_of_their_kind(tmp_path: Path) -> None:
    """On another window a flagged row's propensity is that of drawn prices, any other's the estimate."""
    POLICY.save(tmp_path / CHOSEN)
    POLICY.save(tmp_path / SHOWN)
    fresh = log(50, seed=2)[0].assign(randomised=[1.0, 0.0] * 25)
    plain = propensities(fresh, tmp_path)
    even = OFFERS.head(400).assign(rung=[0, 1, 2, 3] * 100)
    LoggingPolicy.fit(even, ((), ()), 4, 1).save(tmp_path / DRAWN)
    found = propensities(fresh, tmp_path)
    assert np.allclose(0.25, found[::2])
    assert np.array_equal(plain[1::2], found[1::2])
