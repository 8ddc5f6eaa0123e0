"""The simulated shop as it stands before the first visit: items, shoppers, and what nobody sees of them.

Hidden are the shoppers' tastes and price sensitivities and the items' quality; the log shows them only by their
traces (pipelines/market/ writes it, pipelines/market/truth.py holds the true demand).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import UTC
from pipelines.words import BARGAIN, PREMIUM

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIERS = ("basic", "silver", "gold")
DEVICES = ("ios", "android", "desktop")
LANGUAGES = ("en", "zh")
COUNTRIES = ("GB", "US", "DE", "CN", "SG")
PATHS = (
    "home>category>item",
    "home>category>item>reviews",
    "home>search>item",
    "home>search>item>reviews",
    "social>item",
)
READS_REVIEWS = np.array([path.endswith("reviews") for path in PATHS])
SEARCHED = np.array(["search" in path for path in PATHS])
PAGES = np.array([path.count(">") for path in PATHS])  # besides the first page, which only a session's first view has

CATEGORIES = ("electronics", "fashion", "beauty", "home", "grocery", "toys", "sports", "books")
_MEDIAN_PRICE = np.array([60.0, 45.0, 30.0, 40.0, 22.0, 28.0, 48.0, 20.0])
_NAMES = (
    ("headphones", "耳机"), ("jacket", "外套"), ("face cream", "面霜"), ("table lamp", "台灯"),
    ("green tea", "绿茶"), ("building blocks", "积木"), ("running shoes", "跑鞋"), ("travel novel", "小说"),
)  # fmt: skip
FLAVOURS = ("plain", "bargain", "premium")
_EXTRA = {
    "plain": (("", "blue", "small", "gift"), ("", "蓝色", "小号", "礼物")),
    "bargain": (("cheap", "discount", "coupon", "sale"), ("便宜", "打折", "优惠", "特价")),
    "premium": (("premium", "luxury", "designer", "original"), ("高端", "奢侈", "正品", "豪华")),
}
VARIANTS = 4


@dataclass(frozen=True)
class Shop:
    """Items (I), shoppers (S) and rungs (K); the integer arrays are codes into the tuples above.

    item_order: items by category; popularity: their cumulated popularity in that order; shelf: where in it each
    category starts and ends, (C+1,). taste: (S, C). price: of every rung, (I, K).
    """

    items: pd.DataFrame
    shoppers: pd.DataFrame
    rungs: Floats
    category: Ints
    list_price: Floats
    unit_cost: Floats
    price: Floats
    quality: Floats
    item_order: Ints
    popularity: Floats
    shelf: Floats
    activity: Floats
    thrift: Floats
    taste: Floats
    device: Ints
    tier: Ints
    language: Ints


def open_shop(source: MarketSource, rng: np.random.Generator) -> Shop:
    """Return the shop that `source` describes, drawn from `rng`."""
    rungs = np.array(source.rungs)
    return Shop(rungs=rungs, **_items(source, rungs, rng), **_shoppers(source, rng))


@functools.cache
def keywords() -> NDArray[np.object_]:
    """Return what shoppers type, (flavour, language, category, variant); only flavoured texts hold listed words."""
    texts = [
        [
            [[f"{extra} {names[spoken]}".strip() for extra in _EXTRA[flavour][spoken]] for names in _NAMES]
            for spoken in range(len(LANGUAGES))
        ]
        for flavour in FLAVOURS
    ]
    listed = {"bargain": BARGAIN, "premium": PREMIUM}
    for flavour, words in listed.items():
        assert all(any(w in e for w in words) for spoken in _EXTRA[flavour] for e in spoken), flavour
    return np.array(texts, dtype=object)


def _items(source: MarketSource, rungs: Floats, rng: np.random.Generator) -> dict[str, Any]:
    count = source.items
    category = np.arange(count) % len(CATEGORIES)
    raw = _MEDIAN_PRICE[category] * np.exp(rng.normal(0, 0.35, count))
    list_price = np.maximum(np.round(raw), 5) - np.where(rng.random(count) < 0.7, 0.01, 0.0)
    spread = 0.0 if source.demand == "alike" else 1.0
    by_category, by_item = rng.normal(0, 0.02, len(CATEGORIES)), rng.normal(0, 0.03, count)
    share = np.clip(0.60 + spread * by_category[category] + spread * by_item, 0.5, 0.7)
    unit_cost = np.round(list_price * share, 2)
    order = np.argsort(category, kind="stable")
    weight = np.exp(rng.normal(0, 0.7, count))[order]
    ends = np.searchsorted(category[order], np.arange(len(CATEGORIES)), side="right")
    cumulated = np.cumsum(weight)
    table = pd.DataFrame(
        {
            "item_id": [f"i{n:04d}" for n in range(count)],
            "category": np.array(CATEGORIES)[category],
            "title": [f"{_NAMES[c][0]} {n:04d} {_NAMES[c][1]}" for n, c in enumerate(category)],
            "list_price": list_price,
            "unit_cost": unit_cost,
            "min_price": np.nan,
            "max_price": np.nan,
        }
    )
    price = ladder_prices(list_price[:, None], rungs[None, :], Guardrails(minor_unit=0.01))
    return {
        "items": table, "category": category, "list_price": list_price, "unit_cost": unit_cost,
        "price": np.asarray(price), "quality": rng.normal(0, 1, count), "item_order": order,
        "popularity": cumulated, "shelf": np.concatenate([[0.0], cumulated])[np.concatenate([[0], ends])],
    }  # fmt: skip


def _shoppers(source: MarketSource, rng: np.random.Generator) -> dict[str, Any]:
    count = source.shoppers
    thrift = rng.normal(0, 1, count)
    activity = rng.normal(0, 0.8, count)
    country = rng.choice(len(COUNTRIES), count, p=[0.3, 0.2, 0.15, 0.25, 0.1])
    language = (rng.random(count) < np.array([0.05, 0.05, 0.02, 0.95, 0.5])[country]).astype(np.int64)
    chance = np.exp(np.stack([-0.6 * thrift, 0.6 * thrift, np.zeros(count)], axis=1))
    device = pick(chance / chance.sum(axis=1, keepdims=True), rng)
    standing = activity + rng.normal(0, 0.8, count)
    tier = np.searchsorted([0.4, 1.4], standing)
    signup_days = np.round(rng.exponential(250, count) + 1, 3)
    start = pd.Timestamp(source.start, tz="UTC")
    table = pd.DataFrame(
        {
            "shopper_id": [f"u{n:05d}" for n in range(count)],
            "signup": (start - pd.to_timedelta(signup_days, unit="D")).floor("s").astype(UTC),
            "country": np.array(COUNTRIES)[country],
            "language": np.array(LANGUAGES)[language],
            "device": np.array(DEVICES)[device],
            "tier": np.array(TIERS)[tier],
        }
    )
    return {
        "shoppers": table, "thrift": thrift, "activity": activity, "device": device, "tier": tier,
        "language": language,
        "taste": rng.normal(0, 1, (count, len(CATEGORIES))),
    }  # fmt: skip


def pick(chance: Floats, rng: np.random.Generator) -> Ints:
    """Return one column index for each row of probabilities."""
    passed = np.cumsum(chance, axis=1) <= rng.random((len(chance), 1))
    return np.asarray(np.minimum(passed.sum(axis=1), chance.shape[1] - 1))
