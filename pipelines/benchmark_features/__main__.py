"""Features at 1, 10 and 50 million events: the engine of conf/ beside a query written by hand, pandas and Spark.

The log is that of a simulated market, repeated for other shoppers of the same items until it is long enough. Each run
is a process of its own and writes the same columns of every view; runs follow each other, nothing else should run.

Usage: python -m pipelines.benchmark_features [sizes=1,10,50] [methods=duckdb,by_hand,pandas,spark]
       [--fresh] [--folder logs/benchmark/features]
Finished runs are kept in the folder and not run again; --fresh forgets those asked for. Spark, where it is installed,
runs on this machine and only up to 10 million events.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console

from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark_features import table
from pipelines.benchmark_features.log import log
from pipelines.benchmark_features.measure import measured
from pipelines.benchmark_features.methods import LONGEST, METHODS, installed
from pipelines.config import load
from pipelines.errors import InputError, nearest
from pipelines.files import read_json, write_json
from pipelines.sources import MarketSource

FOLDER = Path("logs/benchmark/features")


@dataclass(frozen=True)
class Plan:
    """What is to be run: sizes in million events, methods, whether anew, and where logs and records are."""

    sizes: tuple[int, ...]
    methods: tuple[str, ...]
    fresh: bool
    folder: Path

    def record(self, size: int, method: str) -> Path:
        """Return where the record of a run is."""
        return self.folder / "runs" / f"{method}-{size}.json"


def planned(words: Sequence[str]) -> Plan:
    """Return what the command line asks for; InputError for a word that it does not know."""
    given = read(words, "benchmark_features", __doc__ or "", ("sizes", "methods"), FOLDER)
    sizes = tuple(whole("sizes", size) for size in given.settings.get("sizes", "1,10,50").split(","))
    methods = tuple(given.settings.get("methods", ",".join(installed())).split(","))
    for method in methods:
        if method not in METHODS:
            raise InputError(f"benchmark: method {method} does not exist{nearest(method, list(METHODS))}")
    return Plan(tuple(sorted(set(sizes))), methods, given.fresh, given.folder)


def run(plan: Plan, console: Console, command: str) -> int:
    """Run what is missing, print and write the table; return how many runs failed."""
    source = load(["source=market"]).source
    if not isinstance(source, MarketSource):
        raise InputError("conf/source/market.yaml is no market any more: its kind must be market")
    for size in plan.sizes:
        for method in plan.methods:
            record = plan.record(size, method)
            if size <= LONGEST.get(method, size) and (plan.fresh or not record.is_file()):
                console.print(f"{size} million events, {method} …", markup=False, highlight=False)
                write_json(record, one(method, log(plan.folder, source, size), plan.folder / "out"))
    records = [
        {"size": size, "method": method, **read_json(plan.record(size, method))}
        for size in plan.sizes for method in METHODS if plan.record(size, method).is_file()
    ]  # fmt: skip
    console.print(table.on_screen(records))
    (plan.folder.parent / "features.md").write_text(table.as_markdown(records, command), encoding="utf-8")
    console.print(f"-> {plan.folder.parent / 'features.md'}", markup=False, highlight=False)
    return sum(bool(record["error"]) for record in records)


def one(method: str, events: Path, out: Path) -> dict[str, Any]:
    """Return what one method took for one log, how long the log is, and how many rows it made."""
    shutil.rmtree(out, ignore_errors=True)
    found = measured([sys.executable, "-m", "pipelines.benchmark_features.methods", method, str(events), str(out)])
    made = 0 if found.error else _rows(f"{out}/*.parquet")
    shutil.rmtree(out, ignore_errors=True)
    return {**dataclasses.asdict(found), "events": _rows(f"{events}/events/*.parquet"), "offers": made}


def _rows(files: str) -> int:
    ((rows,),) = duckdb.sql(f"SELECT count(*) FROM read_parquet('{files}')").fetchall()
    return int(rows)


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    told = " ".join(("python -m pipelines.benchmark_features", *words))
    return ended(lambda: run(planned(words), Console(width=None if sys.stdout.isatty() else 130), told), "runs")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
