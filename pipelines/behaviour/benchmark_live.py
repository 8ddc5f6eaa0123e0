"""How fast live features are: `python -m pipelines.behaviour.benchmark_live [EVENTS]` prints one table.

A simulated market's log is taken event by event on one core, and before each view its context is asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.behaviour.definitions import ENTITIES, FeatureSet
from pipelines.behaviour.measures import Event
from pipelines.behaviour.replay import events, facts
from pipelines.behaviour.state import FeatureState

_EVENTS = 500_000  # of the run without an argument
_PER_OFFER = 3.0  # events of a simulated market for each of its offers, roughly


@dataclass(frozen=True)
class LiveSpeed:
    """What was measured: per_second, events taken in a second of the processor; p50, p99 of a context in µs.

    memory: MB of resident memory after the run minus before it. sizes: what was then kept (FeatureState.sizes).
    """

    events: int
    contexts: int
    per_second: float
    p50: float
    p99: float
    memory: float
    sizes: dict[str, int]


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measured(log: Sequence[Event], state: FeatureState, every: int = 10) -> LiveSpeed:
    """Return how fast `state` takes `log`, in processor time, and answers every `every`-th view, by the clock."""
    before = resident()
    asked: list[int] = []
    taking = 0
    views = 0
    begun = time.process_time_ns()
    for event in log:
        if event.kind == "view":
            views += 1
            if views % every == 0:
                taking += time.process_time_ns() - begun
                start = time.perf_counter_ns()
                state.context(event.shopper_id, event.item_id, event.session_id, event.instant, event.row)
                asked.append(time.perf_counter_ns() - start)
                begun = time.process_time_ns()
        state.add(event)
    taking += time.process_time_ns() - begun
    p50, p99 = np.percentile(asked, [50, 99]) / 1e3
    return LiveSpeed(
        len(log), len(asked), len(log) / taking * 1e9, float(p50), float(p99), resident() - before, state.sizes()
    )


def live_speed(features: FeatureSet, count: int = _EVENTS) -> LiveSpeed:
    """Return how fast the features are live on about `count` events of a simulated market."""
    from pipelines.clean import cleaned
    from pipelines.config import Clean
    from pipelines.market import simulate
    from pipelines.sources import MarketSource

    offers = int(count / _PER_OFFER)
    source = MarketSource(
        "market",
        "market",
        rungs=(0.8, 0.9, 1.0, 1.1),
        days=90,
        shoppers=max(50, offers // 25),
        items=400,
        offers=offers,
    )
    shop = simulate(source, seed=1)
    raw = {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}
    tables, _ = cleaned(raw, source, Clean())
    table = tables["events"].sort_values(["time", "event_id"], kind="stable")
    state = FeatureState(features, facts(tables["items"], "item_id"), facts(tables["shoppers"], "shopper_id"))
    return measured(list(events(table)), state)


def table(speed: LiveSpeed, features: int) -> str:
    """Return the measurements as a table of Markdown."""
    return "\n".join(
        [
            "| events | taken per second | contexts | features | p50 µs | p99 µs | state MB | histories |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            f"| {speed.events:,} | {speed.per_second:,.0f} | {speed.contexts:,} | {features} | {speed.p50:.1f} | "
            f"{speed.p99:.1f} | {speed.memory:,.0f} | {sum(speed.sizes[entity] for entity in ENTITIES):,} |",
        ]
    )


if __name__ == "__main__":
    from pipelines.config import load

    wanted = load().features
    print(table(live_speed(wanted, int(sys.argv[1]) if len(sys.argv) > 1 else _EVENTS), len(wanted.features)))
