"""What quotes at the start: deployed, promoted, list price, one folder; and what must not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from policies import tiny_policy

from pipelines import signing
from pipelines.errors import InputError
from pipelines.serving.choosing import INCUMBENT, LIST_PRICE, chosen, is_signed
from pipelines.serving.pointer import LIVE, Pointer
from pipelines.serving.settings import Settings
from pipelines.serving.trust import UntrustedError


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop that has a list-price policy and a key, and promoted nothing."""
    monkeypatch.chdir(tmp_path)
    tiny_policy(LIST_PRICE, "list_price", ladder=(1.0,))
    signing.signing_key()


def _signed(folder: Path, name: str, model: str = "pricing") -> None:
    tiny_policy(folder, name, model=model, beta=2.0 + len(name))
    signing.seal(folder, signing.signing_key())


def _deployed(name: str, model: str = "pricing") -> None:
    folder = LIVE / f"7-{name}"
    _signed(folder, name, model)
    digest = json.loads((folder / "policy.json").read_text())["graph_sha256"]
    Pointer(folder.name, "7", model, digest).write(LIVE / "current.json")


def _prices(settings: Settings | None = None) -> tuple[str, str | None, bool]:
    live = chosen(settings or Settings())
    assert live.current is not None
    return live.policy.manifest.name, live.current.version, is_signed(live)


def test_what_was_deployed_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    """The list price, then what is promoted, then what is deployed, each once it is there."""
    assert ("list_price", None, False) == _prices()
    assert "nothing was promoted yet; so the list price is quoted" in capsys.readouterr().out
    _signed(INCUMBENT / "pricing", "promoted")
    assert ("promoted", None, True) == _prices()
    _deployed("deployed")
    assert ("deployed", "7", True) == _prices()


def test_what_is_deployed_later_takes_the_place() -> None:
    """An endpoint that began with the list price follows the pointer once there is one."""
    live = chosen(Settings())
    _deployed("deployed")
    assert live.look()
    assert ("deployed", True) == (live.policy.manifest.name, is_signed(live))


def test_another_sources_policy_does_not_price(capsys: pytest.CaptureFixture[str]) -> None:
    """A pointer and an incumbent of another registered model are left alone, and the reason is told."""
    _deployed("deployed", "pricing-offers")
    _signed(INCUMBENT / "pricing-offers", "promoted", "pricing-offers")
    assert ("list_price", None, False) == _prices()
    assert "is of pricing-offers" in capsys.readouterr().err


def test_a_bad_deployment_leaves_what_was_promoted() -> None:
    """A pointer to a changed graph is refused with its reason, and what was promoted quotes."""
    _signed(INCUMBENT / "pricing", "promoted")
    _deployed("deployed")
    graph = LIVE / "7-deployed" / "policy.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    live = chosen(Settings())
    assert live.refusal is not None
    assert ("promoted", "changed") == (live.policy.manifest.name, live.refusal.code)
    shutil.rmtree(INCUMBENT)
    assert "list_price" == chosen(Settings()).policy.manifest.name


def test_what_is_promoted_must_be_signed() -> None:
    """An incumbent without a signature is told with the command that signs it, and the endpoint does not start."""
    tiny_policy(INCUMBENT / "pricing")
    with pytest.raises(UntrustedError, match=r"policy.sig: .* Run `python -m pipelines.promote`, which signs"):
        chosen(Settings())


def test_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """--policy takes a signed folder; one without a signature by --unsigned alone, with a warning."""
    tiny_policy(Path("mine"), "mine")
    with pytest.raises(InputError, match="--unsigned"):
        chosen(Settings(policy=Path("mine")))
    assert ("mine", None, False) == _prices(Settings(policy=Path("mine"), unsigned=True))
    assert "warning: mine may be unsigned" in capsys.readouterr().err
    signing.seal(Path("mine"), signing.signing_key())
    assert ("mine", None, True) == _prices(Settings(policy=Path("mine")))


def test_even_what_is_unsigned_is_looked_at() -> None:
    """--unsigned waives the signature alone: odd graphs and wrong answers are refused as ever."""
    tiny_policy(Path("mine"), "mine")
    signing.seal(Path("mine"), signing.signing_key())
    told = json.loads(Path("mine/golden.json").read_text())
    told["answers"][0]["price"] *= 2
    Path("mine/golden.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="golden quote 0"):
        chosen(Settings(policy=Path("mine"), unsigned=True))
    Path("mine/policy.onnx").write_bytes(b"\x80\x02cos\nsystem\n")
    with pytest.raises(InputError, match=r"mine/policy.onnx is refused"):
        chosen(Settings(policy=Path("mine"), unsigned=True))


def test_nothing_to_quote_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder is told with the command that makes a policy; so is a pointer without a key to trust it by."""
    _deployed("deployed")
    Path("keys/policy.pub").unlink()
    with pytest.raises(InputError, match=r"keys/policy.pub is missing"):
        chosen(Settings())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match="make repro"):
        chosen(Settings())
