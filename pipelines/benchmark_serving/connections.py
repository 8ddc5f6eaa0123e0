"""HTTP/1.1 connections of a client that should cost little: requests are bytes made before, answers a status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

LENGTH = b"content-length: "


def request(path: str, body: bytes = b"", method: str = "POST") -> bytes:
    """Return a request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One connection with at most one request on it. answered(status, at, connection): 0 where it broke.

    `at` is whatever `send` was given to tell requests apart.
    """

    def __init__(self, answered: Callable[[int, int, Connection], None] | None = None) -> None:
        self.answered = answered
        self.open = False
        self._at: int | None = None
        self._came = b""
        self._waiting: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that it is open."""
        self._transport, self.open = cast(asyncio.Transport, transport), True  # uvloop's is of no common class

    def send(self, content: bytes, at: int = 0) -> None:
        """Send a request; its answer is told to `answered`."""
        self._at = at
        self._transport.write(content)

    async def ask(self, content: bytes) -> int:
        """Send a request and return the status of its answer, 0 where there was none."""
        if not self.open:
            return 0
        self._waiting = asyncio.get_running_loop().create_future()
        self.send(content)
        return await self._waiting

    def data_received(self, data: bytes) -> None:
        """Tell an answer once it is whole; servers under test say how long it is, or send it in chunks."""
        came = self._came + data if self._came else data
        head = came.find(b"\r\n\r\n")
        if head < 0 or not _whole(came, head):
            self._came = came
            return
        self._came = b""
        self._tell(int(came[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        """Tell that the answer will not come."""
        self.open = False
        self._tell(0)

    def close(self) -> None:
        """Hang up."""
        if self.open:
            self._transport.close()

    def _tell(self, status: int) -> None:
        at, self._at = self._at, None
        if at is None:
            return
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(status)
        elif self.answered is not None:
            self.answered(status, at, self)


async def connected(
    port: int, count: int, answered: Callable[[int, int, Connection], None] | None = None
) -> list[Connection]:
    """Return so many open connections to a port of this machine."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        _transport, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
        found.append(connection)
    return found


def _whole(came: bytes, head: int) -> bool:
    low = came[:head].lower()
    at = low.find(LENGTH)
    if at < 0:
        return came.endswith(b"0\r\n\r\n") if b"chunked" in low else True
    return len(came) >= head + 4 + int(low[at + len(LENGTH) :].split(b"\r\n", 1)[0])
