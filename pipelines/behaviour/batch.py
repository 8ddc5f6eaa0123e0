"""Features of a whole event log: an engine turns events, items and shoppers into offers with their features.

Every engine runs the same SELECTs (pipelines/behaviour/sql.py). DuckDB works on a log of any length in bounded memory:
a long one is cut by items and by shoppers into parts, each of which is worked on as if it were a log of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pandas as pd

from pipelines.behaviour import sql, texts
from pipelines.behaviour.definitions import ENTITIES, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.sql_columns import accumulators
from pipelines.config import EngineSettings
from pipelines.engine import Table, connected, view
from pipelines.errors import InputError
from pipelines.files import replacing, scratch

TEXTS = {"searches": ("keywords", texts.searches), "reviews": ("text", texts.reviews)}


class Engine(Protocol):
    """What makes offers of a log: DuckDB here, others elsewhere."""

    def write(self, features: FeatureSet, tables: Mapping[str, Table], out: Path) -> None:
        """Write the offers of the clean `events`, `items` and `shoppers` to the folder `out`, as Parquet files.

        One row per view: offer_id, shopper_id, item_id, instant (microseconds since 1970), list_price, unit_cost,
        min_price, max_price, price, propensity, bought, and every feature under its name; in no order. A missing
        number is NULL, a missing word ''.
        """


def engine(settings: EngineSettings) -> Engine:
    """Return the engine that conf/engine/ names."""
    if settings.name not in ENGINES:
        raise InputError(f"engine={settings.name} is not an engine (known: {', '.join(ENGINES)})")
    return ENGINES[settings.name](settings)


@dataclass(frozen=True)
class DuckDB:
    """DuckDB, in this process. A log of more than `settings.rows` events is worked on in parts of about so many."""

    settings: EngineSettings

    def write(self, features: FeatureSet, tables: Mapping[str, Table], out: Path) -> None:
        """Write the offers; see Engine. What does not fit into memory goes to a hidden folder beside `out`."""
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            scratch(out.with_name(f".{out.name}.scratch")) as spill,
            replacing(out) as draft,
            connected(self.settings.threads, self.settings.memory, spill / "memory") as connection,
        ):
            draft.mkdir()
            for name, table in tables.items():
                view(connection, name, table)
            read_texts(connection)
            ((rows,),) = connection.sql("SELECT count(*) FROM events").fetchall()
            parts = -(-rows // self.settings.rows)
            if parts <= 1:
                _Run(connection, features).finish(draft / "part-0.parquet")
            else:
                _in_parts(_Run(connection, features), parts, spill, draft)


def read_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables `searches` and `reviews` of what was searched for and said in `events`."""
    for name, (column, read) in TEXTS.items():
        distinct = connection.sql(f"SELECT DISTINCT {column} FROM events WHERE {column} IS NOT NULL ORDER BY 1")
        view(connection, name, read([text for (text,) in distinct.fetchall()]))


