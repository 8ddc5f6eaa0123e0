"""Ingest: source -> data/raw/ in the canonical schema; the simulated shop's truth is kept apart, in data/truth/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import market
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import replacing, write_json, write_table
from pipelines.sources import (
    DecisionsSource,
    EventsSource,
    MarketSource,
    OffersSource,
    OnlineRetailSource,
    Source,
    decided,
    decisions,
    event_log,
    online_retail,
    own_offers,
)

RAW = Path("data/raw")
TRUTH = Path("data/truth")

Tables = dict[str, pd.DataFrame]


def raw_tables(source: Source, seed: int) -> tuple[Tables, Tables]:
    """Return the raw tables of a source, and of its truth as far as it is known."""
    if isinstance(source, MarketSource):
        shop = market.simulate(source, seed)
        flawed = market.break_rows(shop.events, source.flaws, np.random.default_rng([seed, 1]))
        return {"events": flawed, "items": shop.items, "shoppers": shop.shoppers}, {"offers": shop.truth}
    if isinstance(source, OnlineRetailSource):
        return online_retail.tables(online_retail.read(source), source), {}
    if isinstance(source, OffersSource):
        return {"offers": own_offers.read(source)}, {}
    raise InputError(f"source.kind={source.kind}: ingest does not know this kind of source")


def ingest_log(source: EventsSource) -> None:
    """Write data/raw/ and data/truth/ of the user's own event log, table by table."""
    with replacing(RAW) as draft:
        found = event_log.write(source, draft)
    with replacing(TRUTH) as draft:
        write_json(draft / "truth.json", {"known": False})
    print(f"ingest {source.name}: {found}")


def ingest_decisions(source: DecisionsSource) -> None:
    """Write data/raw/ and data/truth/ of the endpoint's own log, with what its policies say of their inputs."""
    table, told = decisions.read(source)
    with replacing(RAW) as draft:
        write_table(draft / "offers.parquet", own_offers.canonical(table, decided.as_offers(source, told)))
        write_json(draft / decided.TOLD, told)
    with replacing(TRUTH) as draft:
        write_json(draft / "truth.json", {"known": False})
    left_out = ", ".join(f"{name} {count:,}" for name, count in told["left_out"].items() if count) or "nothing"
    bought = told["outcomes"]["bought"]
    print(f"ingest {source.name}: {len(table):,} offers, {bought:,} bought; left out: {left_out}")
    odd = {name: told["outcomes"][name] for name in ("early", "late", "unknown_quote") if told["outcomes"][name]}
    if odd:
        counts = ", ".join(f"{name} {count:,}" for name, count in odd.items())
        print(f"  of {told['outcomes']['told']:,} outcomes these count for no offer: {counts} (docs/decisions.md)")


def main(cfg: Config) -> None:
    """Write data/raw/ and data/truth/, each as a whole, so that nothing of another source stays behind."""
    if isinstance(cfg.source, EventsSource):  # a log may be larger than memory
        ingest_log(cfg.source)
        return
    if isinstance(cfg.source, DecisionsSource):
        ingest_decisions(cfg.source)
        return
    raw, truth = raw_tables(cfg.source, cfg.seed)
    for folder, tables in ((RAW, raw), (TRUTH, truth)):
        with replacing(folder) as draft:
            for name, table in tables.items():
                write_table(draft / f"{name}.parquet", table)
            if folder == TRUTH:
                write_json(draft / "truth.json", {"known": bool(truth)})
    print(f"ingest {cfg.source.name}: " + ", ".join(f"{len(table):,} {name}" for name, table in raw.items()))
    if isinstance(cfg.source, OffersSource):
        for sentence in own_offers.doubts(raw["offers"], cfg.source):
            print(f"ingest {cfg.source.name}: {sentence}")


if __name__ == "__main__":
    stage(main)
