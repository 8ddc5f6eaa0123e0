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

from pipelines.errors import InputError
from pipelines.files import replacing, write_json
from pipelines.manifest import GRAPH
from pipelines.serving import golden, keys, trust
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
    if not path.is_file() and keys.make_once(path, keys.new_key()):
        print(
            f"warning: {path} did not exist, so a development key was made to sign policies with. Endpoints trust what "
            f"it signs ({path.with_suffix('.pub')}): for production give your own with --key or {VARIABLE}",
            file=sys.stderr,
        )
    key = keys.private_key(path)
    _publish(key, path.with_suffix(".pub"), needed=named is None)
    return key


def sign(files: dict[str, bytes], key: Ed25519PrivateKey, use: str) -> bytes:
    """Return the content of policy.sig; the same files, key and use give the same bytes."""
    told = {
        "use": use,
        "key": keys.name_of(key.public_key()),
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


def _publish(key: Ed25519PrivateKey, path: Path, needed: bool) -> None:
    content = keys.pem(key.public_key())
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
