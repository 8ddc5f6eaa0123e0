"""Whether a policy answers the same whatever a context is priced with: seen where it is so, and where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from policies import tiny_policy

from pipelines.pricing import Guardrails
from pipelines.serving import runtime
from pipelines.serving.runtime import Policy
from pipelines.serving.steady import drawn, is_steady

FREE = Guardrails(minor_unit=0.01, exploration=0.2)


def _policy(folder: Path, **changes: object) -> Policy:
    tiny_policy(folder, **changes)  # type: ignore[arg-type]
    return Policy.load(folder)


@pytest.mark.parametrize("ladder", [(0.8, 0.9, 1.0, 1.1, 1.2), (0.8, 0.9, 1.0), (0.9, 1.0), (1.0,)])
def test_with_an_even_number_of_rows_it_is(tmp_path: Path, ladder: tuple[float, ...]) -> None:
    """However many rungs there are."""
    assert _policy(tmp_path, ladder=ladder).steady


def test_without_list_prices_it_is(tmp_path: Path) -> None:
    """Where the rungs are prices, too."""
    assert _policy(tmp_path, ladder=(4.0, 5.0, 6.0), listed=False, guardrails=FREE, alpha=2.5, beta=2.0).steady


@pytest.mark.parametrize("listed", [True, False])
def test_contexts_are_those_that_a_policy_chooses_for(tmp_path: Path, listed: bool) -> None:
    """Most get a price that was chosen, of several, and some none that is admissible."""
    ladder = (0.8, 0.9, 1.0, 1.1) if listed else (4.0, 5.0, 6.0, 7.0)
    rails = {} if listed else {"guardrails": FREE, "alpha": 2.5, "beta": 2.0}
    policy, rng = _policy(tmp_path, ladder=ladder, listed=listed, **rails), np.random.default_rng(1)
    quotes = [policy.quote([drawn(policy, rng)])[0] for _ in range(200)]
    assert sum(quote["fallback"] is None for quote in quotes) > 120
    assert len({round(quote["multiplier"], 3) for quote in quotes}) > 2
    assert len({quote["guardrail"] for quote in quotes}) > 2


@pytest.mark.parametrize("alpha", [-1.0, 0.3])
def test_with_as_many_rows_as_requests_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """That is why one more is taken where they are odd; also where few contexts show it."""
    policy = _policy(tmp_path, alpha=alpha)
    monkeypatch.setattr(runtime, "_even", lambda rows: rows)
    assert not policy.steady


def test_a_graph_that_fails_is_not(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request finds out for itself."""
    policy = Policy.load(tiny)
    monkeypatch.setattr(Policy, "group", lambda self, rows, outputs: 1 / 0)
    assert not is_steady(policy)


def test_neighbours_that_matter_are_seen(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else of a group decides."""
    policy = Policy.load(tiny)
    monkeypatch.setattr(Policy, "group", lambda self, rows, outputs: [(float(len(rows)),)] * len(rows))
    assert not is_steady(policy)