@dataclass(frozen=True)
class _Run:
    """The steps of one set of features on one database."""

    connection: duckdb.DuckDBPyConnection
    features: FeatureSet

    def make(self, step: sql.Step) -> None:
        self.connection.execute(step.statement)

    def drop(self, name: str) -> None:
        self.connection.execute(f"DROP TABLE IF EXISTS {name}")

    def entities(self) -> list[str]:
        """Return the entities of which the features need anything."""
        return [entity for entity in ENTITIES if accumulators(self.features, entity)]

    def of_entity(self, entity: str) -> None:
        """Make the table of one entity, with lives only where one of them has a gap long enough to be forgotten."""
        ((span,),) = self.connection.sql(sql.longest(entity)).fetchall()
        gap = microseconds(self.features.forget[entity], f"features.forget.{entity}")
        self.make(sql.of_entity(self.features, entity, (span or 0) > gap))

    def items(self) -> None:
        """Make `of_item` of the table item_log."""
        self.of_entity("item")
        self.drop("item_log")

    def finish(self, out: Path, items_done: bool = False) -> None:
        """Write the offers of `events` to one file; items_done: `of_item` is there already."""
        if "item" in self.entities() and not items_done:
            self.make(sql.item_log(self.features))
            self.items()
        self.make(sql.log(self.features))
        for entity in self.entities():
            if entity != "item":
                self.of_entity(entity)
        self.make(sql.sold())
        self.copy(sql.offers(self.features).select, out)
        for table in ("log", "sold", *(f"of_{entity}" for entity in self.entities())):
            self.drop(table)

    def copy(self, select: str, out: Path) -> None:
        self.connection.execute(f"COPY (\n{select}\n) TO {_quoted(out)} (FORMAT parquet)")

    def deal(self, select: str, by: str, parts: int, out: Path) -> None:
        """Write rows to the folders `out`/part=<k>, those with the same `by` together."""
        out.parent.mkdir(exist_ok=True)
        dealt = f"SELECT *, hash({by}) % {parts} AS part FROM (\n{select}\n) AS rows"
        self.connection.execute(f"COPY (\n{dealt}\n) TO {_quoted(out)} (FORMAT parquet, PARTITION_BY (part))")

    def load(self, name: str, files: list[Path]) -> None:
        listed = ", ".join(_quoted(file) for file in files)
        source = f"read_parquet([{listed}], hive_partitioning = false)"
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {source}")


def _in_parts(run: _Run, parts: int, spill: Path, out: Path) -> None:
    """Write the offers of a long log: dealt by item, for what items need, and by shopper, for the rest."""
    with_items = "item" in run.entities()
    with _steps(1 + with_items * (1 + parts) + parts) as done:
        if with_items:
            run.deal(sql.item_log(run.features).select, "item_id", parts, spill / "items")
            done()
            for k in range(parts):
                _items_of_part(run, k, parts, spill)
                done()
        columns = ", ".join(dict.fromkeys(re.findall(r"\be\.(\w+)", sql.log(run.features).select)))
        run.deal(f"SELECT {columns} FROM events", "shopper_id", parts, spill / "events")
        done()
        for k in range(parts):
            items = sorted(spill.glob(f"of_item/*/part={k}/*.parquet"))
            if items or (not with_items and (spill / f"events/part={k}").is_dir()):  # else it has no view
                view(run.connection, "events", spill / f"events/part={k}")
                if items:
                    run.load("of_item", items)
                run.finish(out / f"part-{k}.parquet", items_done=bool(items))
            done()


def _items_of_part(run: _Run, k: int, parts: int, spill: Path) -> None:
    """Make what one part of the items did before each view, and deal it by shopper."""
    if files := sorted(spill.glob(f"items/part={k}/*.parquet")):
        run.load("item_log", files)
        run.items()
        run.deal("SELECT * FROM of_item", "shopper_id", parts, spill / "of_item" / str(k))
        run.drop("of_item")


@contextmanager
def _steps(total: int) -> Iterator[Callable[[], None]]:
    """Give a function to call after each of `total` steps; silent unless standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("features", total=total)
        yield lambda: progress.advance(task)


def _quoted(path: Path | str) -> str:
    return "'{}'".format(str(path).replace("'", "''"))


def frame(out: Path, keep: str = "true") -> pd.DataFrame:
    """Return the offers that an engine wrote, in the order of time, then of their names; keep: a condition in SQL."""
    with duckdb.connect(":memory:") as connection:
        view(connection, "offers", out)
        kept = connection.sql(f"SELECT * FROM offers WHERE {keep} ORDER BY instant, offer_id")
        table: pd.DataFrame = kept.to_arrow_table().to_pandas()
    return table


def count(out: Path) -> int:
    """Return how many offers an engine wrote."""
    with duckdb.connect(":memory:") as connection:
        view(connection, "offers", out)
        ((rows,),) = connection.sql("SELECT count(*) FROM offers").fetchall()
    return int(rows)


def _spark(settings: EngineSettings) -> Engine:
    from pipelines.behaviour.spark import Spark  # here, because Spark is an extra

    return Spark(settings)


ENGINES: dict[str, Callable[[EngineSettings], Engine]] = {"duckdb": DuckDB, "spark": _spark}
