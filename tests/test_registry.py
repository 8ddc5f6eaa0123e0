"""Policies as versions in the registry: each content once, found by its digest, without a pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest
from policies import CATEGORICAL, NUMERIC, config, shop, tiny_policy

from pipelines import registry, tracking
from pipelines.errors import InputError
from pipelines.files import write_json
from pipelines.manifest import Manifest
from pipelines.policy import TERMS_OF_SALE


@pytest.fixture
def challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.chdir(tmp_path)
    manifest = shop("promote")
    tracking.start(config(tmp_path / "mlflow.db"))
    return manifest


def test_the_same_content_has_one_version(challenger: Manifest) -> None:
    """Registering twice gives the version of the first time; the description of that time stays."""
    first = registry.ensure(Path("models"), challenger, "first")
    assert first == registry.ensure(Path("models"), challenger, "second")
    (found,) = mlflow.MlflowClient().search_model_versions("name = 'pricing'")
    assert ("first", challenger.graph_sha256) == (found.description, found.tags["graph_sha256"])


def test_another_currency_is_another_version(challenger: Manifest) -> None:
    """The currency is no part of the graph, but a quote tells it."""
    first = registry.ensure(Path("models"), challenger, "")
    dollars = tiny_policy(Path("models"), currency="USD")
    assert challenger.graph_sha256 == dollars.graph_sha256
    assert first != registry.ensure(Path("models"), dollars, "")


def test_lost_files_are_registered_anew(challenger: Manifest) -> None:
    """A version whose artifacts somebody removed cannot serve, so it does not count."""
    first = registry.ensure(Path("models"), challenger, "")
    shutil.rmtree("mlruns")
    assert first != registry.ensure(Path("models"), challenger, "")


def test_signature_example_and_files(challenger: Manifest) -> None:
    """The stored model names every field with its type, brings an example and its code, and no pickle."""
    version = registry.ensure(Path("models"), challenger, "")
    info = mlflow.models.get_model_info(f"models:/pricing/{version}")
    stored = {c.name: (c.type.name, c.required) for c in info.signature.inputs.inputs}
    numbers = {name: ("double", name == "list_price") for name in (*TERMS_OF_SALE, *NUMERIC)}
    assert numbers | dict.fromkeys(CATEGORICAL, ("string", False)) == stored
    files = [p for p in Path("mlruns").rglob("*") if p.is_file()]
    assert {"policy.onnx", "policy.json", "input_example.json", "runtime.py"} <= {p.name for p in files}
    assert {".onnx", ".json", ".py", ".txt", ".yaml", ""} == {p.suffix for p in files}
    # every protocol since 2 begins with this byte, and older ones end with a full stop after text
    assert [] == [p for p in files if p.suffix != ".onnx" and p.read_bytes()[:1] == b"\x80"]


def test_alias_moves_once(challenger: Manifest) -> None:
    """Pointing an alias where it points already is no move."""
    version = registry.ensure(Path("models"), challenger, "")
    assert registry.alias_of("pricing", "champion") is None
    assert registry.point("pricing", "champion", version)
    assert not registry.point("pricing", "champion", version)
    assert version == registry.alias_of("pricing", "champion")
    assert registry.alias_of("pricing-other", "champion") is None


def test_a_verdict_on_another_policy_is_refused(challenger: Manifest) -> None:
    """The verdict must be about the very graph that would be registered."""
    told = {"verdict": "promote", "pick": "tiny", "graph_sha256": "0" * 64, "reason": ""}
    write_json(Path("models/champion.json"), told)
    with pytest.raises(InputError, match="dvc repro"):
        registry.challenger(Path("models"))


def test_a_scorecard_of_another_graph_is_none(challenger: Manifest) -> None:
    """What was measured of an earlier graph is not told of this one."""
    assert 0.6321 == registry.scorecard(Path("models"), challenger)["log_loss"]
    write_json(Path("models/scorecards/tiny.json"), {"graph_sha256": "0" * 64, "log_loss": 0.1})
    assert {} == registry.scorecard(Path("models"), challenger)
