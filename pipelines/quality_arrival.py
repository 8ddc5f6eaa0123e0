"""How the log came in: events that arrived late, and clocks that ran backwards, in the order of data/raw/events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.quality_profile import opened, quoted, reading

_QUERY = """
WITH log AS (
    SELECT {time} AS t, shopper_id, session_id, {order} FROM {files}
), seen AS (
    SELECT t, shopper_id IS NOT NULL AND session_id IS NOT NULL AS known,
        max(t) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest,
        lag(t) OVER (PARTITION BY shopper_id, session_id ORDER BY {order}) AS before
    FROM log WHERE t BETWEEN epoch_us({first}::TIMESTAMP) AND epoch_us({last}::TIMESTAMP)
)
SELECT count(*), count(*) FILTER (t < newest), count(*) FILTER (t < newest - {lateness}),
    coalesce(max(newest - t), 0), count(*) FILTER (t < before AND known)
FROM seen
"""


def arrival(connection: Any, files: Sequence[Path], between: tuple[str, str], lateness: int) -> dict[str, Any] | None:
    """Return how many events came after a newer one, and by how much; None where the log says no time or session.

    The order of arrival is that of the column `arrived` where there is one, else that of the rows. Rows whose time is
    not within `between` (first and last clean event) are left out: one clock in the far future would make everything
    after it late. lateness: microseconds, from which on an event counts as `beyond`. backwards: events whose time is
    before that of the one that arrived just before in the same session.
    """
    table = opened(connection, "raw/events", files)
    if not {"time", "shopper_id", "session_id"} <= set(table.columns):
        return None
    kinds = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {quoted(table.name)}").fetchall()}
    arrived = "arrived, " if "arrived" in table.columns else ""
    query = _QUERY.format(
        time=_instant(kinds["time"]),
        order=f"{arrived}filename, file_row_number",
        files=reading(files, ", filename = true, file_row_number = true"),
        first=_literal(between[0]),
        last=_literal(between[1]),
        lateness=lateness,
    )
    rows, late, beyond, longest, backwards = connection.execute(query).fetchone()
    return {
        "rows": rows, "late": late, "beyond": beyond, "lateness_seconds": lateness / 1e6,
        "longest_seconds": longest / 1e6, "backwards": backwards, "by": "arrived" if arrived else "the order of rows",
    }  # fmt: skip


def _literal(time: str) -> str:
    return "'" + time.removesuffix("+00:00") + "'"


def _instant(kind: str) -> str:
    """Return the SQL of a time in microseconds since 1970, read as `clean` reads it (pipelines/tidy.py)."""
    if kind.startswith(("TIMESTAMP", "DATE")):
        return "epoch_us(time)"
    if kind == "VARCHAR":
        return "epoch_us(TRY_CAST(time AS TIMESTAMPTZ))"
    return "(time::DOUBLE * CASE WHEN abs(time::DOUBLE) < 1e11 THEN 1e6 ELSE 1e3 END)::BIGINT"
