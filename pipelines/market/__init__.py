"""A simulated shop, event by event, whose true demand is known: the source `market`.

`simulate` runs days and, within a day, view positions; all sessions of a day advance together. A shopper has at
most one session a day, so that a day's sessions only meet in what the shop shows of an item (its rating, brought
up to date each night).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.market.flaws import break_rows
from pipelines.market.reviews import SENTENCES
from pipelines.market.shop import (
    LANGUAGES,
    PAGES,
    PATHS,
    VARIANTS,
    Floats,
    Ints,
    Shop,
    keywords,
    open_shop,
    pick,
)
from pipelines.market.truth import DEMANDS, legacy_propensities
from pipelines.market.visits import (
    LONGEST,
    MEAN_LENGTH,
    Memory,
    Sessions,
    arrive,
    choose_item,
    choose_path,
    look,
    moment,
    remember,
)
from pipelines.sources import MarketSource
from pipelines.tables import CHANNELS, KINDS, UTC

__all__ = ["Market", "break_rows", "simulate"]

_VIEW, _SEARCH, _CART, _PURCHASE, _REVIEW = range(5)  # places in tables.KINDS


@dataclass(frozen=True)
class Market:
    """The log of the shop (tables.EVENTS, ITEMS, SHOPPERS) and the truth: offer_id, q_0 … q_{K-1}."""

    events: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame
    truth: pd.DataFrame


@dataclass
class Log:
    """Events as they happen, in columns of codes; NaN and -1 stand for nothing."""

    parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    truth: list[Floats] = field(default_factory=list)

    def add(self, kind: int, sessions: Sessions, on: Ints, time: Floats, item: Ints, **more: NDArray[Any]) -> None:
        """Note an event of `kind` at `time` in each of the sessions `on`."""
        common = {
            "session": sessions.number[on],
            "shopper": sessions.who[on],
            "channel": sessions.channel[on],
        }
        self.parts.append({"kind": np.full(len(on), kind), "time": time, "item": item, **common, **more})


def simulate(source: MarketSource, seed: int) -> Market:
    """Return the log and the truth of a market; the same source and seed give the same tables."""
    rng = np.random.default_rng(seed)
    shop = open_shop(source, rng)
    memory, log = Memory.blank(shop), Log()
    per_day = max(1, round(source.offers / source.days / MEAN_LENGTH))
    for day in range(source.days):
        sessions = arrive(shop, day, min(per_day, source.shoppers), day * source.shoppers, rng)
        rating = memory.rating()
        _review(shop, memory, sessions, log, rng)
        for position in range(LONGEST):
            on = np.flatnonzero(sessions.length > position)
            if len(on):
                _one_view(source, shop, memory, sessions, on, rating, log, rng)
    return _tables(source, shop, log)


def _review(shop: Shop, memory: Memory, sessions: Sessions, log: Log, rng: np.random.Generator) -> None:
    """Let returning buyers begin their visit with a review of what they bought last."""
    on = np.flatnonzero(memory.awaiting[sessions.who] >= 0)
    item = memory.awaiting[sessions.who[on]]
    rating = np.clip(np.round(3.6 + 0.7 * shop.quality[item] + rng.normal(0, 0.9, len(on))), 1, 5)
    text = rng.integers(0, SENTENCES.shape[2], len(on))
    log.add(_REVIEW, sessions, on, sessions.clock[on], item, rating=rating, text=text)
    np.add.at(memory.ratings, item, rating)
    np.add.at(memory.reviews, item, 1)
    memory.awaiting[sessions.who[on]] = -1
    sessions.clock[on] += rng.uniform(20, 90, len(on))


def _one_view(
    source: MarketSource, shop: Shop, memory: Memory, sessions: Sessions, on: Ints, rating: Floats, log: Log,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Move the sessions `on` by one view, with the search before it, and the cart and purchase after it."""
    searched = _search(shop, sessions, on, log, rng)
    item = choose_item(shop, memory, sessions, on, rng)
    path = choose_path(sessions, on, searched, rng)
    sessions.pages[on] += PAGES[path] + (sessions.pages[on] == 0)
    now = moment(shop, memory, sessions, on, item, path, rating)
    truth = DEMANDS[source.demand](now, shop.price[item] / shop.list_price[item, None])
    chance = np.full_like(truth, 1 / len(shop.rungs))
    if source.logging == "confounded":
        chance = legacy_propensities(now, shop.rungs)
    each = np.arange(len(on))
    rung = pick(chance, rng)
    bought = rng.random(len(on)) < truth[each, rung]
    carted = bought | (rng.random(len(on)) < 0.04 + 0.25 * truth[:, 0])
    dwell = look(shop, now, bought, rng)
    start, price = sessions.clock[on], shop.price[item, rung]
    shown = {"list_price": shop.list_price[item], "price": price}
    log.add(_VIEW, sessions, on, start, item, **shown, dwell=dwell, pages=sessions.pages[on], path=path,
            propensity=chance[each, rung])  # fmt: skip
    log.truth.append(truth)
    for kind, share, who in ((_CART, 0.6, carted), (_PURCHASE, 0.9, bought)):
        log.add(
            kind, sessions, on[who], (start + share * dwell)[who], item[who],
            **{name: value[who] for name, value in shown.items()},
        )  # fmt: skip
    remember(shop, memory, sessions, on, item, price, bought, carted, dwell, rng)


