"""Hot swaps over HTTP: policies take each other's place while an endpoint is loaded; no request may fail."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import orjson

from pipelines.benchmark_serving import closed, servers
from pipelines.benchmark_serving.shop import Shop
from pipelines.errors import InputError

_WARM = 10  # swaps until the allocator has what it keeps
_SEEN = 30.0  # seconds until a swap must have been seen
_SLICE = 20.0  # seconds of one load


def measured(server: servers.Running, shop: Shop, path: str, bodies: list[bytes], swaps: int) -> dict[str, Any]:
    """Return the failed requests, the growth of memory and the time to be seen of so many swaps under load."""
    load, ended = _Load(server.port, path, bodies), threading.Event()
    loading = threading.Thread(target=load.run, args=(ended,), daemon=True)
    loading.start()
    memory, seen = [], []
    try:
        for turn in range(1, swaps + 1):
            seen.append(_swapped(server, shop, turn))
            memory.append(server.resident())
            if turn % 20 == 0:
                print(f"{turn:4d} swaps: {memory[-1]:6.1f} MB", flush=True)
    finally:
        ended.set()
        loading.join(_SLICE + 60)
    warm = min(_WARM, len(memory) // 2)
    first, last = float(np.median(memory[warm : warm + 6])), float(np.median(memory[-6:]))
    return {
        "swaps": swaps, "requests": load.requests, "failed": load.failed, "rate": load.requests / load.seconds,
        "p50": float(np.median(load.p50)), "p99": float(np.median(load.p99)), "memory": last,
        "growth": last / first - 1,
        "seen_p50": float(np.median(seen)), "seen_most": max(seen),
    }  # fmt: skip


def _swapped(server: servers.Running, shop: Shop, turn: int) -> float:
    """Return the seconds from the moved pointer until the endpoint quotes by it. Raises InputError."""
    wanted, began = shop.place(turn), time.perf_counter()
    while time.perf_counter() - began < _SEEN:
        told = orjson.loads(servers.get(server.port, "/ready")[1])["policy"]
        if told["version"] == wanted.version:
            return time.perf_counter() - began
        time.sleep(0.05)
    raise InputError(f"benchmark: the endpoint still quotes by {told} {_SEEN:g} s after swap {turn}")


class _Load:
    """Loads one after the other until it is told to end."""

    def __init__(self, port: int, path: str, bodies: list[bytes]) -> None:
        self.port, self.path, self.bodies = port, path, bodies
        self.requests = self.failed = 0
        self.seconds = 1e-9
        self.p50: list[float] = []
        self.p99: list[float] = []

    def run(self, ended: threading.Event) -> None:
        """Load until `ended`."""
        while not ended.is_set():
            found = closed.loaded(self.port, self.path, self.bodies, connections=4, seconds=_SLICE)
            self.requests, self.failed = self.requests + found.requests, self.failed + found.failed
            self.seconds += found.seconds
            self.p50.append(found.p50)
            self.p99.append(found.p99)
