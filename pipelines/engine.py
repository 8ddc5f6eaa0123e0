"""DuckDB as the embedded engine: queries over tables in memory or in Parquet files, bounded in memory and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from pipelines.errors import InputError

Table = str | Path | pd.DataFrame  # Parquet: a file, a folder or a glob; or a frame in memory

SQL = Path(__file__).parent / "sql"
_LIMITS = {"threads": 2, "memory_limit": "4GB", "preserve_insertion_order": False}


@contextmanager
def connected(threads: int, memory: str, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database in memory that holds at most `memory`; what is more goes to the folder `spill`."""
    limits = {**_LIMITS, "threads": threads, "memory_limit": memory, "temp_directory": str(spill)}
    with duckdb.connect(":memory:", config=limits) as connection:
        yield connection


def view(connection: duckdb.DuckDBPyConnection, name: str, table: Table) -> None:
    """Make `table` known as `name`; Parquet files are read only as far as a query needs them.

    A column `time` goes in as `instant`; every time as its whole microseconds since 1970: exact, and without zones.
    """
    if isinstance(table, pd.DataFrame):
        connection.register(name, pa.Table.from_pandas(with_instants(table), preserve_index=False))
        return
    files = _files(table)
    try:
        columns = connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()
    except duckdb.IOException as error:
        raise InputError(f"{table}: there is no Parquet to read ({str(error).splitlines()[0]})") from None
    told = [
        f'epoch_us("{column}") AS "{"instant" if column == "time" else column}"'
        if "TIMESTAMP" in kind
        else f'"{column}"'
        for column, kind, *_ in columns
    ]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {', '.join(told)} FROM {files}")


def _files(table: str | Path) -> str:
    """Return the table function that reads a file, a folder or a glob."""
    found = f"{table}/**/*.parquet" if Path(table).is_dir() else str(table)
    return "read_parquet('{}', union_by_name = true, hive_partitioning = false)".format(found.replace("'", "''"))


def query(name: str, tables: Mapping[str, pd.DataFrame], **parameters: Any) -> pd.DataFrame:
    """Return what the last statement of ``pipelines/sql/<name>.sql`` selects from `tables`, in its own order.

    The steps before it make temporary tables, whose true sizes the planner then knows; as one statement, the joins of
    a long query can be planned so badly that they do not end. `parameters` are the script's variables.

    A column `time` goes in as `instant`, its whole microseconds since 1970: exact, and without time zones.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        duckdb.connect(":memory:", config={**_LIMITS, "temp_directory": spill}) as connection,
    ):
        for table, frame in tables.items():
            connection.register(table, pa.Table.from_pandas(with_instants(frame), preserve_index=False))
        for variable, value in parameters.items():
            connection.execute(f"SET VARIABLE {variable} = $1", [value])
        script = (SQL / f"{name}.sql").read_text(encoding="utf-8")
        *steps, last = connection.extract_statements(script)
        for step in steps:
            connection.execute(step)
        result: pd.DataFrame = connection.sql(last).to_arrow_table().to_pandas()
    return result


def with_instants(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its times as whole microseconds since 1970, a column `time` as `instant`."""
    instants = {
        name if name != "time" else "instant": _microseconds(frame[name])
        for name in frame.columns
        if isinstance(frame[name].dtype, pd.DatetimeTZDtype)
    }
    return frame.drop(columns=["time"], errors="ignore").assign(**instants)


def _microseconds(times: pd.Series) -> pd.Series:
    known: pd.Series = times.dt.as_unit("us").astype("int64").where(times.notna())
    whole: pd.Series = known.astype("Int64")
    return whole


def instants_to_times(instants: pd.Series) -> pd.Series:
    """Return times in UTC from microseconds since 1970."""
    times: pd.Series = pd.to_datetime(instants, unit="us", utc=True).dt.as_unit("us")
    return times
