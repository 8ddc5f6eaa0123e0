"""The thin endpoint as a bare ASGI application: routes without logic, each a few lines.

It is bare because a request costs about 0.1 ms in the graph: a framework's request and response objects would be a
good part of that, and its import a fifth of the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.serving import pages, recording
from pipelines.serving.asked import WHOLE, Asked, asked, page
from pipelines.serving.describing import Answer, Described, Route
from pipelines.serving.fields import RequestError
from pipelines.serving.limits import Gone, Limits, parsed, read
from pipelines.serving.overload import Deadline, busy
from pipelines.serving.problems import MEDIA, Problem
from pipelines.serving.quotes import too_late
from pipelines.serving.quoting import Quoter
from pipelines.serving.rounds import Rounds
from pipelines.serving.sockets import Sockets

if TYPE_CHECKING:
    from pipelines.serving.access import Access
    from pipelines.serving.metrics import Cells
    from pipelines.serving.overload import Gate
    from pipelines.serving.parts import Facts
    from pipelines.serving.quoting import Page
    from pipelines.serving.views import View

_log = logging.getLogger("pricewright")
Give = Callable[[Any, int, list[tuple[bytes, bytes]], bytes], bool]


class Endpoint(Described):
    """The application of one worker."""

    def __init__(
        self, quoter: Quoter, *, gate: Gate, access: Access, cells: Cells, deadline: float = 1.0,
        limits: Limits | None = None, origins: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(quoter, gate, access, cells, limits or Limits())
        self.deadline = deadline
        self.sockets = Sockets(self, origins)
        self.rounds = Rounds(quoter, self._keep)
        # what sends an answer whole, and tells whether a body is here as a whole, if the server has such things
        self.give: Give | None = None
        self.came: Callable[[Any], bool] = lambda receive: False
        # path -> method -> route and the scope that its key needs
        self.routes: dict[str, dict[str, tuple[Route, str | None]]] = {
            "/quote": {"POST": (self.quote, "quote")},
            "/quotes": {"POST": (self.quotes, "quote")},
            "/quotes/verify": {"POST": (self.verify, "quote")},
            "/curve": {"POST": (self.curve, "quote")},
            "/outcomes": {"POST": (self.outcomes, "outcomes")},
            "/events": {"POST": (self.events, "outcomes")},
            "/ws": {"GET": (self.upgrade, "quote")},
            "/live": {"GET": (self.live, None)},
            "/ready": {"GET": (self.ready, None)},
            "/metrics": {"GET": (self.metrics, "admin")},
            "/policy": {"GET": (self.policy, "quote")},
            "/openapi.json": {"GET": (self.openapi, None)},
            **{path: {"GET": (self._file(path), None)} for path in pages.FILES},
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one connection's request."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.sockets(scope, receive, send)

    async def quote(self, scope: Any, receive: Any) -> Answer:
        """POST /quote: one context, one quote."""
        if self.gate.refuses():  # before the body is read, which takes no place
            return _BUSY
        deadline, view = self._deadline(scope), self.quoter.view()
        body = parsed(await self._body(receive, self.limits.body), self.limits.depth)
        one = asked(body, view.names)
        self.gate.enter()
        try:
            return Answer(orjson.dumps(await self._alone(one, view, deadline)))
        finally:
            self.gate.leave()

    async def quotes(self, scope: Any, receive: Any) -> Answer:
        """POST /quotes: a page of contexts, their quotes, one graph call."""
        deadline, view = self._deadline(scope), self.quoter.view()
        self.gate.enter_page()
        try:
            raw = await self._body(receive, self.limits.page_body)
            told = await self._page(lambda: parsed(raw, self.limits.depth), self.limits.contexts, view, deadline)
            return Answer(orjson.dumps({"quotes": told}))
        finally:
            self.gate.leave_page()

    async def screen(self, body: Any) -> list[Any]:
        """Return the quotes of the items on a screen, a page of a WebSocket. Raises Problem, RequestError."""
        self.gate.enter_page()
        try:
            return await self._page(lambda: body, self.limits.screen, self.quoter.view(), Deadline(None, self.deadline))
        finally:
            self.gate.leave_page()

    async def _page(self, body: Callable[[], Any], most: int, view: View, deadline: Deadline) -> list[Any]:
        """Return the quotes of a page; `body` reads it, in its turn: the objects of many would push each other out."""
        self.gate.enter()
        try:
            wanted: list[Asked] | None = None
            if self.parts.contexts is not None:
                wanted = page(body(), view.names, most)
                await self._computed(wanted, view, deadline)
            async with self.gate.page_turn():
                wanted = page(body(), view.names, most) if wanted is None else wanted
                if deadline.passed:
                    too_late(wanted)
                made = self.quoter.page(wanted, view)
            with suppress(TimeoutError):  # a disk that hangs; the log has the records, and goes on trying
                async with asyncio.timeout(deadline.for_log):
                    await self._keep(made)
            return made.quotes
        except RequestError as refused:
            raise _of_page(refused) from None
        finally:
            self.gate.leave()

    async def _alone(self, one: Asked, view: View, deadline: Deadline) -> Facts:
        if self.parts.contexts is not None:
            await self._computed([one], view, deadline)
        return await self.rounds.join(one, view, deadline)

    async def _keep(self, made: Page) -> None:
        """Count and log quotes, before they are given out."""
        if len(made.counted) == 1:
            self.cells.quote(*made.counted[0])
        else:  # most of a page are counted alike
            for counted, times in Counter(made.counted).items():
                self.cells.quote(*counted, times)
        if self.parts.log is not None:
            await self.parts.log.quoted(*made.records)

    async def _computed(self, wanted: list[Asked], view: View, deadline: Deadline) -> None:
        """Let the feature state compute the contexts that came as ids; what it cannot in time gets the list price."""
        state = self.parts.contexts
        assert state is not None
        places = []
        for at, one in enumerate(wanted):
            if one.whole:
                continue
            ids = {"shopper": one.shopper, "item": one.item, "session": one.session}
            if all(ids.values()):
                places.append(at)
            elif one.item and view.policy.manifest.listed and one.context.get("list_price") is None:
                missing = next(name for name, value in ids.items() if not value)
                raise RequestError(missing, "is missing: shopper, item and session are needed for a context by ids", at)
        if not places:
            return
        try:
            async with asyncio.timeout(deadline.left):
                await state.fill([wanted[at] for at in places], view, self.quoter.clock())
        except TimeoutError:
            too_late(wanted)
        except RequestError as refused:
            raise RequestError(refused.field, refused.detail, places[refused.row]) from None

    async def curve(self, scope: Any, receive: Any) -> Answer:
        """POST /curve: what stands behind a quote, rung by rung. It is a question, not an offer: nothing is logged."""
        deadline, view = self._deadline(scope), self.quoter.view()
        body = parsed(await self._body(receive, self.limits.body), self.limits.depth)
        one = asked(body, view.names)
        self.gate.enter()
        try:
            if self.parts.contexts is not None:
                await self._computed([one], view, deadline)
            if one.instead is not None:
                raise Problem(503, "the feature state does not answer", headers={"Retry-After": "1"})
            await self.gate.turn()
            return Answer(orjson.dumps(self.quoter.curve(one, view)))
        finally:
            self.gate.leave()

    async def verify(self, scope: Any, receive: Any) -> Answer:
        """POST /quotes/verify: whether a signed quote is to be honoured, and for this shopper and item where named."""
        if self.parts.signer is None:
            raise Problem(404, "this endpoint signs no quotes")
        body = parsed(await self._body(receive, self.limits.body), self.limits.depth)
        found = self.quoter.verified(*recording.token(body))
        told = {"valid": False, "reason": found} if isinstance(found, str) else {"valid": True, "quote": found}
        return Answer(orjson.dumps(told))

    async def outcomes(self, scope: Any, receive: Any) -> Answer:
        """POST /outcomes: purchases by quote id."""
        if self.parts.log is None:
            raise Problem(404, "this endpoint keeps no decision log, so outcomes have nothing to belong to")
        body = parsed(await self._body(receive, self.limits.page_body), self.limits.depth)
        records = recording.outcomes(body, self.limits.contexts, self.quoter.clock())
        if not await self.parts.log.outcome(*records):
            raise Problem(503, "the outcomes could not be kept: send them again", headers={"Retry-After": "1"})
        return Answer(orjson.dumps({"taken": len(records)}))

    async def events(self, scope: Any, receive: Any) -> Answer:
        """POST /events: what shoppers did, for the feature state."""
        if self.parts.contexts is None:
            raise Problem(404, "no feature state is attached, so events have nowhere to go")
        body = parsed(await self._body(receive, self.limits.page_body), self.limits.depth)
        events = recording.events(body, self.limits.contexts)
        told = await self.parts.contexts.events(events, self.quoter.clock())
        return Answer(orjson.dumps({"events": told}))

    async def upgrade(self, scope: Any, receive: Any) -> Answer:
        """GET /ws without asking for a WebSocket."""
        raise Problem(426, "connect with a WebSocket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    def _file(self, path: str) -> Route:
        async def file(scope: Any, receive: Any) -> Answer:
            body, media = pages.FILES[path]
            return Answer(body, media, headers=pages.HEADERS)

        return file

    async def _body(self, receive: Any, most: int) -> bytes:
        return await read(receive, most, None if self.came(receive) else self.limits.body_seconds)

    def _deadline(self, scope: Any) -> Deadline:
        for name, value in scope["headers"]:
            if name == b"x-deadline-ms":
                return Deadline(value, self.deadline)
        return Deadline(None, self.deadline)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        began, path, method = perf_counter(), scope["path"], scope["method"]
        methods = self.routes.get(path)
        try:
            if methods is None:
                raise Problem(404, "there is no such path; GET /docs lists them")
            found = methods.get("GET" if method == "HEAD" else method)
            if found is None:
                allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
                raise Problem(405, f"{path} takes {allowed}", headers={"Allow": allowed})
            if found[1] is not None:
                self.access.check(scope["headers"], found[1])
            answer = await found[0](scope, receive)
        except Problem as problem:
            answer = _problem(problem)
        except RequestError as refused:
            answer = _problem(Problem(422, refused.detail, refused.field))
        except Gone:
            return
        except asyncio.CancelledError:  # the server is in a hurry, and waits for nothing
            answer = _problem(Problem(503, "the endpoint stops", headers={"Retry-After": "1"}))
        except Exception:
            _log.exception("%s %s failed", method, path)
            answer = _problem(Problem(500, "this is a fault of the endpoint; its log has the details"))
        body = answer.body
        headers = [
            (b"content-type", answer.media), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"),
            *answer.headers,
        ]  # fmt: skip
        closing = any(name == b"connection" for name, _ in answer.headers)
        if closing or self.give is None or not self.give(send, answer.status, headers, body):
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        self.cells.request(path if methods is not None else "other", answer.status, perf_counter() - began)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            for start in self.parts.start:
                await start()
            self.note()
        except Exception as error:
            _log.exception("the endpoint does not start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self.started = True
        noting = asyncio.create_task(self._note_always())
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        except asyncio.CancelledError:  # the server is in a hurry, and waits for nothing
            return
        finally:
            noting.cancel()
        for stop in self.parts.stop:
            try:
                await stop()
            except Exception:  # the others still have something to keep
                _log.exception("a part of the endpoint did not stop")
        await send({"type": "lifespan.shutdown.complete"})

    async def _note_always(self) -> None:
        """Keep this worker's gauges fresh for whichever worker is asked for the metrics."""
        while True:
            await asyncio.sleep(1)
            self.note()


def _of_page(refused: RequestError) -> RequestError:
    """Return a refusal that names the field by its place in the page."""
    if refused.row == WHOLE:
        return refused
    where = f"contexts[{refused.row}]"
    return RequestError(f"{where}.{refused.field}" if refused.field else where, refused.detail, refused.row)


def _problem(problem: Problem) -> Answer:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in problem.headers.items())
    return Answer(problem.body, MEDIA, problem.status, headers)


_BUSY = _problem(busy())  # made once: under overload it is what most requests get
