"""benchmark: the whole method on worlds whose demand is known, over several seeds (docs/benchmarks.md).

Usage: python -m pipelines.benchmark [worlds=biggs1,biggs4] [seeds=5] [candidates=linear,gbm] [n=5000]
       [--processes 2] [--fresh] [--folder logs/benchmark]
Finished runs are kept in the folder and not run again; --fresh forgets those of the worlds and seeds asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.benchmark import picture, table
from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark.chain import FULL, MARKETS, Task
from pipelines.benchmark.pool import Piece, finished, worked
from pipelines.benchmark.record import code, work
from pipelines.wording import number

FOLDER = Path("logs/benchmark")


@dataclass(frozen=True)
class Plan:
    """What is to be run: tasks, in how many processes, whether anew, and where the records are."""

    tasks: tuple[Task, ...]
    processes: int
    fresh: bool
    folder: Path

    @property
    def worlds(self) -> tuple[str, ...]:
        """The worlds, in the order of the table: offers tables first."""
        names = dict.fromkeys(t.world for t in self.tasks)
        return tuple(sorted(names, key=lambda n: (n in MARKETS, n)))


def planned(words: Sequence[str]) -> Plan:
    """Return what the command line asks for; InputError for a word that it does not know."""
    given = read(words, "benchmark", __doc__ or "", ("worlds", "seeds", "candidates", "n"), FOLDER)
    settings = given.settings
    worlds = [w for w in settings.get("worlds", ",".join(FULL)).split(",") if w]
    candidates = tuple(c for c in settings.get("candidates", "").split(",") if c)
    n = whole("n", settings["n"]) if "n" in settings else None
    seeds = range(1, whole("seeds", settings.get("seeds", "5")) + 1)
    tasks = tuple(Task(name, seed, n, candidates) for seed in seeds for name in dict.fromkeys(worlds))
    return Plan(tasks, given.processes, given.fresh, given.folder)


def told(found: dict[str, Any]) -> str:
    """Return a run in a few words."""
    captured = found["choose"]["capture"]
    share = f"lost {number(found['choose']['lost'], '.2%')}" if captured is None else f"captured {captured:.0%}"
    return f"{found['pick']} {share}, {found['verdict']}, {found['seconds']['total'] / 60:.1f} min"


def run(plan: Plan, console: Console, command: str) -> int:
    """Run what is missing, print and write the table; return how many runs failed."""
    runs = plan.folder / "runs"
    root = Path.cwd()
    pieces = [Piece(t.name, work, (t, root)) for t in plan.tasks]
    if plan.fresh:
        for piece in pieces:
            (runs / f"{piece.name}.json").unlink(missing_ok=True)
    before = finished(pieces, runs)
    _stale(before, console, root)
    failed = worked(pieces, runs, plan.processes, console, told)
    records = list(finished(pieces, runs).values())
    if records:
        console.print(table.on_screen(records, plan.worlds))
        console.print(table.overall(records), markup=False, highlight=False)
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / "table.md").write_text(table.as_markdown(records, plan.worlds, command), encoding="utf-8")
        picture.draw(plan.folder / "table.png", records, plan.worlds)
        console.print(f"-> {plan.folder / 'table.md'}, {plan.folder / 'table.png'}", markup=False, highlight=False)
    return len(failed)


def wide() -> Console:
    """Return where to print: a file is wide enough for every world."""
    return Console(width=None if sys.stdout.isatty() else 130)


def _stale(before: dict[str, dict[str, Any]], console: Console, root: Path) -> None:
    """Say how many records are taken over, and how many of them other code made."""
    now = code(root)
    old = sum(found["code"] != now for found in before.values())
    if before:
        changed = f", {old} of them made by other code or settings: --fresh runs them again" if old else ""
        console.print(f"{len(before)} runs are finished already{changed}", markup=False, highlight=False)


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    told = " ".join(("python -m pipelines.benchmark", *words))
    return ended(lambda: run(planned(words), wide(), told), "runs")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
