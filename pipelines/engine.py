"""DuckDB as the embedded engine: one query of pipelines/sql/ over tables in memory, bounded in memory and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

SQL = Path(__file__).parent / "sql"
_LIMITS = {"threads": 2, "memory_limit": "4GB", "preserve_insertion_order": False}


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
            connection.register(table, pa.Table.from_pandas(_with_instants(frame), preserve_index=False))
        for variable, value in parameters.items():
            connection.execute(f"SET VARIABLE {variable} = $1", [value])
        script = (SQL / f"{name}.sql").read_text(encoding="utf-8")
        *steps, last = connection.extract_statements(script)
        for step in steps:
            connection.execute(step)
        result: pd.DataFrame = connection.sql(last).to_arrow_table().to_pandas()
    return result


def _with_instants(frame: pd.DataFrame) -> pd.DataFrame:
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
