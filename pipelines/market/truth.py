"""What only the simulator knows: the true demand of the simulated shop, and the rule by which it set prices.

Nothing but the simulator (pipelines/market/) reads this module. Demand is of no candidate's own form: a probit
tail whose slope saturates in a score with products, thresholds and humps, mixed with buyers who wait for a sale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pipelines.market.shop import CATEGORIES, READS_REVIEWS, SEARCHED, Floats, Ints

# Rows: basic, silver, gold. Columns: the categories. Loyal shoppers pay for fashion and gadgets, not for staples.
_TIER_CATEGORY = np.array(
    [
        # electronics, fashion, beauty, home, grocery, toys, sports, books
        [0.5, 0.4, 0.3, 0.5, 0.2, 0.3, 0.5, 0.1],
        [0.0, -0.1, 0.0, 0.2, 0.1, 0.0, 0.1, 0.0],
        [-0.7, -0.9, -0.8, -0.6, 0.1, -0.5, -0.6, 0.0],
    ]
)
_DEVICE = np.array([-0.5, 0.4, 0.1])  # ios, android, desktop
# Tuned together, so that personal prices can gain 5 to 15 % and cannot be had from a textbook model alone.
_NEED = (-1.55, 0.7)  # level and weight of the score: conversion about 15 % at the list price
_HUNTING = (-0.35, 0.8)
_SLOPE = (0.88, 3.5)  # of those who do not look at prices, and what hunting adds
_SALE = (-0.11, 0.05)  # log of price / list price that is a sale, and how sharply
_WAITING = 0.10  # share of buyers who wait for one
_ALIKE = (0.5, -0.2, 2.7)  # where nobody differs: how much readier all are to buy, and level and slope of the curve
_SOCIAL = 2  # its place in tables.CHANNELS
_GOLD = 2


@dataclass(frozen=True)
class Moment:
    """What holds just before N prices are shown, all (N,); the last three are hidden, the rest can be observed."""

    category: Ints
    list_price: Floats
    rating: Floats  # shown since this morning; NaN before the third review
    device: Ints
    tier: Ints
    channel: Ints
    path: Ints
    hour: Floats
    weekend: NDArray[np.bool_]
    purchases: Ints
    discount_share: Floats  # NaN without a purchase
    days_since_purchase: Floats  # NaN without a purchase
    item_views: Ints  # of this item by this shopper
    bought_before: Ints
    category_share: Floats  # of the shopper's earlier views
    session_views: Ints
    session_dwell: Floats
    session_carts: Ints
    page_depth: Ints
    bargain: Ints
    premium: Ints
    quality: Floats
    thrift: Floats
    taste: Floats


def need(now: Moment) -> Floats:
    """Return how much each shopper wants the item at its list price, (N,): a probit score."""
    rated = np.where(np.isnan(now.rating), 0.0, now.rating - 3.5)
    score = (
        0.9 * np.minimum(now.category_share, 0.6)
        + 0.35 * rated * (1 + READS_REVIEWS[now.path])
        + 0.35 * SEARCHED[now.path]
        - 0.3 * (now.channel == _SOCIAL)
        + 0.3 * np.tanh(now.item_views)
        + 0.25 * np.tanh(now.session_carts)
        + 0.3 * np.exp(-(((now.page_depth - 8) / 5.0) ** 2))
        - 0.25 * (now.session_views > 5)
        + 0.12 * now.weekend
        + 0.1 * now.quality
        + 0.12 * now.taste
    )
    return np.asarray(_NEED[0] + _NEED[1] * score)


def hunting(now: Moment) -> Floats:
    """Return how much each shopper hunts for low prices at this moment, (N,) in (0, 1)."""
    discounts = np.where(np.isnan(now.discount_share), 0.5, now.discount_share)
    fresh = np.where(np.isnan(now.days_since_purchase), 30.0, now.days_since_purchase) < 4
    dear = np.log(now.list_price / 35.0)
    known = now.item_views > 0
    comparing = 1 - np.exp(-now.session_dwell / 150.0)
    liked = np.where(np.isnan(now.rating), 3.5, now.rating) >= 3.9
    score = (
        _HUNTING[0]
        + _TIER_CATEGORY[now.tier, now.category]
        + 1.6 * _DEVICE[now.device] * (1 + 0.4 * (now.channel == _SOCIAL))
        + np.tanh(now.bargain) * (0.8 + 1.2 * discounts)
        + 0.6 * (discounts - 0.5)
        - 1.6 * np.tanh(now.premium) * (1 + 0.3 * (dear > 0))
        + 0.7 * dear
        + 0.5 * comparing * known
        - 0.5 * (now.bought_before > 0)
        - 0.6 * np.exp(-(((now.hour - 21.0) / 2.5) ** 2)) * (1 - 0.5 * now.weekend)
        - 0.3 * fresh
        - 0.4 * liked * READS_REVIEWS[now.path]
        + 0.12 * now.thrift
    )
    return np.asarray(ndtr(_HUNTING[1] * score))


def demand(now: Moment, ratio: Floats) -> Floats:
    """Return the true purchase probability at price / list price `ratio` (N, K): strictly falling in the price.

    q = (1 − λ)·Φ(n − b·ln r) + λ·h·Φ(n + 0.6)·Φ((μ − ln r)/σ), with n = `need`, h = `hunting`, b = b₀ + b₁·h,
    λ the share of those who wait for a sale, and µ, σ where and how sharply a sale begins.
    """
    log_ratio = np.log(ratio)
    level, hunters = need(now)[:, None], hunting(now)[:, None]
    steady = ndtr(level - (_SLOPE[0] + _SLOPE[1] * hunters) * log_ratio)
    waiting = hunters * ndtr(level + 0.6) * ndtr((_SALE[0] - log_ratio) / _SALE[1])
    return np.asarray((1 - _WAITING) * steady + _WAITING * waiting)


def alike(now: Moment, ratio: Floats) -> Floats:
    """Return the true purchase probability (N, K) of a market where one rung is best for all: a(x) g(r).

    a = Φ(n + a₀), n = `need`, and g(r) = Φ(g₀ − g₁·ln r): who buys differs, what a price does to them does not. With
    one cost share for all items the expected profit is one curve times a(x), highest at the list price.
    """
    readiness, level, slope = _ALIKE
    wish = ndtr(need(now)[:, None] + readiness)
    return np.asarray(wish * ndtr(level - slope * np.log(ratio)))


DEMANDS = {"personal": demand, "alike": alike}  # by source.demand


def legacy_propensities(now: Moment, rungs: Floats, exploration: float = 0.10) -> Floats:
    """Return with which probability the old rule shows each rung, (N, K).

    It pampers loyal shoppers and coupon-seekers, asks more in the evening and in some categories, scatters around
    its aim (Laplace), and spreads `exploration` evenly over all rungs.
    """
    list_rung = int(np.argmin(np.abs(rungs - 1)))
    aim = (
        list_rung
        - 1.5 * ((now.tier == _GOLD) | (now.purchases > 2))
        - 1.5 * (now.bargain > 0)
        + 1.0 * ((now.hour >= 19) & (now.hour < 23))
        + 1.0 * (now.category % 3 == 0)
        + 0.7 * (now.premium > 0)
    )
    far = np.abs(np.arange(len(rungs))[None, :] - aim[:, None])
    rule = np.exp(-1.2 * far)
    return np.asarray((1 - exploration) * rule / rule.sum(axis=1, keepdims=True) + exploration / len(rungs))


assert _TIER_CATEGORY.shape[1] == len(CATEGORIES)
