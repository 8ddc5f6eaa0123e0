"""Features: data/clean/ -> data/offers/: every offer with its context, cut by time into fit, select and certify."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import context, ladder
from pipelines.config import Config, Split, stage
from pipelines.errors import InputError
from pipelines.files import digest, read_json, read_table, replacing, write_table
from pipelines.sources import (
    DecisionsSource,
    EventsSource,
    MarketSource,
    OffersSource,
    OnlineRetailSource,
    decided,
    event_log,
    online_retail,
    own_context,
)
from pipelines.tables import OFFERS, WINDOWS, OffersInfo, check

CLEAN = Path("data/clean")
OUT = Path("data/offers")
LOG = ("events", "items", "shoppers")

Tables = dict[str, pd.DataFrame]

_UNTYPED = ("min_price", "max_price", "propensity", "instrument", "randomised")  # all missing has no type yet
_NOT_LISTED = (
    "{}: the best single price of the fit window takes its place in fallbacks and as the first champion, named "
    "list_price."
)


def made(cfg: Config) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of data/clean/ in time order, those that are set aside, and what the offers are."""
    source = cfg.source
    log = {name: CLEAN / f"{name}.parquet" for name in LOG}  # read by the engine, as far as it needs
    if isinstance(source, MarketSource):
        return context.offers(source, log, cfg.features, cfg.engine, OUT.parent)
    if isinstance(source, EventsSource):
        told = read_json(CLEAN / event_log.TOLD)["assumptions"]
        return context.own_offers(source, log, cfg.features, cfg.engine, told, OUT.parent)
    if isinstance(source, OnlineRetailSource):
        return online_retail.offers(source, {name: read_table(path) for name, path in log.items()})
    if isinstance(source, OffersSource):
        return own_context.offers(source, read_table(CLEAN / "offers.parquet"))
    if isinstance(source, DecisionsSource):
        told = read_json(CLEAN / decided.TOLD)
        kept, off, info = own_context.offers(decided.as_offers(source, told), read_table(CLEAN / "offers.parquet"))
        return kept, off, decided.described(info, told)
    raise InputError(f"source.kind={source.kind}: features does not know this kind of source")


def windows(offers: pd.DataFrame, split: Split, seed: int) -> Tables:
    """Return fit, select and certify: by time, offers of the same time together.

    Without a time shoppers are dealt by `seed`, each with all of their offers.
    """
    fit, dealt = 1 - split.select - split.certify, bool(offers["time"].isna().all())
    if dealt:
        window = _dealt(offers["shopper_id"], (fit, 1 - split.certify), seed)
    else:
        window = np.searchsorted(_cuts(offers["time"], (fit, 1 - split.certify)), offers["time"], side="right")
    parts = {name: offers[window == k].reset_index(drop=True) for k, name in enumerate(WINDOWS)}
    for name, part in parts.items():
        if part.empty:
            whole = f", to {offers['shopper_id'].nunique()} shopper(s), each of whom is in one window" if dealt else ""
            raise InputError(f"split: {name} is left without an offer ({len(offers)} in all{whole}); bring more offers")
    return parts


def _dealt(shopper: pd.Series, shares: tuple[float, float], seed: int) -> NDArray[np.int64]:
    """Return the window of every offer, (N,): shoppers in random order, cut where nearly these shares lie before."""
    which, names = pd.factorize(shopper)
    place, count = np.random.default_rng(seed).permutation(len(names)), np.bincount(which)
    middle = np.empty(len(names))
    order = np.argsort(place)
    middle[order] = count[order].cumsum() - count[order] / 2
    ends = np.round(np.array(shares) * len(shopper))
    return np.searchsorted(ends, middle, side="right").astype(np.int64)[which]


def _cuts(times: pd.Series, shares: tuple[float, float]) -> pd.DatetimeIndex:
    """Return the times at which select and certify begin: before each lies nearly its share of the offers."""
    counts = times.value_counts().sort_index()
    if len(counts) < len(WINDOWS):
        raise InputError(
            f"the offers have only {len(counts)} distinct time(s), too few to cut fit, select and certify by time; "
            "bring finer times, or (source: offers) set source.columns.time to null for a random split"
        )
    before = (counts.cumsum().shift(fill_value=0) / counts.sum()).to_numpy()
    select = int(np.clip(np.abs(before - shares[0]).argmin(), 1, len(counts) - 2))
    certify = int(np.clip(np.abs(before - shares[1]).argmin(), select + 1, len(counts) - 1))
    return pd.DatetimeIndex(counts.index[[select, certify]])


def ordered(offers: pd.DataFrame, info: OffersInfo) -> pd.DataFrame:
    """Return the offers with the canonical columns first, then the context's, and nothing else."""
    names = [*OFFERS.columns, *(n for n in (*info.numeric, *info.categorical) if n not in OFFERS.columns)]
    unknown = dict.fromkeys(_UNTYPED, "float64")
    return check(offers.reindex(columns=names).astype(unknown), OFFERS, "features")


def sha256(files: list[Path]) -> str:
    """Return one SHA-256 over several files, in their order."""
    return hashlib.sha256("".join(digest(path) for path in files).encode()).hexdigest()


def main(cfg: Config) -> None:
    """Read data/clean/ and write data/offers/: the three windows, offers.json, and what is set aside."""
    offers, off, info = made(cfg)
    parts = windows(ordered(offers, info), cfg.split, cfg.seed)
    usual = 1.0 if ladder.has_list_price(info.ladder, info.listed) else None
    why = "The list price is no rung of the ladder" if info.listed else "There is no list price"
    assumed = info.assumptions if usual else (*info.assumptions, _NOT_LISTED.format(why))
    with replacing(OUT) as draft:
        for name, table in {**parts, "quarantine": off}.items():
            write_table(draft / f"{name}.parquet", table)
        dataclasses.replace(
            info,
            rows={name: len(table) for name, table in parts.items()},
            sha256=sha256([draft / f"{name}.parquet" for name in WINDOWS]),
            fallback=usual,
            assumptions=assumed,
        ).write(draft / "offers.json")
    print(f"features {info.source}: {len(offers):,} offers, {len(off):,} set aside, {len(info.ladder)} rungs")


if __name__ == "__main__":
    stage(main)
