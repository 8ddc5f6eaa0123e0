"""A clean log as live state takes it, and the features that it gives: those of the batch engine, or something is wrong.

`python -m pipelines.behaviour.replay [FOLDER]` takes the events of FOLDER (data/clean) one by one, asks the context of
every view, and counts where it is not what the batch engine gives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.measures import Event
from pipelines.behaviour.state import FeatureState

_OWN = ("event_id", "time", "instant", "kind", "shopper_id", "session_id", "item_id")  # not of an event's row
_SLICE = 50_000  # rows that are made into Python's values at a time


def events(table: pd.DataFrame) -> Iterator[Event]:
    """Return the events of the clean table `events` in its order; what is missing in a row is left out of it."""
    for start in range(0, len(table), _SLICE):
        yield from _events(table.iloc[start : start + _SLICE])


def _events(part: pd.DataFrame) -> Iterator[Event]:
    named = [name for name in part.columns if name not in _OWN]
    columns = [_plain(part[name]) for name in named]
    ids = (_plain(part[name]) for name in ("event_id", "kind", "shopper_id", "session_id", "item_id"))
    for instant, event_id, kind, shopper, session, item, *row in zip(
        microseconds(part["time"]), *ids, *columns, strict=True
    ):
        known = {name: value for name, value in zip(named, row, strict=True) if value is not None}
        yield Event(instant, event_id, kind, shopper, session, item, known)


def facts(table: pd.DataFrame, key: str) -> dict[str, Mapping[str, Any]]:
    """Return the rows of the clean table `items` or `shoppers` by id (`key`), times in microseconds since 1970."""
    columns = {
        name: microseconds(table[name]) if isinstance(table[name].dtype, pd.DatetimeTZDtype) else _plain(table[name])
        for name in table.columns
    }
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return {row[key]: row for row in rows}


def live_features(features: FeatureSet, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every feature of every view, by offer_id, as live state tells it at the moment of the view."""
    state = FeatureState(features, facts(tables["items"], "item_id"), facts(tables["shoppers"], "shopper_id"))
    rows: dict[str, list[Any]] = {name: [] for name in features.features}
    offers = []
    for event in events(tables["events"].sort_values(["time", "event_id"], kind="stable")):
        if event.kind == "view":
            told = state.context(event.shopper_id, event.item_id, event.session_id, event.instant, event.row)
            for name, values in rows.items():
                values.append(told[name])
            offers.append(event.event_id)
        state.add(event)
    return pd.DataFrame(rows, index=pd.Index(offers, name="offer_id"))


def differences(batch: pd.DataFrame, live: pd.DataFrame) -> dict[str, int]:
    """Return for every feature how many offers differ, numbers by more than 1e-6 of max(1, |x|); both by offer_id."""
    if not batch.index.sort_values().equals(live.index.sort_values()):
        raise ValueError("the two tables are not of the same offers")
    batch = batch.reindex(live.index)
    counts = {}
    for name in live.columns:
        if pd.api.types.is_numeric_dtype(live[name]):
            a, b = batch[name].to_numpy(float), live[name].to_numpy(float)
            same = (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= 1e-6 * np.maximum(1, np.abs(a)))
        else:
            same = (batch[name] == live[name]).to_numpy(bool)
        counts[name] = int((~same).sum())
    return counts


def microseconds(times: pd.Series) -> list[Any]:
    """Return times as whole microseconds since 1970, None where missing."""
    whole = times.dt.as_unit("us").astype("int64")
    return [int(value) if known else None for value, known in zip(whole, times.notna(), strict=True)]


def _plain(column: pd.Series) -> list[Any]:
    """Return a column as Python's own values, None where missing."""
    return column.astype(object).where(column.notna(), None).tolist()


def main(folder: Path) -> int:
    """Compare the live features of a folder of clean tables with the batch ones; returns how many values differ."""
    from pipelines.config import load
    from pipelines.context import contexts
    from pipelines.files import read_table

    cfg = load()
    tables = {name: read_table(folder / f"{name}.parquet") for name in ("events", "items", "shoppers")}
    live = live_features(cfg.features, tables)
    counts = differences(contexts(cfg.features, tables, cfg.engine).set_index("offer_id"), live)
    for name, count in counts.items():
        if count:
            print(f"{name}: {count} offers differ")
    print(f"{len(live):,} offers, {len(counts)} features, {sum(counts.values())} differences between batch and live")
    return sum(counts.values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/clean")) > 0)
