"""How often a certify window was looked at: one line per challenger that opened it, never taken back.

Every look is a chance to be lucky, so each further challenger must show more. Append-only JSON lines; a line is
written, and on the disk, before the window is read. It must outlive a rebuild: no stage may declare it an output.

Source of the correction: Bonferroni, in the form of Dunn (1961).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipelines.errors import InputError
from pipelines.files import sync_folder

LEDGER = Path("models/ledger.jsonl")


@dataclass(frozen=True)
class Opening:
    """One challenger's opening of a certify window; window and graph are known by their SHA-256."""

    window_sha256: str
    graph_sha256: str
    name: str


def opened(path: Path, window: str, graph: str, name: str) -> int:
    """Note that the challenger `graph` opens `window`, and return how many different graphs have opened it by now.

    The same graph again is no new look, and writes no line; it is judged with the count of now. Safe against a crash
    (one write, then fsync) and against another process (a lock on the file).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = file.read()
        known = _openings(before, path)
        seen = {o.graph_sha256 for o in known if o.window_sha256 == window}
        if graph not in seen:
            _append(file.fileno(), before, Opening(window, graph, name), len(_whole(before)))
            sync_folder(path.parent)
    return len(seen | {graph})


def openings(path: Path) -> tuple[Opening, ...]:
    """Return every opening so far, in order; none where there is no ledger yet."""
    return _openings(path.read_bytes(), path) if path.is_file() else ()


def level(confidence: float, count: int) -> float:
    """Return 1 - (1 - confidence) / count: the level of each one-sided bound when `count` challengers looked.

    If all `count` were judged at it, a worse one would pass in at most 1 - confidence of windows (Bonferroni). As
    they come one by one, and earlier ones were judged at lower levels, the bound over all is the sum of their
    shares, (1 - confidence) (1 + 1/2 + … + 1/count): a window that has been opened often should be renewed.
    """
    if count < 1:
        raise InputError(f"ledger: a level for {count} challengers was asked for; it needs at least one")
    return 1 - (1 - confidence) / count


def _append(file: int, before: bytes, opening: Opening, whole: int) -> None:
    if whole < len(before):
        os.ftruncate(file, whole)  # a torn line: its window was never read, for the write had not ended
    gap = "" if before[:whole].endswith(b"\n") or not whole else "\n"
    os.write(file, (gap + json.dumps(asdict(opening), ensure_ascii=False) + "\n").encode())
    os.fsync(file)


def _whole(content: bytes) -> bytes:
    """Return the content without a torn last line: one that has no end and is no JSON."""
    end = content.rfind(b"\n") + 1
    try:
        json.loads(content[end:] or b"{}")
    except ValueError:
        return content[:end]
    return content


def _openings(content: bytes, path: Path) -> tuple[Opening, ...]:
    whole = _whole(content)
    if len(whole) < len(content):
        print(f"ledger: the last line of {path} is torn (a crash while writing) and is ignored", file=sys.stderr)
    lines = whole.splitlines()
    return tuple(_opening(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def _opening(line: bytes, where: str) -> Opening:
    names = {f.name for f in fields(Opening)}
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or set(values) != names or not all(isinstance(v, str) for v in values.values()):
            raise ValueError(f"it must hold the words {', '.join(sorted(names))}")
    except ValueError as error:
        raise InputError(
            f"{where} is damaged ({error}): mend it from a backup; without it, nobody knows how often the certify "
            "window was opened. To start anew, take a new window and delete the ledger"
        ) from None
    return Opening(**values)
