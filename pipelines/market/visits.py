"""Visits to the simulated shop: who comes, what they look at, and what they and the shop remember.

A day's sessions advance together, (N,) arrays of codes; `on` are the places of those that are still going on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.market.shop import READS_REVIEWS, Floats, Ints, Shop
from pipelines.market.truth import Moment

DAY = 86_400.0
LONGEST = 12  # views in a session
_STAY = 0.76  # chance of one more view
MEAN_LENGTH = (1 - _STAY**LONGEST) / (1 - _STAY)
_LINK, _SEARCH_PATH, _HOME_PATH = 4, 2, 0  # places in shop.PATHS


@dataclass
class Memory:
    """Running counts of what has happened so far, by shopper (S), item (I) and category (C)."""

    views: Ints
    purchases: Ints
    discounted: Ints
    last_purchase: Floats
    item_views: Ints
    item_bought: Ints
    category_views: Ints
    awaiting: Ints  # the item that the shopper will review at the next visit, or -1
    last_item: Ints
    ratings: Floats
    reviews: Ints

    @classmethod
    def blank(cls, shop: Shop) -> Memory:
        """Return the memory of the first morning."""
        people, things, kinds = len(shop.activity), len(shop.category), shop.taste.shape[1]
        return cls(
            views=np.zeros(people, np.int64), purchases=np.zeros(people, np.int64),
            discounted=np.zeros(people, np.int64), last_purchase=np.full(people, np.nan),
            item_views=np.zeros((people, things), np.int32), item_bought=np.zeros((people, things), np.int32),
            category_views=np.zeros((people, kinds), np.int64), awaiting=np.full(people, -1),
            last_item=np.full(people, -1), ratings=np.zeros(things), reviews=np.zeros(things, np.int64),
        )  # fmt: skip

    def rating(self) -> Floats:
        """Return the rating that the shop shows for each item, NaN before its third review."""
        return np.where(self.reviews < 3, np.nan, self.ratings / np.maximum(self.reviews, 1))


@dataclass
class Sessions:
    """The sessions of one day, all (N,): who, through which channel, and where each stands now."""

    number: Ints
    who: Ints
    channel: Ints
    length: Ints
    clock: Floats  # seconds since the market opened
    category: Ints
    views: Ints
    dwell: Floats
    carts: Ints
    pages: Ints
    bargain: Ints
    premium: Ints


def arrive(shop: Shop, day: int, count: int, first: int, rng: np.random.Generator) -> Sessions:
    """Return the sessions of a day: the livelier a shopper, the likelier to come; evenings are busiest."""
    who = np.argsort(-(shop.activity + rng.gumbel(size=len(shop.activity))))[:count]  # without replacement
    hour = np.where(rng.random(count) < 0.45, rng.normal(20.5, 1.6, count), rng.normal(13, 3.5, count))
    clock = day * DAY + np.clip(hour, 5.0, 23.0) * 3600 + rng.uniform(0, 600, count)
    channel = np.where(rng.random(count) < 0.15, 2, (shop.device[who] < 2) & (rng.random(count) < 0.6))
    length = np.minimum(rng.geometric(1 - _STAY, count), LONGEST)
    counts = {name: np.zeros(count, np.int64) for name in ("views", "carts", "pages", "bargain", "premium")}
    return Sessions(
        number=first + np.arange(count), who=who, channel=channel, length=length, clock=clock,
        category=np.full(count, -1), dwell=np.zeros(count), **counts,
    )  # fmt: skip


def choose_item(shop: Shop, memory: Memory, sessions: Sessions, on: Ints, rng: np.random.Generator) -> Ints:
    """Return what each session looks at next: the item seen last, or a popular one of the category in mind."""
    category, before = sessions.category[on], memory.last_item[sessions.who[on]]
    mass = shop.shelf[category] + rng.random(len(on)) * (shop.shelf[category + 1] - shop.shelf[category])
    place = np.searchsorted(shop.popularity, mass, side="right")
    item = shop.item_order[np.minimum(place, len(shop.item_order) - 1)]
    again = (before >= 0) & (rng.random(len(on)) < 0.2)
    item = np.where(again, before, item)
    sessions.category[on] = shop.category[item]
    return item


def choose_path(sessions: Sessions, on: Ints, searched: NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """Return the way by which each session comes to its next item, a code of `shop.PATHS`."""
    linked = (sessions.channel[on] == 2) & (sessions.views[on] == 0) & ~searched
    reads = rng.random(len(on)) < 0.3
    return np.where(linked, _LINK, np.where(searched, _SEARCH_PATH, _HOME_PATH) + reads)


def moment(
    shop: Shop, memory: Memory, sessions: Sessions, on: Ints, item: Ints, path: Ints, rating: Floats
) -> Moment:  # fmt: skip
    """Return what holds just before the next prices are shown."""
    who, clock, category = sessions.who[on], sessions.clock[on], shop.category[item]
    purchases = memory.purchases[who]
    return Moment(
        category=category, list_price=shop.list_price[item], rating=rating[item],
        device=shop.device[who], tier=shop.tier[who], channel=sessions.channel[on], path=path,
        hour=clock % DAY / 3600, weekend=(clock // DAY).astype(np.int64) % 7 >= 5,
        purchases=purchases,
        discount_share=np.where(purchases > 0, memory.discounted[who] / np.maximum(purchases, 1), np.nan),
        days_since_purchase=(clock - memory.last_purchase[who]) / DAY,
        item_views=memory.item_views[who, item], bought_before=memory.item_bought[who, item],
        category_share=memory.category_views[who, category] / np.maximum(memory.views[who], 1),
        session_views=sessions.views[on], session_dwell=sessions.dwell[on], session_carts=sessions.carts[on],
        page_depth=sessions.pages[on], bargain=sessions.bargain[on], premium=sessions.premium[on],
        quality=shop.quality[item], thrift=shop.thrift[who], taste=shop.taste[who, category],
    )  # fmt: skip


def look(shop: Shop, now: Moment, bought: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Return how long each view lasts, in seconds: longer with interest, thrift, reviews and a purchase."""
    interest = 0.2 * now.taste + 0.15 * now.quality + 0.15 * now.thrift
    mean = 3.1 + interest + 0.4 * READS_REVIEWS[now.path] + 0.3 * bought
    return np.round(np.clip(np.exp(mean + rng.normal(0, 0.7, len(bought))), 2.0, 900.0), 1)


def remember(
    shop: Shop, memory: Memory, sessions: Sessions, on: Ints, item: Ints, price: Floats,
    bought: NDArray[np.bool_], carted: NDArray[np.bool_], dwell: Floats, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Count a view of each session `on`, and what came of it."""
    who = sessions.who[on]  # distinct within a day: plain indexed addition counts each
    memory.views[who] += 1
    memory.item_views[who, item] += 1
    memory.category_views[who, shop.category[item]] += 1
    memory.last_item[who] = item
    buyers = who[bought]
    memory.purchases[buyers] += 1
    memory.discounted[buyers] += (price < shop.list_price[item])[bought]
    memory.item_bought[buyers, item[bought]] += 1
    memory.last_purchase[buyers] = (sessions.clock[on] + 0.9 * dwell)[bought]
    memory.awaiting[buyers] = np.where(rng.random(len(buyers)) < 0.4, item[bought], memory.awaiting[buyers])
    sessions.views[on] += 1
    sessions.carts[on] += carted
    sessions.dwell[on] += dwell
    sessions.clock[on] += dwell + rng.uniform(1, 20, len(on))
