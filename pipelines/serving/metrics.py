"""Metrics: counts in memory that the workers share, told in Prometheus' format by whichever worker is asked.

A worker's series lie in a file of its own, mapped into memory: adding to one is writing eight bytes in place, nothing
is lost when a worker is killed, and whoever tells the metrics reads all files.
"""

from __future__ import annotations

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)  # seconds
_HELP = {
    "requests_total": "Requests by route and status.",
    "quotes_total": "Quotes by the guardrail that bound and the rung that was taken.",
    "fallbacks_total": "Quotes of the list price, or what stands in its place, by reason.",
    "refused_total": "Requests that found no place in the queue.",
    "request_seconds": "Time from the head of a request to the end of its answer.",
    "queue_length": "Requests that have a place and no answer yet.",
    "sockets_open": "WebSockets that are open.",
    "sockets_closed_total": "WebSockets that ended, by code; refused are those that never began.",
    "events_total": "Events by what the feature state said of them.",
    "contexts_total": "Contexts asked of the feature state, by whether they were computed.",
    "feature_state_failing": "Workers that got no answer of the feature state when they last asked.",
    "policy_info": "The policy that quotes, by worker: 1.",
    "decisions_logged_total": "Decisions that are kept.",
    "decisions_lost_total": "Decisions that could not be kept; their quotes were given all the same.",
    "decisions_torn_bytes_total": "Bytes of decisions half-written by writers that died.",
    "decisions_waiting": "Decisions that wait to be written.",
    "outcomes_logged_total": "Outcomes that are kept.",
    "outcomes_lost_total": "Outcomes that could not be kept, and whose senders were told so.",
    "outcomes_torn_bytes_total": "Bytes of outcomes half-written by writers that died.",
    "outcomes_waiting": "Outcomes that wait to be written.",
    "log_failing": "Workers whose log cannot be written now.",
    "policies_placed_total": "Policies that took the place of another while a worker ran, or its first.",
    "policies_refused_total": "Policies that were deployed and refused by a worker.",
    "policy_refused": "Workers for which a newer policy than the one that quotes was refused.",
    "shadow_quotes": "Workers in which a challenger prices unseen.",
    "worker_start_seconds": "When each worker started, seconds since 1970.",
}
_SLOT, _SLOTS = 256, 2048  # bytes of a series: a double, and its name; a file has 512 KiB, of which the used is real
_SUFFIX = ".cells"
Series = tuple[str, tuple[tuple[str, str], ...]]  # name, and label -> value in the order of the labels


