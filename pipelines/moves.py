"""Who priced when, and why: one line for every move of the alias `champion`, never changed or taken back.

Append-only JSON lines. A line is on the disk before the alias moves, so no move is missing; after a crash between the
two the same move may stand there twice. No stage may declare the file an output: DVC would restore an old one.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import InputError
from pipelines.files import sync_folder

HISTORY = Path("models/history.jsonl")
KINDS = ("promote", "restore", "to", "rollback")  # restore: the alias follows models/incumbent again
VARIABLE = "PRICEWRIGHT_WHO"
_SPELT = {"before": "from", "version": "to"}  # in the file, where `from` is no word of Python


@dataclass(frozen=True)
class Move:
    """One move of `champion` of a registered model: when, by whom, from which version to which, and why.

    before: None where there was no champion. graph_sha256, policy: of the version that prices from then on.
    """

    at: str
    who: str
    model: str
    kind: str
    before: str | None
    version: str
    policy: str
    graph_sha256: str
    why: str

    def __post_init__(self) -> None:
        """Refuse a move of another kind, and one without an author or a reason."""
        if self.kind not in KINDS:
            raise InputError(f"a move is one of {', '.join(KINDS)}, not {self.kind!r}")
        if not self.who.strip() or not self.why.strip():
            raise InputError(f"a move needs somebody who makes it ({self.who!r}) and a reason ({self.why!r})")


def now() -> str:
    """Return the time of a move made now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def who() -> str:
    """Return who moves: $PRICEWRIGHT_WHO, else the user and machine."""
    if named := os.environ.get(VARIABLE, "").strip():
        return named
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"user {os.getuid()}@{socket.gethostname()}"


def note(path: Path, move: Move) -> None:
    """Append a move, and return when it is on the disk; a torn line of an earlier crash is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = file.read()
        end = before.rfind(b"\n") + 1
        if end < len(before):
            print(f"history: the last line of {path} was torn (a crash while writing) and is cut off", file=sys.stderr)
            os.ftruncate(file.fileno(), end)
        os.write(
            file.fileno(),
            (json.dumps({_SPELT.get(k, k): v for k, v in asdict(move).items()}, ensure_ascii=False) + "\n").encode(),
        )
        os.fsync(file.fileno())
    sync_folder(path.parent)  # the entry of a new file too


def moves(path: Path, model: str) -> tuple[Move, ...]:
    """Return every move of a registered model's champion in order; none where there is no history yet."""
    if not path.is_file():
        return ()
    content = path.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    found = [_move(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    return tuple(move for move in found if move.model == model)


def previous(known: tuple[Move, ...], alias: str | None) -> tuple[str, str | None] | None:
    """Return version and, if known, graph of what priced before what prices now (`alias`); None if nobody knows.

    A rollback takes back the move before it, so a second one goes one further: after 1, 2, 3 it leads to 2, then to 1.
    """
    stack: list[tuple[str, str | None]] = []
    for move in known:
        if move.before is not None and not stack:
            stack.append((move.before, None))
        if move.kind == "rollback":
            while stack and stack[-1][0] != move.version:
                stack.pop()
        if stack and (stack[-1][0] == move.version or stack[-1][1] == move.graph_sha256):
            stack.pop()  # the same again: a move noted twice, or a registry filled anew
        stack.append((move.version, move.graph_sha256))
    if stack and stack[-1][0] == alias:
        stack.pop()
    return stack[-1] if stack else None


def withdrawn(known: tuple[Move, ...], graph_sha256: str) -> Move | None:
    """Return the move by which a person took a graph out of pricing; None if nobody did, or it came back since."""
    found: Move | None = None
    prices: str | None = None
    for move in known:
        if move.graph_sha256 == graph_sha256:
            found = None
        elif prices == graph_sha256 and move.kind in ("to", "rollback"):
            found = move
        prices = move.graph_sha256
    return found


def _move(line: bytes, where: str) -> Move:
    try:
        values = json.loads(line)
        names = {_SPELT.get(f.name, f.name): f.name for f in fields(Move)}
        if not isinstance(values, dict) or set(values) != set(names):
            raise ValueError(f"it must hold the words {', '.join(sorted(names))}")
        if not all(isinstance(v, str) or (name == "from" and v is None) for name, v in values.items()):
            raise ValueError("every word must be a text")
        return Move(**{names[name]: v for name, v in values.items()})
    except (ValueError, InputError) as error:
        raise InputError(
            f"{where} is damaged ({error}): mend it from a backup; without it, nobody knows what to roll back to. To "
            "start anew, move the file away"
        ) from None
