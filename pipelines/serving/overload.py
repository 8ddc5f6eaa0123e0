"""Overload: a bounded queue in front of the graph, a fast 503 beyond it, and a deadline for each request."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from pipelines.serving.problems import Problem

_AT_ONCE = 4  # turns in one round of the event loop; between rounds, new arrivals are answered


class Gate:
    """Lets requests price one after the other, first come first served, and holds at most `most` of them.

    Pricing takes the one thread of its worker, so arrivals would pile up unseen where the event loop keeps them. Here
    they take a place, which costs microseconds, before they wait for their turn: whoever finds no place is told to
    come again, at once, and nobody who has one waits longer than `most` requests take.
    """

    def __init__(self, most: int, pages: int) -> None:
        self.most, self.pages = most, pages
        self.inside = 0
        self.pages_inside = 0
        self.refused = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called = False

    def enter(self) -> None:
        """Take a place; Problem 503 where there is none. Whoever entered must leave."""
        if self.inside >= self.most:
            raise self._full()
        self.inside += 1

    def leave(self) -> None:
        """Give the place back."""
        self.inside -= 1

    def enter_page(self) -> None:
        """Take one of the few places of pages, which are held while a large body comes in as well."""
        if self.pages_inside >= self.pages:
            raise self._full()
        self.pages_inside += 1

    def leave_page(self) -> None:
        """Give it back."""
        self.pages_inside -= 1

    async def turn(self) -> None:
        """Wait for one's turn."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._called:
            self._called = True
            loop.call_soon(self._next)
        await mine

    def _next(self) -> None:
        given = 0
        while self._waiting and given < _AT_ONCE:
            first = self._waiting.popleft()
            if not first.done():  # whoever was cancelled while waiting takes no turn
                first.set_result(None)
                given += 1
        self._called = bool(self._waiting)
        if self._called:
            asyncio.get_running_loop().call_soon(self._next)

    def _full(self) -> Problem:
        self.refused += 1
        return Problem(503, "as many requests as can be priced in time are waiting", headers={"Retry-After": "1"})


class Deadline:
    """The instant by which a request wants its price."""

    __slots__ = ("at",)

    def __init__(self, header: bytes | None, default: float) -> None:
        """Read milliseconds from the header, else take `default` seconds. Raises Problem."""
        seconds = default
        if header is not None:
            # digits alone, and few of them: Python would also read "1_0" and signs
            if not (header.isdigit() and len(header) <= 6):
                raise Problem(400, "X-Deadline-Ms is not a whole number from 0 to 999999", "X-Deadline-Ms")
            seconds = int(header) / 1000
        self.at = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is too late to price."""
        return time.monotonic() >= self.at

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.at - time.monotonic())
