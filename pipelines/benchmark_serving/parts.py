"""What is measured, part by part: each starts its server, loads it, stops it, and returns a row of figures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipelines.benchmark_serving import asking, closed, hotswap, overload, rivals, servers
from pipelines.benchmark_serving.shop import opened, switched_on
from pipelines.errors import InputError
from pipelines.manifest import Manifest

Row = dict[str, Any]
_CONNECTIONS = 8
_STARTS = 3  # of a server, of which the middle one is told
_WARM = 1.0  # seconds of load before what counts
_PAUSE = 1.0  # seconds in which the server finishes what the load before left behind


@dataclass(frozen=True)
class Bench:
    """What is asked for: policies to quote by, where things are kept, and how much of everything."""

    policies: tuple[Path, ...]
    folder: Path
    seconds: float = 5.0
    rounds: int = 3
    overload: float = 30.0
    swaps: int = 200
    install: bool = False

    @property
    def manifest(self) -> Manifest:
        """What the first policy is; it is the one that every server quotes by."""
        return Manifest.read(self.policies[0])


def in_process(bench: Bench) -> Row:
    """Return the call without a server: the ceiling of one worker."""
    words = [sys.executable, "-m", "pipelines.benchmark_serving.ceiling", str(bench.policies[0]), str(bench.seconds)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=bench.seconds + 120)
    if found.returncode:
        raise InputError(f"benchmark: the policy cannot be called: {found.stderr.strip()[-200:]}")
    return dict(json.loads(found.stdout))


def hello(bench: Bench) -> Row:
    """Return what the server itself answers."""
    words = (sys.executable, "-m", "pipelines.benchmark_serving.hello", "{port}")
    return _row(bench, servers.Program(words, bench.folder), "/", [b""], method="GET")


def thin(bench: Bench) -> Row:
    """Return single quotes of the endpoint."""
    return _endpoint(bench, "/quote", asking.singles(bench.manifest))


def pages(bench: Bench) -> Row:
    """Return pages of the endpoint; `quotes` is how many each holds."""
    return {**_endpoint(bench, "/quotes", asking.pages(bench.manifest)), "quotes": asking.PAGE}


def lone(bench: Bench) -> Row:
    """Return single quotes of a caller who asks again once answered: nobody else waits to be priced with."""
    return _endpoint(bench, "/quote", asking.singles(bench.manifest), connections=1)


def lone_pages(bench: Bench) -> Row:
    """Return pages of such a caller."""
    found = _endpoint(bench, "/quotes", asking.pages(bench.manifest), connections=1)
    return {**found, "quotes": asking.PAGE}


def mlflow(bench: Bench) -> Row:
    """Return `mlflow models serve` of the same policy."""
    with TemporaryDirectory() as scratch:
        program = rivals.mlflow(bench.policies[0], Path(scratch))
        return _rival_row(bench, "mlflow", program, "/invocations")


def bentoml(bench: Bench) -> Row:
    """Return BentoML with the same policy."""
    return _rival(bench, "bentoml")


def litserve(bench: Bench) -> Row:
    """Return LitServe with the same policy."""
    return _rival(bench, "litserve")


def overloaded(bench: Bench) -> Row:
    """Return what becomes of requests when there are three times too many."""
    with TemporaryDirectory() as scratch:
        shop = opened(Path(scratch), bench.policies)
        with servers.running(shop.endpoint()) as server:
            return overload.measured(server, "/quote", asking.singles(bench.manifest), bench.overload)


def swapped(bench: Bench) -> Row:
    """Return what becomes of requests while policies are swapped."""
    with TemporaryDirectory() as scratch:
        shop = opened(Path(scratch), bench.policies)
        with servers.running(shop.endpoint()) as server:
            return hotswap.measured(server, shop, "/quote", asking.singles(bench.manifest), bench.swaps)


PARTS: dict[str, Callable[[Bench], Row]] = {
    "graph": in_process, "hello": hello, "thin": thin, "pages": pages, "lone": lone, "lone-pages": lone_pages,
    "mlflow": mlflow, "bentoml": bentoml, "litserve": litserve, "overload": overloaded, "swaps": swapped,
}  # fmt: skip


def _endpoint(bench: Bench, path: str, bodies: list[bytes], connections: int = _CONNECTIONS) -> Row:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shop, single = opened(folder, bench.policies), asking.singles(bench.manifest, 1)[0]
        return _row(
            bench, shop.endpoint(), path, bodies, connections=connections,
            also=lambda server: dict(switched_on(server, folder, single)),
        )  # fmt: skip


def _rival(bench: Bench, name: str) -> Row:
    with TemporaryDirectory() as scratch:
        program = rivals.rival(name, bench.policies[0], bench.folder, Path(scratch), bench.install)
        return {**_rival_row(bench, name, program, "/quote"), "release": rivals.LOCKED[name]}


def _rival_row(bench: Bench, name: str, program: servers.Program, path: str) -> Row:
    bodies = rivals.bodies(name, bench.manifest)
    return _row(bench, program, path, bodies, also=lambda server: rivals.judged(name, bench.policies[0], server))


def _row(
    bench: Bench, program: servers.Program, path: str, bodies: list[bytes], *, method: str = "POST",
    connections: int = _CONNECTIONS, also: Callable[[servers.Running], Row] = lambda _: {},
) -> Row:  # fmt: skip
    """Start a server a few times, load it on its last start, and return the load with the middle rate of `rounds`."""
    starts = []
    for _ in range(_STARTS - 1):
        with servers.running(program) as server:
            starts.append(server.started)
    with servers.running(program) as server:
        starts.append(server.started)
        how: Row = {"connections": connections, "method": method}
        closed.loaded(server.port, path, bodies, seconds=_WARM, **how)
        before, found = server.processor(), []
        for _ in range(bench.rounds):
            time.sleep(_PAUSE)
            found.append(closed.loaded(server.port, path, bodies, seconds=bench.seconds, **how))
        spent, requests = server.processor() - before, sum(load.requests for load in found)
        middle = sorted(found, key=lambda load: load.rate)[len(found) // 2]
        return {
            "rate": middle.rate, "p50": middle.p50, "p99": middle.p99, "requests": requests,
            "failed": sum(load.failed for load in found), "processor": spent / max(1, requests),
            "memory": server.resident(), "started": float(np.median(starts)), **also(server),
        }  # fmt: skip
