"""The batch SQL as Spark runs it: in its dialect, and with frames that it need not add up anew for each row."""

from __future__ import annotations

from typing import Any

from pipelines.errors import InputError

INSTALL = 'pip install "pricewright[spark]", or in a clone: pip install -r requirements-extras.lock'


def in_spark(select: str, span: int) -> str:
    """Return a SELECT of pipelines/behaviour/sql.py in Spark's SQL; span: microseconds from first to last event.

    Spark adds up a frame that slides anew for every row, but one that only grows just once. So a frame as long as the
    whole log is left open, and a count or a sum of whole numbers is told as the difference of two frames that grow,
    which is exact. What is neither (a decayed sum with a short half-life, a last word within a window) keeps its frame.
    """
    try:
        import sqlglot
    except ImportError:
        raise InputError(f"engine=spark needs sqlglot, which is not installed: {INSTALL}") from None
    tree = sqlglot.parse_one(select, read="duckdb")
    for node in list(tree.find_all(sqlglot.exp.Select)):
        _grow(node, span)
    for number in tree.find_all(sqlglot.exp.Literal):
        if not number.is_string and "." in number.name and "e" not in number.name:  # to Spark, a decimal
            number.set("this", f"{number.name}e0")
    return str(tree.sql(dialect="spark", unsupported_level=sqlglot.ErrorLevel.RAISE))


def _grow(select: Any, span: int) -> None:
    """Rewrite the frames of one SELECT that reach back for some time and no further."""
    from sqlglot import exp

    slides = []
    for frame in list(select.args.get("windows") or ()):
        start = frame.args["spec"].args["start"]
        if not isinstance(start, exp.Literal):
            continue
        back = int(start.name)
        if back >= span:
            frame.args["spec"].set("start", "UNBOUNDED")
            continue
        slides.append(frame.name)
        for name, until in (("now", 1), ("before", back + 1)):
            grown = frame.copy()
            grown.set("this", exp.to_identifier(f"{frame.name}_{name}"))
            grown.args["spec"].set("start", "UNBOUNDED")
            grown.args["spec"].set("end", exp.Literal.number(until))
            select.append("windows", grown)
    for over in list(select.find_all(exp.Window)):
        whole = isinstance(over.this, exp.Count) or (
            isinstance(over.this, exp.Sum) and isinstance(over.this.this, exp.Column)
        )
        if over.text("alias") in slides and whole:
            now, before = (_over(over, f"{over.text('alias')}_{name}") for name in ("now", "before"))
            over.replace(exp.paren(exp.Sub(this=now, expression=before)))


def _over(window: Any, frame: str) -> Any:
    """Return what is told of a window over another frame; 0 where nothing is in it."""
    from sqlglot import exp

    told = exp.Window(this=window.this.copy(), alias=exp.to_identifier(frame))
    return exp.Coalesce(this=told, expressions=[exp.Literal.number(0)])
