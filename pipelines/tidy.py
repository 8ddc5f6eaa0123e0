"""Values brought to one form: text in Unicode NFKC with white space folded, numbers as floats, times in UTC."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np
import pandas as pd

from pipelines.tables import UTC

NOTHING = frozenset(
    {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "#na", "-nan", "#n/a n/a"}
)  # where a number is expected
_MILLISECONDS = 1e11  # an epoch time above it cannot be in seconds: that would be the year 5138
_SINCE_1970 = r"\d{9,}(\.\d*)?"  # shorter digits, such as 20260302, are ISO 8601


def labels(values: pd.Series) -> pd.Series:
    """Return short names such as a country: NFKC, white space folded, case kept; an empty text is missing."""
    return _by_distinct(values, _folded)


def phrases(values: pd.Series) -> pd.Series:
    """Return written text such as search keywords: as `labels`, and in lower case."""
    return _by_distinct(values, lambda text: _folded(_folded(text).lower()))


def identifiers(values: pd.Series) -> pd.Series:
    """Return keys as text without white space around them; 17850 and 17850.0 are the same key."""
    if pd.api.types.is_float_dtype(values):
        whole = values.where(np.isfinite(values) & (values % 1 == 0))
        return whole.astype("Int64").astype("str").where(whole.notna(), _plain(values)).astype("str")
    return _by_distinct(values, str.strip)


def numbers(values: pd.Series) -> pd.Series:
    """Return floats; what cannot be read as a number becomes missing."""
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        return pd.Series(np.nan, index=values.index)
    plain = values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values
    return pd.to_numeric(plain, errors="coerce").astype("float64")


def present(values: pd.Series) -> pd.Series[bool]:
    """Return where a cell says something, in a column that should hold anything but words: NA, null and nan do not.

    Among words they may be some: the country NA is Namibia.
    """
    if pd.api.types.is_numeric_dtype(values) or values.dtype.kind in "mM":
        return values.notna()
    return values.notna() & ~values.astype("str").str.strip().str.lower().isin(NOTHING)


def times(values: pd.Series) -> pd.Series:
    """Return times in UTC: a time without a zone is taken as UTC, a number as seconds since 1970.

    Text must be ISO 8601, or such a number; what cannot be read becomes missing, as do words like `now` and `today`,
    which would be another time each day.
    """
    if pd.api.types.is_numeric_dtype(values):
        return _since_1970(values)
    plain = values.astype("str") if isinstance(values.dtype, pd.CategoricalDtype) else values
    if plain.isna().all():
        return absent(values.index, UTC)
    if pd.api.types.is_datetime64_any_dtype(plain):
        return _utc(pd.to_datetime(plain, utc=True))
    written = plain.astype("str").str.strip()
    number = written.str.fullmatch(_SINCE_1970, na=False)
    words = ~written.str.contains("[0-9]", na=False)
    read = _utc(pd.to_datetime(plain.where(~(number | words)), utc=True, errors="coerce", format="ISO8601"))
    return read.where(~number, _since_1970(pd.to_numeric(written.where(number)))) if number.any() else read


def _since_1970(values: pd.Series) -> pd.Series:
    """Return the times of numbers: seconds, or milliseconds where seconds would be absurd."""
    seconds = values.astype("float64").where(lambda v: v.abs() < _MILLISECONDS * 1000)
    seconds = seconds.where(seconds.abs() < _MILLISECONDS, seconds / 1000)
    return _utc(pd.to_datetime((seconds * 1e6).round(), unit="us", utc=True, errors="coerce"))


def _utc(values: pd.Series) -> pd.Series:
    precise: pd.Series = values.dt.as_unit("us")
    return precise


def absent(index: pd.Index, kind: str) -> pd.Series:
    """Return a column of the type `kind` without a value in it."""
    return pd.Series(None, index=index, dtype=kind)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _plain(values: pd.Series) -> pd.Series:
    return values.astype("str")


def _by_distinct(values: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """Return `values` as text, `change` applied to each distinct one; what comes out empty is missing."""
    codes, distinct = pd.factorize(values)
    changed = pd.Series([change(str(text)) or None for text in distinct] + [None], dtype="str")
    result = changed.iloc[np.where(codes < 0, len(distinct), codes)]
    result.index = values.index
    result.name = values.name
    return result
