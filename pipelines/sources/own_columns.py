"""The columns of the user's own table, each brought to its type; one that cannot play its part is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from pipelines import tidy
from pipelines.errors import InputError, shown
from pipelines.sources import OffersSource, external

_NUMBER_KINDS = ("integer", "floating", "decimal", "mixed-integer-float")
_OUTCOMES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_DAY = r"\d{4}-\d{2}-\d{2}"  # what a date or time in ISO 8601 begins with
_NEARLY = 0.9  # a text column of which so large a share reads as numbers was probably meant to hold some
_COMMA = r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+"
_FEW_LOST = 0.02  # lost outcomes per offer of the rarer outcome: more of them would bend demand


def is_number(values: pd.Series) -> bool:
    """Return whether a column holds numbers; true and false are words."""
    if pd.api.types.is_object_dtype(values):
        return pd.api.types.infer_dtype(values, skipna=True) in _NUMBER_KINDS
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def feature(values: pd.Series, source: OffersSource, path: Path) -> pd.Series:
    """Return a column of the context: numbers, times, or words; declared kinds come before what it looks like."""
    name = values.name
    if name in (source.numeric or ()):
        return readable(values, "source.numeric", path)
    if name not in (source.categorical or ()) and is_number(values):
        return tidy.numbers(values)
    if name not in (source.categorical or ()) or values.dtype.kind in "mM":
        values = _as_moments(values)
    if values.dtype.kind in "mM":
        return values
    known = values.dropna()
    if pd.api.types.is_bool_dtype(values) or (len(known) and known.map(lambda v: isinstance(v, bool)).all()):
        return values.map({True: "true", False: "false"}).astype("str")
    return tidy.labels(tidy.identifiers(values))


def _as_moments(values: pd.Series) -> pd.Series:
    """Return dates and times, of whatever type or as ISO 8601 text throughout, as such; any other column as it is."""
    if values.dtype.kind == "m" or pd.api.types.is_numeric_dtype(values):
        return values
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "time":
        return pd.to_timedelta(values.astype("str"), errors="coerce")
    if kind == "timedelta":
        return pd.to_timedelta(values)
    if values.dtype.kind == "M" or kind in ("date", "datetime"):
        return tidy.times(values)
    distinct = pd.Series(values[tidy.present(values)].astype("str").unique(), dtype="str").str.strip()
    if not len(distinct) or not re.match(_DAY, distinct.iloc[0]) or not distinct.str.match(_DAY).all():
        return values
    return tidy.times(values.astype("str")) if tidy.times(distinct).notna().all() else values


def nearly_numbers(values: pd.Series) -> str:
    """Return a sentence for a column of text that reads as numbers nearly throughout, else an empty text.

    One odd cell among thousands, or decimal commas, would make a category of every number without a word.
    """
    if values.dtype.kind in "mMbiuf":
        return ""
    cells = values[tidy.present(values)].astype("str").str.strip()
    comma = cells.str.fullmatch(_COMMA)
    read = tidy.numbers(cells).notna() | comma
    if cells.empty or read.mean() < _NEARLY:
        return ""
    said = f"Column {values.name!r} is read as words, though {read.sum():,} of {len(cells):,} cells are numbers"
    if comma.any():
        example, advice = cells[comma].iloc[0], "write decimal points and name it in source.numeric"
        said += f" (some with a decimal comma, such as {example!r})"
    elif read.all():
        advice = "name it in source.numeric"
    else:
        advice = "empty such cells, or name it in source.numeric, which sets their rows aside"
    odd = "" if read.all() else f" and {cells[~read].iloc[0]!r} is none"
    return f"{said}{odd}: {advice}; source.categorical keeps the words."


def readable(values: pd.Series, setting: str, path: Path) -> pd.Series:
    """Return numbers; as text where single cells are none, so that quarantine shows what stood there."""
    external.require_number(values, setting, path)
    read = tidy.numbers(values)
    return values.astype("str") if (read.isna() & tidy.present(values)).any() else read


def outcomes(values: pd.Series, path: Path) -> pd.Series:
    """Return 1 for bought and 0 for not; refuse a column in which more than single cells say neither.

    Rows that are dropped for their outcome are not dropped at random, unlike those of other broken cells.
    """
    words = values.astype("str").str.strip().str.lower().map(_OUTCOMES)
    read = tidy.numbers(values).fillna(words)
    lost = values[~read.isin((0, 1))]
    rarer = min((read == 1).sum(), (read == 0).sum())
    if len(lost) > max(3, _FEW_LOST * rarer):
        raise InputError(
            f"{path}: column {values.name!r} must hold 1 where the offer was bought, however many pieces, and 0 where "
            f"not (or true and false, yes and no), but {len(lost)} of {len(values)} rows hold something else, e.g. "
            f"{'nothing' if pd.isna(lost.iloc[0]) else lost.iloc[0]}; convert them, drop rows whose outcome is "
            "not known yet, or name another column with source.columns.bought"
        )
    strange = read.isna() & tidy.present(values)
    return read.astype(object).where(~strange, values.astype("str")).astype("str") if strange.any() else read


def flags(values: pd.Series, path: Path) -> pd.Series:
    """Return 1 where a price was drawn at random and 0 where it was chosen; a missing cell stays missing."""
    words = values.astype("str").str.strip().str.lower().map(_OUTCOMES)
    read = tidy.numbers(values).fillna(words)
    there = tidy.present(values)
    strange = ~read.isin((0, 1)) & there
    if strange.sum() > _FEW_LOST * there.sum():
        raise InputError(
            f"{path}: column {values.name!r} must hold 1 where the price was drawn at random and 0 where it was not, "
            f"or true and false, yes and no (source.columns.randomised), but {strange.sum()} of {len(values)} rows "
            f"hold something else, e.g. {values[strange].iloc[0]}; convert it, or set source.columns.randomised to null"
        )
    return read.astype(object).where(~strange, values.astype("str")).astype("str") if strange.any() else read


def moments(values: pd.Series, path: Path) -> pd.Series:
    """Return times; as text where single cells are none, so that quarantine shows what stood there."""
    read = tidy.times(values)
    there = tidy.present(values)
    lost = values[read.isna() & there]
    if len(lost) > there.sum() / 2:
        raise InputError(
            f"{path}: column {values.name!r} must hold times (source.columns.time), but {shown(lost.iloc[0])} is none; "
            "use ISO 8601 (2026-03-02T17:30:00Z) or seconds since 1970, or set source.columns.time to null"
        )
    return values.astype("str") if len(lost) else read


def refuse_nested(table: pd.DataFrame, path: Path) -> None:
    """Refuse a column whose cells are lists or the like, which are neither number nor word."""
    for name, values in table.select_dtypes(include=["object"]).items():
        nested = values[values.notna() & ~values.map(pd.api.types.is_scalar)]
        if len(nested):
            kind = type(nested.iloc[0]).__name__
            raise InputError(
                f"{path}: column {name!r} holds several values in one cell (a {kind}); spread them over columns of "
                "their own, or list it under source.protected, which leaves it out"
            )
