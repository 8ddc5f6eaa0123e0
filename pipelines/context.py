"""The context of a view in an event log: its columns with their units, and the offers made of an event log."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines import engine, ladder, words
from pipelines.errors import InputError
from pipelines.pricing import Guardrails, distinct, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import OffersInfo

NUMERIC = {
    "days_since_signup": "days",
    "shopper_views": "earlier views by the shopper",
    "shopper_sessions": "earlier sessions of the shopper",
    "purchases": "earlier purchases by the shopper",
    "spend": "money spent before by the shopper",
    "days_since_purchase": "days; missing without a purchase",
    "discount_share": "share of earlier purchases below the list price; missing without a purchase",
    "mean_rating_given": "stars, 1 to 5; missing without a rating",
    "item_views_by_shopper": "earlier views of the item by the shopper",
    "item_dwell_by_shopper": "seconds spent before on the item by the shopper",
    "bought_before": "earlier purchases of the item by the shopper",
    "category_views_by_shopper": "earlier views in the category by the shopper",
    "category_purchases_by_shopper": "earlier purchases in the category by the shopper",
    "session_views": "earlier views in the session",
    "session_dwell": "seconds spent on earlier views of the session",
    "session_searches": "earlier searches in the session",
    "session_carts": "earlier additions to the cart in the session",
    "session_minutes": "minutes since the session's first event",
    "page_depth": "pages seen in the session, this one included",
    "search_bargain": "earlier searches in the session with a word for cheap",
    "search_premium": "earlier searches in the session with a word for fine",
    "search_words": "words searched for so far in the session",
    "list_price": "money",
    "cost_share": "unit cost as a share of the list price",
    "item_views": "earlier views of the item by anyone",
    "item_conversion": "earlier purchases per earlier view of the item, (purchases + 1) / (views + 20)",
    "item_rating": "stars, 1 to 5; missing before the first rating",
    "item_reviews": "earlier reviews of the item",
    "review_sentiment": "praising minus blaming words per earlier review text; missing before the first",
    "hour": "hour of the day, UTC",
    "weekday": "day of the week, Monday is 0",
}
CATEGORICAL = {
    "country": "where the shopper lives",
    "language": "the shopper's language",
    "device": "the shopper's device",
    "tier": "loyalty tier",
    "channel": "web, app or social",
    "path": "pages that led to the view, e.g. home>category>item",
    "category": "the item's category",
}
_OF_ITEM_OR_TIME = {
    "list_price", "cost_share", "item_views", "item_conversion", "item_rating", "item_reviews",
    "review_sentiment", "hour", "weekday", "category",
}  # fmt: skip
PERSONAL = tuple(name for name in (*NUMERIC, *CATEGORICAL) if name not in _OF_ITEM_OR_TIME)


def contexts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per view of the clean `events`, `items`, `shoppers`: offer and context, in time order."""
    lists = {"positive": words.POSITIVE, "negative": words.NEGATIVE, "bargain": words.BARGAIN}
    table = engine.query("context", tables, premium=sorted(words.PREMIUM), **{k: sorted(v) for k, v in lists.items()})
    table.insert(3, "time", engine.instants_to_times(table.pop("instant")))
    return table


def offers(source: MarketSource, tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of a simulated shop, those whose price is on no rung, and what the offers are."""
    table = contexts(tables)
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
        numeric=tuple(NUMERIC),
        categorical=tuple(CATEGORICAL),
        personal=PERSONAL,
        units={**NUMERIC, **CATEGORICAL},
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
