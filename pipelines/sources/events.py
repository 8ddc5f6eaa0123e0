"""The offers of the user's own event log: on which rung each view stands, what is assumed, what its features are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines import ladder
from pipelines.behaviour.columns import lost, reads
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.exported import as_json
from pipelines.errors import InputError
from pipelines.sources import EventsSource
from pipelines.sources.own_context import refuse_misfits
from pipelines.tables import OffersInfo

Made = tuple[pd.DataFrame, pd.DataFrame, OffersInfo]
_SILENT = 0.05  # share of views without a propensity that may be set aside; were they more, a log of the rest misleads
_DIGITS = 8  # of the hash that decides which shoppers are kept


def offers(
    table: pd.DataFrame, source: EventsSource, features: FeatureSet, told: Sequence[str] = (), views: int | None = None
) -> Made:
    """Return the offers of a log, those that are set aside with the `rule` that did it, and what the offers are.

    Set aside are prices on no rung (off_ladder), and a few views without a propensity in a log that has them
    (missing_propensity): they stay in the behaviour that features tell of.

    table: one row per view with its context (pipelines/behaviour/batch.py). told: what `ingest` assumed. views: how
    many views the log has, if `table` was already thinned by `thinned`.
    """
    if table.empty:
        raise InputError("data/clean/events.parquet holds no view, so there is no offer; see data/quarantine/")
    share = kept_share(len(table) if views is None else views, source)
    if views is None and share < 1:
        table = table[sampled(table["shopper_id"], share)]
    table, silent, unlogged = _with_propensities(_priced(table, source), source)
    rungs, merged = _ladder(table, source)
    logged = bool(table["propensity"].notna().any())
    table["rung"] = ladder.on_rung(table["multiplier"], rungs, source.snap if source.rungs else None)
    chances = ladder.summed(table["multiplier"], table["propensity"], table["rung"].to_numpy()) if merged else None
    if merged:  # the propensity of a single price is not that of the rung which takes in its neighbours
        table["propensity"] = np.nan if chances is None else chances
    unsummed = merged and logged and chances is None
    on = table["rung"] >= 0
    refuse_misfits(table[on], rungs, source)
    _refuse_one_outcome(table[on], source)
    dropped = left_out(table[on], source, features)
    info = OffersInfo(
        source=source.name or source.kind,
        currency=source.currency,
        ladder=rungs,
        numeric=tuple(name for name in features.numeric if name not in dropped),
        categorical=tuple(name for name in features.categorical if name not in dropped),
        personal=tuple(name for name in features.personal if name not in dropped),
        units={name: meaning for name, meaning in features.meanings.items() if name not in dropped},
        definitions=as_json(features),
        cost_share=source.cost_share if table["costed"].any() else source.cost_share or 0.0,
        propensity_logged=bool(table.loc[on, "propensity"].notna().all()),
        unsummed=unsummed,
        # a price stands on other rungs from day to day where list prices were made of the prices shown
        everywhere=source.every_price and source.columns.list_price is not None,
        assumptions=(
            *told,
            *_assumed(table, source, share),
            *unlogged,
            *(ladder.merging(len(rungs), logged, unsummed) if merged else ()),
            *dropped.values(),
        ),
    )
    off = pd.concat([table[~on].assign(rule="off_ladder"), silent.assign(rung=-1, rule="missing_propensity")])
    return table[on].drop(columns="costed"), off.drop(columns="costed").sort_index(), info


def kept_share(views: int, source: EventsSource) -> float:
    """Return the share of shoppers that are kept so that about `source.most_offers` of `views` offers are left."""
    return 1.0 if source.most_offers is None else min(1.0, source.most_offers / max(views, 1))


def sampled(shoppers: pd.Series, share: float) -> pd.Series:
    """Return whether each shopper is kept: by the MD5 of the id, so that every run and engine keeps the same."""
    least = _threshold(share)
    codes, names = pd.factorize(shoppers)
    kept = np.array([hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest()[:_DIGITS] < least for n in names])
    return pd.Series(kept[codes], shoppers.index)


def thinned(share: float, column: str = "shopper_id") -> str:
    """Return `sampled` as a condition in SQL (DuckDB, Spark)."""
    return "true" if share >= 1 else f"substr(md5({column}), 1, {_DIGITS}) < '{_threshold(share)}'"


def _threshold(share: float) -> str:
    return "g" if share >= 1 else f"{int(share * 16**_DIGITS):0{_DIGITS}x}"


def _priced(table: pd.DataFrame, source: EventsSource) -> pd.DataFrame:
    """Return the views with unit costs, filled with what is assumed, whether they were known, and price ratios."""
    share = source.cost_share or 0.0
    return table.assign(
        costed=table["unit_cost"].notna(),
        unit_cost=table["unit_cost"].astype("float64").fillna(table["list_price"] * share),
        multiplier=(table["price"] / table["list_price"]).round(ladder.DIGITS),
    )


def _with_propensities(table: pd.DataFrame, source: EventsSource) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return the views to go on with, those set aside for want of a propensity, and a sentence if any has none.

    Where more than a few have none, none is set aside and no propensity is used: all of them are estimated alike.
    """
    silent = table["propensity"].isna()
    if "propensity" not in source.used_columns or not silent.any():
        return table, table[:0], ()
    told = (
        f"{silent.sum():,} of {len(table):,} views {'has' if silent.sum() == 1 else 'have'} no propensity "
        "(source.columns.propensity)"
    )
    if silent.mean() <= _SILENT:
        return table[~silent].copy(), table[silent], (f"{told}: set aside (missing_propensity).",)
    return (
        table.assign(propensity=np.nan),
        table[:0],
        (f"{told}, so none is used: what a price does is observational here.",),
    )


