"""Limits of a request: how large, how deep, how long, how slow; nothing larger is ever held or walked through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from pipelines.serving.problems import Problem

_NESTED = frozenset((dict, list))
Receive = Callable[[], Awaitable[Any]]


class Gone(Exception):  # noqa: N818  # it is no error
    """The caller hung up before its request was whole: there is nobody to answer."""


@dataclass(frozen=True)
class Limits:
    """What a request may be.

    body, page_body: bytes of a single request and of a page. depth: levels of arrays and objects. contexts: of a page.
    body_seconds: how long a body may take to come. sockets: WebSockets of a worker. message: bytes of one of their
    messages. screen: items that one shows at once. slow: seconds that a client may leave a message unread.
    """

    body: int = 64 * 1024
    page_body: int = 2 * 1024 * 1024
    depth: int = 8
    contexts: int = 1000
    body_seconds: float = 10.0
    sockets: int = 1000
    message: int = 256 * 1024
    screen: int = 200
    slow: float = 5.0


async def read(receive: Receive, most: int, seconds: float | None) -> bytes:
    """Return the body, at most `most` bytes and `seconds` long (None: it is here). Raises Problem or Gone."""
    if seconds is None:
        return await _read(receive, most)
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, most)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {seconds:g} s", headers={"Connection": "close"}) from None


async def _read(receive: Receive, most: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > most:
            raise _too_large(most)
        return body
    parts = bytearray(body)
    while message.get("more_body", False) and len(parts) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts += message.get("body", b"")
    if len(parts) > most:
        raise _too_large(most)
    return bytes(parts)


def parsed(body: bytes, depth: int) -> Any:
    """Return what JSON says, nested at most `depth` levels. Raises Problem."""
    try:
        value = orjson.loads(body)  # it gives up on its own far before the stack ends
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    # no deeper than there are brackets: true of nearly every single request, and found without looking into it
    if body.count(b"{") + body.count(b"[") > depth and _deeper(value, depth):
        raise Problem(400, f"the body is nested deeper than {depth} levels")
    return value


def _deeper(value: Any, depth: int) -> bool:
    nested = [value]
    for _ in range(depth):
        inner: list[Any] = []
        for one in nested:
            kind = type(one)
            if kind is not dict and kind is not list:
                return False  # only the whole value can be neither
            values = one.values() if kind is dict else one
            if not _NESTED.isdisjoint(map(type, values)):
                inner += [v for v in values if type(v) in _NESTED]
        nested = inner
        if not nested:
            return False
    return True


def _too_large(most: int) -> Problem:
    # what is still to come of the body is not read, so the connection cannot go on
    return Problem(413, f"the body is larger than {most} bytes", headers={"Connection": "close"})
