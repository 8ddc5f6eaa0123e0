"""WebSocket /ws: events of a session in, re-priced quotes of the items on screen out.

A message is an object: what it says of shopper, session, screen and context holds until another says otherwise, its
`events` are taken, and its answer has the quotes of the screen just after them. Messages of one socket are answered one
after the other; a client that does not read holds up nobody but itself, and not for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from pipelines.serving import happened, recording
from pipelines.serving.asked import LONGEST, named
from pipelines.serving.fields import RequestError
from pipelines.serving.limits import parsed
from pipelines.serving.problems import MEDIA, Problem

if TYPE_CHECKING:
    from pipelines.serving.endpoint import Endpoint

_log = logging.getLogger("pricewright")
PATH = "/ws"
# codes of RFC 6455's registry: service restart, try again later, internal error, and without a word
ENDING, SLOW, FAULT, GONE = 1012, 1013, 1011, 1006
_COUNTED = frozenset((*map(str, range(1000, 1016)), "refused"))
_KEPT = ("shopper", "session", "jurisdiction", "screen", "context")
_JUST_AFTER = 1e-6  # seconds: a context knows what happened before its instant, and not at it
Send = Callable[[Any], Awaitable[None]]


class Sockets:
    """The WebSockets of one worker. origins: those of other sites whose pages may connect, e.g. https://shop.example."""

    def __init__(self, endpoint: Endpoint, origins: tuple[str, ...] = ()) -> None:
        self.endpoint, self.origins = endpoint, frozenset(origins)
        self.open = 0
        self._ending: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Attend to one connection to its end."""
        await receive()
        try:
            may_record = self._admitted(scope)
        except Problem as problem:
            await _refused(problem, scope, send)
            self._count_closed("refused")
            return
        self.open += 1
        self._show()
        code = FAULT
        try:
            await send({"type": "websocket.accept"})
            code = await self._attend(may_record, receive, send)
        except OSError:  # what a server raises where a client went while something was sent to it
            code = GONE
        except Exception:
            _log.exception("a WebSocket failed")
            await self._close(send, code)
        finally:
            self.open -= 1
            self._show()
            self._count_closed(str(code))

    def end(self) -> None:
        """Close all of them with 1012, each once what it was asked is answered; new ones are refused."""
        self._event().set()

    async def _attend(self, may_record: bool, receive: Any, send: Send) -> int:
        """Answer message by message, and return the code that it ended with."""
        kept: dict[str, Any] = {}
        ending = asyncio.ensure_future(self._event().wait())
        try:
            while True:
                next_ = asyncio.ensure_future(receive())
                await asyncio.wait({next_, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not next_.done():
                    next_.cancel()
                    break
                message = next_.result()
                if message["type"] == "websocket.disconnect":
                    return int(message.get("code") or 1005)
                answer = await self._answer(message, kept, may_record)
                try:
                    async with asyncio.timeout(self.endpoint.limits.slow):
                        await send({"type": "websocket.send", "text": answer.decode()})
                except TimeoutError:
                    await self._close(send, SLOW)
                    return SLOW
                if ending.done():
                    break
            await self._close(send, ENDING)
            return ENDING
        finally:
            ending.cancel()

    async def _answer(self, message: Any, kept: dict[str, Any], may_record: bool) -> bytes:
        began, endpoint = perf_counter(), self.endpoint
        name, status = None, 200
        told: dict[str, Any]
        try:
            text = message.get("text")
            if text is None:
                raise Problem(400, "a message is JSON as text, not bytes")
            if len(text) > endpoint.limits.message:
                raise Problem(413, f"the message is longer than {endpoint.limits.message} characters")
            body = parsed(text.encode(), endpoint.limits.depth)
            if not isinstance(body, dict):
                raise RequestError(None, f"a message is an object of named fields, not {named(body)}")
            name = _name(body)
            told = await self._told(body, kept, may_record)
        except (Problem, RequestError) as error:
            problem = error if isinstance(error, Problem) else Problem(422, error.detail, error.field)
            told, status = {"problem": orjson.Fragment(problem.body)}, problem.status
        except Exception:
            _log.exception("a message of a WebSocket failed")
            problem, status = Problem(500, "this is a fault of the endpoint; its log has the details"), 500
            told = {"problem": orjson.Fragment(problem.body)}
        endpoint.cells.request(PATH, status, perf_counter() - began)
        return orjson.dumps({"id": name, **told})

    async def _told(self, body: dict[str, Any], kept: dict[str, Any], may_record: bool) -> dict[str, Any]:
        """Take what a message says, and return the answer: `events`, one word each, and `quotes`."""
        fresh = {**kept, **{key: body[key] for key in _KEPT if key in body}}
        page = self._page(fresh, body.get("at"))
        told: dict[str, Any] = {}
        if body.get("events") is not None:
            told["events"], latest = await self._events(body, fresh, may_record)
            if page is not None and page.get("at") is None and latest > self.endpoint.quoter.clock():
                page["at"] = latest
        told["quotes"] = [] if page is None else await self.endpoint.screen(page)
        kept.update(fresh)  # what was refused is not remembered
        return told

    async def _events(self, body: Any, fresh: dict[str, Any], may_record: bool) -> tuple[list[str], float]:
        """Take the events; return what became of each, and the instant just after the latest that was taken."""
        endpoint, state = self.endpoint, self.endpoint.parts.contexts
        if state is None:
            raise Problem(404, "no feature state is attached, so events have nowhere to go")
        if not may_record:
            raise Problem(403, "this key lacks the scope outcomes, which events need")
        own = {"shopper_id": fresh.get("shopper"), "session_id": fresh.get("session")}
        own = {name: value for name, value in own.items() if value is not None}
        events = [{**own, **one} for one in recording.events(body, endpoint.limits.screen)]
        answers = await state.events(events, endpoint.quoter.clock())
        taken = [e["time"] for e, answer in zip(events, answers, strict=True) if answer == "taken"]
        return answers, max((happened.instant(t, "time") / 1e6 + _JUST_AFTER for t in taken), default=0.0)

    def _page(self, fresh: dict[str, Any], at: Any) -> dict[str, Any] | None:
        """Return the screen as POST /quotes takes a page; None where nothing is shown."""
        screen, context = fresh.get("screen") or [], fresh.get("context") or {}
        if not isinstance(screen, list) or len(screen) > self.endpoint.limits.screen:
            what = f"holds {len(screen)}" if isinstance(screen, list) else f"is {named(screen)}"
            raise RequestError("screen", f"{what}; expected an array of up to {self.endpoint.limits.screen} items")
        if not isinstance(context, dict):
            raise RequestError("context", f"is {named(context)}; expected an object of named fields")
        if not screen:
            return None
        items = [{"item": one} if isinstance(one, str) else one for one in screen]
        shared: dict[str, Any] = {key: fresh[key] for key in ("shopper", "session", "jurisdiction") if key in fresh}
        contexts = [{**context, **one} if isinstance(one, dict) else one for one in items]
        return {**shared, "contexts": contexts, **({} if at is None else {"at": at})}

    def _admitted(self, scope: Any) -> bool:
        """Return whether who connects may also record events. Raises Problem where they may not connect."""
        if scope["path"] != PATH:
            raise Problem(404, f"there is no such path for WebSockets; {PATH} is")
        access, headers = self.endpoint.access, scope["headers"]
        access.check(headers, "quote")
        sent = dict(headers)
        origin, host = sent.get(b"origin", b"").decode("latin-1"), sent.get(b"host", b"").decode("latin-1")
        # a page of any site may open sockets to this machine, and would read prices as its visitor
        if origin and origin not in self.origins and _site(origin) != host:
            raise Problem(403, "pages of this origin may not connect: name it with --origins")
        if self.endpoint.draining or self._event().is_set():
            raise Problem(503, "this worker is about to stop", headers={"Retry-After": "1"})
        if self.open >= self.endpoint.limits.sockets:
            raise Problem(503, "as many WebSockets as this worker attends to are open", headers={"Retry-After": "5"})
        try:
            access.check(headers, "outcomes")
        except Problem:
            return False
        return True

    async def _close(self, send: Send, code: int) -> None:
        try:
            async with asyncio.timeout(self.endpoint.limits.slow):
                await send({"type": "websocket.close", "code": code, "reason": _REASONS[code]})
        except Exception as error:  # it is gone, or does not even read that
            _log.debug("a WebSocket was gone before it was closed: %r", error)

    def _show(self) -> None:
        self.endpoint.cells.set(self.endpoint.cells.place("sockets_open"), self.open)

    def _count_closed(self, code: str) -> None:
        # a client may send any code from 3000 to 4999, and each series takes a place
        known = code if code in _COUNTED else "other"
        self.endpoint.cells.add(self.endpoint.cells.place("sockets_closed_total", code=known))

    def _event(self) -> asyncio.Event:
        if self._ending is None:
            self._ending = asyncio.Event()
        return self._ending


_REASONS = {ENDING: "the endpoint stops; connect again", SLOW: "messages were not read in time", FAULT: "a fault"}


async def _refused(problem: Problem, scope: Any, send: Send) -> None:
    """Answer the handshake as HTTP would be answered, where the server can."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", MEDIA), *((k.lower().encode(), v.encode()) for k, v in problem.headers.items())]
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": problem.body})


def _site(origin: str) -> str | None:
    """Return the host and port of an Origin header; None of what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _name(body: dict[str, Any]) -> str | int | None:
    """Return what a message is called, for its answer."""
    name = body.get("id")
    if name is None or (isinstance(name, int) and not isinstance(name, bool)):
        return name
    if not isinstance(name, str) or len(name) > LONGEST:
        raise RequestError("id", f"is {named(name)}; expected a short text or a whole number")
    return name
