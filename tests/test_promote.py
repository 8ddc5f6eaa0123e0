"""promote: the only way to the incumbent's folder and the alias champion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from policies import REQUEST, challenge, config, shop

from pipelines import promote, registry
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.moves import HISTORY, moves
from pipelines.serving.trust import GOLDEN, SIGNATURE, public_keys, sealed, verified

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


def kinds() -> list[tuple[str, str | None, str]]:
    """Return kind, from and to of every move so far."""
    return [(m.kind, m.before, m.version) for m in moves(HISTORY, "pricing")]


def test_what_prices_is_signed_and_noted(cfg: Config) -> None:
    """The folder is one that an endpoint trusts; each move of the alias is a line with who, when and why."""
    challenge("promote")
    promote.main(cfg, None)
    promote.main(cfg, None)
    assert 22.5 == verified(FOLDER, public_keys()).quote([REQUEST])[0]["price"]
    (move,) = moves(HISTORY, "pricing")
    assert ("promote", None, "2", "tiny", "tiny was judged") == (
        move.kind, move.before, move.version, move.policy, move.why,
    )  # fmt: skip
    assert "@" in move.who
    tags = mlflow.MlflowClient().get_model_version("pricing", "2").tags
    assert {"signed_price", "signed_shadow"} <= set(tags)
    assert "signed_price" not in mlflow.MlflowClient().get_model_version("pricing", "1").tags


def test_a_rollback_and_back(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """A rollback leads to the champion before, a second one further; what was taken back needs a person to return."""
    promote.main(cfg, None)
    challenge("promote")
    promote.main(cfg, None)
    second = challenge("promote", name="next", beta=5.0)
    promote.main(cfg, None)
    promote.by_hand(cfg, None, "customers complained")
    assert ("tiny", "2") == champion()
    assert "tiny" == sealed(FOLDER, public_keys()).manifest.name
    capsys.readouterr()
    promote.main(cfg, None)
    assert ("tiny", "2") == champion()
    assert "took this challenger back" in capsys.readouterr().out
    promote.by_hand(cfg, None, None)
    assert ("list_price", "1") == champion()
    assert not FOLDER.exists()
    with pytest.raises(InputError, match=r"no champion of pricing before the one that prices now: .* --to"):
        promote.by_hand(cfg, None, "further")
    promote.main(cfg, "the complaint was about something else")
    assert ("next", "3") == champion()
    assert second.graph_sha256 == Manifest.read(FOLDER).graph_sha256
    assert [
        ("restore", None, "1"),
        ("promote", "1", "2"),
        ("promote", "2", "3"),
        ("rollback", "3", "2"),
        ("rollback", "2", "1"),
        ("promote", "1", "3"),
    ] == kinds()
    whys = [m.why for m in moves(HISTORY, "pricing")]
    assert ["customers complained", "no reason was given"] == whys[3:5]
    assert "accepted after promote and rollback: the complaint" in whys[5]


def test_the_first_champion_can_be_taken_back(cfg: Config) -> None:
    """Before it there was the list price; and before that nothing, which is said with the version's number."""
    challenge("promote")
    promote.main(cfg, None)
    assert ("tiny", "2") == champion()
    promote.by_hand(cfg, None, "customers complained")
    assert ("list_price", "1") == champion()
    with pytest.raises(InputError, match=r"before the one that prices now: name a version with --to$"):
        promote.by_hand(cfg, None, "further")
    promote.by_hand(cfg, "2", "it was right after all")
    promote.by_hand(cfg, None, "it was not")
    assert ("list_price", "1") == champion()


def test_to_a_version(cfg: Config) -> None:
    """Only one that priced before, or the list price; a challenger comes in by its verdict alone."""
    challenge("promote")
    promote.main(cfg, None)
    challenge("reject", name="next", beta=5.0)
    promote.main(cfg, None)
    before = (HISTORY.read_bytes(), (FOLDER / GRAPH).read_bytes())
    for version, told in (
        ("3", r"never priced: a challenger begins by its verdict"),
        ("9", r"has no version '9'; it has \[1, 2, 3\]"),
    ):
        with pytest.raises(InputError, match=told):
            promote.by_hand(cfg, version, "why not")
    assert before == (HISTORY.read_bytes(), (FOLDER / GRAPH).read_bytes())
    promote.by_hand(cfg, "1", "a calm week")
    assert ("list_price", "1") == champion()
    promote.by_hand(cfg, "1", "again")
    promote.by_hand(cfg, "2", "the week is over")
    assert ("tiny", "2") == champion()
    assert [("promote", None, "2"), ("to", "2", "1"), ("to", "1", "2")] == kinds()
    assert verified(FOLDER, public_keys())


def test_promoted_before_there_were_signatures(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The champion of an older release is signed at the next run, which says so; nothing else moves."""
    challenge("promote")
    promote.main(cfg, None)
    for file in (FOLDER / SIGNATURE, FOLDER / GOLDEN, HISTORY):
        file.unlink()
    challenge("review", name="next", beta=5.0)
    capsys.readouterr()
    promote.main(cfg, None)
    assert "note: unsigned: models/incumbent/pricing is signed now" in capsys.readouterr().out
    assert verified(FOLDER, public_keys())
    assert "tiny" == champion()[0]


def test_what_nobody_promoted_is_not_signed(cfg: Config) -> None:
    """A policy that was put into the folder by hand is refused: the history does not know it."""
    challenge("promote")
    promote.main(cfg, None)
    challenge("review", name="next", beta=5.0)
    registry.copy_policy(Path("models"), FOLDER)
    challenge("review", name="third", beta=6.0)
    with pytest.raises(InputError, match=r"nobody promoted what it holds \(next"):
        promote.main(cfg, None)
    assert "tiny" == champion()[0]


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
    assert all(option in told for option in ("--accept REASON", "--to VERSION", "--rollback", "--key FILE"))
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
