"""CSV and TSV files: read so that no cell changes its column and no row is swallowed without a word."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipelines.errors import InputError

SEPARATORS = {".csv": ",", ".tsv": "\t"}


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
            f"{path}: the first row has {len(first)} cells, but the header names {len(header)} columns (a separator "
            f"{separator!r} at the end of the lines?); give the header and every row as many cells"
        )
    return pd.read_csv(path, sep=separator, dtype=dict.fromkeys(text, "str"), index_col=False, low_memory=False)


def _beginning(path: Path, separator: str) -> tuple[list[str], list[str]]:
    """Return the header as it stands, and the first row; empty where there is none."""
    packed = path.suffix.lower() == ".gz"
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        records = (cells for cells in csv.reader(file, delimiter=separator) if len(cells) > 1 or "".join(cells).strip())
        return next(records, []), next(records, [])
