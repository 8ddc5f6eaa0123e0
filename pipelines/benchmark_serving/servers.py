"""Servers under test: each a process here that is started, waited for, watched and stopped with all it began."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.errors import InputError

ROOT = Path(__file__).parents[2]
_PATIENCE = 180.0  # seconds until a server answers
_GRACE = 25.0  # seconds to end by itself
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_QUIET = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Program:
    """How a server is started. words: its command, `{port}` its port. ready: a path that answers 200 once it is."""

    words: tuple[str, ...]
    folder: Path
    ready: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that answers. started: seconds from the start of its process until it did."""

    process: int
    port: int
    started: float

    def workers(self) -> dict[int, tuple[int, float]]:
        """Return of each of its processes the resident bytes, and the seconds of processors so far."""
        held: dict[int, tuple[int, float]] = {}
        parents: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):  # it may have ended meanwhile
                words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                one = int(folder.name)
                parents[one] = int(words[1])
                held[one] = int(words[21]) * _PAGE, (int(words[11]) + int(words[12])) / _TICK
        family = {self.process}
        while more := {one for one, parent in parents.items() if parent in family} - family:
            family |= more
        return {one: held[one] for one in family if one in held}

    def resident(self) -> float:
        """Return the resident memory of its largest process in MB: the worker's, where it has one."""
        return max((held for held, _ in self.workers().values()), default=0) / 1e6

    def processor(self) -> float:
        """Return the seconds of processors that its processes took so far."""
        return sum(took for _, took in self.workers().values())


@contextmanager
def running(program: Program) -> Iterator[Running]:
    """Start a server and give it once it is ready; afterwards nothing of it is left. Raises InputError."""
    port = free_port()
    words = [word.replace("{port}", str(port)) for word in program.words]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, **_QUIET, "PYTHONPATH": paths, **program.environment}
    with tempfile.TemporaryFile("w+b") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=program.folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True, preexec_fn=_end_with_parent,
        )  # fmt: skip
        found = Running(process.pid, port, 0.0)
        try:
            _until_ready(process, port, program.ready)
        except BaseException as error:
            _end(process, found)
            if not isinstance(error, InputError):
                raise
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise InputError(
                f"benchmark: {' '.join(words[:4])} … does not serve: {(lines or ['it says nothing'])[-1]}"
            ) from None
        try:
            yield replace(found, started=time.perf_counter() - began)
        finally:
            _end(process, found)


def free_port() -> int:
    """Return a port of this machine's own address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def get(port: int, path: str, seconds: float = 10.0) -> tuple[int, bytes]:
    """Return status and body of one request. Raises OSError or HTTPException."""
    return _asked("GET", port, path, None, seconds)


def post(port: int, path: str, body: bytes, seconds: float = 30.0) -> tuple[int, bytes]:
    """Return status and body of one request that brings JSON. Raises OSError or HTTPException."""
    return _asked("POST", port, path, body, seconds)


def _asked(method: str, port: int, path: str, body: bytes | None, seconds: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _until_ready(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise InputError("it ended")
        with suppress(OSError, http.client.HTTPException):
            if get(port, path)[0] == 200:
                return
        time.sleep(0.01)
    raise InputError("it does not answer")


def _end(process: subprocess.Popen[bytes], running: Running) -> None:
    """Ask it to end, and make whatever is left of its family."""
    family = running.workers()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    for one in family:  # some begin sessions of their own
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _end_with_parent() -> None:
    """Let the kernel end this process with the benchmark, however that ends (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
