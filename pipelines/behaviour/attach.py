"""Writes what an endpoint needs to compute contexts itself: python -m pipelines.behaviour.attach

Of data/clean/ and conf/features/ it makes data/live/: `live.json`, the definitions and the currency; `facts.db`, what
is known of items and shoppers, which a running endpoint reads anew; `state.db`, the histories as the log left them. A
state that is there stays as it is, since it may know more than the log: `--rebuild` makes it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.behaviour import exported, facts, replay
from pipelines.behaviour.exported import DEFINITIONS, FACTS, STATE
from pipelines.behaviour.journal import DurableState
from pipelines.errors import InputError
from pipelines.files import read_table, replacing, write_json

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.behaviour.definitions import FeatureSet

LIVE = Path("data/live")
CLEAN = Path("data/clean")


def attach(
    folder: Path, features: FeatureSet, currency: str, tables: Mapping[str, pd.DataFrame], now: int,
    rebuild: bool = False,
) -> str:  # fmt: skip
    """Write the folder of the clean `tables` and return in a sentence what was done. now: in µs; later events wait."""
    items, shoppers = replay.facts(tables["items"], "item_id"), replay.facts(tables["shoppers"], "shopper_id")
    told = f"{folder}: {len(items):,} items, {len(shoppers):,} shoppers"
    if rebuild or not (folder / STATE).exists():
        told += "; " + history(folder / STATE, features, items, shoppers, tables["events"], now)
    else:
        DurableState(folder / STATE, features).close()  # refuses one of other definitions, or that is in use
        told += f"; {STATE} stays as it is"
    facts.write(folder / FACTS, _pairs(items), _pairs(shoppers))
    write_json(folder / DEFINITIONS, {"currency": currency, "features": exported.as_json(features)})
    return told


def history(
    path: Path, features: FeatureSet, items: Mapping[str, Any], shoppers: Mapping[str, Any], log: pd.DataFrame, now: int
) -> str:
    """Write the state that a log leaves, and return in a few words what it holds."""
    if path.exists():
        DurableState(path, features).close()  # refuses while an endpoint has it
    taken = waiting = 0
    with replacing(path) as draft:
        durable = DurableState(draft, features, items, shoppers)
        try:
            for event in replay.events(log.sort_values(["time", "event_id"], kind="stable")):
                if event.instant > now:
                    waiting += 1
                else:
                    durable.state.add(event)
                    taken += 1
            durable.snapshot()
        finally:
            durable.close()
    ahead = f" ({waiting:,} lie in the future and were left out)" if waiting else ""
    return f"{STATE} knows {taken:,} events{ahead}"


def _pairs(rows: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for key, row in rows.items():
        yield key, {name: value for name, value in row.items() if name not in ("item_id", "shopper_id", "title")}


def main(arguments: list[str] | None = None) -> None:
    """Write data/live/."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.behaviour.attach",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clean", type=Path, default=CLEAN, help="the clean tables (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=LIVE, help="the folder to write (default: %(default)s)")
    parser.add_argument("--rebuild", action="store_true", help=f"make {STATE} again from the log; what it knew is lost")
    parser.add_argument("overrides", nargs="*", help="of conf/, e.g. source=events")
    options = parser.parse_args(arguments)
    from pipelines.config import load

    try:
        cfg = load(options.overrides)
        tables = {name: read_table(options.clean / f"{name}.parquet") for name in ("events", "items", "shoppers")}
        now = time.time_ns() // 1000
        print(attach(options.to, cfg.features, cfg.source.currency, tables, now, options.rebuild))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
