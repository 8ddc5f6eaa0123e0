"""The stage `prepare`: what is found once for all candidates is what each would have found by itself."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines import overlap, prepare, tracking, train
from pipelines.candidates import learning, prepared
from pipelines.candidates.learning import Readings, readings
from pipelines.candidates.linear import Settings
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.files import digest_folder
from tests.worlds import config, info, write_offers

FEW = Settings(curve=("logit-log", "probit-log", "spline"), terms=3)
MODELS = {"one": FEW, "alike": dataclasses.replace(FEW, slopes=("linear",)), "plain": dataclasses.replace(FEW, terms=0)}


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of three candidates, of which two read their offers alike, in a folder of its own; MLflow is left out."""
    write_offers(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "start", lambda cfg: None)
    monkeypatch.setattr(tracking, "candidate_run", lambda *_: nullcontext())
    monkeypatch.setattr(tracking, "log_learning", lambda *_: None)
    overlap.main(config())
    return config(model=MODELS, candidates=tuple(MODELS), candidate=None)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the settings with which shapes and terms were searched for."""
    made: list[Any] = []

    def noted(*words: Any) -> Readings:
        made.append(words[4])
        return readings(*words)

    monkeypatch.setattr(prepare, "readings", noted)
    monkeypatch.setattr(train, "readings", noted)
    return made


def _trained(cfg: Config, name: str) -> str:
    train.main(dataclasses.replace(cfg, candidate=name))
    return digest_folder(Path("models/candidates") / name)


def test_what_is_alike_is_found_once(cfg: Config, searches: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """One search for the two that choose from the same, and `train` makes none; the files say what they are of."""
    prepare.main(cfg)
    assert [FEW, MODELS["plain"]] == searches
    told = {path.stem: json.loads(path.read_text()) for path in Path("models/prepared").glob("*.json")}
    assert {*MODELS} == {*told}
    assert told["one"] == told["alike"] != told["plain"]
    asked = told["one"]["asked"]
    assert {"curve": list(FEW.curve), "terms": 3, "seed": 3, "sha256": asked["sha256"]} == asked
    assert "d" * 64 == asked["sha256"]["windows"]
    assert "prepare: " in capsys.readouterr().out
    for name in MODELS:
        _trained(cfg, name)
    assert 2 == len(searches)


def test_candidates_are_the_same_to_the_last_bit(cfg: Config, searches: list[Any]) -> None:
    """Whether `prepare` ran before or not: JSON loses nothing."""
    alone = {name: _trained(cfg, name) for name in MODELS}
    assert 3 == len(searches)
    prepare.main(cfg)
    assert alone == {name: _trained(cfg, name) for name in MODELS}
    assert 5 == len(searches)


@pytest.mark.parametrize("change", [{"terms": 2}, {"curve": ("logit-log",)}])
def test_other_settings_are_not_taken_for_these(
    cfg: Config, searches: list[Any], change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A candidate that is tried out by hand with another choice finds its own."""
    prepare.main(cfg)
    other = dataclasses.replace(FEW, **change)
    capsys.readouterr()
    _trained(dataclasses.replace(cfg, model={**MODELS, "one": other}), "one")
    assert other is searches[-1]
    assert "train one: models/prepared knows nothing of these settings" in capsys.readouterr().out
    known = prepared.read_readings("one", prepared.asked(FEW, info(), 3))
    assert known is not None
    assert known.to_json() == Readings.from_json(known.to_json()).to_json()
    for wants in (prepared.asked(FEW, info(), 4), prepared.asked(FEW, info(sha256="e" * 64), 3)):
        assert prepared.read_readings("one", wants) is None
    assert prepared.read_readings("nobody", prepared.asked(FEW, info(), 3)) is None
    overlap.main(config(seed=99))  # which says otherwise how prices came about
    assert prepared.read_readings("one", prepared.asked(FEW, info(), 3)) is None


def test_what_was_prepared_of_a_candidate_that_is_no_more_goes(cfg: Config) -> None:
    """The folder is written as a whole."""
    prepare.main(cfg)
    prepare.main(dataclasses.replace(cfg, model={"plain": FEW}, candidates=("plain",), contenders=("plain",)))
    assert ["plain.json"] == [path.name for path in Path("models/prepared").iterdir()]


def test_a_failure_leaves_what_was_there(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half of a folder, and no file for offers that are none."""
    prepare.main(cfg)
    before = digest_folder(Path("models/prepared"))
    monkeypatch.setattr(learning.shapes, "choose", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare.main(cfg)
    pd.read_parquet("data/offers/fit.parquet")[:0].to_parquet("data/offers/fit.parquet")
    with pytest.raises(InputError, match=r"fit\.parquet has no offers"):
        prepare.main(cfg)
    assert before == digest_folder(Path("models/prepared"))
