"""A program run in a process of its own: how long it takes, and how much memory it and its children hold."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.5  # seconds between two looks at the memory
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Measured:
    """seconds by the clock; processor: seconds of all processors; memory: most bytes that were resident at a time.

    error: the last line that the program wrote before it failed, empty if it did not.
    """

    seconds: float
    processor: float
    memory: int
    error: str


def measured(words: Sequence[str]) -> Measured:
    """Run a program and return what it took; memory is looked at a few times a second (Linux only)."""
    before, begun, most = os.times(), time.monotonic(), 0
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(list(words), stdout=subprocess.DEVNULL, stderr=said) as program:
            while program.poll() is None:
                most = max(most, resident(program.pid))
                time.sleep(_EVERY)
        seconds, after = time.monotonic() - begun, os.times()
        said.seek(0)
        lines = [line.strip() for line in said if line.strip()]
    used = after.children_user + after.children_system - before.children_user - before.children_system
    killed = f"killed by signal {-program.returncode}" if program.returncode < 0 else ""
    return Measured(seconds, used, most, killed or ((lines or ["failed"])[-1] if program.returncode else ""))


def resident(process: int) -> int:
    """Return the bytes that a process and all its children hold in memory."""
    held: dict[int, int] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            held[int(folder.name)] = int(told[21]) * _PAGE
            parents[int(folder.name)] = int(told[1])
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return sum(size for one, size in held.items() if process in _line(one, parents))


def _line(process: int, parents: dict[int, int]) -> set[int]:
    """Return a process with all that it descends from."""
    line: set[int] = set()
    while process in parents and process not in line:
        line.add(process)
        process = parents[process]
    return line
