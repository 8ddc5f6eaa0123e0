"""The repeated checks of the gate: a seed's record, its counts, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipelines.benchmark import gate
from pipelines.benchmark.gate import CHECKS, Job, canonical, planned, seed_of, share, summary
from pipelines.benchmark.worlds import world
from pipelines.candidates import linear
from pipelines.files import read_json, write_json


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    """The record of one small seed, linear alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "CANDIDATES", (linear.Settings(curve=("logit-log",), l2=(16.0,)),))
        return seed_of(Job("random", 1, 1_500, (200,)))


def test_a_seed_says_whether_its_interval_holds_the_truth(run: dict[str, Any]) -> None:
    """And what it earns is near what is true."""
    assert run["covers"] == (run["low"] <= run["true"] <= run["high"])
    assert pytest.approx(run["true"], abs=5 * (run["high"] - run["low"])) == run["mean"]
    assert run["low"] < run["mean"] < run["high"]


def test_a_challenger_that_learned_on_few_is_compared_with_the_champion(run: dict[str, Any]) -> None:
    """A bound below its estimate, and a true lead with its sign."""
    few = run["learned_on"]["200"]
    assert few["lower"] < few["mean"]
    assert few["worse"] == (few["true"] < 0)
    assert few["promoted"] == (few["lower"] > 0)


def test_every_rung_counts_alike() -> None:
    """Weights are inverse propensities, 1 in the mean; ids are unique."""
    made = world("fast-confounded", 1)
    offers = made.draw(500, made.rng("learn"))
    found = canonical(offers)
    np.testing.assert_allclose(found["weight"] * offers.propensity, found["weight"][0] * offers.propensity[0])
    assert pytest.approx(1.0) == found["weight"].mean()
    assert found["offer_id"].is_unique


def test_shares_are_counted() -> None:
    """With their standard error; of nothing, nothing."""
    assert "25.0% ± 21.7% (1 of 4)" == share([True, False, False, False])
    assert "none to count" == share([])


def test_only_truly_worse_challengers_are_counted(run: dict[str, Any]) -> None:
    """One that is better and promoted is no mistake."""
    better = {"promoted": True, "worse": False, "mean": 1.0}
    worse = {"promoted": False, "worse": True, "mean": 2.0}
    found = summary([run | {"learned_on": {"200": one}} for one in (better, worse)])
    assert "0.0% ± 0.0% (0 of 1)" == found["worse, learned on 200: promoted"]
    assert "100.0% ± 0.0% (1 of 1)" == found["worse, learned on 200: estimate positive"]


def test_finished_seeds_are_counted_and_not_run_again(run: dict[str, Any], tmp_path: Path) -> None:
    """The counts are written beside them."""
    for seed in (1, 2):
        write_json(tmp_path / f"null-{seed:03d}.json", run | {"check": "null", "seed": seed})
    assert 0 == gate.run(["checks=null", "seeds=2", "--folder", str(tmp_path)], Console(quiet=True))
    counted = read_json(tmp_path / "summary.json")["null"]["95 % interval holds the truth"]
    assert f"({2 * run['covers']} of 2)" in counted


def test_as_many_seeds_as_each_check_needs() -> None:
    """Unless fewer are asked for."""
    jobs, *_ = planned([])
    assert {name: seeds for name, (_, seeds) in CHECKS.items()} == {
        name: sum(job.check == name for job in jobs) for name in CHECKS
    }
    assert 3 == len(planned(["checks=null", "seeds=3"])[0])


def test_a_wrong_argument_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With what was meant."""
    assert 1 == gate.main(["checks=nul"])
    assert "error: checks=nul: there is no such check (did you mean 'null'?)\n" == capsys.readouterr().err
