"""Answers in one write, from an endpoint that was started for real, over a socket."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from live import asking, endpoint
from policies import REQUEST
from processes import started
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from pipelines.serving.limits import Limits
from pipelines.serving.runtime import Policy
from pipelines.serving.settings import Settings
from pipelines.serving.whole import give
from pipelines.serving.workers import serve

BODY = json.dumps(REQUEST).encode()


@pytest.fixture(scope="module")
def port(tiny: Path) -> Iterator[int]:
    with started(tiny, "--policy", ".", "--unsigned") as (_, port):
        yield port


def _request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: shop", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answer(connection: socket.socket, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next answer."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536) or pytest.fail("the server hung up")
    head, body = text.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), "each comes once"
    while not head_only and len(body) < int(headers["content-length"]):
        body += connection.recv(65536) or pytest.fail("the server hung up")
    return int(first.split()[1]), headers, body


def test_answers_follow_each_other_on_a_connection(port: int, tiny: Path) -> None:
    """What comes over the wire has the headers that it has through ASGI, the date beside them, and nothing is left."""
    plain = asking(endpoint(Policy.load(tiny)))("POST", "/quote", json=REQUEST)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        for _ in range(3):
            connection.sendall(_request("POST", "/quote", BODY))
            status, headers, body = _answer(connection)
            assert (200, {*plain.headers, "date"}) == (status, set(headers))
            assert (plain.json()["price"], len(body)) == (json.loads(body)["price"], int(headers["content-length"]))
        connection.sendall(_request("POST", "/quote", b"{"))
        status, headers, body = _answer(connection)
        assert (400, "application/problem+json") == (status, headers["content-type"])
        connection.sendall(_request("HEAD", "/live"))
        status, headers, body = _answer(connection, head_only=True)
        assert (200, b"") == (status, body)
        connection.sendall(_request("POST", "/quote", BODY) * 3)  # all before the first is answered
        assert [200] * 3 == [_each(connection) for _ in range(3)]


def _each(connection: socket.socket) -> int:
    """Return the status of the next answer, byte for byte, since another may follow in the same packet."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        text += connection.recv(1)
    size = int(text.split(b"content-length: ")[1].split(b"\r\n")[0])
    while size:
        size -= len(connection.recv(size))
    return int(text.split()[1])


def test_a_connection_ends_where_it_must(port: int) -> None:
    """Where the caller asks for it, in HTTP/1.0, and after a body that was too large to read: said, and done."""
    for request, expected in (
        (_request("POST", "/quote", BODY, "Connection: close"), 200),
        (_request("POST", "/quote", BODY).replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
        (_request("POST", "/quote", b" " * (Limits().body + 1)), 413),
    ):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(20)
            connection.sendall(request)
            status, headers, _ = _answer(connection)
            assert (expected, "close") == (status, headers["connection"].lower())
            assert b"" == connection.recv(1)


def test_another_server_gets_the_messages_of_asgi() -> None:
    """What is no method of uvicorn's cycle is left to who asked."""

    async def send(message: object) -> None:
        raise AssertionError(message)

    assert not give(send, 200, [], b"")


def test_a_whole_answer_is_one_write() -> None:
    """Head and body go out together, and uvicorn's cycle is over."""
    transport, done = Mock(), Mock()
    flow = Mock(write_paused=False)
    scope: Any = {"method": "POST"}
    cycle = RequestResponseCycle(
        scope, transport, flow, Mock(), Mock(), access_log=False, default_headers=[], message_event=asyncio.Event(),
        expect_100_continue=False, keep_alive=True, on_response=done,
    )  # fmt: skip
    assert give(cycle.send, 200, [(b"content-length", b"2")], b"ok")
    transport.write.assert_called_once_with(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert cycle.response_complete
    done.assert_called_once_with()


def test_the_server_gives_answers_whole(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is served over uvicorn has the way to write at once."""
    application = endpoint(Policy.load(tiny))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: setattr(self, "started", True))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    before = gc.get_threshold()
    try:
        with socket.socket() as port:
            serve(application, port, Settings())
    finally:
        gc.set_threshold(*before)
    assert application.give is give
