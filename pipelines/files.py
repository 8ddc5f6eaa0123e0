"""Writing so that a crash leaves no half-written output: to a neighbour first, then one rename."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of `path` (file or folder) that takes its place when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    _remove(draft)
    try:
        yield draft
        if draft.is_dir():
            _remove(path)
        draft.replace(path)
    finally:
        _remove(draft)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder to work in, gone when the block ends; what a killed run left under its name goes first.

    Raises InputError while another run works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is in use: another run of this stage works there; wait until it ends") from None
        try:
            for left in folder.iterdir():
                _remove(left)
            yield folder
        finally:
            _remove(folder)
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: without it a new file may be gone after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, values: Any) -> None:
    """Write `values` as readable JSON; NaN and infinity are refused, since JSON has no word for them."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON of `path`; a missing file says which stage makes it."""
    if not path.is_file():
        raise InputError(f"{path} is missing: run `dvc repro`, which makes it")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): delete it and run `dvc repro`, which makes it again") from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write one Parquet file."""
    with replacing(path) as draft:
        table.to_parquet(draft, index=False)


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Return a Parquet table that an earlier stage wrote."""
    if not path.is_file():
        raise InputError(f"{path} is missing: run `dvc repro`, which makes it")
    import pandas as pd  # here, because the serving side reads JSON only and must not load pandas

    return pd.read_parquet(path, columns=columns)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    if not path.is_file():
        raise InputError(f"{path} is missing: run `dvc repro`, which makes it")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of all files below a folder, in hexadecimal."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listing = "".join(f"{p.relative_to(folder).as_posix()} {digest(p)}\n" for p in files)
    return hashlib.sha256(listing.encode()).hexdigest()
