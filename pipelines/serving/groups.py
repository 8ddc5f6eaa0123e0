"""A group of records that are written together, and whoever waits for them: coroutines, or threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any, Self


class Group:
    """The records handed over while the ones before were written. `await group` gives True once they are acknowledged,
    False if they were lost, or if nothing was heard of them for `patience` seconds.

    A finished group costs nothing to wait for. Waiting, and cancelling it, leaves the others alone.
    """

    __slots__ = ("_event", "_timer", "_waiting", "done", "given_up", "kept", "patience", "rows")

    def __init__(self, patience: float) -> None:
        self.rows: list[bytes] = []
        self.patience = patience
        self.done = self.kept = self.given_up = False
        self._waiting: list[asyncio.Future[bool]] = []
        self._event: threading.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def over(cls, kept: bool) -> Self:
        """Return a group that is finished: there was nothing to keep, or its records were not taken."""
        group = cls(1.0)
        group.done, group.kept = True, kept
        return group

    def __await__(self) -> Generator[Any, None, bool]:
        if self.done or self.given_up:
            return self.done and self.kept
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(future)
        if self._timer is None:
            self._timer = loop.call_later(self.patience, self._give_up)
        if self._finished():  # meanwhile, in the writer's thread, which may not have seen this one
            self._tell(self.kept)
        return (yield from future)

    def wait(self, timeout: float | None = None) -> bool:
        """Return what awaiting gives, to a thread; timeout: seconds, else `patience`."""
        self._event = self._event or threading.Event()
        if not self.done:
            self._event.wait(self.patience if timeout is None else timeout)
        return self.done and self.kept

    def finish(self, kept: bool) -> None:
        """Tell all who wait; called once, by the writer's thread."""
        self.kept = kept
        self.done = True  # before looking who waits: whoever comes later sees it
        if self._event is not None:
            self._event.set()
        for loop in {future.get_loop() for future in self._waiting}:
            try:
                loop.call_soon_threadsafe(self._tell, kept)
            except RuntimeError:  # the loop was closed: nobody waits any more
                continue

    def _finished(self) -> bool:
        return self.done

    def _give_up(self) -> None:
        if not self.done:
            self.given_up = True
            self._tell(False)

    def _tell(self, kept: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for future in self._waiting:
            if not future.done():
                future.set_result(kept)
