"""Key files: read strictly, and made once, with a warning, where there are none."""

from __future__ import annotations

import multiprocessing
import stat
import warnings
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines.errors import InputError
from pipelines.serving import keys
from pipelines.serving.keys import DevelopmentKeyWarning


def test_a_missing_key_is_made_with_a_warning(tmp_path: Path) -> None:
    """The first call makes the file, for its owner alone, and warns; the second reads the same key in silence."""
    for name, read in (("secret", keys.secret), ("quotes.pem", keys.signing_key)):
        path = tmp_path / "keys" / name
        with pytest.warns(DevelopmentKeyWarning, match=f"{name} was missing, so a development key was made"):
            first = read(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            second = read(path)
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        assert [name] == [p.name for p in path.parent.iterdir() if p.name == name or p.suffix == ".part"]
        assert first == second or keys.pem(first) == keys.pem(second)


def _raced(path: str, ready: object) -> bytes:
    warnings.simplefilter("ignore")
    return keys.secret(Path(path))


def test_workers_that_start_together_have_one_key(tmp_path: Path) -> None:
    """Of several processes that all find no file, one makes the key and all use it."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(_raced, [(str(tmp_path / "secret"), None)] * 8)
    assert 1 == len(set(found))


@pytest.mark.parametrize("content", [b"", b"abc", b"zz" * 32, b"ab" * 31, b"ab" * 32 + b" ab", b"\xff" * 64])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """Anything but 64 hexadecimal digits is named, and never replaced by a new secret."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"secret must hold 64 hexadecimal digits .*openssl rand -hex 32"):
        keys.secret(path)
    assert content == path.read_bytes()


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file that holds no Ed25519 key says how to make one."""
    other = generate_private_key(SECP256R1())
    for content in (b"", b"hello", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InputError, match=r"key holds no Ed25519 private key .*openssl genpkey"):
            keys.signing_key(tmp_path / "key")
        with pytest.raises(InputError, match=r"key holds no public key"):
            keys.trusted_keys(tmp_path / "key")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where no key can be made the path and the system's reason are told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/secret cannot be used \(.+\): give a key file"):
        keys.secret(tmp_path / "file" / "secret")
