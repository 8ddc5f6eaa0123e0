"""CSV and TSV files: read so that no cell changes its column and no row is swallowed without a word."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import tidy
from pipelines.errors import InputError

csv.field_size_limit(2**31 - 1)  # a review may be long, and pandas reads any
SEPARATORS = {".csv": ",", ".tsv": "\t"}
_NEARLY = 0.9  # a column of which so large a share reads as numbers holds numbers, but for what a quote swallowed


def read(path: Path, separator: str, text: Iterable[str]) -> pd.DataFrame:
    """Return the table at `path`; the columns `text` stay text, so that identifiers keep their leading zeros."""
    header, first = _beginning(path, separator)
    if len(header) == 1 and (other := next((mark for mark in (";", "\t", "|", ",") if mark in header[0]), "")):
        raise InputError(
            f"{path}: its columns are separated by {other!r}, not by {separator!r}; save it with the latter"
            " (and with decimal points), or as Parquet"
        )
    if repeated := {name for name in header if name.strip() and header.count(name) > 1}:  # pandas would rename them
        raise InputError(f"{path}: column {min(repeated)!r} occurs twice; rename one of the two")
    if len(first) > len(header):  # pandas would lose cells, or name rows by them; of later rows it refuses such
        raise InputError(
            f"{path}: the first row has {len(first)} cells, but the header, which begins with {header[0]!r}, names "
            f"{len(header)} column(s) (a separator {separator!r} at the end of the lines, or a title above them?); "
            "give the header and every row as many cells"
        )
    kinds = dict.fromkeys(text, "str")
    table = pd.read_csv(
        path, sep=separator, dtype=kinds, index_col=False, low_memory=False, keep_default_na=False, na_values=[""]
    )
    _refuse_swallowed(table, separator, path)
    return table.assign(**{name: _typed(table[name]) for name in table.columns if name not in kinds})


def _typed(values: pd.Series) -> pd.Series:
    """Return a column of numbers, or of true and false, as such where NA, null or nan alone made text of it."""
    if pd.api.types.is_numeric_dtype(values) or (there := tidy.present(values)).all() or not there.any():
        return values
    known = values[there].astype("str")
    if known.str.lower().isin(("true", "false")).all():
        return (known.str.lower() == "true").astype(object).reindex(values.index)
    read = pd.to_numeric(known, errors="coerce")
    return values if read.isna().any() else read.reindex(values.index)


def _beginning(path: Path, separator: str) -> tuple[list[str], list[str]]:
    """Return the header as it stands, and the first row; empty where there is none."""
    packed = path.suffix.lower() == ".gz"
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        records = (cells for cells in csv.reader(file, delimiter=separator) if len(cells) > 1 or "".join(cells).strip())
        return next(records, []), next(records, [])


def _refuse_swallowed(table: pd.DataFrame, separator: str, path: Path) -> None:
    """Refuse a table in which a quote that is not closed made rows part of a cell, up to the next quote."""
    breaks = len(table.columns) - 1
    for place, name in enumerate(table.columns if breaks else ()):
        if pd.api.types.is_numeric_dtype(table[name]):
            continue
        cells = table[name].astype("str")
        long = cells.str.contains(r"[\r\n]", na=False) & (cells.str.count(re.escape(separator)) >= breaks)
        numeric = [_holds_numbers(table[other]) for other in table.columns] if long.any() else []
        for row in np.flatnonzero(long):
            lines = cells.iloc[row].splitlines()
            marks = [line.count(separator) for line in lines]
            if breaks not in marks[1:-1] and (marks[0] != breaks - place or marks[-1] < place):
                continue  # as most texts; the rest of the row is looked up for the others alone
            beside = ["" if pd.isna(other) else str(other) for other in table.iloc[row]]
            if swallowed := _swallowed(lines, place, beside, numeric, separator):
                raise InputError(
                    f'{path}: in row {row + 1} below the header a quote (") is not closed, or so it looks: column '
                    f"{name!r} goes on over {swallowed:,} further row(s); close the quote or delete it, and where that "
                    "text is as it should be, save the table as Parquet"
                )


def _holds_numbers(values: pd.Series) -> bool:
    known = values[tidy.present(values)]
    return bool(len(known)) and bool(tidy.numbers(known).notna().mean() >= _NEARLY)


def _swallowed(lines: Sequence[str], place: int, beside: Sequence[str], numeric: list[bool], separator: str) -> int:
    """Return how many rows begin in a cell of several lines, 0 if none does.

    One begins where a line between the first and the last is a whole row, or where the first line ends a row and the
    last begins one: with as many cells, and with numbers where the other rows (`beside` the cell at `place`) have them.
    """

    def is_row(cells: Sequence[str]) -> bool:
        return len(cells) == len(numeric) and all(
            not needed or cell.strip().lower() in tidy.NOTHING or pd.notna(pd.to_numeric(cell, errors="coerce"))
            for cell, needed in zip(cells, numeric, strict=True)
        )

    ends = is_row([*beside[:place], *lines[0].split(separator)])
    last = [*lines[-1].split(separator), *beside[place + 1 :]]
    while len(last) > len(numeric) and not last[-1]:  # closed further to the right: what is short was filled up
        last.pop()
    begins = is_row(last)
    between = any(is_row(line.split(separator)) for line in lines[1:-1])
    return len(lines) - 1 if between or (ends and begins) else 0
