"""The context of a view knows nothing but the past, and nothing hidden comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import context, words
from pipelines.clean import cleaned
from pipelines.config import Clean
from pipelines.market import break_rows, simulate
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import KINDS, OffersInfo

RUNGS = (0.8, 0.9, 1.0, 1.1)
SOURCE = MarketSource("market", "market", rungs=RUNGS, days=12, shoppers=60, items=24, offers=1_500)
TEXTS = ("cheap tea", "豪华 台灯", "lamp", "a good lamp but late", "质量差 失望", "best discount", "推荐")
HIDDEN = {"bought", "price", "multiplier", "rung", "propensity", "dwell_seconds", *(f"q_{k}" for k in range(9))}

Tables = dict[str, pd.DataFrame]


def log(seed: int, count: int = 160) -> Tables:
    """Return a small random log in which many things happen at the same time."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, count, p=[0.45, 0.15, 0.1, 0.2, 0.1])
    item = rng.integers(0, 4, count)
    listed = np.array([10.0, 19.99, 35.5, 80.0])[item]
    rung = rng.integers(0, len(RUNGS), count)
    price = ladder_prices(listed[:, None], np.array([RUNGS]), Guardrails(minor_unit=0.01))[np.arange(count), rung]
    session = rng.integers(0, 9, count)
    priced, views = np.isin(kind, ("view", "cart", "purchase")), kind == "view"
    start = pd.Timestamp("2026-03-01 22:00", tz="UTC")
    events = pd.DataFrame(
        {
            "event_id": [f"e{n:03d}" for n in rng.permutation(count)],
            "time": start + pd.to_timedelta(np.sort(rng.integers(0, 90, count)) * 3_000.5, unit="s"),
            "shopper_id": [f"u{s // 3}" for s in session],
            "session_id": [f"s{s}" for s in session],
            "item_id": [None if k == "search" else f"i{i}" for k, i in zip(kind, item, strict=True)],
            "kind": kind,
            "channel": rng.choice(["web", "app"], count),
            "dwell_seconds": np.where(views, rng.integers(0, 900, count) / 7, np.nan),
            "page_depth": np.where(views, 3.0, np.nan),
            "path": [("home>item" if v else None) for v in views],
            "keywords": [str(rng.choice(TEXTS)) if k == "search" else None for k in kind],
            "rating": np.where((kind == "review") & (rng.random(count) < 0.8), rng.integers(1, 6, count), np.nan),
            "text": [str(rng.choice(TEXTS)) if k == "review" and rng.random() < 0.8 else None for k in kind],
            "list_price": np.where(priced, listed, np.nan),
            "price": np.where(priced, price, np.nan),
            "propensity": np.where(views, 0.25, np.nan),
            "quantity": np.where(kind == "purchase", rng.integers(1, 4, count), np.nan),
            "currency": "EUR",
        }
    )
    costs = {"list_price": [10.0, 19.99, 35.5, 80.0], "unit_cost": [5.0, 11.0, 20.0, 41.0]}
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(4)], "category": ["a", "a", "b", "c"], **costs})
    shoppers = pd.DataFrame(
        {
            "shopper_id": ["u0", "u1"],  # nothing is known of u2
            "signup": pd.to_datetime(["2026-02-01 00:00", "2026-03-02 12:00"], utc=True),
            "country": ["DE", None],
        }
    )
    raw = {"events": events, "items": items, "shoppers": shoppers}
    return cleaned(raw, SOURCE, Clean())[0]


