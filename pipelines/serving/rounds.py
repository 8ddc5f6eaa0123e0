"""Requests that wait at the same moment are priced together: one graph call, and one group of the log.

Nobody waits for company: a round is what came in while the one before it was priced, and logged if that is soon, and a
request that finds nobody there is priced at once. Each still stands alone: what is wrong with one is found before it
joins, each has a deadline and a signature of its own, and where a round fails, everyone in it is priced by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.serving.quotes import too_late
from pipelines.serving.quoting import Page

if TYPE_CHECKING:
    from pipelines.serving.asked import Asked
    from pipelines.serving.overload import Deadline
    from pipelines.serving.parts import Facts
    from pipelines.serving.quoting import Quoter
    from pipelines.serving.views import View

# Turns of the event loop between two rounds, some microseconds each: answers are written and callers who ask again at
# once are heard, so that they are all in the next round and not in many small ones.
_TURNS = 4
_LONGEST = 0.002  # seconds that the next round waits for the log of the one before: a disk that hangs holds up its own


@dataclass(slots=True)
class _Waiting:
    """One who waits. row: the context as it is fed."""

    one: Asked
    row: list[Any]
    view: View
    deadline: Deadline
    quote: asyncio.Future[Facts]


class Rounds:
    """The rounds of one worker. keep: logs and counts quotes, which are given out once it is done."""

    def __init__(self, quoter: Quoter, keep: Callable[[Page], Awaitable[None]]) -> None:
        self.quoter, self.keep = quoter, keep
        self._waiting: list[_Waiting] = []
        self._now = 0.0  # the instant of the next round
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._given = set[asyncio.Task[None]]()

    def join(self, one: Asked, view: View, deadline: Deadline) -> asyncio.Future[Facts]:
        """Take a place in the next round; what is returned is its quote. Raises RequestError."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # nothing of a loop that is over goes on
            self._loop, self._task, self._waiting = loop, None, []
        if not self._waiting:
            self._now = self.quoter.clock()
        quote: asyncio.Future[Facts] = loop.create_future()
        self._waiting.append(_Waiting(one, self.quoter.row(one, view, self._now), view, deadline, quote))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._rounds())  # it begins once all that came in meanwhile were heard
            self._task.add_done_callback(self._ended)
        return quote

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for rounds that were cut off; where they just ended nobody does, or others have begun."""
        if task is self._task:
            waiting, self._waiting = self._waiting, []
            _left(waiting)

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            given = loop.create_task(self._round(waiting, self._now))
            self._given.add(given)
            given.add_done_callback(self._given.discard)
            await asyncio.wait((given,), timeout=_LONGEST)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    async def _round(self, waiting: Sequence[_Waiting], now: float) -> None:
        try:
            left = waiting
            while left:  # of several policies while one takes the place of another
                view = left[0].view
                await self._price([w for w in left if w.view is view], view, now)
                left = [w for w in left if w.view is not view]
        finally:
            _left(waiting)

    async def _price(self, waiting: Sequence[_Waiting], view: View, now: float) -> None:
        too_late(w.one for w in waiting if w.deadline.passed)
        try:
            pages = [(waiting, self._priced(waiting, view, now))]
        except Exception:
            pages = [((w,), page) for w in waiting if (page := self._alone(w, view, now)) is not None]
        if not pages:
            return
        priced = [w for some, _ in pages for w in some]
        made, timers = _joined([page for _, page in pages]), list[asyncio.TimerHandle]()
        told, loop = [*zip(priced, made.quotes, strict=True)], asyncio.get_running_loop()
        try:
            # a log that hangs is waited for, but nobody beyond a deadline of their own
            timers = [loop.call_later(w.deadline.for_log, _give, w, quote) for w, quote in told if w.deadline.own]
            await self.keep(made)
        except Exception as error:
            for w in priced:
                if not w.quote.done():
                    w.quote.set_exception(error)
            return
        finally:
            for timer in timers:
                timer.cancel()
        for w, quote in told:
            _give(w, quote)

    def _priced(self, waiting: Sequence[_Waiting], view: View, now: float) -> Page:
        return self.quoter.together([w.one for w in waiting], [w.row for w in waiting], view, now)

    def _alone(self, w: _Waiting, view: View, now: float) -> Page | None:
        """Return the page of one who waits, or None where it fails, and who waits is told so."""
        try:
            return self._priced((w,), view, now)
        except Exception as error:
            if not w.quote.done():
                w.quote.set_exception(error)
            return None


def _give(w: _Waiting, quote: Facts) -> None:
    if not w.quote.done():  # its caller may be gone
        w.quote.set_result(quote)


def _joined(pages: Sequence[Page]) -> Page:
    """Return pages as one, so that they are one group of the log."""
    if len(pages) == 1:
        return pages[0]
    return Page(*([one for page in pages for one in getattr(page, name)] for name in ("quotes", "records", "counted")))


def _left(waiting: Sequence[_Waiting]) -> None:
    """Let nobody wait for a round that is cut off."""
    for w in waiting:
        w.quote.cancel()