def _search(shop: Shop, sessions: Sessions, on: Ints, log: Log, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Let some of the sessions `on` search, all of them settle on a category, and return which searched."""
    who = sessions.who[on]
    asked = rng.random(len(on)) < np.array([0.35, 0.3, 0.1])[sessions.channel[on]]
    thrift = shop.thrift[who]
    bargain = rng.random(len(on)) < 1 / (1 + np.exp(0.9 - 1.2 * thrift))
    premium = ~bargain & (rng.random(len(on)) < 1 / (1 + np.exp(0.7 + 1.2 * thrift)))
    fresh = asked | (sessions.category[on] < 0) | (rng.random(len(on)) < 0.3)
    appeal = 1.1 * shop.taste[who] + rng.gumbel(size=(len(on), shop.taste.shape[1]))
    sessions.category[on] = np.where(fresh, np.argmax(appeal, axis=1), sessions.category[on])
    flavour = np.where(bargain, 1, np.where(premium, 2, 0))[asked]
    at = on[asked]
    variant = rng.integers(0, VARIANTS, len(at))
    words = np.ravel_multi_index((flavour, shop.language[who][asked], sessions.category[at], variant), keywords().shape)
    log.add(_SEARCH, sessions, at, sessions.clock[at], np.full(len(at), -1), keywords=words)
    sessions.bargain[on] += asked & bargain
    sessions.premium[on] += asked & premium
    sessions.clock[on] += np.where(asked, rng.uniform(5, 40, len(on)), 0)
    return asked


def _tables(source: MarketSource, shop: Shop, log: Log) -> Market:
    """Turn codes into the tables of the log, in the order of time."""
    codes = pd.concat([pd.DataFrame(part) for part in log.parts if len(part["kind"])], ignore_index=True)
    codes["millis"] = np.round(codes["time"] * 1000).astype(np.int64)
    is_view = codes["kind"] == _VIEW
    codes["offer"] = np.where(is_view, is_view.cumsum() - 1, -1)
    codes = codes.sort_values(["millis", "session"], kind="stable", ignore_index=True)
    kind = codes["kind"].to_numpy()
    priced = np.isin(kind, (_VIEW, _CART, _PURCHASE))
    start = pd.Timestamp(source.start, tz="UTC")
    events = pd.DataFrame(
        {
            "event_id": [f"e{n:07d}" for n in range(len(codes))],
            "time": (start + pd.to_timedelta(codes["millis"].to_numpy(), unit="ms")).astype(UTC),
            "shopper_id": shop.shoppers["shopper_id"].to_numpy()[codes["shopper"]],
            "session_id": [f"s{n:07d}" for n in codes["session"]],
            "item_id": _words(shop.items["item_id"].to_numpy(), codes["item"]),
            "kind": np.array(KINDS)[kind],
            "channel": np.array(CHANNELS)[codes["channel"]],
            "dwell_seconds": codes["dwell"],
            "page_depth": codes["pages"],
            "path": _words(np.array(PATHS), codes["path"]),
            "keywords": _words(keywords().ravel(), codes["keywords"]),
            "rating": codes["rating"],
            "text": _words(SENTENCES.ravel(), _sentence(shop, codes)),
            "list_price": codes["list_price"],
            "price": codes["price"],
            "propensity": codes["propensity"],
            "quantity": np.where(kind == _PURCHASE, 1.0, np.nan),
            "currency": _words(np.array([source.currency]), pd.Series(np.where(priced, 0, -1))),
        }
    )
    views = codes["offer"] >= 0
    chance = np.concatenate(log.truth)[codes.loc[views, "offer"]]
    truth = pd.DataFrame(chance, columns=[f"q_{k}" for k in range(len(shop.rungs))])
    truth.insert(0, "offer_id", events.loc[views, "event_id"].to_numpy())
    return Market(events=events, items=shop.items, shoppers=shop.shoppers, truth=truth)


def _words(words: NDArray[Any], codes: pd.Series[Any]) -> pd.Series[Any]:
    """Return the word of each code, missing for NaN and -1."""
    known = np.nan_to_num(codes.to_numpy(), nan=-1).astype(np.int64)
    return pd.Series(words[np.maximum(known, 0)], dtype="str").where(known >= 0)


def _sentence(shop: Shop, codes: pd.DataFrame) -> pd.Series[Any]:
    """Return the code of what each reviewer writes, NaN for other events."""
    row = (codes["rating"] - 1) * len(LANGUAGES) + shop.language[codes["shopper"]]
    return pd.Series(row * SENTENCES.shape[2] + codes["text"])
