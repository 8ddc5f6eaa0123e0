"""Runs are found again by what they are about, and made anew when the database is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipelines import tracking
from pipelines.config import Config, Tracking
from tests.worlds import config

HISTORY = {"fit_log_loss": [0.6, 0.5, 0.4], "select_log_loss": [0.6, 0.45, 0.5]}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here: to make its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def cfg(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Config:
    """A configuration whose runs go to an experiment of their own."""
    monkeypatch.chdir(tmp_path)
    return config(tracking=Tracking(uri=database, experiment=request.node.name))


def _runs() -> list[Any]:
    return list(mlflow.search_runs(output_format="list"))


def _by_role(role: str) -> list[Any]:
    return [run for run in _runs() if run.data.tags["role"] == role]


def test_a_run_tells_what_it_is_about(cfg: Config) -> None:
    """Settings, seed, data and commit are there, and every step of every curve."""
    tracking.start(cfg)
    with tracking.candidate_run(cfg, "linear", "data1", "model1") as run:
        tracking.log_learning(HISTORY, {"fit": 80, "select": 20})
    (found,) = _by_role("candidate")
    assert found.data.params["seed"] == "3"
    assert found.data.params["family"] == "linear"
    assert found.data.tags["data_sha256"] == "data1"
    assert found.data.tags["git_commit"] == "unknown"
    assert found.data.metrics["best_select_log_loss"] == 0.45
    assert found.data.metrics["fit_rows"] == 80
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "select_log_loss")
    assert [(0, 0.6), (1, 0.45), (2, 0.5)] == [(p.step, p.value) for p in points]


def test_later_stages_join_the_run(cfg: Config, tmp_path: Path) -> None:
    """The scorecard of the same model goes to the same run, flat, with its plots; a retraining repeats no point."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/calibration.csv").write_text("predicted,observed\n")
    tracking.start(cfg)
    for _ in range(2):
        with tracking.candidate_run(cfg, "linear", "data1", "model1") as run:
            tracking.log_learning(HISTORY, {"train": 80})
    with tracking.candidate_run(cfg, "linear", "data1", "model1"):
        card = {"name": "linear", "log_loss": 0.4, "agreement": {"passed": True}, "gain": {"high": 2, "truth": None}}
        tracking.log_scorecard(card, tmp_path / "plots")
    (found,) = _by_role("candidate")
    assert {"log_loss": 0.4, "agreement.passed": 1.0, "gain.high": 2.0}.items() <= found.data.metrics.items()
    client = mlflow.MlflowClient()
    assert len(client.get_metric_history(run.info.run_id, "select_log_loss")) == 3
    assert [a.path for a in client.list_artifacts(run.info.run_id, "plots")] == ["plots/calibration.csv"]


def test_one_parent_for_one_data(cfg: Config) -> None:
    """Candidates of the same data share a parent; other data has its own, other models runs of their own."""
    tracking.start(cfg)
    for data, model in (("data1", "model1"), ("data1", "model2"), ("data2", "model1")):
        with tracking.candidate_run(cfg, "linear", data, model):
            pass
    parents = {run.info.run_id: run.data.tags["data_sha256"] for run in _by_role("data")}
    children = _by_role("candidate")
    assert sorted(parents.values()) == ["data1", "data2"]
    assert len(children) == 3
    for run in children:
        assert parents[run.data.tags["mlflow.parentRunId"]] == run.data.tags["data_sha256"]


def test_a_new_database_gets_the_run_again(cfg: Config, tmp_path: Path) -> None:
    """A stage that adds to a run works also where the database was lost."""
    tracking.start(cfg)
    with tracking.candidate_run(cfg, "linear", "data1", "model1"):
        pass
    other = config(tracking=Tracking(uri=f"sqlite:///{tmp_path / 'other.db'}", experiment="tests"))
    tracking.start(other)
    assert _runs() == []
    plots = tmp_path / "plots"
    plots.mkdir()
    with tracking.candidate_run(other, "linear", "data1", "model1"):
        tracking.log_scorecard({"log_loss": 0.4}, plots)
    assert _by_role("candidate")[0].data.metrics["log_loss"] == 0.4


def test_a_failed_stage_leaves_a_failed_run(cfg: Config) -> None:
    """An error inside a run passes on and is not hidden behind a finished run."""
    tracking.start(cfg)
    with pytest.raises(ZeroDivisionError), tracking.candidate_run(cfg, "linear", "data1", "model1"):
        raise ZeroDivisionError
    assert _by_role("candidate")[0].info.status == "FAILED"


def test_logging_outside_a_run_is_a_defect() -> None:
    """Without a run there is nothing to log to, and no run is made by accident."""
    with pytest.raises(RuntimeError, match="candidate_run"):
        tracking.log_learning(HISTORY, {})


def test_flat_names_are_dotted() -> None:
    """Nesting becomes part of the name."""
    assert tracking.flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_the_commit_is_known_inside_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a repository it is the hash of HEAD; elsewhere it is unknown."""
    monkeypatch.chdir(tmp_path)
    assert tracking.git_commit() == "unknown"
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "start"]):
        tracking.subprocess.run(["git", *words], check=True)
    assert len(tracking.git_commit()) == 40
