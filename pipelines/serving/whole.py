"""Answers given whole, in one write, and requests that came whole, where uvicorn's HTTP sends and receives them.

Through ASGI the head of an answer and its body are two messages, and become two packets, each of which wakes the
caller. uvicorn also looks through every header for what must not be in one; those of the endpoint are its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


def came(receive: Any) -> bool:
    """Return whether all of a request's body is here, so that nobody has to look at the clock until it is.

    receive: the ASGI callable, a method of uvicorn's cycle of one request.
    """
    cycle = getattr(receive, "__self__", None)
    return type(cycle) is RequestResponseCycle and not cycle.more_body


def give(send: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Give a whole answer; return False, and do nothing, where that is not as plain as it is nearly always.

    send: the ASGI callable, a method of uvicorn's cycle of one request. headers: with the length of the body.
    """
    cycle = getattr(send, "__self__", None)
    if (
        type(cycle) is not RequestResponseCycle
        or cycle.response_started
        or cycle.disconnected
        or not cycle.keep_alive  # uvicorn says so, and hangs up
        or cycle.flow.write_paused  # the caller does not read what it was sent before
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    cycle.on_response()
    return True
