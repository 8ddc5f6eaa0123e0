"""A table larger than memory, by buckets of shoppers: all rows of one shopper lie in one bucket, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1_000_000  # of one bucket, about

Sift = Callable[[pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]


def split(duck: duckdb.DuckDBPyConnection, table: Path, folder: Path, rows: int = ROWS) -> int:
    """Write the rows of `table` to `folder` by shopper, with their place in it as `row`; return how many buckets."""
    count = max(1, -(-int(pq.read_metadata(table).num_rows) // rows))
    query = f"""SELECT *, CAST(hash(trim(coalesce(CAST(shopper_id AS VARCHAR), ''))) % {count} AS INTEGER) AS bucket
        FROM (SELECT * EXCLUDE (file_row_number), file_row_number AS row
              FROM read_parquet('{table}', file_row_number = true))"""
    duck.execute(f"COPY ({query}) TO '{folder}' (FORMAT parquet, PARTITION_BY (bucket))")
    return count


def buckets(duck: duckdb.DuckDBPyConnection, folder: Path, count: int) -> Iterator[pd.DataFrame]:
    """Give the buckets one by one, the rows of each indexed by `row`, in order."""
    for k in range(count):
        if any((folder / f"bucket={k}").glob("*.parquet")):
            query = (
                f"SELECT * FROM read_parquet('{folder}/bucket={k}/*.parquet', hive_partitioning = false) ORDER BY row"
            )
            yield duck.sql(query).to_arrow_table().to_pandas().set_index("row")


def scattered(duck: duckdb.DuckDBPyConnection, folder: Path, key: str, most: int) -> pd.DataFrame | int:
    """Return the rows whose `key` is in more than one bucket, indexed by `row`; or their number if beyond `most`."""
    log = f"read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"
    duck.execute(
        f"CREATE OR REPLACE TEMP TABLE scattered AS SELECT {key}, count(*) AS times FROM {log} "
        f"WHERE {key} IS NOT NULL GROUP BY {key} HAVING min(bucket) <> max(bucket)"
    )
    found: int = duck.execute("SELECT coalesce(sum(times), 0)::BIGINT FROM scattered").fetchall()[0][0]
    if found > most:
        return found
    query = f"SELECT * EXCLUDE (bucket) FROM {log} SEMI JOIN scattered USING ({key}) ORDER BY row"
    whole: pd.DataFrame = duck.sql(query).to_arrow_table().to_pandas()
    return whole.set_index("row")


def write_part(table: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    """Write one part of a table, with the columns and types of `schema`."""
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), path)


RULE, ROW = pa.field("rule", pa.string()), pa.field("row", pa.int64())
_TYPES = {"float64": pa.float64(), "int64": pa.int64()}


def of_columns(schema: Any) -> pa.Schema:
    """Return the Parquet types of a checked table: numbers, times in UTC, and text."""
    return pa.schema(
        [
            (
                name,
                pa.timestamp("us", "UTC")
                if (kind := str(column.dtype)).startswith("datetime")
                else _TYPES.get(kind, pa.string()),
            )
            for name, column in schema.columns.items()
        ]
    )
