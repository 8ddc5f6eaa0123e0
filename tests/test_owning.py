"""The owner as a process: two workers on one state, what kill -9 costs, slow clients, and the end; all for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attached import HERE, event, folder
from policies import REQUEST
from processes import children, environment, get, post, started, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pipelines.behaviour import exported
from pipelines.files import write_json

POLICY = ("--policy", ".", "--unsigned")


@pytest.fixture
def served(tiny: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Two workers and an owner; its clock is the real one."""
    live = str(folder(tmp_path / "live"))
    with started(tiny, *POLICY, "--workers", "2", "--features", live) as (process, port):
        yield process, port


def _view(name: str, **columns: Any) -> dict[str, Any]:
    return {**event(name, **columns), "time": time.time() - 1}


def _probabilities(port: int) -> set[float | None]:
    """Ask on connections of their own, so that the kernel deals them to both workers."""
    return {post(port, "/quote", {**HERE, "item": "tea"})[1]["purchase_probability"] for _ in range(12)}


def _owner(process: subprocess.Popen[str]) -> int:
    """Return the process that owns the state, 0 while there is none."""
    found = [pid for pid in children(process) if b"serving.owning" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found[0] if found else 0


def test_two_workers_share_one_state_that_survives_its_owner(served: tuple[subprocess.Popen[str], int]) -> None:
    """What either was told both know; killed, the owner costs list prices for a moment and no acknowledged event."""
    process, port = served
    until(lambda: post(port, "/events", {"events": [_view("a", dwell_seconds=500.0)]})[0] == 200)
    (known,) = _probabilities(port)
    assert known is not None
    pid = _owner(process)
    os.kill(pid, signal.SIGKILL)
    status, quote = post(port, "/quote", {**HERE, "item": "tea"})
    assert (200, "24.99") == (status, quote["list_price"])
    assert quote["fallback"] in ("no_context", None)  # None: another was there already
    until(lambda: _owner(process) not in (0, pid) and _probabilities(port) == {known})
    assert ["duplicate"] == post(port, "/events", {"events": [_view("a")]})[1]["events"]
    assert 200 == get(port, "/ready")[0]


def _open(port: int, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/ws", **options)


def test_a_socket_lives_through_events_and_ends_with_1012(served: tuple[subprocess.Popen[str], int]) -> None:
    """Quotes follow events; at SIGTERM every socket is closed with 1012, and the endpoint ends with status 0."""
    process, port = served
    with _open(port) as ours, _open(port) as idle:
        ours.send(json.dumps({**HERE, "screen": ["tea", "lamp"]}))
        first = json.loads(ours.recv(10))
        assert 2 == len(first["quotes"])
        until(lambda: post(port, "/events", {"events": [_view("warm")]})[0] == 200)
        ours.send(json.dumps({"events": [_view("b", dwell_seconds=500.0)]}))
        second = json.loads(ours.recv(10))
        assert ["taken"] == second["events"]
        assert first["quotes"][0]["purchase_probability"] != second["quotes"][0]["purchase_probability"]
        other = _open(port)
        other.send("x" * 300_000)
        with pytest.raises(ConnectionClosed) as too_large:
            other.recv(10)
        assert 1009 == too_large.value.rcvd.code
        process.send_signal(signal.SIGTERM)
        for client in (ours, idle):
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(10)
            assert 1012 == closed.value.rcvd.code
    assert 0 == process.wait(20)


def test_who_does_not_read_is_cut_off_and_nobody_else(tiny: Path) -> None:
    """A client with a full buffer finds 1013 behind what it left unread; the other is answered meanwhile."""
    with started(tiny, *POLICY, "--quote-key", "none", "--log", "none") as (_, port):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        with _open(port, sock=slow, max_queue=1) as client, _open(port) as quick:
            client.send(json.dumps({"screen": [REQUEST] * 200}))
            for _ in range(60):  # answers of 140 KB each, of which none is read
                client.send("{}")
            until(lambda: 'sockets_closed_total{code="1013"} 1.0' in get(port, "/metrics")[1])
            quick.send(json.dumps({"screen": [REQUEST]}))
            assert 1 == len(json.loads(quick.recv(10))["quotes"])
            assert 1013 == _last_code(client)


def _last_code(client: ClientConnection) -> int | None:
    """Read to the end, and return the code that it ends with."""
    try:
        while True:
            client.recv(10)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def test_a_state_of_other_definitions_stops_the_start(tiny: Path, tmp_path: Path) -> None:
    """With one worker and with two the message names the file, and the status is 1."""
    live = folder(tmp_path / "live")
    write_json(live / exported.DEFINITIONS, {"currency": "EUR"})
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "pipelines.serving", *POLICY, "--features", str(live), "--workers", workers]
        ended = subprocess.run(
            [*command, "--port", "0"],
            cwd=tiny, env=environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert 1 == ended.returncode
        assert "live.json holds no definitions" in ended.stderr
