"""A table that the user brings: one Parquet or CSV file, read with errors that say what to do."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pipelines.errors import InputError, nearest, shown
from pipelines.sources import separated
from pipelines.sources.separated import SEPARATORS
from pipelines.tidy import numbers, present


def read(path: Path, setting: str, text: Iterable[str] = (), where: str = "") -> pd.DataFrame:
    """Return the table at `path`, which the configuration names as `setting`.

    In a CSV file the columns `text` stay text, so that identifiers keep their leading zeros; columns without a
    name (a saved row index) are dropped. `where` says how to get the file.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: {setting} must name one file in it (.parquet, .csv, .csv.gz or .tsv)")
    if not path.is_file():
        raise InputError(f"{path} is missing: {where or 'put your file there'}, or name another with {setting}")
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() != ".gz"), "")
    try:
        if suffix in SEPARATORS:
            table = separated.read(path, SEPARATORS[suffix], text)
        elif suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            raise InputError(f"{path}: {setting} must name a .parquet, .csv, .csv.gz or .tsv file")
    except (ValueError, OSError, EOFError, zlib.error, csv.Error) as error:  # ValueError: also the parsers' own
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = " as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(
            f"{path} cannot be read as {suffix[1:]}: {told}; save it again{hint}, or fix {setting}"
        ) from None
    table.columns = [str(name) for name in table.columns]
    if repeated := sorted(set(table.columns[table.columns.duplicated()])):
        raise InputError(f"{path}: column {repeated[0]!r} occurs twice; rename one of the two")
    if table.empty:
        raise InputError(f"{path} has no rows: {setting} must name a table with at least one row")
    return table[[name for name in table.columns if name.strip() and not name.startswith("Unnamed:")]]


def require(table: pd.DataFrame, columns: Sequence[tuple[str, str]], path: Path) -> None:
    """Refuse a `table` that lacks one of `columns`, given as (setting, column name)."""
    for setting, name in columns:
        if name not in table.columns:
            raise InputError(
                f"{path}: there is no column {name!r}{nearest(name, list(table.columns))}; "
                f"name the right one with {setting}, or add it"
            )


def require_number(values: pd.Series, setting: str, path: Path) -> None:
    """Refuse a column of words where numbers are declared; single unreadable cells are for `clean` to catch."""
    known = values[present(values)]
    bad = known[numbers(known).isna()]
    if len(known) and len(bad) > len(known) / 2:
        raise InputError(
            f"{path}: column {values.name!r} must hold numbers ({setting}), but {len(bad)} of {len(known)} values "
            f"are none, e.g. {shown(bad.iloc[0])}; convert the column, or name another with {setting}"
        )
