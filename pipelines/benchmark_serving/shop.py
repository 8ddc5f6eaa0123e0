"""A shop for the endpoint under test: a folder with signed policies and their key, and nothing of a user's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.benchmark_serving import servers
from pipelines.benchmark_serving.swaps import deployed
from pipelines.serving.keys import pem
from pipelines.serving.pointer import CURRENT, LIVE, Pointer


@dataclass(frozen=True)
class Shop:
    """Where the endpoint is started, and the pointers that may be live there; the first one is."""

    folder: Path
    pointers: tuple[Pointer, ...]

    def place(self, number: int) -> Pointer:
        """Let another of the policies quote; the endpoint sees it within a second or two."""
        chosen = self.pointers[number % len(self.pointers)]
        chosen.write(self.folder / LIVE / CURRENT)
        return chosen

    def endpoint(self, *options: str) -> servers.Program:
        """Return how the endpoint starts: one worker, signing, logging and counting, as a user starts it."""
        words = (sys.executable, "-m", "pipelines.serving", "--port", "{port}", *options)
        return servers.Program(words, self.folder, "/ready")


def opened(folder: Path, policies: Sequence[Path]) -> Shop:
    """Return a shop in an empty folder, whose policies are signed with a key that is kept nowhere."""
    key = Ed25519PrivateKey.generate()
    (folder / "keys").mkdir(parents=True)
    (folder / "keys/policy.pub").write_bytes(pem(key.public_key()))
    shop = Shop(folder, tuple(deployed(list(policies), folder / LIVE, key)))
    shop.place(0)
    return shop


def switched_on(server: servers.Running, folder: Path, body: bytes) -> dict[str, bool]:
    """Return what the endpoint does beside pricing: whether quotes are signed, logged and counted."""
    status, content = servers.post(server.port, "/quote", body)
    quote = orjson.loads(content) if status == 200 else {}
    counted = b"pricewright_quotes_total" in servers.get(server.port, "/metrics")[1]
    log = folder / "data/decisions"
    logged = log.is_dir() and any(path.stat().st_size for path in log.rglob("*") if path.is_file())
    return {"signed": quote.get("signature") is not None, "logged": logged, "counted": counted}
