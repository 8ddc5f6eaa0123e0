"""What an endpoint trusts: a folder with one policy that `promote` signed, unchanged, and with nothing else in it.

Every file is opened once, its bytes are judged, and the very same bytes are run. All of it happens before ONNX Runtime
sees the graph: a session is made of what was signed, is small enough, and is nothing but ONNX's own operators.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.serving import golden
from pipelines.serving.anatomy import OddGraphError, inspect
from pipelines.serving.golden import GOLDEN
from pipelines.serving.keys import name_of, trusted_keys
from pipelines.serving.runtime import Policy

SIGNATURE: Final = "policy.sig"
PUBLIC_KEY: Final = Path("keys/policy.pub")
USES: Final = ("price", "shadow")  # what a signature allows: to price, which allows the other too, or to shadow alone
LARGEST: Final = {GRAPH: 128 << 20, MANIFEST: 4 << 20, GOLDEN: 4 << 20, SIGNATURE: 16 << 10}  # bytes
SIGNED: Final = (GRAPH, MANIFEST, GOLDEN)
Keys = tuple[Ed25519PublicKey, ...]


class UntrustedError(InputError):
    """A policy that must not be loaded. code: a short word for it, of which there are few, for counters.

    Codes: file, size, unsigned, signature, use, changed, graph, manifest, load, golden; of a pointer, pointer.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Sealed:
    """What a trusted folder holds: the graph's bytes, its manifest, its golden quotes, and which key signed them."""

    graph: bytes
    manifest: Manifest
    golden: dict[str, Any]
    key: str
    where: str

    def policy(self) -> Policy:
        """Return the loaded policy, after its self-test; UntrustedError where it does not load or does not pass."""
        try:
            loaded = Policy.of(self.manifest, self.graph, self.where)
        except InputError as error:
            raise UntrustedError("load", str(error)) from error
        try:
            failed = golden.failure(loaded, self.golden)
        except Exception as error:
            failed = f"the self-test breaks off: {str(error).splitlines()[0] if str(error) else error!r}"
        if failed:
            raise UntrustedError("golden", f"{self.where} does not answer as it did when it was signed: {failed}")
        return loaded


def verified(folder: Path, keys: Keys, use: str = "price") -> Policy:
    """Return the policy of a folder that one of `keys` signed for `use`, loaded and self-tested.

    Raises UntrustedError, with the reason, before a session is made wherever that can be known before.
    """
    return sealed(folder, keys, use).policy()


def sealed(folder: Path, keys: Keys, use: str = "price") -> Sealed:
    """Return what a trusted folder holds, without loading the graph; raises UntrustedError with the reason."""
    files = read(folder)
    if SIGNATURE not in files:
        raise UntrustedError(
            "unsigned",
            f"{folder} holds no {SIGNATURE}: it was not promoted, or before policies were signed. Run "
            "`python -m pipelines.promote`, which signs the champion",
        )
    key = _verify(folder, files, keys, use)
    try:
        inspect(files[GRAPH])
    except OddGraphError as error:
        raise UntrustedError("graph", f"{folder / GRAPH} is refused: {error}") from None
    manifest = manifest_of(folder, files)
    return Sealed(files[GRAPH], manifest, _json(folder / GOLDEN, files[GOLDEN]), key, str(folder))


