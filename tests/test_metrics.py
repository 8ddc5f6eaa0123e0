"""Metrics: what is counted, and that workers are summed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from live import asking, endpoint
from policies import REQUEST, tiny_policy
from prometheus_client.parser import text_string_to_metric_families

from pipelines.serving.metrics import BUCKETS, Cells, told
from pipelines.serving.runtime import Policy

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def _value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples[f"pricewright_{name}", tuple(sorted(labels.items()))]


def test_what_an_endpoint_counts(tmp_path: Path) -> None:
    """Requests by status, quotes by guardrail and rung, fallbacks by reason, the policy, latencies."""
    tiny_policy(tmp_path)
    policy = Policy.load(tmp_path)
    ask = asking(endpoint(policy, gauges={"state_events": lambda: 3.0}))
    ask("POST", "/quotes", json={"contexts": [REQUEST, REQUEST, *[{"list_price": 10, "unit_cost": 30}] * 2]})
    ask("POST", "/quote", json={"list_price": 0})
    ask("POST", "/quote", json=REQUEST, headers={"X-Deadline-Ms": "0"})
    ask("GET", "/" + "x" * 5000)
    found = _samples(ask("GET", "/metrics").content)
    assert 1 == _value(found, "requests_total", route="/quotes", status="200")
    assert 1 == _value(found, "requests_total", route="/quote", status="422")
    assert 1 == _value(found, "requests_total", route="other", status="404")
    assert 2 == _value(found, "quotes_total", guardrail="none", rung="0.9")
    assert 2 == _value(found, "fallbacks_total", reason="no_admissible_price")
    assert 1 == _value(found, "fallbacks_total", reason="deadline")
    assert 1 == _value(found, "policy_info", name="tiny", version="", digest=policy.digest, worker="0")
    assert 0 == _value(found, "queue_length")
    assert 3 == _value(found, "state_events")
    assert 2 == _value(found, "request_seconds_count", route="/quote")


def test_a_histogram_adds_up() -> None:
    """Each bucket holds what is at most its edge, and the last all."""
    cells = Cells()
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, 99.0):
        cells.request("/quote", 200, seconds)
    found = _samples(told(cells))
    counts = [_value(found, "request_seconds_bucket", route="/quote", le=str(edge)) for edge in BUCKETS[:2]]
    assert [2, 3] == counts
    assert 4 == _value(found, "request_seconds_bucket", route="/quote", le="+Inf")
    assert pytest.approx(99.001, abs=0.01) == _value(found, "request_seconds_sum", route="/quote")


def test_workers_are_summed_and_the_dead_still_count(tmp_path: Path) -> None:
    """Counters of a worker that was killed stay; its gauges go."""
    script = f"""
import os, signal, sys
from pathlib import Path
from pipelines.serving.metrics import Cells
cells = Cells(Path({str(tmp_path)!r}), 1)
cells.request("/quote", 200, 0.001); cells.quote("none", "0.9", "deadline")
cells.set(cells.place("queue_length"), 5); cells.show_policy({{"name": "old", "version": "1", "digest": "d"}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False)
    mine = Cells(tmp_path, 0)
    mine.request("/quote", 200, 0.2)
    mine.quote("none", "0.9", None)
    mine.set(mine.place("queue_length"), 2)
    found = _samples(told(mine))
    assert 2 == len(list(tmp_path.iterdir()))
    assert 2 == _value(found, "requests_total", route="/quote", status="200")
    assert 2 == _value(found, "quotes_total", guardrail="none", rung="0.9")
    assert 1 == _value(found, "fallbacks_total", reason="deadline")
    assert 2 == _value(found, "queue_length")
    assert not [key for key in found if key[0] == "pricewright_policy_info"]
    assert f"0-{os.getpid()}" in {path.stem for path in tmp_path.iterdir()}


def test_a_policy_that_was_swapped_out_is_no_longer_told() -> None:
    """Only the policy that quotes is shown."""
    cells = Cells()
    for version in ("1", "2"):
        cells.show_policy({"name": "p", "version": version, "digest": "d" + version})
    found = [dict(labels)["version"] for name, labels in _samples(told(cells)) if name == "pricewright_policy_info"]
    assert ["2"] == found


def test_series_without_end_are_counted_together(tmp_path: Path) -> None:
    """When there is room for no further series, counting goes on, and what was there stays right."""
    cells = Cells()
    for number in range(3000):
        cells.add(cells.place("things_total", number=str(number)))
    found = _samples(told(cells))
    assert 1 == _value(found, "things_total", number="0")
    assert 3000 - 2046 == _value(found, "series_dropped_total")
