"""The batch SQL as Spark runs it: in its dialect, and with frames that it need not add up anew for each row."""

from __future__ import annotations

from typing import Any

from pipelines.errors import InputError

INSTALL = 'pip install "pricewright[spark]", or in a clone: pip install -r requirements-extras.lock'


def in_spark(select: str, span: int) -> str:
    """Return a SELECT of pipelines/behaviour/sql.py in Spark's SQL; span: microseconds from first to last event.

    Spark adds up a frame that slides anew for every row, but one that only grows just once. So a frame as long as the
    whole log is left open at its start. Counts and sums of whole numbers slide in none (sql_columns.frames); a decayed
    sum with a half-life that is short beside the log does.
    """
    try:
        import sqlglot
    except ImportError:
        raise InputError(f"engine=spark needs sqlglot, which is not installed: {INSTALL}") from None
    tree = sqlglot.parse_one(select, read="duckdb")
    for node in list(tree.find_all(sqlglot.exp.Select)):
        _open(node, span)
    for number in tree.find_all(sqlglot.exp.Literal):
        if not number.is_string and "." in number.name and "e" not in number.name:  # to Spark, a decimal
            number.set("this", f"{number.name}e0")
    return str(tree.sql(dialect="spark", unsupported_level=sqlglot.ErrorLevel.RAISE))


def _open(select: Any, span: int) -> None:
    """Leave the frames of one SELECT open that reach back as far as the log goes, or farther."""
    from sqlglot import exp

    for frame in select.args.get("windows") or ():
        start = frame.args["spec"].args["start"]
        if isinstance(start, exp.Literal) and int(start.name) >= span:
            frame.args["spec"].set("start", "UNBOUNDED")