class Cells:
    """The series of one worker. folder: where all workers keep theirs; None: in this process alone."""

    def __init__(self, folder: Path | None = None, worker: int = 0) -> None:
        size = _SLOT * _SLOTS
        if folder is None:
            self._map = mmap.mmap(-1, size)
        else:
            path = folder / f"{worker}-{os.getpid()}{_SUFFIX}"
            with path.open("w+b") as file:
                file.truncate(size)
                self._map = mmap.mmap(file.fileno(), size)
        self.folder, self.worker = folder, worker
        self._values = memoryview(self._map).cast("d")
        self._places: dict[Series, int] = {}
        self._policy: int | None = None
        self._latencies: dict[str, list[int]] = {}
        self.set(self.place("worker_start_seconds"), time.time())

    def place(self, name: str, /, **labels: str) -> int:
        """Return where a series counts; past the last one there is room for, all count as one."""
        return self._place((name, tuple(sorted(labels.items()))))

    def _place(self, series: Series) -> int:
        found = self._places.get(series)
        if found is None:
            at = len(self._places)
            if at == _SLOTS - 1:
                series = ("series_dropped_total", ())
            elif at >= _SLOTS:
                return (_SLOTS - 1) * (_SLOT // 8)
            text = _spelled(series)[: _SLOT - 9]
            start = at * _SLOT
            self._map[start + 8 : start + 8 + len(text)] = text
            found = self._places[series] = at * (_SLOT // 8)
        return found

    def add(self, place: int, amount: float = 1.0) -> None:
        """Count."""
        self._values[place] += amount

    def set(self, place: int, value: float) -> None:
        """Set what goes up and down."""
        self._values[place] = value

    def quote(self, guardrail: str, rung: str, fallback: str | None, times: int = 1) -> None:
        """Count a quote, or several that are counted alike."""
        values, places = self._values, self._places
        key: Series = ("quotes_total", (("guardrail", guardrail), ("rung", rung)))
        values[places[key] if key in places else self._place(key)] += times
        if fallback is not None:
            values[self.place("fallbacks_total", reason=fallback)] += times

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answer and its latency."""
        values, places = self._values, self._places
        key: Series = ("requests_total", (("route", route), ("status", str(status))))
        values[places[key] if key in places else self._place(key)] += 1
        buckets = self._latencies.get(route)
        if buckets is None:
            edges = [*map(str, BUCKETS), "+Inf", "sum"]
            buckets = self._latencies[route] = [self.place("request_seconds", route=route, le=e) for e in edges]
        values[buckets[bisect_left(BUCKETS, seconds)]] += 1
        values[buckets[-1]] += seconds

    def show_policy(self, facts: Mapping[str, str | None]) -> None:
        """Note which policy quotes; the one before it no longer does."""
        place = self.place("policy_info", **{name: value or "" for name, value in facts.items()})
        if place != self._policy:
            if self._policy is not None:
                self._values[self._policy] = 0.0
            self._values[place], self._policy = 1.0, place

    def read(self) -> Iterator[tuple[str, Series, float]]:
        """Return every series of every worker: (the worker's file, series, value)."""
        if self.folder is None:
            yield from (("0", *each) for each in _series(self._map))
            return
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            yield from ((path.stem, *each) for each in _series(path.read_bytes()))


def told(cells: Cells) -> bytes:
    """Return all workers' series, summed, in Prometheus' text format; what is per worker keeps its worker."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(cells.read()))
    return generate_latest(registry)


class _Collector:
    def __init__(self, series: Iterable[tuple[str, Series, float]]) -> None:
        self.sums: dict[Series, float] = {}
        for worker, (name, labels), value in series:
            alive = _alive(worker)
            if name.endswith("_total") or name == "request_seconds":
                key = (name, labels)  # also of workers that died: a counter never falls
            elif not alive:
                continue
            elif name in ("policy_info", "worker_start_seconds"):
                key = (name, (*labels, ("worker", worker.partition("-")[0])))
            else:
                key = (name, labels)
            self.sums[key] = self.sums.get(key, 0.0) + value

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name in dict.fromkeys(name for name, _ in sorted(self.sums)):
            found = [(dict(labels), value) for (n, labels), value in self.sums.items() if n == name]
            help_, full = _HELP.get(name, name.replace("_", " ")), f"pricewright_{name}"
            if name == "request_seconds":
                times = HistogramMetricFamily(full, help_, labels=["route"])
                for route in sorted({labels["route"] for labels, _ in found}):
                    counts = {labels["le"]: value for labels, value in found if labels["route"] == route}
                    total, edges = 0.0, []
                    for edge in [*map(str, BUCKETS), "+Inf"]:
                        total += counts.get(edge, 0.0)
                        edges.append((edge, total))
                    times.add_metric([route], edges, counts.get("sum", 0.0))
                yield times
            else:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                labels = sorted({label for labels, _ in found for label in labels})
                family = kind(full, help_, labels=labels)
                for named, value in found:
                    if value or name.endswith("_total") or "version" not in named:  # a policy that no longer quotes
                        family.add_metric([named.get(label, "") for label in labels], value)
                yield family


def _spelled(series: Series) -> bytes:
    name, labels = series
    return "\x1f".join([name, *(f"{k}\x1e{v}" for k, v in labels)]).encode()


def _series(content: Any) -> Iterator[tuple[Series, float]]:
    values = memoryview(content).cast("d")
    try:
        for at in range(0, len(content), _SLOT):
            text = bytes(content[at + 8 : at + _SLOT]).rstrip(b"\0").decode(errors="replace")
            if not text:
                return
            name, *labels = text.split("\x1f")
            pairs = tuple((k, v) for k, _, v in (label.partition("\x1e") for label in labels))
            yield (name, pairs), values[at // 8]
    finally:
        values.release()


def _alive(worker: str) -> bool:
    pid = worker.partition("-")[2]
    return not pid or Path(f"/proc/{pid}").exists() or not Path("/proc").exists()
