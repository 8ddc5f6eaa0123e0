"""Processes of the endpoint: one worker that answers, and the parent that keeps several of them running.

Several workers listen on one port of their own each (SO_REUSEPORT), so the kernel deals connections out evenly and a
worker that dies takes none of the others' with it. The parent imports nothing that prices, and holds a pipe open: a
worker whose pipe closes has lost its parent and drains.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.serving import owning

if TYPE_CHECKING:
    from pipelines.serving.endpoint import Endpoint
    from pipelines.serving.settings import Settings
    from pipelines.serving.sockets import Sockets

_BACKLOG = 2048
_CLOSING = 2.0  # seconds in which WebSockets are closed
_AT_ONCE = 1.0  # seconds in which signals are one: Ctrl-C reaches a worker from the terminal and through its parent
_QUICK = 1.0  # seconds; a worker that lived shorter is not replaced at once
_PATIENCE = 5.0  # seconds: until a watcher that ended is started again, and for it to end
_LONGEST, _STEADY = 120.0, 60.0  # seconds: between two starts of one that ends at once, and what is no such one
WATCHER = ("-m", "pipelines.deploy", "--watch")
_HOPELESS = (1, 2, 3)  # statuses of a worker that could not start, and said why: another would fare no better


def listener(host: str, port: int, shared: bool = False) -> socket.socket:
    """Return a listening socket. shared: others of this user may listen on the same port. Raises InputError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): "
            "stop what listens there, or choose another with --host and --port"
        ) from None


def address(host: str, port: int) -> str:
    """Return the URL of a host and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(application: Endpoint, sockets: socket.socket, settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT; then finish what is in flight, in bounded time."""
    import uvicorn

    from pipelines.serving import whole
    from pipelines.serving.slow_clients import Bounded

    class Server(uvicorn.Server):
        """Ends with status 0 once it has drained: to be asked to stop is no failure."""

        asked = 0.0  # when it was asked to stop, by the loop's clock

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.leave)
            if settings.lifeline is not None:
                loop.add_reader(settings.lifeline, self.leave)
            yield

        def leave(self) -> None:
            loop = asyncio.get_running_loop()
            if settings.lifeline is not None:
                loop.remove_reader(settings.lifeline)
            if not application.draining:
                application.draining, self.asked = True, loop.time()
                loop.call_later(settings.drain_delay, self._stop)
            elif loop.time() > self.asked + _AT_ONCE:  # asked twice: in a hurry
                self.should_exit = self.force_exit = True

        def _stop(self) -> None:
            application.sockets.end()
            self._exit_after(application.sockets, asyncio.get_running_loop().time() + _CLOSING)

        def _exit_after(self, sockets: Sockets, until: float) -> None:
            """Exit once every WebSocket was told: uvicorn would close them in the middle of an answer."""
            loop = asyncio.get_running_loop()
            if sockets.open and loop.time() < until:
                loop.call_later(0.02, self._exit_after, sockets, until)
            else:
                self.should_exit = True

    application.give, application.came = whole.give, whole.came
    config = uvicorn.Config(
        application,
        http="httptools",
        loop="uvloop",
        ws=Bounded,
        ws_max_size=application.limits.message,
        ws_per_message_deflate=False,  # it costs memory for every connection, and messages are small
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # nothing here asks who the caller's caller is
        lifespan="on",
        timeout_keep_alive=65,  # longer than balancers keep idle connections, so that none is closed under a request
        timeout_graceful_shutdown=max(1, round(settings.drain)),
    )
    gc.collect()
    gc.freeze()  # what is loaded stays; no collection needs to look at it again
    gc.set_threshold(10_000, 20, 20)  # a request leaves no cycles behind, so there is little to look for
    server = Server(config)
    server.run(sockets=[sockets])
    if not server.started:
        raise SystemExit(3)


