"""deploy: the registry's champion becomes a verified folder and a pointer, or nothing changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest
from policies import REQUEST, challenge, config, shop

from pipelines import deploy, promote, registry, signing
from pipelines.config import Config
from pipelines.deploy import AwayError, Deployer
from pipelines.manifest import GRAPH
from pipelines.serving.pointer import CURRENT, LIVE, REFUSED, SHADOW, Pointer
from pipelines.serving.swap import Live
from pipelines.serving.trust import public_keys


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    shop("promote")
    return config(tmp_path / "mlflow.db")


def deployer(cfg: Config, **settings: object) -> Deployer:
    return Deployer("pricing", cfg.tracking.uri, public_keys(), **settings)


def test_a_champion_is_deployed_and_followed(cfg: Config) -> None:
    """From the alias to a quote: deployed once, replaced after a promotion, back after a rollback."""
    promote.main(cfg, None)
    brings, live = deployer(cfg), Live(LIVE, public_keys())
    (told,) = brings.step()
    assert "tiny" in told
    assert [] == brings.step()
    assert live.look()
    assert ("tiny", "2") == (live.policy.manifest.name, live.current.version)
    challenge("promote", name="next", beta=5.0)
    promote.main(cfg, None)
    assert 1 == len(brings.step())
    assert live.look()
    assert ("next", "3") == (live.policy.manifest.name, live.current.version)
    promote.by_hand(cfg, None, "the margin was too thin")
    assert 1 == len(brings.step())
    assert live.look()
    assert ("tiny", "2") == (live.policy.manifest.name, live.current.version)
    assert 22.5 == live.policy.quote([REQUEST])[0]["price"]
    (LIVE / CURRENT).unlink()
    assert 1 == len(brings.step()), "a lost pointer comes back"


def test_what_may_not_price_is_not_deployed(cfg: Config) -> None:
    """An alias that was moved by hand to an unsigned version, or to tampered files: refused, told, and kept out."""
    promote.main(cfg, None)
    brings, live = deployer(cfg), Live(LIVE, public_keys())
    brings.step()
    live.look()
    before = (LIVE / CURRENT).read_bytes()
    challenger = challenge("reject", name="next", beta=5.0)
    version = registry.ensure(Path("models"), challenger, "")
    registry.point("pricing", "champion", version)
    (told,) = brings.step()
    assert told.startswith("refused: pricing version 3: pricing version 3 is not signed to price")
    assert [] == brings.step()
    assert before == (LIVE / CURRENT).read_bytes()
    live.look()
    assert ("unsigned", "3", "tiny") == (live.refusal.code, live.refusal.version, live.policy.manifest.name)
    promote.main(cfg, None)  # the folder is the truth: the alias goes back
    brings.step()
    assert not (LIVE / REFUSED).exists()
    live.look()
    assert live.refusal is None


def test_a_flipped_byte_in_the_registry(cfg: Config) -> None:
    """What was changed in the store after it was signed never comes near the pointer."""
    promote.main(cfg, None)
    shutil.rmtree(LIVE)  # which `promote` filled already
    signed = (p for p in Path("mlruns").rglob("signed/price/golden.json"))
    (source,) = (p for p in signed if "tiny" in (p.parents[2] / "artifacts/policy/policy.json").read_text())
    source.write_text(source.read_text().replace('"propensity": 1.0', '"propensity": 0.5', 1))
    (told,) = deployer(cfg).step()
    assert "golden.json is not the file that was signed" in told
    assert "changed" == json.loads((LIVE / REFUSED).read_text())["code"]
    assert not (LIVE / CURRENT).exists()
    assert [] == list(LIVE.glob("*-*"))


def test_promote_deploys_on_its_own_machine(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """What an endpoint starts with is right before any watcher ran; where it cannot be deployed, that is told."""
    promote.main(cfg, None)
    assert "2" == Pointer.read(LIVE / CURRENT).version
    (LIVE / SHADOW).write_text("{}")
    promote.by_hand(cfg, "1", "calm")
    assert ("1", "{}") == (Pointer.read(LIVE / CURRENT).version, (LIVE / SHADOW).read_text()), (
        "shadows are the watcher's"
    )
    shutil.rmtree(LIVE)
    LIVE.write_text("in the way")
    promote.by_hand(cfg, None, "calm again")
    assert "note: what was promoted is not deployed here (" in capsys.readouterr().out
    assert "2" == registry.alias_of("pricing", "champion")


def test_a_shadow_is_deployed_on_request(cfg: Config) -> None:
    """A challenger that may not price shadows; as soon as it prices, nothing shadows."""
    promote.main(cfg, None)
    challenge("review", name="next", beta=5.0)
    promote.main(cfg, None)
    brings = deployer(cfg, shadow=True)
    assert 2 == len(brings.step())
    assert "3" == Pointer.read(LIVE / SHADOW).version
    live = Live(LIVE, public_keys())
    live.look()
    assert ("2", "3") == (live.current.version, live.shadow.version)
    promote.main(cfg, "the pricing board agreed")
    brings.step()
    live.look()
    assert ("3", None) == (live.current.version, live.shadow)
    assert live.refusal is None


def test_a_registry_that_is_away(cfg: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not there yet, broken, and back: watching goes on, says so once each, and the pointer stays."""
    with pytest.raises(AwayError, match="does not exist yet"):
        Deployer("pricing", f"sqlite:///{tmp_path / 'nowhere.db'}", ()).step()
    promote.main(cfg, None)
    brings = deployer(cfg)
    brings.step()
    before = (LIVE / CURRENT).read_bytes()
    real, asked, ended = registry.alias_of, [], threading.Event()

    def alias_of(model: str, alias: str) -> str | None:
        asked.append(alias)
        if len(asked) < 4:
            raise mlflow.exceptions.MlflowException("the registry is away")
        ended.set()
        return real(model, alias)

    registry.alias_of = alias_of
    try:
        deploy.watch(brings, 0.001, ended)
    finally:
        registry.alias_of = real
    printed = capsys.readouterr()
    assert 1 == printed.err.count("the registry is away")
    assert "answers again" in printed.out
    assert before == (LIVE / CURRENT).read_bytes()


