"""Clean: data/raw/ -> data/clean/, every rejected row to data/quarantine/ with the rule that caught it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from pipelines import rules
from pipelines.config import Clean, Config, stage
from pipelines.errors import InputError
from pipelines.files import read_json, read_table, replacing, write_json, write_table
from pipelines.rules import Rule, counted, nothing_left, sift
from pipelines.sources import DecisionsSource, EventsSource, OffersSource, Source, decided, event_clean, own_offers
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, check

RAW = Path("data/raw")
CLEAN = Path("data/clean")
QUARANTINE = Path("data/quarantine")

Tables = dict[str, pd.DataFrame]


def cleaned(raw: Tables, source: Source, clean: Clean) -> tuple[Tables, Tables]:
    """Return the clean tables and the rejected rows, by table. Cleaning what is clean changes nothing."""
    raw = {name: table.reset_index(drop=True) for name, table in raw.items()}
    if isinstance(source, OffersSource):
        own, rest = sift(raw["offers"], *own_offers.clean_rules(raw["offers"], source))
        own_offers.refuse_useless(own, rest, source)
        return {"offers": own.astype({"bought": "int64"}).reset_index(drop=True)}, {"offers": rest}
    items = _sifted(raw, "items", ITEMS, rules.of_items(source))
    shoppers = _sifted(raw, "shoppers", SHOPPERS, rules.of_shoppers())
    events = _sifted(raw, "events", EVENTS, rules.of_events(source, clean, items[0]["item_id"]))
    both = {"events": events, "items": items, "shoppers": shoppers}
    return {name: kept for name, (kept, _) in both.items()}, {name: rest for name, (_, rest) in both.items()}


def _sifted(
    raw: Tables, name: str, schema: pa.DataFrameSchema, by: Sequence[Rule]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the clean rows of one table in their order (of time, then id), and the rejected ones."""
    where = f"data/raw/{name}.parquet"
    kept, rejected = sift(raw[name], rules.typed(raw[name], schema, where), by)
    if kept.empty:
        raise InputError(nothing_left(where, counted(rejected)))
    order = [column for column in ("time", next(iter(schema.columns))) if column in kept]
    return check(kept.sort_values(order, ignore_index=True), schema, "clean"), rejected


def report(kept: Tables, rejected: Tables) -> dict[str, dict[str, object]]:
    """Return rows in, kept and rejected by rule, for each table; rows in = kept + rejected."""
    return {
        name: {
            "rows_in": len(kept[name]) + len(rejected[name]),
            "kept": len(kept[name]),
            "rejected": counted(rejected[name]),
        }
        for name in sorted(kept)
    }


def clean_tables(source: Source, clean: Clean) -> dict[str, dict[str, object]]:
    """Write data/clean/ and data/quarantine/ of tables that fit into memory; return the report."""
    told = read_json(RAW / decided.TOLD) if isinstance(source, DecisionsSource) else None
    if isinstance(source, DecisionsSource) and told is not None:
        source = decided.as_offers(source, told)
    names = ["offers"] if isinstance(source, OffersSource) else ["events", "items", "shoppers"]
    kept, rejected = cleaned({n: read_table(RAW / f"{n}.parquet") for n in names}, source, clean)
    for folder, tables in ((CLEAN, kept), (QUARANTINE, rejected)):
        with replacing(folder) as draft:
            for name, table in tables.items():
                write_table(draft / f"{name}.parquet", table)
            if folder == CLEAN:
                write_json(draft / "report.json", report(kept, rejected))
                if told is not None:
                    write_json(draft / decided.TOLD, told)
    return report(kept, rejected)


def clean_log(source: EventsSource, clean: Clean) -> dict[str, dict[str, object]]:
    """Write data/clean/ and data/quarantine/ of the user's own event log, bucket by bucket; return the report."""
    with replacing(QUARANTINE) as rest, replacing(CLEAN) as draft:
        made = event_clean.write(RAW, draft, rest, source, clean)
        write_json(draft / "report.json", made)
    return made


def main(cfg: Config) -> None:
    """Read data/raw/, write data/clean/ with its report, and data/quarantine/."""
    if isinstance(cfg.source, EventsSource):  # a log may be larger than memory
        told = clean_log(cfg.source, cfg.clean)
    else:
        told = clean_tables(cfg.source, cfg.clean)
    for name, counts in told.items():
        print(f"clean {name}: {counts['rows_in']:,} rows in, {counts['kept']:,} kept, rejected {counts['rejected']}")


if __name__ == "__main__":
    stage(main)