class Keeper:
    """The parent: starts the workers, replaces those that die, passes the signal to stop on."""

    def __init__(self, settings: Settings, arguments: Sequence[str], beside: Sequence[str] = WATCHER) -> None:
        self.settings, self.arguments = settings, list(arguments)
        self.beside = [*beside, *_watching(settings)] if settings.watch else []
        self.watcher: subprocess.Popen[bytes] | None = None
        self._watch_at = self._watched = 0.0
        self._rest = _PATIENCE
        self._replaced: set[int] = set()
        self.children: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self.owner: owning.Child | None = None
        self.asked = 0.0

    def run(self) -> None:
        """Keep the workers until asked to stop; SystemExit with the worst of their statuses."""
        with TemporaryDirectory(prefix="pricewright-") as shared, _port(self.settings) as port:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            lifeline, _held = os.pipe()
            if self.settings.features is not None:
                self.owner = owning.Child(self.settings.features, Path(shared) / owning.SOCKET, lifeline)
                self.owner.look()
            for worker in range(self.settings.workers):
                self._start(worker, port, Path(shared), lifeline)
            count, where = self.settings.workers, address(self.settings.host, port)
            print(f"{count} worker{'s' * (count > 1)} on {where}", flush=True)
            status = 0
            while self.children:
                time.sleep(0.05)
                self._watch()
                if self.owner is not None and (hopeless := self.owner.look()) is not None and not self.asked:
                    status = hopeless
                    self._stop(signal.SIGTERM, None)
                for worker, (process, began) in list(self.children.items()):
                    ended = process.poll()
                    if ended is None:
                        continue
                    del self.children[worker]
                    if self.asked:
                        # one that was still starting dies of the signal, and that is as well
                        status = status or (0 if ended == -signal.SIGTERM else abs(ended))
                    elif ended in _HOPELESS and worker not in self._replaced:
                        status = status or ended
                        self._stop(signal.SIGTERM, None)
                    else:
                        self._replaced.add(worker)  # it did start once; the others go on whatever is amiss now
                        print(f"worker {worker} ended with status {ended}; another takes its place", file=sys.stderr)
                        if time.monotonic() - began < _QUICK:
                            time.sleep(_QUICK)  # whatever kills it at once is not helped by haste
                        if not self.asked:
                            self._start(worker, port, Path(shared), lifeline)
                if self.asked and time.monotonic() > self.asked + self.settings.drain + self.settings.drain_delay + 5:
                    for process, _ in self.children.values():
                        process.kill()
            self._end_watcher()
            if self.owner is not None:
                self.owner.end()
        raise SystemExit(status)

    def _watch(self) -> None:
        """Keep the watcher running; prices do not depend on it, so it is tried again for as long as it takes."""
        now = time.monotonic()
        if not self.beside or self.asked or now < self._watch_at:
            return
        if self.watcher is not None and (ended := self.watcher.poll()) is not None:
            self._rest = min(2 * self._rest, _LONGEST) if now - self._watched < _STEADY else _PATIENCE
            print(f"the watcher ended with status {ended}; another follows in {self._rest:g} s", file=sys.stderr)
            self.watcher, self._watch_at = None, now + self._rest
        elif self.watcher is None:
            self.watcher = subprocess.Popen([sys.executable, *self.beside], stdin=subprocess.DEVNULL)
            self._watched = now

    def _end_watcher(self) -> None:
        if self.watcher is not None:
            self.watcher.terminate()
            try:
                self.watcher.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.watcher.kill()

    def _start(self, worker: int, port: int, shared: Path, lifeline: int) -> None:
        inside = ["--worker", str(worker), "--shared", str(shared), "--lifeline", str(lifeline), "--port", str(port)]
        command = [sys.executable, "-m", "pipelines.serving", *self.arguments, *inside]
        process = subprocess.Popen(command, pass_fds=(lifeline,), stdin=subprocess.DEVNULL)
        self.children[worker] = process, time.monotonic()
        if self.asked:  # while it was being started
            process.terminate()

    def _stop(self, number: int, _: FrameType | Any) -> None:
        self.asked = self.asked or time.monotonic()
        for process, _began in self.children.values():
            process.send_signal(signal.SIGTERM)
        if self.watcher is not None:  # it ends beside them, and not after
            self.watcher.terminate()


def _watching(settings: Settings) -> list[str]:
    """Return what the watcher is told: by which key to trust, and whether to bring the challenger too."""
    return ["--key", str(settings.public_key), *(["--shadow"] if settings.shadow else [])]


@contextmanager
def _port(settings: Settings) -> Iterator[int]:
    """Give the port that the workers are to share: taken by none else now, and held while they come and go."""
    with listener(settings.host, settings.port) as alone:  # fails where somebody listens, shared or not
        port = int(alone.getsockname()[1])
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((settings.host, port))  # bound and not listening: it gets no connection
        yield port