def read(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a policy folder; refuses any other file, link, folder, and too large ones."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise UntrustedError("file", f"{folder} is no folder of a policy ({error.strerror})") from None
    try:
        names = sorted(os.listdir(handle))  # noqa: PTH208  # of the very folder that was opened
        if odd := [name for name in names if name not in LARGEST]:
            raise UntrustedError(
                "file", f"{folder} holds {odd[0]!r}, and may hold {', '.join(LARGEST)} alone: remove what is not of it"
            )
        if missing := [name for name in (GRAPH, MANIFEST) if name not in names]:
            raise UntrustedError("file", f"{folder / missing[0]} is missing: deploy or promote it again")
        return {name: _bytes(handle, name, folder) for name in names}
    finally:
        os.close(handle)


def statement(files: Mapping[str, bytes], use: str) -> bytes:
    """Return what a signature is over: the use, and the SHA-256 of each signed file."""
    if use not in USES:
        raise InputError(f"a policy is signed to {' or to '.join(USES)}, not to {use}")
    lines = [f"{name} {hashlib.sha256(files[name]).hexdigest()}" for name in SIGNED]
    return "\n".join(("pricewright policy 1", f"use {use}", *lines, "")).encode()


def manifest_of(folder: Path, files: Mapping[str, bytes]) -> Manifest:
    """Return the manifest among the files of a folder, which must be that of the graph among them."""
    try:
        manifest = Manifest.from_json(_json(folder / MANIFEST, files[MANIFEST]))
    except (KeyError, TypeError, AttributeError, ValueError, InputError) as error:
        raise UntrustedError("manifest", f"{folder / MANIFEST} is no manifest ({error!r}): promote it again") from None
    if manifest.graph_sha256 != hashlib.sha256(files[GRAPH]).hexdigest():
        raise UntrustedError("manifest", f"{folder / MANIFEST} is the manifest of another graph: promote it again")
    return manifest


def public_keys(path: Path = PUBLIC_KEY) -> Keys:
    """Return the keys by which policies are trusted."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing: it is the public key by which policies are trusted. `python -m pipelines.promote` "
            "makes it on a first run; else copy it from where policies are promoted"
        )
    return trusted_keys(path)


def _verify(folder: Path, files: dict[str, bytes], keys: Keys, use: str) -> str:
    """Return the name of the key that signed the files for `use`."""
    path = folder / SIGNATURE
    if GOLDEN not in files:
        raise UntrustedError("file", f"{folder / GOLDEN} is missing: promote the policy again")
    told = _json(path, files[SIGNATURE])
    try:
        granted, key_name, digests = str(told["use"]), str(told["key"]), dict(told["sha256"])
        signature = b64decode(told["signature"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise UntrustedError("signature", f"{path} is damaged ({error!r}): promote the policy again") from None
    if granted not in USES or (granted != use and granted != "price"):
        raise UntrustedError(
            "use", f"{folder} was signed to {granted[:20]} alone, and is asked to {use}: promote it first"
        )
    key = next((k for k in keys if name_of(k) == key_name), None)
    if key is None:
        known = ", ".join(name_of(k) for k in keys)
        raise UntrustedError(
            "signature",
            f"{folder} was signed with the key {key_name[:16]}, and trusted is {known}: give the right public key",
        )
    # said first because it is clearer; what counts is the signature over what was found
    for name in SIGNED:
        if digests.get(name) != hashlib.sha256(files[name]).hexdigest():
            raise UntrustedError(
                "changed", f"{folder / name} is not the file that was signed: promote or deploy it again"
            )
    try:
        key.verify(signature, statement(files, granted))
    except InvalidSignature:
        raise UntrustedError("signature", f"{path} is forged: its signature is not of the key {key_name}") from None
    return key_name


def _bytes(handle: int, name: str, folder: Path) -> bytes:
    try:
        # neither a link to elsewhere, nor a pipe that keeps its reader waiting
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    except OSError as error:
        raise UntrustedError("file", f"{folder / name} cannot be read ({error.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UntrustedError("file", f"{folder / name} is no plain file")
        with os.fdopen(file, "rb", closefd=False) as opened:
            content = opened.read(LARGEST[name] + 1)
    finally:
        os.close(file)
    if len(content) > LARGEST[name]:
        raise UntrustedError("size", f"{folder / name} is larger than {LARGEST[name]:,} bytes, the most that is loaded")
    return content


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UntrustedError("manifest", f"{path} is no JSON ({error}): promote the policy again") from None
    if not isinstance(values, dict):
        raise UntrustedError("manifest", f"{path} is no JSON object: promote the policy again")
    return values