def _ladder(table: pd.DataFrame, source: EventsSource) -> tuple[tuple[float, ...], bool]:
    """Return the rungs, and whether they are quantiles that take in more ratios than a ladder can hold."""
    if source.rungs:
        return source.rungs, False
    _refuse_first_days(table, source)
    rungs = ladder.derived(table["multiplier"], source.path)
    merged = ladder.few(table["multiplier"]) is None
    if merged and rungs[0] < 1 < rungs[-1]:
        rungs = tuple(sorted({*rungs, 1.0}))  # so that the list price itself can be quoted
    return rungs, merged


def _refuse_first_days(table: pd.DataFrame, source: EventsSource) -> None:
    """Refuse views at several prices whose list prices were made of these same prices, for want of earlier days."""
    made = "list_price" not in source.used_columns and bool((table["multiplier"] == 1).all())
    if made and (table.groupby("item_id")["price"].nunique() > 1).any():
        days = table["time"].dt.floor("D").nunique()
        raise InputError(
            f"{source.path}: the log has no list price, so an item's is made of the prices shown on the days before; "
            f"its views are of {days} day(s), so that each price is its own list price, and nothing is left to "
            "compare it with; bring more days, or name a column of list prices (source.columns.list_price)"
        )


def _refuse_one_outcome(table: pd.DataFrame, source: EventsSource) -> None:
    """Refuse a log in which no view led to a purchase, or every one."""
    if table["bought"].nunique() > 1:
        return
    found = "every one" if table["bought"].iloc[0] == 1 else "none"
    raise InputError(
        f"{source.path}: {found} of the {len(table):,} views was followed by a purchase of the same shopper, session "
        "and item, so the log says nothing about what a price does; see that views and purchases name shopper "
        f"({source.columns.shopper_id!r}), session ({source.columns.session_id!r}) and item "
        f"({source.columns.item_id!r}) alike"
    )


def left_out(table: pd.DataFrame, source: EventsSource, features: FeatureSet) -> dict[str, str]:
    """Return the features that carry nothing in this log, each with the sentence that says why."""
    unnamed = absent_columns(source)
    one = {"category"} if "category" in table and table["category"].nunique() == 1 else set()
    kinds = set(source.told_kinds.values())
    told: dict[str, str] = {}
    for name, feature in features.features.items():
        lacking = sorted(reads(feature) & unnamed)
        never = [kind for kind in feature.of if kind not in kinds]
        if lost(feature, unnamed):
            told[name] = f"Feature {name!r} is left out: the log has no {' and no '.join(lacking)}."
        elif lost(feature, unnamed | one):
            only = table["category"].iloc[0]
            told[name] = f"Feature {name!r} is left out: the log has one category only, {only!r}."
        elif feature.of and len(never) == len(feature.of):
            told[name] = f"Feature {name!r} is left out: the log has no event of the kind {' or '.join(never)}."
        elif table[name].nunique(dropna=False) < 2:
            told[name] = f"Feature {name!r} is left out: it has the same value for every offer."
    return told


def absent_columns(source: EventsSource) -> set[str]:
    """Return the optional columns that neither the log nor a table of items or shoppers can have."""
    of_items = {"category", "title", "unit_cost", "min_price", "max_price"} if source.items else set()
    of_shoppers = {"signup", "country", "language", "device", "tier"} if source.shoppers else set()
    open_to = {"list_price", *(of_items | of_shoppers) - set(source.protected)}  # a list price is made, if need be
    return {name for name in vars(source.columns) if name not in source.used_columns and name not in open_to}


def _assumed(table: pd.DataFrame, source: EventsSource, share: float) -> list[str]:
    """Return a sentence for each thing that the log leaves open."""
    parts, cost = source.used_columns, source.cost_share or 0.0
    known = bool(table["costed"].any())
    said = {
        f"The log has no list price: an item's is the price shown most often in the preceding {source.list_price_days} "
        "days, told day by day; without such a day, the price shown.": "list_price" not in parts,
        f"The unit cost is unknown: {cost:.0%} of the list price is assumed.": not known and cost > 0,
        "The unit cost is unknown: it is taken as 0, so profit is revenue.": not known and cost == 0,
        f"Items without a unit cost are given {cost:.0%} of the list price.": not table["costed"].all() and known,
        "Propensities were not logged: what a price does is observational here.": "propensity" not in parts,
        f"Of all shoppers {share:.1%} were kept, drawn by a hash of their ids (source.most_offers="
        f"{source.most_offers}).": share < 1,
    }  # fmt: skip
    return [sentence for sentence, holds in said.items() if holds]
