"""Event logs of any length: a market is simulated once, and its log repeated for ever other shoppers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb

from pipelines import market
from pipelines.clean import cleaned
from pipelines.config import Clean
from pipelines.files import replacing, write_table
from pipelines.sources import MarketSource

MILLION = 1_000_000
APART = 7_001  # microseconds between an event and its copy
_OFFERS = 543_000  # give a little more than a million events
_EVENTS = """
SELECT * REPLACE (
    time + to_microseconds({apart}) AS time, event_id || '{tail}' AS event_id, shopper_id || '{tail}' AS shopper_id,
    session_id || '{tail}' AS session_id
)
FROM read_parquet('{file}')
"""
_SHOPPERS = "SELECT * REPLACE (shopper_id || '{tail}' AS shopper_id) FROM read_parquet('{file}')"


def simulated(folder: Path, source: MarketSource, events: int = MILLION, seed: int = 7) -> None:
    """Write the clean tables of one market to `folder`, the log cut after so many events."""
    shop = market.simulate(source, seed)
    raw = {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}
    tables = cleaned(raw, source, Clean())[0]
    with replacing(folder) as draft:
        for name, table in tables.items():
            write_table(draft / f"{name}.parquet", table.head(events) if name == "events" else table)


def repeated(first: Path, folder: Path, times: int) -> None:
    """Write the log of `first` so many times to `folder`: copies of its events and shoppers, of the same items."""
    with replacing(folder) as draft, duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for name in ("events", "shoppers"):
            (draft / name).mkdir(parents=True)
        connection.execute(f"COPY (FROM read_parquet('{first}/items.parquet')) TO '{draft}/items.parquet'")
        for k in range(times):
            for name, select in (("events", _EVENTS), ("shoppers", _SHOPPERS)):
                told = select.format(apart=k * APART, tail=f"-{k}", file=first / f"{name}.parquet")
                connection.execute(f"COPY ({told}) TO '{draft}/{name}/{k}.parquet' (FORMAT parquet)")


def log(folder: Path, source: MarketSource, millions: int) -> Path:
    """Return the folder of a log of so many million events; made if it is not there."""
    first, found = folder / "log", folder / f"log-{millions}"
    if not first.is_dir():
        simulated(first, dataclasses.replace(source, offers=_OFFERS))
    if not found.is_dir():
        repeated(first, found, millions)
    return found
