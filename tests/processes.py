"""Endpoints of tests as processes of their own, started as a user would, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def environment() -> dict[str, str]:
    """Return that of a process whose current folder is elsewhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start an endpoint in `folder`, on a free port; give its process and port once it is ready, and stop it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.serving", "--port", "0", *options],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.findall(r"http://127\.0\.0\.1:(\d+)", line):
                port = int(found[0])
                break
        else:
            raise AssertionError(said)
        until(lambda: get(port, "/ready")[0] == 200)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the workers of an endpoint."""
    return [int(n) for n in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def until(done: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so; TimeoutError if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if done():
                return
        time.sleep(0.05)
    raise TimeoutError


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a path."""
    return _answered(f"http://127.0.0.1:{port}{path}")


def post(port: int, path: str, content: Any) -> tuple[int, Any]:
    """Return status and JSON of what is posted, on a connection of its own: the kernel deals it to either worker."""
    status, text = _answered(f"http://127.0.0.1:{port}{path}", json.dumps(content).encode())
    return status, json.loads(text)


def _answered(url: str, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, body, {} if body is None else {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
