"""The stage `train`: what it reads, what it leaves, and that it learns from the fit window alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipelines import overlap, train
from pipelines.candidates import linear, load_demand
from pipelines.candidates.controls import Controls
from pipelines.candidates.damping import Damped
from pipelines.candidates.prepared import read_window
from pipelines.config import Config, Tracking
from pipelines.errors import InputError
from pipelines.files import digest_folder
from tests.worlds import config, info, offers, write_offers

FOLDER = Path("models/candidates/linear")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here: to make its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('train') / 'mlflow.db'}"


@pytest.fixture
def cfg(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Config:
    """A run in a folder with the offers of a tiny market, entered."""
    write_offers(tmp_path)
    monkeypatch.chdir(tmp_path)
    overlap.main(config())
    return config(tracking=Tracking(uri=database, experiment=request.node.name))


def test_it_leaves_a_candidate_and_a_run(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Trial and settled demand, their origin and curves; MLflow has the run under the demand's hash."""
    train.main(cfg)
    parts = {part: FOLDER / part for part in ("trial", "demand")}
    about = json.loads((parts["demand"] / "about.json").read_text())
    history = pd.read_csv(parts["demand"] / "history.csv")
    assert {"fit": 800, "select": 400} == about["rows"]
    assert ("d" * 64, 3, "linear") == (about["data_sha256"], about["seed"], about["candidate"])
    assert about["settings"]["l2"] == list(linear.Settings().l2)
    assert 1 == len(about["settled"]["l2"])
    assert about["shape_losses"][about["shape"]] == min(about["shape_losses"].values())
    assert ["step", "slope", "l2", "relevance", "fit_log_loss", "select_log_loss"] == list(history)
    loaded = {part: load_demand(folder) for part, folder in parts.items()}
    assert {Damped} == {type(d) for d in loaded.values()}
    assert {about["damping"]} == {d.share for d in loaded.values()}
    assert (5, 5) == loaded["demand"].probabilities(offers(5)[0])[0].shape
    digests = json.loads(Path("models/trained/linear.json").read_text())
    assert {part: digest_folder(folder) for part, folder in parts.items()} == digests
    assert digests["trial"] != digests["demand"], "the settled demand has seen the select window too"
    (run,) = mlflow.search_runs(filter_string="tags.candidate = 'linear'", output_format="list")
    assert digests["demand"] == run.data.tags["model_sha256"]
    assert history["select_log_loss"].min() == run.data.metrics["best_select_log_loss"]
    assert f"{history['select_log_loss'].min():.4f}" in capsys.readouterr().out


def test_again_gives_the_same_bytes(cfg: Config) -> None:
    """Nothing in the result tells when or where it was made, and MLflow keeps one run for it."""
    train.main(cfg)
    before = digest_folder(FOLDER)
    train.main(cfg)
    assert before == digest_folder(FOLDER)
    assert len(mlflow.search_runs(filter_string="tags.candidate = 'linear'", output_format="list")) == 1


def test_only_declared_columns_are_read(cfg: Config) -> None:
    """Of the offers: context, price and outcome, no identifier of a shopper; of `overlap`: how the price came about."""
    table = read_window("fit", info())
    context, offer = {"list_price", "age", "visits", "country"}, {"offer_id", "multiplier", "rung", "unit_cost"}
    assert context | offer | {"bought", "propensity", "usual", "shock", "weight"} == set(table)


def test_what_overlap_said_of_other_offers_is_refused(cfg: Config) -> None:
    """A propensity of another row would weigh the wrong offer."""
    path = Path("data/offers/fit.parquet")
    pd.read_parquet(path)[::-1].to_parquet(path)
    with pytest.raises(InputError, match=r"speaks of other offers than .*fit\.parquet"):
        read_window("fit", info())


def test_the_usual_price_stands_beside_the_context_where_no_propensity_was_logged(cfg: Config) -> None:
    """And a shock where one was found; else nothing does."""
    table = read_window("fit", info())
    assert not Controls.of(info(), table).any
    habit = Controls.of(info(propensity_logged=False), table)
    assert habit.habit is not None
    assert () == habit.shocks
    shocked = table.assign(shock=np.arange(len(table)) / 100)
    assert (0.0,) == Controls.of(info(), shocked).shocks
    several = Controls.of(info(instrument=True), shocked).shocks
    assert len(several) > 1
    assert 0 < several[0] < several[-1] < 8


def test_without_a_candidate_it_says_how(cfg: Config) -> None:
    """The message shows the missing word."""
    with pytest.raises(InputError, match="candidate=gbm"):
        train.main(dataclasses.replace(cfg, candidate=None))


def test_without_offers_it_says_what_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file names the command, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="dvc repro"):
        train.main(config())
    assert not Path("models").exists()


def test_an_empty_window_is_refused(cfg: Config) -> None:
    """A window without offers is named by its file."""
    path = Path("data/offers/select.parquet")
    pd.read_parquet(path)[:0].to_parquet(path)
    with pytest.raises(InputError, match=r"select\.parquet has no offers"):
        train.main(cfg)
    assert not FOLDER.exists()