def slow_context(tables: Tables, view: pd.Series[Any]) -> dict[str, Any]:
    """Return the context of one view the obvious way: look through all events for those before it."""
    items = tables["items"].set_index("item_id")
    people = tables["shoppers"].set_index("shopper_id")
    category = items["category"].to_dict()
    before = [e for e in tables["events"].to_dict("records") if e["time"] < view["time"]]
    mine = [e for e in before if e["shopper_id"] == view["shopper_id"]]
    visit = [e for e in mine if e["session_id"] == view["session_id"]]
    same = [e for e in mine if e["item_id"] == view["item_id"]]
    kin = [e for e in mine if category.get(e["item_id"]) == category[view["item_id"]]]
    of_item = [e for e in before if e["item_id"] == view["item_id"]]

    def only(kind: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [e for e in events if e["kind"] == kind]

    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else np.nan

    def known(name: str, events: list[dict[str, Any]]) -> list[Any]:
        return [e[name] for e in events if not pd.isna(e[name])]

    def holding(listed: frozenset[str]) -> int:
        return sum(any(word in e["keywords"] for word in listed) for e in only("search", visit))

    def tone(text: str) -> int:
        return sum(w in text for w in words.POSITIVE) - sum(w in text for w in words.NEGATIVE)

    def days(since: pd.Timestamp) -> float:
        return (view["time"] - since) / pd.Timedelta(days=1)

    bought = only("purchase", mine)
    person = people.loc[view["shopper_id"]] if view["shopper_id"] in people.index else None
    signup = person["signup"] if person is not None and person["signup"] <= view["time"] else None
    cost = items.loc[view["item_id"], "unit_cost"]
    return {
        "days_since_signup": days(signup) if signup is not None else np.nan,
        "shopper_views": len(only("view", mine)),
        "shopper_sessions": len({e["session_id"] for e in mine} - {view["session_id"]}),
        "purchases": len(bought),
        "spend": sum(e["price"] * e["quantity"] for e in bought),
        "days_since_purchase": days(max(e["time"] for e in bought)) if bought else np.nan,
        "discount_share": mean([e["price"] < e["list_price"] for e in bought]),
        "mean_rating_given": mean(known("rating", only("review", mine))),
        "item_views_by_shopper": len(only("view", same)),
        "item_dwell_by_shopper": sum(known("dwell_seconds", only("view", same))),
        "bought_before": len(only("purchase", same)),
        "category_views_by_shopper": len(only("view", kin)),
        "category_purchases_by_shopper": len(only("purchase", kin)),
        "session_views": len(only("view", visit)),
        "session_dwell": sum(known("dwell_seconds", only("view", visit))),
        "session_searches": len(only("search", visit)),
        "session_carts": len(only("cart", visit)),
        "session_minutes": days(min(e["time"] for e in visit)) * 1440 if visit else 0.0,
        "page_depth": view["page_depth"],
        "search_bargain": holding(words.BARGAIN),
        "search_premium": holding(words.PREMIUM),
        "search_words": sum(len(e["keywords"].split()) for e in only("search", visit)),
        "list_price": view["list_price"],
        "cost_share": cost / view["list_price"],
        "item_views": len(only("view", of_item)),
        "item_conversion": (len(only("purchase", of_item)) + 1) / (len(only("view", of_item)) + 20),
        "item_rating": mean(known("rating", only("review", of_item))),
        "item_reviews": len(only("review", of_item)),
        "review_sentiment": mean([tone(text) for text in known("text", only("review", of_item))]),
        "hour": view["time"].hour,
        "weekday": view["time"].weekday(),
        "country": person["country"] if person is not None and not pd.isna(person["country"]) else "",
        "language": "", "device": "", "tier": "",
        "channel": view["channel"],
        "path": view["path"],
        "category": category[view["item_id"]],
        "bought": slow_outcome(tables["events"], view),
    }  # fmt: skip


def slow_outcome(events: pd.DataFrame, view: pd.Series[Any]) -> int:
    """Return whether the view was followed by a purchase before the next view of the item in the session."""
    keys = ["shopper_id", "session_id", "item_id"]
    same = events[(events[keys] == view[keys]).all(axis=1) & (events["time"] > view["time"])]
    views, sold = same[same["kind"] == "view"]["time"], same[same["kind"] == "purchase"]["time"]
    return int(bool(len(sold)) and (views.empty or sold.min() <= views.min()))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_feature_equals_a_look_through_the_past(seed: int) -> None:
    """The SQL gives for every view what a slow, obvious search through the earlier events gives."""
    tables = log(seed)
    table = context.contexts(tables).set_index("offer_id")
    views = tables["events"].query("kind == 'view'").set_index("event_id", drop=False)
    expected = pd.DataFrame([slow_context(tables, view) for _, view in views.iterrows()], index=views.index)

    assert {*context.NUMERIC, *context.CATEGORICAL, "bought"} == set(expected.columns)
    pd.testing.assert_frame_equal(
        expected, table.loc[expected.index, list(expected.columns)],
        check_dtype=False, check_names=False, rtol=1e-9, atol=1e-5,
    )  # fmt: skip
    assert 0 < expected["bought"].sum() < len(expected)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(3, 1_000), share=st.floats(0.2, 0.9))
