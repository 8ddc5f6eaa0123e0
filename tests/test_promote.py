"""promote: the only way to the incumbent's folder and the alias champion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from policies import challenge, config, shop

from pipelines import promote, registry
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Manifest

FOLDER = Path("models/incumbent/pricing")


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    shop("review")
    return config(tmp_path / "mlflow.db")


def champion() -> tuple[str, str]:
    """Return the name of the policy that the alias points to, and its version."""
    version = mlflow.MlflowClient().get_model_version_by_alias("pricing", "champion")
    return version.tags["policy"], str(version.version)


def test_list_price_is_the_first_champion(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """On review only the alias is set, to the list price; the message says how a person decides."""
    promote.main(cfg, None)
    assert "list_price" == champion()[0]
    assert not FOLDER.exists()
    told = capsys.readouterr().out
    assert "review: tiny was judged" in told
    assert "--accept" in told


def test_promote_moves_once(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict promote moves folder and alias; again, nothing moves and nothing is written."""
    manifest = challenge("promote")
    promote.main(cfg, None)
    assert manifest.graph_sha256 == Manifest.read(FOLDER).graph_sha256
    assert "tiny" == champion()[0]
    assert "from now on\n  because: tiny was judged" in capsys.readouterr().out
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted(FOLDER.iterdir())]
    promote.main(cfg, None)
    assert before == [(p.name, p.stat().st_mtime_ns) for p in sorted(FOLDER.iterdir())]
    assert "as before" in capsys.readouterr().out
    assert 2 == len(mlflow.MlflowClient().search_model_versions("name = 'pricing'"))


def test_reject_moves_nothing(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """A challenger that was rejected leaves the incumbent where it is, and cannot be accepted."""
    challenge("promote")
    promote.main(cfg, None)
    before = (FOLDER / GRAPH).read_bytes()
    challenge("reject", beta=5.0)
    promote.main(cfg, None)
    assert "A rejected challenger cannot be accepted" in capsys.readouterr().out
    with pytest.raises(InputError, match="reject, which no person can accept"):
        promote.main(cfg, "I like it")
    assert before == (FOLDER / GRAPH).read_bytes()
    assert "tiny" == champion()[0]


def gain(needed: float | None, offers: int = 1000) -> dict[str, float | int | None]:
    """Return the facts of a lead that would show with `needed` offers."""
    return {"mean": 0.01, "lower": -0.01, "needed": needed, "offers": offers}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"gain": gain(5234.0), "personal": gain(900.0)}, "log about 4,200 more before the next verdict"),
        ({"gain": gain(900.0), "personal": gain(900.0)}, "log what happens"),
        ({"gain": gain(5234.0), "personal": gain(None)}, "log what happens"),
    ],
)
def test_a_canary_says_how_many_offers_are_missing(
    cfg: Config, capsys: pytest.CaptureFixture[str], facts: dict, told: str
) -> None:
    """By the lead that needs most, where both are promising; and it moves nothing by itself."""
    challenge("canary")
    path = Path("models/champion.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "facts": facts}))
    promote.main(cfg, None)
    printed = capsys.readouterr().out
    assert "list_price" == champion()[0]
    for text in ("canary: tiny was judged", "share of the offers", told, "--accept"):
        assert text in printed


@pytest.mark.parametrize("verdict", ["canary", "review"])
def test_a_person_accepts_what_is_open(cfg: Config, verdict: str) -> None:
    """The reason is kept with the version; an empty one is refused."""
    challenge(verdict)
    with pytest.raises(InputError, match="needs a reason"):
        promote.main(cfg, "  ")
    promote.main(cfg, "checked by the pricing board")
    name, version = champion()
    tags = mlflow.MlflowClient().get_model_version("pricing", version).tags
    assert ("tiny", f"accepted after {verdict}: checked by the pricing board") == (name, tags["promoted_because"])


def test_a_lost_registry_is_filled_again(cfg: Config, tmp_path: Path) -> None:
    """With another, empty database the incumbent is registered again, and stays the champion on review."""
    challenge("promote")
    promote.main(cfg, None)
    challenge("review", name="next", beta=5.0)
    fresh = config(tmp_path / "fresh.db")
    promote.main(fresh, None)
    assert "tiny" == champion()[0]
    assert "3" == registry.alias_of("pricing", "champion")
    assert "2" == registry.alias_of("pricing", "challenger")


def test_a_crash_before_the_alias_is_healed(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was written and the alias was not: the next run moves the alias, whatever the verdict then is."""
    promote.main(cfg, None)
    challenge("promote")
    with monkeypatch.context() as crash:
        crash.setattr(registry, "point", _crash_on("champion", registry.point))
        with pytest.raises(RuntimeError):
            promote.main(cfg, None)
    assert "list_price" == champion()[0]
    assert FOLDER.is_dir()
    challenge("review")
    promote.main(cfg, None)
    assert "tiny" == champion()[0]


def test_a_crash_between_graph_and_manifest_is_healed(cfg: Config) -> None:
    """A graph without its manifest is completed if it is the challenger's, and refused if it is not."""
    manifest = challenge("promote")
    promote.main(cfg, None)
    (FOLDER / MANIFEST).unlink()
    promote.main(cfg, None)
    assert manifest.graph_sha256 == Manifest.read(FOLDER).graph_sha256
    (FOLDER / MANIFEST).write_text(
        json.dumps({**json.loads((FOLDER / MANIFEST).read_text()), "graph_sha256": "0" * 64})
    )
    challenge("review", name="next", beta=5.0)
    with pytest.raises(InputError, match="or delete models/incumbent/pricing"):
        promote.main(cfg, None)


def test_deleting_the_folder_returns_to_the_list_price(cfg: Config) -> None:
    """The folder is the truth: without it the alias goes back."""
    challenge("promote")
    promote.main(cfg, None)
    for file in FOLDER.iterdir():
        file.unlink()
    challenge("reject", beta=5.0)
    promote.main(cfg, None)
    assert "list_price" == champion()[0]


def test_sources_do_not_meet(cfg: Config, tmp_path: Path) -> None:
    """A policy made from another source than the configured one is refused before anything is touched."""
    with pytest.raises(InputError, match=r"made from the source market, but conf/config.yaml says offers"):
        promote.main(config(tmp_path / "other.db", source="offers"), None)
    assert not FOLDER.exists()


def test_command_line(tmp_path: Path) -> None:
    """--help tells what it does; outside the project it says so in one line, with status 1."""
    root = Path(__file__).parent.parent
    run = [sys.executable, "-m", "pipelines.promote"]
    told = subprocess.run([*run, "--help"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert "--accept REASON" in told
    outside = subprocess.run(
        run, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert (1, 1) == (outside.returncode, len(outside.stderr.splitlines()))
    assert outside.stderr.startswith("error: conf/config.yaml is missing")


def _crash_on(alias: str, point):
    def crashing(model: str, name: str, version: str) -> bool:
        if name == alias:
            raise RuntimeError("the power went out")
        return point(model, name, version)

    return crashing
