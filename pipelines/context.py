"""The offers made of an event log: every view, with what behaviour before it tells, on the rung of its price."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import ladder
from pipelines.behaviour import batch
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.exported import as_json
from pipelines.config import EngineSettings
from pipelines.engine import Table, instants_to_times
from pipelines.errors import InputError
from pipelines.files import scratch
from pipelines.pricing import Guardrails, distinct, ladder_prices
from pipelines.sources import EventsSource, MarketSource, events
from pipelines.tables import OffersInfo

Made = tuple[pd.DataFrame, pd.DataFrame, OffersInfo]  # the offers, those on no rung, and what the offers are


@contextmanager
def _written(
    features: FeatureSet, tables: Mapping[str, Table], engine: EngineSettings, spill: Path | None
) -> Iterator[Path]:
    """Give the folder of the offers that an engine makes of a log."""
    temporary = tempfile.TemporaryDirectory() if spill is None else scratch(spill / ".features.scratch")
    with temporary as folder:
        out = Path(folder) / "offers"
        batch.engine(engine).write(features, tables, out)
        yield out


def _read(out: Path, keep: str = "true") -> pd.DataFrame:
    table = batch.frame(out, keep)
    table.insert(3, "time", instants_to_times(table.pop("instant")))
    return table


def contexts(
    features: FeatureSet, tables: Mapping[str, Table], engine: EngineSettings, spill: Path | None = None
) -> pd.DataFrame:
    """Return one row per view of the clean `events`, `items`, `shoppers`: offer and features, in time order.

    The tables are frames or Parquet; spill: the folder where the engine may keep what it is working on.
    """
    with _written(features, tables, engine, spill) as out:
        return _read(out)


def own_offers(
    source: EventsSource,
    tables: Mapping[str, Table],
    features: FeatureSet,
    engine: EngineSettings,
    told: Sequence[str],
    spill: Path | None = None,
) -> Made:
    """Return the offers of the user's own log, those whose price is on no rung, and what the offers are.

    Of a log with many more views than source.most_offers only those of some shoppers are read. told: what `ingest` had
    to assume.
    """
    with _written(features, tables, engine, spill) as out:
        views = batch.count(out)
        table = _read(out, events.thinned(events.kept_share(views, source)))
    return events.offers(table, source, features, told, views)


def offers(
    source: MarketSource,
    tables: Mapping[str, Table],
    features: FeatureSet,
    engine: EngineSettings,
    spill: Path | None = None,
) -> Made:
    """Return the offers of a simulated shop, those whose price is on no rung, and what the offers are."""
    table = contexts(features, tables, engine, spill)
    if table.empty:
        raise InputError("data/clean/events.parquet holds no view, so there is no offer; see data/quarantine/")
    rungs = source.rungs or ()  # a market always has some
    rung = _rung_of_price(table, np.asarray(rungs))
    table["multiplier"] = table["price"] / table["list_price"]
    table["rung"] = rung
    info = OffersInfo(
        source=source.name or source.kind,
        currency=source.currency,
        ladder=rungs,
        numeric=features.numeric,
        categorical=features.categorical,
        personal=features.personal,
        units=features.meanings,
        definitions=as_json(features),
        propensity_logged=bool(table["propensity"].notna().all()),
        assumptions=("A simulated shop: its demand is known, but no real shopper was asked.",),
    )
    return table[rung >= 0], table[rung < 0].assign(rule="off_ladder"), info


def _rung_of_price(table: pd.DataFrame, rungs: np.ndarray) -> np.ndarray:
    """Return the rung whose price, to the cent, was shown; -1 where there is none."""
    prices = ladder_prices(table[["list_price"]].to_numpy(float), rungs[None, :], Guardrails(minor_unit=0.01))
    away = np.abs(prices - table[["price"]].to_numpy(float))
    away = np.where(distinct(prices, tuple(rungs)), away, np.inf)
    nearest = away.argmin(axis=1)
    return np.where(away.min(axis=1) < 10**-ladder.DIGITS, nearest, -1).astype(np.int64)
