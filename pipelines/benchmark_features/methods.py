"""The ways to make features of an event log that are compared, each run in a process of its own.

Usage: python -m pipelines.benchmark_features.methods METHOD LOG OUT: the log is a folder with events, items and
shoppers, OUT a folder that is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pipelines.behaviour import batch
from pipelines.config import load
from pipelines.engine import connected, view

BY_HAND = Path(__file__).parent / "by_hand.sql"


def ours(log: Path, out: Path) -> None:
    """Write the offers by the engine that conf/ names."""
    cfg = load()
    batch.engine(cfg.engine).write(cfg.features.with_all(), tables(log), out)


def on_spark(log: Path, out: Path) -> None:
    """Write the offers by Spark, as conf/engine/spark.yaml sets it up: its Java is a child of this process."""
    cfg = load(["engine=spark"])
    batch.engine(cfg.engine).write(cfg.features.with_all(), tables(log), out)


def by_hand(log: Path, out: Path) -> None:
    """Write the same columns by one hand-written query, with the same limits of threads and memory."""
    cfg = load()
    out.mkdir(parents=True)
    with connected(cfg.engine.threads, cfg.engine.memory, out / ".spill") as connection:
        for name, table in tables(log).items():
            view(connection, name, table)
        batch.read_texts(connection)
        *steps, last = connection.extract_statements(BY_HAND.read_text(encoding="utf-8"))
        for step in steps:
            connection.execute(step)
        connection.execute(f"COPY (\n{last.query}\n) TO '{out / 'offers.parquet'}' (FORMAT parquet)")


def in_pandas(log: Path, out: Path) -> None:
    """Write the same columns with pandas."""
    import pandas as pd

    from pipelines.benchmark_features.with_pandas import offers

    out.mkdir(parents=True)
    read = {name: pd.read_parquet(path) for name, path in tables(log).items()}
    offers(**read).to_parquet(out / "offers.parquet", index=False)


def tables(log: Path) -> dict[str, Path]:
    """Return where the tables of a log are."""
    return {"events": log / "events", "items": log / "items.parquet", "shoppers": log / "shoppers"}


METHODS: dict[str, Callable[[Path, Path], None]] = {
    "duckdb": ours,
    "by_hand": by_hand,
    "pandas": in_pandas,
    "spark": on_spark,
}
LONGEST = {"spark": 10}  # million events that a method is tried with; more is for a cluster


def installed() -> list[str]:
    """Return the methods whose packages are installed."""
    return [method for method in METHODS if method != "spark" or find_spec("pyspark") is not None]


if __name__ == "__main__":
    METHODS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
