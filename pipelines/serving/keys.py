"""The keys of live pricing, each in a file of its own: a secret for what is hashed, an Ed25519 key for what is signed.

A key that is missing is made, for development, with a warning: whoever runs several machines gives all the same files.
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable
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
    content = _content(path, lambda: pem(Ed25519PrivateKey.generate()))
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"{path} holds no Ed25519 private key in PEM without a password: make it with "
            f"`openssl genpkey -algorithm ed25519 -out {path}`"
        )
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Return the Ed25519 public key of `path`, PEM; nothing is made where there is none."""
    if not path.is_file():
        raise InputError(f"{path} is missing: write it with `openssl pkey -in KEY -pubout -out {path}`")
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} holds no Ed25519 public key in PEM: write it with `openssl pkey -in KEY -pubout`")
    return key


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
        if not path.exists():
            _make(path, make())
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be used ({error.strerror}): give a key file that this process may read"
        ) from None


def _make(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it never replaces the key that another worker made meanwhile
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
    warnings.warn(
        f"{path} was missing, so a development key was made: before customers see quotes, put a key of your own there",
        DevelopmentKeyWarning,
        stacklevel=4,
    )
