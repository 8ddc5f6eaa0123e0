"""Bytes of all kinds, sent to an endpoint: as bodies of its paths, as headers, and in place of HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Saw = Callable[[str, str, Any, int, bytes], None]
PATHS = ("/quote", "/quotes", "/quotes/verify", "/curve", "/outcomes", "/events", "/live", "/policy", "/", "/no/such")
_FIELDS = ("context", "contexts", "list_price", "unit_cost", "shopper", "item", "session", "quote", "quotes", "at", "u")
_PATIENCE = 10.0  # seconds for an answer
_SHORT = 0.05  # seconds to wait for an answer to what is no request: mostly there is none
_PARTS = 3  # of the requests, those that are no HTTP: one in so many


def sent(port: int, saw: Saw, requests: int) -> None:
    """Send so many requests and tell what came of each; status 0: no answer."""
    raw = requests // _PARTS

    @_drawn(requests - raw)
    @given(
        method=st.sampled_from(["POST"] * 6 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"]),
        path=st.sampled_from(PATHS), body=_bodies(), headers=_headers(),
    )  # fmt: skip
    def http(method: str, path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        saw("bytes", path, None, *_answer(port, head + lines + b"\r\n" + body, _PATIENCE))

    @_drawn(raw)
    @given(content=st.binary(max_size=300) | _heads())
    def wire(content: bytes) -> None:
        saw("no HTTP", "", None, *_answer(port, content, _SHORT))

    http()
    wire()


def _drawn(examples: int) -> settings:
    return settings(
        max_examples=max(1, examples), deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def _bodies() -> st.SearchStrategy[bytes]:
    """Return bytes, and JSON of the fields' names with whatever values, whole or cut off."""
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    value = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=5),
        max_leaves=20,
    )
    made = value.map(lambda v: json.dumps(v).encode())  # NaN and Infinity as well, which are no JSON
    deep = st.integers(1, 30_000).map(lambda n: b"[" * n)
    cut = st.tuples(made, st.integers(0, 40)).map(lambda pair: pair[0][: -pair[1] or None])
    return st.binary(max_size=400) | made | cut | deep


def _headers() -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    names = st.sampled_from([b"X-Deadline-Ms", b"Authorization", b"X-Api-Key", b"Content-Type", b"Accept", b"Expect"])
    values = st.binary(max_size=20).map(lambda v: v.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b""))
    return st.lists(st.tuples(names, values), max_size=3)


def _heads() -> st.SearchStrategy[bytes]:
    """Return heads of requests with something wrong in them."""
    return st.builds(
        lambda path, length, rest: b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + rest,
        st.binary(max_size=30),
        st.sampled_from(
            [b"Content-Length: -1", b"Content-Length: 99999999999999", b"Transfer-Encoding: chunked", b"\0"]
        ),
        st.binary(max_size=60),
    )


def _answer(port: int, content: bytes, seconds: float) -> tuple[int, bytes]:
    """Return status and body, (0, b"") where there was no answer in time."""
    came = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.settimeout(seconds)
        with suppress(OSError):  # it may hang up before it has read everything
            connection.sendall(content)
        while part := connection.recv(65_536):
            came += part
    head, _, body = came.partition(b"\r\n\r\n")
    return (int(head[9:12]), body) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else (0, b"")
