"""The signature that lets a policy price: made here with the private key, checked in `serving.trust` with the public.

The endpoint never holds the private key. Both are PEM files, as `openssl genpkey -algorithm ed25519` makes them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pipelines.errors import InputError
from pipelines.files import replacing, write_json
from pipelines.manifest import GRAPH
from pipelines.serving import golden, trust
from pipelines.serving.anatomy import OddGraphError, inspect
from pipelines.serving.golden import GOLDEN
from pipelines.serving.runtime import Policy

KEY = Path("keys/policy.key")
VARIABLE = "PRICEWRIGHT_SIGNING_KEY"


def signing_key(given: Path | None = None) -> Ed25519PrivateKey:
    """Return the private key of `given`, else of the file that $PRICEWRIGHT_SIGNING_KEY names, else of keys/policy.key.

    Without any of them a development key is made there, with a warning. The public key is kept beside it (.pub).
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    path = named or KEY
    if named is not None and not named.is_file():
        raise InputError(f"{named}, the key to sign policies with, is missing: see --key and {VARIABLE}")
    if not path.is_file():
        _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no private key in PEM without a password ({error})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind: make one with `openssl genpkey -algorithm ed25519`")
    _publish(key, path.with_suffix(".pub"), needed=named is None)
    return key


def sign(files: dict[str, bytes], key: Ed25519PrivateKey, use: str) -> bytes:
    """Return the content of policy.sig; the same files, key and use give the same bytes."""
    told = {
        "use": use,
        "key": trust.name_of(key.public_key()),
        "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in trust.SIGNED},
        "signature": b64encode(key.sign(trust.statement(files, use))).decode(),
    }
    return (json.dumps(told, indent=2) + "\n").encode()


def seal(folder: Path, key: Ed25519PrivateKey, use: str = "price") -> None:
    """Write golden.json, then policy.sig, beside the policy of `folder`, unless it is sealed so already.

    Raises InputError for a graph that no endpoint would load: what is signed is what was looked at.
    """
    with suppress(trust.UntrustedError):
        trust.sealed(folder, (key.public_key(),), use)
        return
    for name in (trust.SIGNATURE, GOLDEN):
        for stale in (folder / name, folder / f".{name}.part"):
            stale.unlink(missing_ok=True)
    files = trust.read(folder)
    try:
        inspect(files[GRAPH])
    except OddGraphError as error:
        raise InputError(f"{folder / GRAPH} is not signed: {error}") from None
    policy = Policy.of(trust.manifest_of(folder, files), files[GRAPH], str(folder))
    write_json(folder / GOLDEN, golden.make(policy))
    files[GOLDEN] = (folder / GOLDEN).read_bytes()
    with replacing(folder / trust.SIGNATURE) as draft:
        draft.write_bytes(sign(files, key, use))
    trust.verified(folder, (key.public_key(),), use)


def _make(path: Path) -> None:
    """Make a development key, which nobody but its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  # the mode
        file.write(content)
    try:
        os.link(draft, path)  # unlike a rename it never takes the place of a key that another process made meanwhile
    except FileExistsError:
        return
    finally:
        draft.unlink()
    print(
        f"warning: {path} did not exist, so a development key was made to sign policies with. Endpoints trust what it "
        f"signs ({path.with_suffix('.pub')}): for production give your own with --key or {VARIABLE}",
        file=sys.stderr,
    )


def _publish(key: Ed25519PrivateKey, path: Path, needed: bool) -> None:
    content = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if path.is_file() and content in path.read_bytes():  # others may be trusted beside it
        return
    if path.is_file():
        raise InputError(
            f"{path} does not hold the public key of the key that signs: add that below the old one, so that endpoints "
            "trust both for a while, or delete the file, and it is made anew"
        )
    try:
        with replacing(path) as draft:
            draft.write_bytes(content)
    except OSError as error:
        if needed:
            raise InputError(f"{path} cannot be written ({error}): endpoints need it") from None
        print(f"note: {path} cannot be written; endpoints need the public key: openssl pkey -pubout", file=sys.stderr)
