"""Serving one policy: the endpoint beside MLflow, BentoML, LitServe, a bare hello and the call without a server.

Starts each server on 127.0.0.1 with one worker, loads it with wrk (or a client of our own), stops it, and prints one
table with what the endpoint is held to. Signing, the decision log and metrics are switched on. It stops by itself.

Usage: python -m pipelines.benchmark_serving [parts=graph,hello,thin,pages,lone,lone-pages,mlflow,bentoml,litserve,
       overload,swaps] [policy=FOLDER] [seconds=5] [rounds=3] [overload=30] [swaps=200] [--install] [--fresh]
       [--folder logs/benchmark/serving]
Without policy= the promoted policy quotes, and where none was promoted two that are learned from a small shop. Finished
parts are kept in the folder and not run again; --fresh forgets those asked for. --install puts BentoML and LitServe
into environments of their own in the folder; without it they are left out unless they are there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark_serving import closed, policies, table
from pipelines.benchmark_serving.parts import PARTS, Bench, Row
from pipelines.errors import InputError, nearest
from pipelines.files import read_json, write_json

FOLDER = Path("logs/benchmark/serving")
_KEYS = ("parts", "policy", "seconds", "rounds", "overload", "swaps")


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    parts: tuple[str, ...]
    policy: Path | None
    numbers: dict[str, int]
    install: bool
    fresh: bool
    folder: Path

    def record(self, part: str) -> Path:
        """Return where the figures of a part are."""
        return self.folder / "parts" / f"{part}.json"


def planned(words: Sequence[str]) -> Plan:
    """Return what the command line asks for; InputError for a word that it does not know."""
    given = read([w for w in words if w != "--install"], "benchmark_serving", __doc__ or "", _KEYS, FOLDER)
    parts = tuple(given.settings.get("parts", ",".join(PARTS)).split(","))
    for part in parts:
        if part not in PARTS:
            raise InputError(f"benchmark: part {part} does not exist{nearest(part, list(PARTS))}")
    numbers = {key: whole(key, given.settings[key]) for key in _KEYS[2:] if key in given.settings}
    policy = Path(given.settings["policy"]) if "policy" in given.settings else None
    return Plan(parts, policy, numbers, "--install" in words, given.fresh, given.folder)


def run(plan: Plan, console: Console, command: str) -> int:
    """Run what is missing, print and write the table; return how many parts failed."""
    chosen = policies.chosen(plan.policy, plan.folder / "policies")
    bench = Bench(chosen, plan.folder, install=plan.install, **plan.numbers)
    digest = bench.manifest.graph_sha256
    for part in plan.parts:
        record = plan.record(part)
        kept = read_json(record) if record.is_file() and not plan.fresh else {}
        if kept.get("graph_sha256") != digest or kept.get("error"):
            console.print(f"{table.NAMES[part]} …", markup=False, highlight=False)
            write_json(record, {**measured(part, bench), "graph_sha256": digest, "client": closed.client()})
    found = {part: read_json(plan.record(part)) for part in PARTS if plan.record(part).is_file()}
    records = {part: row for part, row in found.items() if row["graph_sha256"] == digest}
    console.print(table.on_screen(records))
    busy = " ".join(f"{load:.1f}" for load in os.getloadavg())
    about = (
        f"Made by `{command}` on {time.strftime('%Y-%m-%d')}, policy {bench.manifest.name} ({digest[:12]}, "
        f"{len(bench.manifest.inputs)} inputs), client: {closed.client()}, {os.cpu_count()} processors, "
        f"load of the machine at the end {busy}."
    )
    console.print(about, markup=False, highlight=False)
    (plan.folder.parent / "serving.md").write_text(table.as_markdown(records, about), encoding="utf-8")
    console.print(f"-> {plan.folder.parent / 'serving.md'}", markup=False, highlight=False)
    return sum(bool(records[part].get("error")) for part in plan.parts)


def measured(part: str, bench: Bench) -> Row:
    """Return the figures of one part, or why there are none."""
    try:
        return {**PARTS[part](bench), "error": ""}
    except InputError as error:
        return {"error": str(error).removeprefix("benchmark: ")}


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    signal.signal(signal.SIGTERM, _stop)  # so that whoever ends it leaves no server behind
    told = " ".join(("python -m pipelines.benchmark_serving", *words))
    return ended(lambda: run(planned(words), Console(width=None if sys.stdout.isatty() else 180), told), "parts")


def _stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
