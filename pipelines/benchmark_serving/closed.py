"""Closed-loop load: connections that each ask again once they are answered; by wrk where it is installed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipelines.benchmark_serving.connections import Connection, connected, request
from pipelines.errors import InputError

WRK = "wrk"
OURS = "our own client (wrk is not installed)"
_SCRIPT = """
local bodies, made, at = {%s}, {}, 0
init = function(args)
  for i, body in ipairs(bodies) do
    made[i] = wrk.format("%s", "%s", {["Content-Type"] = "application/json"}, body)
  end
end
request = function() at = at %% #made + 1; return made[at] end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %%d, "micros": %%d, "p50": %%f, "p99": %%f, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load found. p50, p99: seconds. failed: requests without an answer, or with one that is none of 200."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return (self.requests - self.failed) / self.seconds


def client() -> str:
    """Return which client loads here."""
    return WRK if shutil.which(WRK) else OURS


def loaded(
    port: int, path: str, bodies: Sequence[bytes], *, connections: int = 8, seconds: float = 5.0, method: str = "POST"
) -> Load:
    """Load a server of this machine and return what came of it."""
    if client() == WRK:
        return _by_wrk(port, path, bodies, connections, seconds, method)
    return asyncio.run(_by_us(port, path, bodies, connections, seconds, method))


def _by_wrk(port: int, path: str, bodies: Sequence[bytes], connections: int, seconds: float, method: str) -> Load:
    with TemporaryDirectory() as scratch:
        script = Path(scratch) / "load.lua"
        listed = ", ".join(f"[===[{body.decode()}]===]" for body in bodies)
        script.write_text(_SCRIPT % (listed, method, path), encoding="utf-8")
        words = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        found = subprocess.run(
            [*words, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=seconds + 60
        )
    lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
    if found.returncode or not lines:
        raise InputError(f"benchmark: wrk failed: {(found.stderr or found.stdout).strip()[-200:]}")
    told = json.loads(lines[-1])
    return Load(told["requests"], told["micros"] / 1e6, told["p50"] / 1e6, told["p99"] / 1e6, told["failed"])


async def _by_us(
    port: int, path: str, bodies: Sequence[bytes], connections: int, seconds: float, method: str
) -> Load:  # fmt: skip
    made, took, failed = [request(path, body, method) for body in bodies], [], 0
    end = time.perf_counter() + seconds

    async def one(connection: Connection, at: int) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            began = time.perf_counter()
            status = await connection.ask(made[at % len(made)])
            took.append(time.perf_counter() - began)
            failed += status != 200
            at += connections
            if status == 0:  # the server hung up
                return

    opened = await connected(port, connections)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds + 60):
            await asyncio.gather(*(one(connection, at) for at, connection in enumerate(opened)))
    finally:
        for connection in opened:
            connection.close()
    p50, p99 = np.quantile(took, (0.5, 0.99)) if took else (np.nan, np.nan)
    return Load(len(took), time.perf_counter() - began, float(p50), float(p99), failed)
