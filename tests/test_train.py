"""The stage `train`: what it reads, what it leaves, and that it learns from the training window alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipelines import train
from pipelines.candidates import linear, load_candidate
from pipelines.config import Config, Tracking
from pipelines.errors import InputError
from pipelines.files import digest_folder
from tests.worlds import config, info, offers, write_offers

FOLDER = Path("models/candidates/linear/demand")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here: to make its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('train') / 'mlflow.db'}"


@pytest.fixture
def cfg(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Config:
    """A run in a folder with the offers of a tiny market, entered."""
    write_offers(tmp_path)
    monkeypatch.chdir(tmp_path)
    return config(tracking=Tracking(uri=database, experiment=request.node.name))


def test_it_leaves_a_candidate_and_a_run(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder holds the candidate, its curves and its origin; MLflow has the run under the folder's hash."""
    train.main(cfg)
    about, history = json.loads((FOLDER / "about.json").read_text()), pd.read_csv(FOLDER / "history.csv")
    assert {"train": 800, "valid": 400} == about["rows"]
    assert about["data_sha256"] == "d" * 64
    assert about["seed"] == 3
    assert about["settings"]["l2"] == list(linear.Settings().l2)
    assert ["step", "l2", "train_log_loss", "valid_log_loss"] == list(history)
    q = load_candidate(FOLDER, "linear").probability(offers(5)[0], np.array([[1.0]]))
    assert q.shape == (5, 1)
    (run,) = mlflow.search_runs(filter_string="tags.candidate = 'linear'", output_format="list")
    assert digest_folder(FOLDER) == run.data.tags["model_sha256"]
    assert history["valid_log_loss"].min() == run.data.metrics["best_valid_log_loss"]
    assert f"{history['valid_log_loss'].min():.4f}" in capsys.readouterr().out


def test_again_gives_the_same_bytes(cfg: Config) -> None:
    """Nothing in the result tells when or where it was made, and MLflow keeps one run for it."""
    train.main(cfg)
    before = digest_folder(FOLDER)
    train.main(cfg)
    assert before == digest_folder(FOLDER)
    assert len(mlflow.search_runs(filter_string="tags.candidate = 'linear'", output_format="list")) == 1


def test_only_declared_columns_are_read(cfg: Config) -> None:
    """Neither identifiers nor propensities nor undeclared columns reach a candidate."""
    table = train.read_window("train", info())
    assert {"list_price", "age", "visits", "country", "multiplier", "bought"} == set(table)


def test_the_reading_is_learned_on_the_training_window_alone() -> None:
    """Another valid window changes neither the encoder nor the price axis."""
    window, valid = offers(600)[0], offers(300, seed=1)[0]
    other = valid.assign(age=1e6, country="FR", multiplier=0.8)
    one, _ = train.learn(window, valid, (info().numeric, info().categorical), linear.Settings(), 0)
    two, _ = train.learn(window, other, (info().numeric, info().categorical), linear.Settings(), 0)
    assert one.encoder == two.encoder
    assert one.curve == two.curve


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
    path = Path("data/offers/valid.parquet")
    pd.read_parquet(path)[:0].to_parquet(path)
    with pytest.raises(InputError, match=r"valid\.parquet has no offers"):
        train.main(cfg)
    assert not FOLDER.exists()