def test_future_events_change_nothing(seed: int, share: float) -> None:
    """Cutting the log off at any time leaves all earlier contexts as they are."""
    tables = log(seed)
    cut = tables["events"]["time"].quantile(share)
    past = {**tables, "events": tables["events"][tables["events"]["time"] <= cut]}
    before, after = context.contexts(past), context.contexts(tables)
    names = [name for name in before.columns if name != "bought"]
    pd.testing.assert_frame_equal(before[names], after[after["time"] <= cut].reset_index(drop=True)[names])


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, OffersInfo, Tables]:
    """Return offers, their description and the raw tables of a small simulated shop."""
    shop = simulate(SOURCE, seed=3)
    flawed = break_rows(shop.events, 0.02, np.random.default_rng(1))
    raw = {"events": flawed, "items": shop.items, "shoppers": shop.shoppers, "truth": shop.truth}
    offers, off, info = context.offers(SOURCE, cleaned(raw, SOURCE, Clean())[0])
    assert off.empty
    return offers, info, raw


def test_the_rung_is_that_of_the_price_shown(market: tuple[pd.DataFrame, OffersInfo, Tables]) -> None:
    """Each offer of the market stands on the rung whose price, to the cent, was shown."""
    offers, info, _ = market
    prices = ladder_prices(offers[["list_price"]].to_numpy(float), np.array([info.ladder]), Guardrails(minor_unit=0.01))
    assert offers["price"].tolist() == prices[np.arange(len(offers)), offers["rung"]].tolist()


def test_the_truth_joins_and_is_no_feature(market: tuple[pd.DataFrame, OffersInfo, Tables]) -> None:
    """Every offer has its true demand by offer_id, and no context column holds it, the price or the outcome."""
    offers, info, raw = market
    truth = raw["truth"].set_index("offer_id")
    assert set(offers["offer_id"]) <= set(truth.index)
    assert not HIDDEN & {*info.numeric, *info.categorical}
    assert not [name for name in offers if name.startswith("q_")]
    for name in info.numeric:
        same = [np.corrcoef(offers[name].fillna(-1), truth.loc[offers["offer_id"], q])[0, 1] for q in truth]
        assert np.nanmax(np.abs(same)) < 0.95, name


def test_personal_columns_are_context(market: tuple[pd.DataFrame, OffersInfo, Tables]) -> None:
    """What is personal is part of the context, and what is of the item or the hour is not personal."""
    info = market[1]
    assert set(info.personal) <= {*info.numeric, *info.categorical}
    assert {"list_price", "hour", "category"}.isdisjoint(info.personal)
    assert {"country", "spend", "session_views"} <= set(info.personal)


def test_a_price_on_no_rung_is_set_aside(market: tuple[pd.DataFrame, OffersInfo, Tables]) -> None:
    """A view at a price that no rung gives leaves the offers and names the rule."""
    tables = cleaned(market[2], SOURCE, Clean())[0]
    at = tables["events"].index[tables["events"]["kind"] == "view"][5]
    tables["events"].loc[at, "price"] *= 1.04
    offers, off, _ = context.offers(SOURCE, tables)
    assert [(tables["events"].loc[at, "event_id"], "off_ladder")] == list(
        zip(off["offer_id"], off["rule"], strict=True)
    )
    assert len(market[0]) - 1 == len(offers)
