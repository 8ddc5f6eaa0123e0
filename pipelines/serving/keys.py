"""The keys of live pricing, each in a file of its own: a secret for what is hashed, an Ed25519 key for what is signed.

A key that is missing is made, for development, with a warning: whoever runs several machines gives all the same files.
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pipelines.errors import InputError
from pipelines.files import replacing

SECRET_BYTES = 32


class DevelopmentKeyWarning(UserWarning):
    """A key was made because there was none: good for trying things out, not for customers."""


def secret(path: Path) -> bytes:
    """Return the secret of `path`, 64 hexadecimal digits; where there is no file, one is made with a warning."""
    text = _content(path, lambda: secrets.token_hex(SECRET_BYTES).encode() + b"\n").strip()
    try:
        found = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        found = b""
    if len(found) != SECRET_BYTES:
        raise InputError(
            f"{path} must hold {2 * SECRET_BYTES} hexadecimal digits and nothing else: "
            f"make it with `openssl rand -hex {SECRET_BYTES}`"
        )
    return found


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the Ed25519 key of `path`, PEM (PKCS 8); where there is no file, one is made with a warning."""
    return _private(path, _content(path, new_key))


def private_key(path: Path) -> Ed25519PrivateKey:
    """Return the Ed25519 key of `path`, PEM (PKCS 8); nothing is made where there is none."""
    try:
        return _private(path, path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None


def trusted_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys of a PEM file: one, or while a key is being replaced the old and the new one below each other."""
    end, found = b"-----END PUBLIC KEY-----", []
    for block in path.read_bytes().split(end)[:-1]:
        try:
            key = load_pem_public_key(block.strip() + b"\n" + end + b"\n")
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InputError(f"{path} is no public key in PEM ({error}): copy it again") from None
        if not isinstance(key, Ed25519PublicKey):
            raise InputError(f"{path} holds a key of another kind than Ed25519, with which everything here is signed")
        found.append(key)
    if not found:
        raise InputError(f"{path} holds no public key in PEM: copy it again, and never the private one")
    return tuple(found)


def name_of(key: Ed25519PublicKey) -> str:
    """Return what a key is called: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def new_key() -> bytes:
    """Return a new Ed25519 key as the text of a file."""
    return pem(Ed25519PrivateKey.generate())


def pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """Return a key as the text of a file."""
    if isinstance(key, Ed25519PrivateKey):
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def publish(key: Ed25519PublicKey, path: Path) -> None:
    """Write a public key for whoever verifies by it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_bytes(pem(key))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): checkouts verify quotes by it") from None


def _content(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file holds; without one make it whole, readable by its owner alone, and once among workers."""
    try:
        if not path.exists() and make_once(path, make()):
            warnings.warn(
                f"{path} was missing, so a development key was made: before customers see quotes, put a key of your "
                "own there",
                DevelopmentKeyWarning,
                stacklevel=3,
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be used ({error.strerror}): give a key file that this process may read"
        ) from None


def make_once(path: Path, content: bytes) -> bool:
    """Write a key that only its owner may read, unless there is one; return whether this process made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it never replaces the key that another process made meanwhile
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _private(path: Path, content: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"{path} holds no Ed25519 private key in PEM without a password: name the file that does, or make one with "
            "`openssl genpkey -algorithm ed25519 -out FILE`, which overwrites FILE"
        )
    return key
