"""A live endpoint for tests, in process: small parts made of a key and a list, and a client without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from pipelines.serving.access import Access
from pipelines.serving.disclosure import Disclosures
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.limits import Limits
from pipelines.serving.metrics import Cells
from pipelines.serving.overload import Gate
from pipelines.serving.parts import Fixed, Held, Parts
from pipelines.serving.quoting import Quoter
from pipelines.serving.runtime import Policy

NOON = 1_772_450_000.0
Ask = Callable[..., httpx.Response]


def endpoint(policy: Policy, clock: Callable[[], float] = lambda: NOON, **settings: Any) -> Endpoint:
    """Return an endpoint on one policy; settings: fields of `Parts`, and `access`, `deadline`, `queue`, `limits`."""
    access = settings.pop("access", Access())
    deadline, queue = settings.pop("deadline", 60.0), settings.pop("queue", 32)
    limits, shared = settings.pop("limits", Limits()), settings.pop("shared", None)
    parts = Parts(live=settings.pop("live", Fixed(Held(policy))), **settings)
    quoter = Quoter(parts, Disclosures.read(), clock=clock)
    cells = Cells(shared) if isinstance(shared, Path) else Cells()
    made = Endpoint(quoter, gate=Gate(queue, 4), access=access, cells=cells, deadline=deadline, limits=limits)
    made.started = True
    return made


def asking(application: Endpoint) -> Ask:
    """Return what sends one request to the application itself: method, path, content."""

    async def sent(method: str, path: str, **content: Any) -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.request(method, path, **content)

    return lambda *words, **content: asyncio.run(sent(*words, **content))