def test_old_folders_go(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest few stay, and always what is pointed to; drafts of a crash are cleared."""
    monkeypatch.setattr(deploy, "KEPT", 2)
    for name in ("7-a", "8-b", "9-c"):
        (LIVE / name).mkdir(parents=True)
    promote.main(cfg, None)
    brings = deployer(cfg)
    brings.step()
    kept = {p.name for p in LIVE.iterdir() if p.is_dir()}
    assert 2 == len(kept)
    assert Pointer.read(LIVE / CURRENT).folder in kept
    (folder,) = LIVE.glob("2-*")
    (folder / GRAPH).write_bytes(b"torn")
    shutil.copytree(folder, folder.with_name(f".{folder.name}.new"))
    brings.seen.clear()
    assert 1 == len(brings.step())
    assert Live(LIVE, public_keys()).look()
    assert [] == list(LIVE.glob(".*.new"))


def test_command_line(tmp_path: Path) -> None:
    """--help tells what it does; without a project one line says what is missing, with status 1."""
    run, root = [sys.executable, "-m", "pipelines.deploy"], Path(__file__).parent.parent
    told = subprocess.run([*run, "--help"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert "--watch" in told
    outside = subprocess.run(
        [*run, "--once"], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert (1, 1) == (outside.returncode, len(outside.stderr.splitlines()))
    assert outside.stderr.startswith("error: conf/config.yaml is missing")


def test_without_a_public_key_nothing_is_trusted(cfg: Config) -> None:
    """A new signing key that the endpoint does not know is refused by its name."""
    promote.main(cfg, None)
    trusted = public_keys()
    for file in Path("keys").iterdir():
        file.unlink()
    signing.signing_key()
    promote.main(cfg, None)
    (told,) = Deployer("pricing", cfg.tracking.uri, trusted).step()
    assert "was signed with the key" in told
    assert 1 == len(deployer(cfg).step())
