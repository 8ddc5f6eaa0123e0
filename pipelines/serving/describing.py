"""What an endpoint tells of itself: that it runs, whether it is ready, what it counted, what it prices by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pipelines.serving.access import Access
    from pipelines.serving.limits import Limits
    from pipelines.serving.metrics import Cells
    from pipelines.serving.overload import Gate
    from pipelines.serving.quoting import Quoter

JSON = b"application/json"


@dataclass(frozen=True)
class Answer:
    """What a route answers."""

    body: bytes
    media: bytes = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


Route = Callable[[Any, Any], Awaitable[Answer]]


class Described:
    """An endpoint as far as it tells of itself. draining: it was asked to stop. started: it answers."""

    def __init__(self, quoter: Quoter, gate: Gate, access: Access, cells: Cells, limits: Limits) -> None:
        self.quoter, self.parts, self.gate, self.access, self.cells = quoter, quoter.parts, gate, access, cells
        self.limits, self.draining, self.started = limits, False, False

    async def live(self, scope: Any, receive: Any) -> Answer:
        """GET /live: that it runs, and which policy quotes."""
        view = self.quoter.view()
        return Answer(orjson.dumps({"live": True, "policy": view.facts["name"], "digest": view.facts["digest"]}))

    async def ready(self, scope: Any, receive: Any) -> Answer:
        """GET /ready: whether it should get requests, and what degrades it."""
        failed = {name: why for name, check in self.parts.checks.items() if (why := check()) is not None}
        if self.draining:
            failed["draining"] = "it is about to stop"
        if not self.started:
            failed["starting"] = "it is about to start"
        worries = {name: why for name, check in self.parts.worries.items() if (why := check()) is not None}
        if self.parts.log is not None and (trouble := self.parts.log.failing) is not None:
            worries["decision log"] = trouble
        told = {"ready": not failed, "failed": failed, "degraded": worries, "policy": self.quoter.view().facts}
        return Answer(orjson.dumps(told), status=503 if failed else 200)

    async def metrics(self, scope: Any, receive: Any) -> Answer:
        """GET /metrics: all workers' counts, in Prometheus' format."""
        from pipelines.serving.metrics import told

        self.note()
        return Answer(told(self.cells), b"text/plain; version=0.0.4; charset=utf-8")

    async def policy(self, scope: Any, receive: Any) -> Answer:
        """GET /policy: the manifest."""
        view = self.quoter.view()
        return Answer(orjson.dumps({**asdict(view.policy.manifest), "version": view.version}))

    async def openapi(self, scope: Any, receive: Any) -> Answer:
        """GET /openapi.json."""
        from pipelines.serving.openapi import document

        view = self.quoter.view()
        names, keyed = sorted(self.quoter.disclosures.texts), self.access.keys is not None
        told = document(view.policy.manifest, self.limits, names, keyed, self.parts.contexts is not None)
        attached = {"/quotes/verify": self.parts.signer, "/outcomes": self.parts.log, "/events": self.parts.contexts}
        for path, part in attached.items():
            if part is None:
                del told["paths"][path]
        return Answer(orjson.dumps(told))

    def note(self) -> None:
        """Write what goes up and down to the metrics."""
        for name, gauge in self.parts.gauges.items():
            self.cells.set(self.cells.place(name), gauge())
        self.cells.set(self.cells.place("queue_length"), self.gate.inside)
        self.cells.set(self.cells.place("refused_total"), self.gate.refused)
        self.cells.show_policy(self.quoter.view().facts)
