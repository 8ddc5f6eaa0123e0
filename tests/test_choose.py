"""choose: which contender becomes the challenger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import choose
from pipelines.choose import pick, refusal
from pipelines.errors import InputError
from pipelines.files import digest, read_json, write_json
from tests.worlds import config, enter_shop


def card(loss: float, passed: bool = True, **more: Any) -> dict[str, Any]:
    """Return what `pick` reads of a scorecard."""
    agreement = {"passed": passed, "same_price": 0.98 if not passed else 1.0, "same_probability": 1.0}
    return {"agreement": agreement, "picking_loss": loss, **more}


def test_the_likelihood_in_which_every_rung_counts_alike_picks() -> None:
    """The lowest loss wins."""
    assert "b" == pick({"a": card(0.42), "b": card(0.41), "c": card(0.43)})


def test_what_a_model_promises_decides_nothing() -> None:
    """Neither the claimed nor the estimated profit moves the pick."""
    rich = card(0.42, claimed_per_1000=9e9, profit_per_1000=9e9, log_loss=0.0, balanced_log_loss=0.4)
    assert "b" == pick(
        {"a": rich, "b": card(0.41, claimed_per_1000=0.0, profit_per_1000=0.0, log_loss=9.0, balanced_log_loss=0.41)}
    )


def test_a_graph_that_disagrees_with_python_cannot_be_picked() -> None:
    """The next best serves instead."""
    assert "b" == pick({"a": card(0.40, passed=False), "b": card(0.41)})


def test_without_an_able_graph_there_is_no_challenger() -> None:
    """The error says where the mismatches are."""
    with pytest.raises(InputError, match="mismatches"):
        pick({"a": card(0.40, passed=False)})


def test_a_refusal_names_the_worse_agreement() -> None:
    """The share on which graph and Python agree is told."""
    assert "98.00%" in refusal("a", {"same_price": 0.98, "same_probability": 1.0})


def test_the_challenger_is_copied_as_it_was_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """models/policy.onnx is the pick's own graph, and choice.json says whose and why."""
    enter_shop(tmp_path, monkeypatch)
    choose.main(config())
    told = read_json(Path("models/choice.json"))
    assert "linear" == told["pick"]
    assert told["graph_sha256"] == digest(Path("models/policy.onnx"))
    assert digest(Path("models/policy.onnx")) == digest(Path("models/candidates/linear/policy.onnx"))
    assert {} == told["refused"]


def test_who_was_refused_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """choice.json names the contenders whose graphs disagree."""
    enter_shop(tmp_path, monkeypatch)
    path = Path("models/scorecards/linear.json")
    found = read_json(path)
    write_json(Path("models/scorecards/ensemble.json"), {**found, **card(0.0, passed=False)})
    choose.main(config(contenders=("linear", "ensemble")))
    told = read_json(Path("models/choice.json"))
    assert "linear" == told["pick"]
    assert ["ensemble"] == list(told["refused"])
