"""Clean: data/raw/ -> data/clean/, every rejected row to data/quarantine/ with the rule that caught it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from pipelines import rules
from pipelines.config import Clean, Config, stage
from pipelines.errors import InputError
from pipelines.files import read_table, replacing, write_json, write_table
from pipelines.rules import Rule
from pipelines.sources import OffersSource, Source, own_offers
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, check

RAW = Path("data/raw")
CLEAN = Path("data/clean")
QUARANTINE = Path("data/quarantine")

Tables = dict[str, pd.DataFrame]


def sift(raw: pd.DataFrame, table: pd.DataFrame, by: Sequence[Rule]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `table` that pass every rule, and those of `raw` that do not, with the first such `rule`.

    Both tables have the same rows; a rule sees only rows that passed the ones before it.
    """
    caught: list[pd.DataFrame] = []
    for name, breaks in by:
        broken = breaks(table).astype(bool)
        caught.append(raw.loc[table.index[broken]].assign(rule=pd.Series(name, table.index[broken], dtype="str")))
        table = table[~broken]
    return table.drop(columns="unreadable", errors="ignore"), pd.concat(caught).sort_index()


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
        raise InputError(nothing_left(where, rejected))
    order = [column for column in ("time", next(iter(schema.columns))) if column in kept]
    return check(kept.sort_values(order, ignore_index=True), schema, "clean"), rejected


def nothing_left(where: str, rejected: pd.DataFrame) -> str:
    """Return what to tell the user when no row passed."""
    if rejected.empty:
        return f"{where} has no rows, so there is nothing to learn from; check the source"
    counts = ", ".join(f"{rule} {count}" for rule, count in rejected["rule"].value_counts().items())
    return f"{where}: all {len(rejected)} rows were rejected ({counts}); mend the source, see docs/schema.md"


def report(kept: Tables, rejected: Tables) -> dict[str, dict[str, object]]:
    """Return rows in, kept and rejected by rule, for each table; rows in = kept + rejected."""
    return {
        name: {
            "rows_in": len(kept[name]) + len(rejected[name]),
            "kept": len(kept[name]),
            "rejected": {str(rule): int(n) for rule, n in rejected[name]["rule"].value_counts().sort_index().items()},
        }
        for name in sorted(kept)
    }


def main(cfg: Config) -> None:
    """Read data/raw/, write data/clean/ with its report, and data/quarantine/."""
    names = ["offers"] if isinstance(cfg.source, OffersSource) else ["events", "items", "shoppers"]
    kept, rejected = cleaned({n: read_table(RAW / f"{n}.parquet") for n in names}, cfg.source, cfg.clean)
    for folder, tables in ((CLEAN, kept), (QUARANTINE, rejected)):
        with replacing(folder) as draft:
            for name, table in tables.items():
                write_table(draft / f"{name}.parquet", table)
            if folder == CLEAN:
                write_json(draft / "report.json", report(kept, rejected))
    for name, counts in report(kept, rejected).items():
        print(f"clean {name}: {counts['rows_in']:,} rows in, {counts['kept']:,} kept, rejected {counts['rejected']}")


if __name__ == "__main__":
    stage(main)
