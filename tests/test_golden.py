"""The self-test of a policy: its golden quotes, and every answer in them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from policies import tiny_policy

from pipelines.serving import golden
from pipelines.serving.runtime import ANSWERS, Policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


def test_a_policy_passes_its_own(policy: Policy) -> None:
    """Also after a way through JSON; made again it is the same."""
    made = golden.make(policy)
    assert golden.failure(policy, json.loads(json.dumps(made, allow_nan=False))) is None
    assert made == golden.make(policy)


def test_the_contexts_show_what_a_policy_does(policy: Policy) -> None:
    """Prices above and below the list price's, chance, several guardrails and fallbacks are among the answers."""
    answers = golden.make(policy)["answers"]
    assert len({a["multiplier"] for a in answers}) > 2
    assert {0.05, 1.0} <= {a["propensity"] for a in answers}
    assert len({a["guardrail"] for a in answers}) > 2
    assert {"", "no_admissible_price"} <= {a["fallback"] for a in answers}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_counts(policy: Policy, name: str) -> None:
    """Another word, a number that is off by more than rounding, or a missing answer fails; rounding does not."""
    made = golden.make(policy)
    row = next(i for i, a in enumerate(made["answers"]) if a[name] is not None)
    was = made["answers"][row][name]
    for wrong in ("other" if isinstance(was, str) else was * 1.0001 + 0.0001, None):
        changed = copy.deepcopy(made)
        changed["answers"][row][name] = wrong
        assert f"golden quote {row}: {name} is" in golden.failure(policy, changed)
    if not isinstance(was, str):
        changed = copy.deepcopy(made)
        changed["answers"][row][name] = was * (1 + 1e-12)
        assert golden.failure(policy, changed) is None


def test_nothing_to_test_by_is_a_failure(policy: Policy, tmp_path: Path) -> None:
    """No contexts, answers of other contexts, and those of another graph."""
    made = golden.make(policy)
    assert "nothing to test it by" in golden.failure(policy, {**made, "contexts": [], "answers": []})
    assert "nothing to test it by" in golden.failure(policy, {**made, "answers": made["answers"][1:]})
    tiny_policy(tmp_path, beta=6.0)
    other = Policy.load(tmp_path)
    assert "another graph" in golden.failure(other, made)
    assert "golden quote" in golden.failure(other, {**made, "graph_sha256": other.manifest.graph_sha256})
