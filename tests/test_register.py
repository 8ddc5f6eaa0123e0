"""register: the challenger becomes a version, once."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from policies import challenge, config, shop

from pipelines import register
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.files import read_json


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    shop("review")
    return config(tmp_path / "mlflow.db")


def test_challenger_is_registered_once(cfg: Config) -> None:
    """Twice the same content is one version, whose description follows the verdict; the output never differs."""
    register.main(cfg)
    written = Path("models/registered.json").read_bytes()
    challenge("promote")
    register.main(cfg)
    assert written == Path("models/registered.json").read_bytes()
    (version,) = mlflow.MlflowClient().search_model_versions("name = 'pricing'")
    assert mlflow.MlflowClient().get_model_version("pricing", version.version).aliases == ["challenger"]
    assert "**promote**: tiny was judged" in version.description
    told = read_json(Path("models/registered.json"))
    assert ("pricing", "tiny", version.tags["graph_sha256"]) == (told["model"], told["policy"], told["graph_sha256"])


def test_new_content_takes_the_alias(cfg: Config) -> None:
    """Another graph is another version, and the alias challenger moves to it and back."""
    register.main(cfg)
    challenge("review", beta=5.0)
    register.main(cfg)
    client = mlflow.MlflowClient()
    assert "2" == str(client.get_model_version_by_alias("pricing", "challenger").version)
    challenge("review")
    register.main(cfg)
    assert "1" == str(client.get_model_version_by_alias("pricing", "challenger").version)
    assert 2 == len(client.search_model_versions("name = 'pricing'"))


def test_another_source_has_its_own_model(cfg: Config) -> None:
    """The manifest says which registered model a policy belongs to."""
    challenge("review", model="pricing-offers", source="offers")
    register.main(cfg)
    (model,) = mlflow.MlflowClient().search_registered_models()
    assert "pricing-offers" == model.name


def test_nothing_to_register(cfg: Config) -> None:
    """Without a verdict there is no challenger, and the message says what makes one."""
    Path("models/champion.json").unlink()
    with pytest.raises(InputError, match=r"champion.json is missing: run `dvc repro`"):
        register.main(cfg)
