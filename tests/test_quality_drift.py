"""Drift against closed forms, and which run the data are held against."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import quality_drift, quality_history
from pipelines.errors import InputError
from pipelines.quality_history import Noted
from pipelines.quality_profile import columns, opened, session

COUNTS = st.lists(st.integers(0, 10_000), min_size=3, max_size=3)


def test_psi_is_its_closed_form() -> None:
    """Two bins, 29 and 69 of 98 each way: with half an observation more, shares 0.298 and 0.702 change places."""
    r, p = 29.5 / 99, 69.5 / 99
    expected = (p - r) * math.log(p / r) + (r - p) * math.log(r / p)
    assert pytest.approx(expected, rel=1e-12) == quality_drift.psi([29, 69], [69, 29])
    assert pytest.approx((0.5 - 0.25) * math.log(2) + (0.5 - 0.75) * math.log(0.5 / 0.75), rel=1e-4) == (
        quality_drift.psi([2_500_000, 7_500_000], [5_000_000, 5_000_000])
    )


def test_an_empty_bin_is_not_infinitely_far() -> None:
    """All rows moved from one bin of 99 to the other: shares 99.5/100 and 0.5/100."""
    assert pytest.approx(2 * 0.99 * math.log(199)) == quality_drift.psi([99, 0], [0, 99])


@given(COUNTS, COUNTS)
def test_psi_is_a_divergence(one: list[int], other: list[int]) -> None:
    """Never below 0, the same both ways, and 0 for the same counts."""
    assert -1e-12 <= quality_drift.psi(one, other)
    assert pytest.approx(quality_drift.psi(other, one), abs=1e-12) == quality_drift.psi(one, other)
    assert 0.0 == quality_drift.psi(one, one)


def test_chance_is_exceeded_by_one_in_twenty() -> None:
    """Two samples of the same population, a thousand times: PSI is above its 95 % point in about 5 %."""
    rng, shares = np.random.default_rng(0), np.full(10, 0.1)
    pairs = [(rng.multinomial(500, shares).tolist(), rng.multinomial(800, shares).tolist()) for _ in range(1000)]
    above = np.mean([quality_drift.psi(a, b) > quality_drift.by_chance(a, b) for a, b in pairs])
    assert 0.03 < above < 0.07


def moved(folder: Path, before: pd.DataFrame, now: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the drift between two tables."""
    with session() as connection:
        for name, table in (("before", before), ("now", now)):
            table.to_parquet(folder / f"{name}.parquet")
        first, second = (opened(connection, name, [folder / f"{name}.parquet"]) for name in ("before", "now"))
        return quality_drift.moved(second, quality_drift.bins_of(columns(first, {})))


def test_a_shift_shows_in_its_column_alone(tmp_path: Path) -> None:
    """By one standard deviation, by a new word, by gaps; what did not move stays within what chance makes."""
    rng = np.random.default_rng(1)
    before, now = (
        pd.DataFrame({"still": rng.normal(size=2000), "shifted": rng.normal(size=2000), "gaps": rng.normal(size=2000),
                      "word": rng.choice(["a", "b"], 2000), "constant": 1.0})
        for _ in range(2)
    )  # fmt: skip
    now = now.assign(shifted=now["shifted"] + 1, constant=0.5)
    now.loc[:999, "gaps"] = np.nan
    now.loc[:499, "word"] = "new"
    found = moved(tmp_path, before, now)
    assert found["still"]["psi"] < found["still"]["by_chance"]
    assert pytest.approx(1.0, abs=0.2) == found["shifted"]["psi"]  # J of two normals one deviation apart is 1
    assert all(found[name]["psi"] > 0.25 for name in ("gaps", "word", "constant"))
    assert (0.0, 0.5) == (found["gaps"]["missing_before"], found["gaps"]["missing_now"])


def test_a_column_that_only_one_has_is_no_drift(tmp_path: Path) -> None:
    """Nor one whose kind is another, or that held nothing before."""
    before = pd.DataFrame({"gone": [1.0, 2.0], "kind": [1.0, 2.0], "empty": [None, np.nan], "same": [1.0, 2.0]})
    now = pd.DataFrame({"new": [1.0, 2.0], "kind": ["a", "b"], "empty": [1.0, 2.0], "same": [1.0, 2.0]})
    assert {"same"} == set(moved(tmp_path, before.astype({"empty": float}), now))


def noted(data: str, against: str | None = None, run: str = "market") -> Noted:
    """Return the profile of a run."""
    return Noted(run, data, against, {"offers": {"price": {"cuts": [1.0, 2.0], "counts": [1, 2, 3, 0]}}})


def test_the_same_data_get_the_same_answer_for_ever(tmp_path: Path) -> None:
    """The first run has none before it; later data are held against the last, and always against the same."""
    path = tmp_path / "models/profiles.jsonl"
    before: str | None = None
    for data in ("A", "B", "C"):
        last = quality_history.reference(path, "market", data)
        assert before == (last.data if last else None)
        quality_history.note(path, noted(data, last.data if last else None))
        before = data
    for _ in range(2):
        known = [quality_history.reference(path, "market", data) for data in ("A", "B", "C", "D")]
        assert [None, "A", "B", "C"] == [one.data if one else None for one in known]
        quality_history.note(path, noted("B", "C"))
    assert 3 == len(path.read_text().splitlines())


def test_a_run_is_held_against_its_like(tmp_path: Path) -> None:
    """Another source, or another experiment, is no reference."""
    path = tmp_path / "profiles.jsonl"
    quality_history.note(path, noted("A"))
    assert quality_history.reference(path, "market, smoke", "B") is None
    assert noted("A") == quality_history.reference(path, "market", "B")


def test_a_damaged_history_says_what_to_do(tmp_path: Path) -> None:
    """Half a line, or a line of something else."""
    path = tmp_path / "profiles.jsonl"
    for text in ('{"run": "market"', '{"run": "market", "what": 1}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"profiles\.jsonl is damaged .*: delete it"):
            quality_history.reference(path, "market", "A")


def test_a_fingerprint_is_of_what_is_said() -> None:
    """The order of keys plays no role, a number does."""
    assert quality_history.fingerprint({"a": 1, "b": 2.5}) == quality_history.fingerprint({"b": 2.5, "a": 1})
    assert quality_history.fingerprint({"a": 1}) != quality_history.fingerprint({"a": 2})
