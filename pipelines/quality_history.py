"""Which data a run is held against: the profiles of earlier runs, one line each, in models/profiles.jsonl.

The file is no output of DVC, which empties outputs before a stage runs and would restore old ones. A line says what its
data were compared with, so that the same data get the same answer however often, and whenever, they are profiled.
Data that failed a threshold are not noted: they are no measure for what comes after.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.files import replacing

HISTORY = Path("models/profiles.jsonl")


@dataclass(frozen=True)
class Noted:
    """The bins of one run's data, table by table and column by column.

    run: source and experiment, which are only compared with their like. data: `fingerprint` of the data; against:
    that of what they were compared with, None for the first.
    """

    run: str
    data: str
    against: str | None
    tables: dict[str, dict[str, Any]]


def fingerprint(profile: Any) -> str:
    """Return a SHA-256 of what a profile says; the order of rows and the way that files are written play no part."""
    text = json.dumps(profile, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def reference(path: Path, run: str, data: str) -> Noted | None:
    """Return what `data` are compared with: what they were compared with before, else the last of the same run."""
    known = [one for one in _read(path) if one.run == run]
    before = next((one for one in known if one.data == data), None)
    if before is None:
        return known[-1] if known else None
    return next((one for one in known if one.data == before.against), None)


def note(path: Path, run: Noted) -> None:
    """Add the profile of a run, unless its data are noted already; the file is replaced in one step."""
    known = _read(path)
    if any((one.run, one.data) == (run.run, run.data) for one in known):
        return
    lines = [json.dumps(asdict(one), ensure_ascii=False, allow_nan=False) + "\n" for one in (*known, run)]
    with replacing(path) as draft:
        draft.write_text("".join(lines), encoding="utf-8")


def _read(path: Path) -> list[Noted]:
    if not path.is_file():
        return []
    try:
        return [Noted(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}): delete it, and this run is the first that later ones are compared with"
        ) from None
