"""Open-loop load: requests are sent when they are due, whether those before were answered or not, as shoppers do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.benchmark_serving.connections import Connection, connected, request

_TICK = 0.001  # seconds between two looks at what is due
_LAST = 5.0  # seconds that the last answers get
UNSENT, UNANSWERED = -1, 0


@dataclass(frozen=True)
class Answers:
    """What became of each request, arrays of the same length.

    phase: in which it was due. due: seconds since the start. late: how much later than due it was sent, which is the
    client's doing. took: seconds from being sent to its answer. status: of HTTP; UNANSWERED where the connection broke,
    UNSENT where all connections were taken.
    """

    phase: NDArray[np.int64]
    due: NDArray[np.float64]
    late: NDArray[np.float64]
    took: NDArray[np.float64]
    status: NDArray[np.int64]


async def offered(
    port: int, path: str, bodies: Sequence[bytes], phases: Sequence[tuple[float, float]], connections: int = 256
) -> Answers:
    """Offer requests in phases of (requests per second, seconds) one after the other; bounded in time and count."""
    made = [request(path, body) for body in bodies]
    due, phase = _schedule(phases)
    sent, took = np.full(len(due), np.nan), np.full(len(due), np.nan)
    status = np.full(len(due), UNANSWERED, dtype=np.int64)
    idle: list[Connection] = []
    waiting, clock = 0, time.perf_counter

    def answered(code: int, at: int, connection: Connection) -> None:
        nonlocal waiting
        took[at], status[at] = clock() - began - sent[at], code
        waiting -= 1
        if connection.open:
            idle.append(connection)

    everyone = await connected(port, connections, answered)
    idle.extend(everyone)
    began, at = clock(), 0
    try:
        while at < len(due):
            now = clock() - began
            while at < len(due) and due[at] <= now:
                if idle:
                    sent[at] = clock() - began
                    waiting += 1
                    idle.pop().send(made[at % len(made)], at)
                else:
                    status[at] = UNSENT
                at += 1
            await asyncio.sleep(_TICK)
        end = clock() + _LAST
        while waiting and clock() < end:
            await asyncio.sleep(_TICK)
    finally:
        for connection in everyone:
            connection.close()
    return Answers(phase, due, sent - due, took, status)


def _schedule(phases: Sequence[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return when each request is due, evenly within its phase, and the phase's number."""
    start, due, phase = 0.0, [], []
    for number, (rate, seconds) in enumerate(phases):
        count = round(rate * seconds)
        due.append(start + np.arange(count) / rate)
        phase.append(np.full(count, number, dtype=np.int64))
        start += seconds
    return np.concatenate(due), np.concatenate(phase)
