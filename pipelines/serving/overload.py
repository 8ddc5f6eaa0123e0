"""Overload: a bounded queue in front of the graph, a fast 503 beyond it, and a deadline for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

from pipelines.serving.problems import Problem

_MOMENT = 0.05  # seconds; a log that is well takes less than one of them in a hundred


class Gate:
    """Lets requests in that are to be priced, and holds at most `most` of them.

    Pricing takes the one thread of its worker, so arrivals would pile up unseen where the event loop keeps them. Here
    they take a place, which costs microseconds, before they wait for a graph: whoever finds no place is told to come
    again, at once, and nobody who has one waits longer than `most` requests take. `pages` of them may be pages, of
    which one is priced between two turns of the loop.
    """

    def __init__(self, most: int, pages: int) -> None:
        self.most, self.pages = most, pages
        self.inside = self.pages_inside = self.refused = 0
        self._page = asyncio.Lock()

    def refuses(self) -> bool:
        """Return whether there is no place; that counts as a refusal."""
        if self.inside < self.most:
            return False
        self.refused += 1
        return True

    def enter(self) -> None:
        """Take a place; Problem 503 where there is none. Whoever entered must leave."""
        if self.refuses():
            raise busy()
        self.inside += 1

    def leave(self) -> None:
        """Give the place back."""
        self.inside -= 1

    def enter_page(self) -> None:
        """Take one of the few places of pages, which are held while a large body comes in as well."""
        if self.pages_inside >= self.pages:
            self.refused += 1
            raise busy()
        self.pages_inside += 1

    def leave_page(self) -> None:
        """Give it back."""
        self.pages_inside -= 1

    async def turn(self) -> None:
        """Let the loop turn once, so that those who are to be refused are told so."""
        await _NEXT_TURN

    @asynccontextmanager
    async def page_turn(self) -> AsyncIterator[None]:
        """Wait for a page's turn, and let no other page have one until this one is done."""
        async with self._page:
            await _NEXT_TURN
            yield


def busy() -> Problem:
    """Return what whoever finds no place is told."""
    return Problem(503, "as many requests as can be priced in time are waiting", headers={"Retry-After": "1"})


class _Turn:
    """The event loop's next turn, to be awaited: cheaper than a future, of which nobody would tell anything."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_NEXT_TURN = _Turn()


class Deadline:
    """The instant by which a request wants its price. own: whether the request itself has named it."""

    __slots__ = ("at", "own")

    def __init__(self, header: bytes | None, default: float) -> None:
        """Read milliseconds from the header, else take `default` seconds. Raises Problem."""
        seconds = default
        if header is not None:
            # digits alone, and few of them: Python would also read "1_0" and signs
            if not (header.isdigit() and len(header) <= 6):
                raise Problem(400, "X-Deadline-Ms is not a whole number from 0 to 999999", "X-Deadline-Ms")
            seconds = int(header) / 1000
        self.at, self.own = time.monotonic() + seconds, header is not None

    @property
    def passed(self) -> bool:
        """Whether it is too late to price."""
        return time.monotonic() >= self.at

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.at - time.monotonic())

    @property
    def for_log(self) -> float:
        """Seconds that a log may take with a quote that is made: what is left, and a moment where that is nothing."""
        return max(_MOMENT, self.left)
