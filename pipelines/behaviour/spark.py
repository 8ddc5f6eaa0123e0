"""Spark as the engine: the SELECTs of pipelines/behaviour/sql.py in Spark's dialect, on this machine or on a cluster.

Needs the extra `pricewright[spark]` and Java. The log, which is read often, is kept on the disks of the workers; these
write the offers, so the folder of the output must be one that all can reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import words
from pipelines.behaviour import sql, texts
from pipelines.behaviour.definitions import ENTITIES, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.spark_dialect import in_spark
from pipelines.behaviour.spark_session import running
from pipelines.config import EngineSettings
from pipelines.engine import Table, with_instants
from pipelines.errors import InputError
from pipelines.files import replacing, scratch

_READ = {"searches": ("keywords", texts.read_search), "reviews": ("text", texts.read_review)}
_REMOTE = re.compile(r"\w+://")


@dataclass(frozen=True)
class Spark:
    """Spark at `settings.master`: a session of our own, or the one that is already running in this process."""

    settings: EngineSettings

    def write(self, features: FeatureSet, tables: Mapping[str, Table], out: Path) -> None:
        """Write the offers; see pipelines.behaviour.batch.Engine. Paths with a scheme are for Spark's own readers."""
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            scratch(out.with_name(f".{out.name}.scratch")) as spill,
            replacing(out) as draft,
            running(self.settings, spill) as session,
        ):
            for name, table in tables.items():
                view(session, name, table, spill)
            read_texts(session)
            with _offers(session, features) as offers:
                offers.write.parquet(_address(draft))
            for other in [*draft.glob(".*.crc"), *draft.glob("_*")]:
                other.unlink()


def view(session: Any, name: str, table: Table, spill: Path) -> None:
    """Make `table` known as `name`, with every time as its whole microseconds since 1970; see pipelines.engine.view."""
    if isinstance(table, pd.DataFrame):
        file = spill / f"{name}.parquet"
        with_instants(table).to_parquet(file, index=False)
        table = file
    files = session.read.option("mergeSchema", True).option("recursiveFileLookup", True)
    if Path(table).is_dir():
        files = files.option("pathGlobFilter", "*.parquet")
    try:
        frame = files.parquet(_address(table))
    except Exception as error:
        if type(error).__name__ != "AnalysisException":
            raise
        raise InputError(f"{table}: there is no Parquet to read ({str(error).splitlines()[0]})") from None
    frame.selectExpr(*map(_told, frame.schema.fields)).createOrReplaceTempView(name)


def _told(field: Any) -> str:
    """Return how one column of a table is read."""
    kind = field.dataType.typeName()
    if not kind.startswith("timestamp"):
        return f"`{field.name}`"
    return f"unix_micros(CAST(`{field.name}` AS TIMESTAMP)) AS `{'instant' if field.name == 'time' else field.name}`"


def _address(table: str | Path) -> str:
    """Return the address of a path: a local one is named as such, since a cluster may take another for its own."""
    if _REMOTE.match(str(table)):
        return str(table)
    path = Path(table).absolute()
    plain = re.sub(r"([\[\]{}*?\\])", r"\\\1", str(path)) if path.exists() else str(path)
    return f"file://{plain}"


def read_texts(session: Any) -> None:
    """Make the tables `searches` and `reviews` of `events`; texts are read where the log is, by the workers."""
    by_value()
    for name, (column, read) in _READ.items():
        known = tuple(read(""))
        distinct = session.sql(f"SELECT DISTINCT {column} AS text FROM events WHERE {column} IS NOT NULL")
        schema = ", ".join(["text STRING", *(f"{number} DOUBLE" for number in known)])
        made = distinct.mapInArrow(reader(read.__wrapped__, known), schema)
        made.createOrReplaceTempView(name)


def by_value() -> None:
    """Let what reads texts be sent to the workers whole: they need pyarrow, but not this project."""
    from pyspark import cloudpickle

    for module in (texts, words):
        cloudpickle.register_pickle_by_value(module)


def reader(read: Any, known: tuple[str, ...]) -> Any:
    """Return the function that gives batches of texts their numbers."""

    def numbers(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            rows = [read(text) for text in batch.column(0).to_pylist()]
            told = [pa.array([row[number] for row in rows], pa.float64()) for number in known]
            yield pa.RecordBatch.from_arrays([batch.column(0).cast(pa.string()), *told], ["text", *known])

    return numbers


@contextmanager
def _offers(session: Any, features: FeatureSet) -> Iterator[Any]:
    """Give the table of the offers, which is worked out when it is written."""
    from pyspark import StorageLevel

    ((first, last),) = session.sql("SELECT min(instant), max(instant) FROM events").collect()
    span = (last or 0) - (first or 0)
    forgetful = [e for e in ENTITIES if span > microseconds(features.forget[e], f"features.forget.{e}")]
    log, *steps, offers = sql.steps(features, forgetful)
    kept = session.sql(in_spark(log.select, span)).repartition("shopper_id")
    kept.persist(StorageLevel.DISK_ONLY).createOrReplaceTempView(log.name)  # the other steps are read once
    try:
        for step in steps:
            session.sql(in_spark(step.select, span)).createOrReplaceTempView(step.name)
        yield session.sql(in_spark(offers.select, span))
    finally:
        kept.unpersist()
