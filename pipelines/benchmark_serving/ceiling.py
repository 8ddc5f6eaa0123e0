"""The in-process call: parse a request, run the graph, serialise the quote, with no server around it.

Usage: python -m pipelines.benchmark_serving.ceiling POLICY SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pipelines.benchmark_serving.asking import singles
from pipelines.serving.quotes import OUTPUTS
from pipelines.serving.runtime import Feed, Policy


def measured(folder: Path, seconds: float) -> dict[str, Any]:
    """Return calls per second, their times, and the processor's seconds per call."""
    policy = Policy.load(folder)
    bodies, feed = singles(policy.manifest), Feed.of(policy, 1)
    took: list[float] = []

    def call(body: bytes) -> bytes:
        feed.fill((policy.row(orjson.loads(body)["context"]),))
        answer = [found.item() for found in policy.run(OUTPUTS, feed.named, None)]
        return orjson.dumps(dict(zip(OUTPUTS, answer, strict=True)))

    for body in bodies:  # the first calls allocate
        call(body)
    began, processor = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - began < seconds:
        call(bodies[len(took) % len(bodies)])
        took.append(time.perf_counter() - now)
    spent = time.process_time() - processor
    p50, p99 = np.quantile(took, (0.5, 0.99))
    # of the quotes that could be made: the loop around the call is not its cost
    return {
        "rate": len(took) / sum(took), "p50": float(p50), "p99": float(p99), "processor": spent / len(took),
        "requests": len(took), "failed": 0,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), float(sys.argv[2]))))
