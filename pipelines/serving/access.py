"""API keys with scopes: a file of digests, never of keys. Without a file the endpoint asks for none.

    python -m pipelines.serving.access keys.json checkout --scopes quote,outcomes

makes a key, prints it once, and adds its SHA-256 to the file.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.errors import InputError
from pipelines.files import replacing
from pipelines.serving.problems import Problem

SCOPES = ("quote", "outcomes", "admin")  # admin may do everything
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pricewright"'}


@dataclass(frozen=True)
class Access:
    """Who may do what: SHA-256 of a key -> its scopes. None: everybody may do everything."""

    keys: dict[bytes, frozenset[str]] | None = None

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read a file of keys: {"name": {"sha256": "…", "scopes": ["quote"]}}. Raises InputError."""
        if path is None:
            return cls()
        try:
            values = json.loads(path.read_text())
            keys = {bytes.fromhex(v["sha256"]): frozenset(v["scopes"]) for v in values.values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} holds no API keys ({type(error).__name__}: {error}); make one with "
                f"`python -m pipelines.serving.access {path} NAME --scopes quote`"
            ) from None
        for digest, scopes in keys.items():
            if len(digest) != 32 or not scopes <= set(SCOPES) or not scopes:
                raise InputError(f"{path}: a key needs a sha256 of 64 digits and scopes of {list(SCOPES)}")
        if not keys:
            raise InputError(f"{path} holds no key: nobody could ask for a price")
        return cls(keys)

    def check(self, headers: list[tuple[bytes, bytes]], scope: str) -> None:
        """Refuse a request whose key may not do this. Raises Problem 401 or 403."""
        if self.keys is None:
            return
        given = b""
        for name, value in headers:
            if name == b"x-api-key":
                given = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
        digest, found = hashlib.sha256(given).digest(), None
        for known, scopes in self.keys.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = scopes
        if found is None:
            raise Problem(401, "send a known key as `Authorization: Bearer KEY` or `X-API-Key: KEY`", None, _CHALLENGE)
        if scope not in found and "admin" not in found:
            raise Problem(403, f"this key lacks the scope {scope}")


def add(path: Path, name: str, scopes: tuple[str, ...]) -> str:
    """Make a key, add its digest to `path`, and return it. Raises InputError."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InputError(f"scopes={list(scopes)} must be some of {list(SCOPES)}")
    if path.exists():
        Access.read(path)
    values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if name in values:
        raise InputError(f"{path} has a key called {name!r} already: choose another name, or remove that one")
    key = secrets.token_urlsafe(32)
    values[name] = {"sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": list(scopes)}
    with replacing(path) as draft:
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(values, indent=1))
    return key


def main(arguments: list[str] | None = None) -> None:
    """Make a key and print it."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.serving.access", description=main.__doc__)
    parser.add_argument("file", type=Path, help="the file of keys; it is made where it is missing")
    parser.add_argument("name", help="what to call the key")
    parser.add_argument("--scopes", default="quote", help=f"some of {','.join(SCOPES)}; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        print(add(options.file, options.name, tuple(options.scopes.split(","))))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
