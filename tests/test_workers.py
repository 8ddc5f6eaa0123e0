"""Processes: two workers on one port, one that is killed, and what SIGTERM does, all started for real."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from policies import REQUEST, tiny_policy

from pipelines.errors import InputError
from pipelines.serving.workers import address, listener

ROOT = Path(__file__).parent.parent
BODY = json.dumps(REQUEST).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(made)
    return made


@contextmanager
def _started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start an endpoint on a free port and give its process and its port once it is ready; stop it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.serving", "--policy", str(folder), "--port", "0", *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())[0])
        _until(lambda: _get(port, "/ready")[0] == 200)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def _until(done, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if done():
                return
        time.sleep(0.05)
    raise TimeoutError


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def _quote(port: int) -> int:
    """Ask on a connection of its own, so that the kernel deals it to either worker; return the price."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/quote", BODY)
        answer = connection.getresponse()
        assert 200 == answer.status
        return int(json.load(answer)["price_minor"])
    finally:
        connection.close()


def _counted(text: str) -> float:
    return float(re.findall(r'requests_total\{route="/quote",status="200"\} ([\d.]+)', text)[0])


def _workers(text: str) -> int:
    return len(re.findall(r'policy_info\{[^}]*worker="\d"\} 1', text))


def test_two_workers_answer_as_one(folder: Path) -> None:
    """Both quote the same, /metrics sums them, one that is killed is replaced, its counts stay."""
    with _started(folder, "--workers", "2") as (process, port):
        _until(lambda: _workers(_get(port, "/metrics")[1]) == 2)
        assert {2250} == {_quote(port) for _ in range(40)}
        # whichever worker is asked tells what both counted
        assert {40.0} == {_counted(_get(port, "/metrics")[1]) for _ in range(10)}
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert 2 == len(children)
        os.kill(int(children[0]), signal.SIGKILL)
        _until(lambda: not Path(f"/proc/{children[0]}").exists())  # gone, and waited for by its parent
        _until(lambda: _quote(port) == 2250 and _workers(_get(port, "/metrics")[1]) == 2)
        assert _counted(_get(port, "/metrics")[1]) >= 41
        process.terminate()
        assert 0 == process.wait(30)
        with pytest.raises(urllib.error.URLError, match="refused"):
            _get(port, "/live")


def test_workers_do_not_outlive_their_parent(folder: Path) -> None:
    """When the parent is killed, its workers drain and go."""
    with _started(folder, "--workers", "2") as (process, port):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        _until(lambda: not any(_runs(child) for child in children))
        with pytest.raises(urllib.error.URLError, match="refused"):
            _get(port, "/live")


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_in_flight_is_finished(folder: Path) -> None:
    """After SIGTERM /ready is 503 while balancers notice; a request that had begun gets its price; the status is 0."""
    with _started(folder, "--drain-delay", "1") as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST /quote HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
            connection.sendall(head + BODY[:10])
            time.sleep(0.1)
            process.terminate()
            _until(lambda: _get(port, "/ready")[0] == 503)
            time.sleep(1.2)
            assert process.poll() is None
            connection.sendall(BODY[10:])
            answer = connection.makefile("rb").readline()
        assert b"200 OK" in answer
        assert 0 == process.wait(30)


def test_a_request_that_never_ends_does_not_hold_up_the_end(folder: Path) -> None:
    """The time to drain is bounded."""
    with (
        _started(folder, "--drain", "1") as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        connection.sendall(b"POST /quote HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.1)
        process.terminate()
        assert 0 == process.wait(20)


def test_the_watcher_runs_beside_and_comes_back(folder: Path, tmp_path: Path) -> None:
    """What follows the registry is started with the workers, again when it dies, and ends with them."""
    noted = tmp_path / "noted"
    beside = f"import os, time; open({str(noted)!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(600)"
    script = f"""
from pipelines.serving import settings, workers
workers._PATIENCE = 0.2
given = ["--policy", {str(folder)!r}, "--port", "0"]
workers.Keeper(settings.read([*given, "--watch"]), given, ["-c", {beside!r}]).run()
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _until(lambda: noted.is_file() and len(noted.read_text().split()) == 1)
        os.kill(int(noted.read_text()), signal.SIGKILL)
        _until(lambda: len(noted.read_text().split()) == 2)
    finally:
        process.terminate()
    assert 0 == process.wait(30)
    assert not any(_runs(watcher) for watcher in noted.read_text().split())


def test_workers_that_cannot_start_say_why_once(tmp_path: Path) -> None:
    """A missing policy ends the parent with status 1, and so does a port on which somebody listens."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.serving", "--workers", "2", "--policy", str(tmp_path), *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

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
    with pytest.raises(InputError, match="cannot listen on 256"):
        listener("256.1.1.1", 0)
