"""The key that signs policies, and what it signs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from policies import tiny_policy

from pipelines import signing
from pipelines.errors import InputError
from pipelines.files import digest
from pipelines.manifest import GRAPH, MANIFEST
from pipelines.serving import trust
from pipelines.serving.golden import GOLDEN
from pipelines.serving.keys import name_of
from pipelines.serving.trust import SIGNATURE, public_keys, sealed, verified

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unsigned policy in a project without keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(signing.VARIABLE, raising=False)
    tiny_policy(tmp_path / "policy")
    return tmp_path / "policy"


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_development_key_is_made_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a warning, for its owner's eyes alone, and with the public key beside it; then it is used again."""
    signing.seal(folder, signing.signing_key())
    assert "development key was made" in capsys.readouterr().err
    assert 0o600 == Path("keys/policy.key").stat().st_mode & 0o777
    assert verified(folder, public_keys())
    signing.seal(folder, signing.signing_key())
    assert "" == capsys.readouterr().err
    assert ["policy.key", "policy.pub"] == sorted(p.name for p in Path("keys").iterdir())


def test_the_default_key_stays_out_of_git() -> None:
    """Neither of the two is ever committed."""
    words = ["git", "check-ignore", str(signing.KEY), str(trust.PUBLIC_KEY)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert [str(signing.KEY), str(trust.PUBLIC_KEY)] == told


def test_a_key_of_ones_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option or by environment; one that is named and missing is an error and no reason to make another."""
    own = tmp_path / "own.key"
    for ask in (lambda: signing.signing_key(own), lambda: signing.signing_key()):
        monkeypatch.setenv(signing.VARIABLE, str(own))
        with pytest.raises(InputError, match=r"own.key, the key to sign policies with, is missing"):
            ask()
    own.write_bytes(pem(Ed25519PrivateKey.generate()))
    signing.seal(folder, signing.signing_key())
    assert verified(folder, public_keys(tmp_path / "own.pub"))
    assert not Path("keys").exists()


def test_a_key_that_is_none(folder: Path, tmp_path: Path) -> None:
    """What is no PEM, and a key of another kind, are named with the command that makes a right one."""
    own = tmp_path / "own.key"
    for content in (b"secret", pem(generate_private_key(SECP256R1()))):
        own.write_bytes(content)
        with pytest.raises(InputError, match=r"own\.key holds no Ed25519 private key in PEM .* genpkey"):
            signing.signing_key(own)


def test_a_new_key_is_added_below_the_old_one(folder: Path, tmp_path: Path) -> None:
    """A public key file is never overwritten; with both in it, both are trusted."""
    old = signing.signing_key()
    Path("keys/policy.key").unlink()
    with pytest.raises(InputError, match="add that below the old one"):
        signing.signing_key()
    content = Path("keys/policy.pub").read_bytes()
    Path("keys/policy.pub").unlink()
    new = signing.signing_key()
    Path("keys/policy.pub").write_bytes(content + Path("keys/policy.pub").read_bytes())
    assert signing.signing_key().public_key() == new.public_key()
    for key in (old, new):
        signing.seal(folder, key)
        assert name_of(key.public_key()) == sealed(folder, public_keys()).key


def test_sealed_once(folder: Path) -> None:
    """The same policy and key give the same bytes, and what is sealed is not written again."""
    key = signing.signing_key()
    signing.seal(folder, key)
    before = [(p.name, p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())]
    signing.seal(folder, key)
    assert before == [(p.name, p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())]
    (folder / SIGNATURE).unlink()
    (folder / f".{GOLDEN}.part").write_text("torn")
    signing.seal(folder, key)
    assert [b[:2] for b in before] == [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]


def test_another_use_is_another_signature(folder: Path) -> None:
    """Sealed to shadow, then to price: what it may do is signed too."""
    key = signing.signing_key()
    signing.seal(folder, key, "shadow")
    with pytest.raises(trust.UntrustedError):
        verified(folder, public_keys())
    signing.seal(folder, key)
    assert verified(folder, public_keys())
    with pytest.raises(InputError, match="not to anything"):
        signing.sign(dict.fromkeys(trust.SIGNED, b""), key, "anything")


def test_what_no_endpoint_would_load_is_not_signed(folder: Path) -> None:
    """An odd operator, or a file too many: refused here, and nothing is left that looks signed."""
    key, old = signing.signing_key(), digest(folder / GRAPH)
    (folder / "model.pkl").write_bytes(b"\x80\x05N.")
    with pytest.raises(InputError, match=r"model\.pkl"):
        signing.seal(folder, key)
    (folder / "model.pkl").unlink()
    proto = onnx.load(folder / GRAPH)
    proto.graph.node.append(onnx.helper.make_node("Run", ["u"], ["x"], domain="com.evil"))
    (folder / GRAPH).write_bytes(proto.SerializeToString())
    values = json.loads((folder / MANIFEST).read_text().replace(old, digest(folder / GRAPH)))
    (folder / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"is not signed: it uses operators of the domain 'com\.evil'"):
        signing.seal(folder, key)
    assert not (folder / SIGNATURE).exists()
