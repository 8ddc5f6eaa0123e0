"""Processes: two workers on one port, one that is killed, and what SIGTERM does, all started for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from policies import REQUEST
from processes import children, environment, get, post, started, until

from pipelines.errors import InputError
from pipelines.serving.workers import address, listener

BODY = json.dumps(REQUEST).encode()


def _quote(port: int) -> int:
    status, quote = post(port, "/quote", REQUEST)
    assert 200 == status
    return int(quote["price_minor"])


def _counted(text: str) -> float:
    return float(re.findall(r'requests_total\{route="/quote",status="200"\} ([\d.]+)', text)[0])


def _workers(text: str) -> int:
    return len(re.findall(r'policy_info\{[^}]*worker="\d"\} 1', text))


def test_two_workers_answer_as_one(tiny: Path) -> None:
    """Both quote the same, /metrics sums them, one that is killed is replaced, its counts stay."""
    with started(tiny, "--policy", ".", "--unsigned", "--workers", "2") as (process, port):
        until(lambda: _workers(get(port, "/metrics")[1]) == 2)
        assert {2250} == {_quote(port) for _ in range(40)}
        # whichever worker is asked tells what both counted
        assert {40.0} == {_counted(get(port, "/metrics")[1]) for _ in range(10)}
        workers = children(process)
        assert 2 == len(workers)
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: not Path(f"/proc/{workers[0]}").exists())  # gone, and waited for by its parent
        until(lambda: _quote(port) == 2250 and _workers(get(port, "/metrics")[1]) == 2)
        assert _counted(get(port, "/metrics")[1]) >= 41
        process.terminate()
        assert 0 == process.wait(30)
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(port, "/live")


def test_workers_do_not_outlive_their_parent(tiny: Path) -> None:
    """When the parent is killed, its workers drain and go."""
    with started(tiny, "--policy", ".", "--unsigned", "--workers", "2") as (process, port):
        workers = children(process)
        process.kill()
        until(lambda: not any(_runs(worker) for worker in workers))
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(port, "/live")


def _runs(process: int | str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_in_flight_is_finished(tiny: Path) -> None:
    """After SIGTERM /ready is 503 while balancers notice; a request that had begun gets its price; the status is 0."""
    with started(tiny, "--policy", ".", "--unsigned", "--drain-delay", "1") as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST /quote HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
            connection.sendall(head + BODY[:10])
            time.sleep(0.1)
            process.terminate()
            until(lambda: get(port, "/ready")[0] == 503)
            time.sleep(1.2)
            assert process.poll() is None
            connection.sendall(BODY[10:])
            answer = connection.makefile("rb").readline()
        assert b"200 OK" in answer
        assert 0 == process.wait(30)


def test_an_interrupt_reaches_a_worker_twice_and_counts_once(tiny: Path) -> None:
    """Ctrl-C signals all processes of a terminal, and the parent its workers again: what is in flight is finished."""
    with (
        started(tiny, "--policy", ".", "--unsigned", "--workers", "2") as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        head = f"POST /quote HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        connection.sendall(head + BODY[:10])
        time.sleep(0.2)
        for one in (process.pid, *children(process)):
            os.kill(one, signal.SIGINT)
        time.sleep(0.6)
        assert process.poll() is None
        connection.sendall(BODY[10:])
        assert b"200 OK" in connection.makefile("rb").readline()
        assert 0 == process.wait(30)
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()


@contextlib.contextmanager
def half_asked(tiny: Path, drain: str) -> Iterator[subprocess.Popen[str]]:
    """Give an endpoint that was sent a part of a request, and then SIGTERM."""
    with (
        started(tiny, "--policy", ".", "--unsigned", "--drain", drain) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        connection.sendall(b"POST /quote HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        process.terminate()
        yield process


def test_asked_again_it_hurries(tiny: Path) -> None:
    """A second SIGTERM ends a worker that waits for a request, and says nothing about it."""
    with half_asked(tiny, "60") as process:
        time.sleep(1.5)
        assert process.poll() is None
        process.terminate()
        assert 0 == process.wait(20)
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()


def test_a_request_that_never_ends_does_not_hold_up_the_end(tiny: Path) -> None:
    """The time to drain is bounded."""
    with half_asked(tiny, "1") as process:
        assert 0 == process.wait(20)


def test_the_watcher_runs_beside_and_comes_back(tiny: Path, tmp_path: Path) -> None:
    """What follows the registry is started with the workers, again when it dies, and ends with them."""
    noted = tmp_path / "noted"
    beside = f"import os, time; open({str(noted)!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(600)"
    script = f"""
from pipelines.serving import settings, workers
workers._PATIENCE = 0.2
chosen = settings.read(["--port", "0", "--watch"])
workers.Keeper(chosen, ["--policy", {str(tiny)!r}, "--unsigned"], ["-c", {beside!r}]).run()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: noted.is_file() and len(noted.read_text().split()) == 1)
        os.kill(int(noted.read_text()), signal.SIGKILL)
        until(lambda: len(noted.read_text().split()) == 2)
    finally:
        process.terminate()
    assert 0 == process.wait(30)
    assert not any(_runs(watcher) for watcher in noted.read_text().split())


def test_workers_that_cannot_start_say_why_once(tmp_path: Path) -> None:
    """A missing policy ends the parent with status 1, and so does a port on which somebody listens."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.serving", "--workers", "2", "--policy", ".", *options]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )

    done = run("--port", "0")
    assert 1 == done.returncode
    assert "policy.onnx is missing: run `make repro` first" in done.stderr
    assert "Traceback" not in done.stderr
    with listener("127.0.0.1", 0) as taken:
        done = run("--port", str(taken.getsockname()[1]))
    assert (1, True) == (done.returncode, done.stderr.startswith("error: cannot listen on 127.0.0.1"))


def test_addresses() -> None:
    """Addresses of both kinds are told as URLs."""
    assert "http://[::1]:80" == address("::1", 80)
    assert "http://127.0.0.1:80" == address("127.0.0.1", 80)
    with pytest.raises(InputError, match=r"cannot listen on 256.1.1.1:0 \((?!Unknown error)"):
        listener("256.1.1.1", 0)
