"""Overload: three times what the endpoint can answer, offered for half a minute by a client that does not wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import uvloop

from pipelines.benchmark_serving import closed, servers
from pipelines.benchmark_serving.open_loop import UNANSWERED, UNSENT, Answers, offered

TIMES, NORMAL = 3.0, 0.5  # of the capacity
_WARM, _USUAL, _AFTER = 2.0, 8.0, 6.0  # seconds
_WINDOW = 0.25  # seconds in which all must be well again
_MOST = 3.0  # p99 of what is accepted, as a multiple of the normal one
_FASTEST = 20_000.0  # requests per second that the client is asked for at most
WARM, USUAL, OVER, AFTER = range(4)


def measured(server: servers.Running, path: str, bodies: list[bytes], seconds: float) -> dict[str, Any]:
    """Return what became of requests under `seconds` of overload, beside a normal load before and after it."""
    capacity = closed.loaded(server.port, path, bodies, seconds=4.0).rate
    rate = min(TIMES * capacity, _FASTEST)
    phases = [(NORMAL * capacity, _WARM), (NORMAL * capacity, _USUAL), (rate, seconds), (NORMAL * capacity, _AFTER)]
    before = server.processor()
    found = uvloop.run(offered(server.port, path, bodies, phases))
    return {**told(found, _WARM + _USUAL + seconds), "capacity": capacity, "offered": rate, "seconds": seconds,
            "memory": server.resident(), "processor": (server.processor() - before) / len(found.due)}  # fmt: skip


def told(found: Answers, end: float) -> dict[str, Any]:
    """Return the figures of the phases; `end`: when the overload was over, seconds since the start."""
    over = found.phase == OVER
    accepted, refused = over & (found.status == 200), over & (found.status == 503)
    usual = found.took[(found.phase == USUAL) & (found.status == 200)]
    normal = float(np.quantile(usual, 0.99)) if len(usual) else np.nan
    sent = found.status != UNSENT
    odd = ~np.isin(found.status, (200, 503, UNSENT))
    duration = float(np.ptp(found.due[over])) if over.any() else np.nan
    return {
        "requests": int(over.sum()), "rate": int(accepted.sum()) / duration,
        "p50": _quantile(found.took[accepted], 0.5), "p99": _quantile(found.took[accepted], 0.99),
        "normal_p99": normal, "refused": int(refused.sum()) / max(1, int((over & sent).sum())),
        "refusal_p50": _quantile(found.took[refused], 0.5), "refusal_p99": _quantile(found.took[refused], 0.99),
        "unsent": int((found.status == UNSENT).sum()), "failed": int(odd.sum()),
        "unanswered": int((found.status == UNANSWERED).sum()), "late_p99": _quantile(found.late[over & sent], 0.99),
        "recovery": recovery(found, end, normal),
    }  # fmt: skip


def recovery(found: Answers, end: float, normal: float) -> float | None:
    """Return the seconds until a window in which nothing is refused and p99 is as it may be; or None."""
    after = found.phase == AFTER
    start = end
    while start + _WINDOW <= end + _AFTER:
        inside = after & (found.due >= start) & (found.due < start + _WINDOW)
        well = inside.any() and bool((found.status[inside] == 200).all())
        if well and float(np.quantile(found.took[inside], 0.99)) <= _MOST * normal:
            return start - end
        start += _WINDOW
    return None


def _quantile(values: Any, share: float) -> float | None:
    return float(np.quantile(values, share)) if len(values) else None
