"""WebSockets on uvicorn, as uvicorn speaks them, but for one thing: who does not read is not waited for.

uvicorn holds every message back while a client's buffer is full, the closing one as well, and keeps the connection
until the client is done. Here the closing one is written behind what is not read yet, and the connection is cut soon.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_CUT = 5.0  # seconds that a client has to read why it is dropped


class Bounded(WebSocketsSansIOProtocol):
    """One connection."""

    async def send(self, message: Any) -> None:
        """Send, or close without waiting for a client that does not read."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(_CUT, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # it was refused as it should be; uvicorn would log a fault

    def keepalive_timeout(self) -> None:
        """End a connection that does not answer a ping, whatever it has not read."""
        super().keepalive_timeout()
        self.loop.call_later(_CUT, self.transport.abort)
