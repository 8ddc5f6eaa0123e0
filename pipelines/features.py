"""Features: data/clean/ -> data/offers/: every offer with its context, cut by time into fit, select and certify."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import context, ladder
from pipelines.config import Config, Split, stage
from pipelines.errors import InputError
from pipelines.files import digest, read_table, replacing, write_table
from pipelines.sources import MarketSource, OffersSource, OnlineRetailSource, Source, online_retail, own_context
from pipelines.tables import OFFERS, WINDOWS, OffersInfo, check

CLEAN = Path("data/clean")
OUT = Path("data/offers")

Tables = dict[str, pd.DataFrame]

_UNTYPED = ("min_price", "max_price", "propensity", "instrument", "randomised")  # all missing has no type yet
_NOT_LISTED = (
    "The list price is no rung of the ladder: x {:g}, which earned most per offer in the fit window, takes its "
    "place in fallbacks and as the first champion, named list_price."
)


def made(source: Source, clean: Tables) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of a source in time order, those that stand on no rung, and what the offers are."""
    if isinstance(source, MarketSource):
        return context.offers(source, clean)
    if isinstance(source, OnlineRetailSource):
        return online_retail.offers(source, clean)
    if isinstance(source, OffersSource):
        return own_context.offers(source, clean["offers"])
    raise InputError(f"source.kind={source.kind}: features does not know this kind of source")


def windows(offers: pd.DataFrame, split: Split, seed: int) -> Tables:
    """Return fit, select and certify: by time, offers of the same time together; without a time drawn by `seed`."""
    fit = 1 - split.select - split.certify
    if offers["time"].isna().all():
        place = np.random.default_rng(seed).permutation(len(offers))
        ends = np.round(np.array([fit, 1 - split.certify]) * len(offers)).astype(int)
        window = np.searchsorted(ends, place, side="right")
    else:
        window = np.searchsorted(_cuts(offers["time"], (fit, 1 - split.certify)), offers["time"], side="right")
    parts = {name: offers[window == k].reset_index(drop=True) for k, name in enumerate(WINDOWS)}
    for name, part in parts.items():
        if part.empty:
            raise InputError(f"split: {name} is left without an offer ({len(offers)} in all); bring more offers")
    return parts


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


def listed(source: Source) -> bool:
    """Return whether the source knows list prices, or they were only taken as 1."""
    return not isinstance(source, OffersSource) or source.columns.list_price is not None


def main(cfg: Config) -> None:
    """Read data/clean/ and write data/offers/: the three windows, offers.json, and what stands on no rung."""
    names = ["offers"] if isinstance(cfg.source, OffersSource) else ["events", "items", "shoppers"]
    offers, off, info = made(cfg.source, {name: read_table(CLEAN / f"{name}.parquet") for name in names})
    parts = windows(ordered(offers, info), cfg.split, cfg.seed)
    usual = ladder.fallback(parts["fit"], info.ladder, listed(cfg.source))
    assumed = info.assumptions if usual == 1 else (*info.assumptions, _NOT_LISTED.format(usual))
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
    print(f"features {info.source}: {len(offers):,} offers, {len(off):,} on no rung, {len(info.ladder)} rungs")


if __name__ == "__main__":
    stage(main)
