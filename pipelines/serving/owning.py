"""The owner of the feature state as a process of its own, for several workers; and the parent's hold on it.

It is started before the workers, started again when it dies, and ended after them, so that nothing they were told is
kept gets lost. What it acknowledged is on disk: another one goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipelines.errors import InputError

_REST = 1.0  # seconds, between two starts
_PATIENCE = 10.0  # seconds, for its last snapshot
SOCKET = "features.sock"


class Child:
    """The owner's process, as its parent sees it. path: of the socket, which is there once it answers."""

    def __init__(self, folder: Path, path: Path, lifeline: int) -> None:
        self.path, self.lifeline = path, lifeline
        self.command = [
            sys.executable, "-m", "pipelines.serving.owning", str(folder), str(path), "--lifeline", str(lifeline)
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self._answered, self._not_before = False, 0.0

    def look(self) -> int | None:
        """Start it where it does not run; return its status where it cannot start and said why, else None.

        Once it has answered it is started again for as long as it takes: the workers quote list prices meanwhile.
        """
        self._answered = self._answered or self.path.exists()
        if self.process is not None and (ended := self.process.poll()) is not None:
            if not self._answered:
                return abs(ended)
            print(f"the feature state ended with status {ended}; another takes its place", file=sys.stderr)
            self.process, self._not_before = None, time.monotonic() + _REST
        if self.process is None and time.monotonic() >= self._not_before:
            self.process = subprocess.Popen(self.command, pass_fds=(self.lifeline,), stdin=subprocess.DEVNULL)
        return None

    def end(self) -> None:
        """Let it write down what it has, and end."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def attend(folder: Path, path: Path, lifeline: int | None) -> None:
    """Answer at `path` until SIGTERM, or until the parent is gone. Raises InputError where it cannot start."""
    from pipelines.serving import wire
    from pipelines.serving.owner import Owner

    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # of a terminal: the workers drain first, and still ask
    if lifeline is not None:
        loop.add_reader(lifeline, done.set)
    owner = Owner(folder)
    server = await wire.listen(owner, path)
    await done.wait()
    if lifeline is not None:
        loop.remove_reader(lifeline)
    server.close()
    await owner.close()


def main(arguments: list[str] | None = None) -> None:
    """Own the feature state of a folder."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.serving.owning", description=__doc__)
    parser.add_argument("folder", type=Path, help="as `python -m pipelines.behaviour.attach` writes it")
    parser.add_argument("socket", type=Path, help="where to answer")
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        asyncio.run(attend(options.folder, options.socket, options.lifeline))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
