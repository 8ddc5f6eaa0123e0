"""Work in several processes, one thread each: finished pieces are files, so that work can be stopped and taken up."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.files import read_json, write_json

_ONE = {  # read by libraries when they are imported, so it is set before a worker starts
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "MLFLOW_DISABLE_TELEMETRY": "true",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """One piece of work: its name, and work(argument) -> record, a module's function."""

    name: str
    work: Callable[[Any], dict[str, Any]]
    argument: Any


def finished(pieces: Sequence[Piece], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records that are there already, by name."""
    return {p.name: read_json(_file(folder, p.name)) for p in pieces if _file(folder, p.name).is_file()}


def worked(
    pieces: Sequence[Piece], folder: Path, processes: int, console: Console,
    told: Callable[[dict[str, Any]], str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """Write a record for every piece that has none in `folder`, in the order given; return what failed, by name.

    told: a record -> what to say of it (None: nothing). A traceback goes to <name>.error.txt.
    An interrupt keeps what is finished.
    """
    todo = [p for p in pieces if not _file(folder, p.name).is_file()]
    if not todo:
        return {}
    failed: dict[str, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("running", total=len(todo))
        for name, error in _done(todo, folder, processes):
            progress.advance(bar)
            if error:
                failed[name] = error
                console.print(f"{name}: failed: {error}", markup=False, highlight=False)
            elif told is not None:
                console.print(f"{name}: {told(read_json(_file(folder, name)))}", markup=False, highlight=False)
    return failed


def _done(todo: Sequence[Piece], folder: Path, processes: int) -> Iterator[tuple[str, str]]:
    """Yield name and error (empty: none) of every piece as it ends."""
    os.environ.update(_ONE)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _hush) as pool:
        running: dict[Future[str], Piece] = {pool.submit(_one, piece, folder.resolve()): piece for piece in todo}
        try:
            for future in as_completed(running):
                yield running[future].name, future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _hush() -> None:
    """Swallow what stages print in a worker, libraries in C++ included: it would tear the progress bar."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def _one(piece: Piece, folder: Path) -> str:
    """Write the record of one piece, or what went wrong; return the error, empty if there was none."""
    wrong = folder / f"{piece.name}.error.txt"
    try:
        write_json(_file(folder, piece.name), piece.work(piece.argument))
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        wrong.write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} (all of it: {wrong})"
    wrong.unlink(missing_ok=True)
    return ""


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
