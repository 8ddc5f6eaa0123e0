"""The simulated shop: its log fits the schemas, its prices are honest, and its truth is the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import InputError
from pipelines.market import Market, simulate
from pipelines.market.flaws import break_rows
from pipelines.market.shop import FLAVOURS, keywords
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, check
from pipelines.words import BARGAIN, PREMIUM

RUNGS = (0.70, 0.80, 0.90, 1.00, 1.10, 1.20, 1.30)
LIST_RUNG = RUNGS.index(1.0)
LOGGINGS = ("randomised", "confounded")
SMALL = MarketSource("market", "market", rungs=RUNGS, days=6, shoppers=500, items=40, offers=3_000)
MIDDLE = MarketSource("market", "market", rungs=RUNGS, days=40, shoppers=3_000, items=160, offers=80_000)


@pytest.fixture(scope="module", params=LOGGINGS)
def market(request: pytest.FixtureRequest) -> Market:
    return simulate(replace(MIDDLE, logging=request.param), seed=11)


def offers(market: Market) -> pd.DataFrame:
    """Return views with their item, truth, shown rung and outcome."""
    views = market.events[market.events["kind"] == "view"]
    table = views.merge(market.truth, left_on="event_id", right_on="offer_id", validate="one_to_one")
    table = table.merge(market.items[["item_id", "unit_cost"]], on="item_id")
    table["rung"] = np.abs(ratios(table) - np.array(RUNGS)).argmin(axis=1)
    table = table.sort_values(["session_id", "time"]).assign(
        visit=lambda t: t.groupby(["session_id", "item_id"]).cumcount()
    )
    log = market.events.sort_values(["session_id", "time"])
    seen = (log["kind"] == "view").groupby([log["session_id"], log["item_id"]]).cumsum() - 1
    sold = log.assign(visit=seen)[log["kind"] == "purchase"][["session_id", "item_id", "visit"]]
    return table.merge(sold.assign(bought=1), how="left", validate="one_to_one").fillna({"bought": 0})


def ratios(table: pd.DataFrame) -> np.ndarray:
    return (table["price"] / table["list_price"]).to_numpy()[:, None]


def chances(table: pd.DataFrame) -> np.ndarray:
    return table[[f"q_{k}" for k in range(len(RUNGS))]].to_numpy()


def test_tables_fit_their_schemas(market: Market) -> None:
    """The log is what `clean` is meant to give back."""
    for table, schema in ((market.events, EVENTS), (market.items, ITEMS), (market.shoppers, SHOPPERS)):
        check(table, schema, "market")
    assert market.events["time"].is_monotonic_increasing
    assert set(market.events["shopper_id"]) <= set(market.shoppers["shopper_id"])
    assert set(market.events["item_id"].dropna()) <= set(market.items["item_id"])
    assert {"view", "search", "cart", "purchase", "review"} == set(market.events["kind"])


def test_size_is_what_was_asked_for(market: Market) -> None:
    """`offers` counts views, about."""
    assert pytest.approx(MIDDLE.offers, rel=0.03) == len(market.truth)
    days = market.events["time"].dt.date.nunique()
    assert MIDDLE.days <= days <= MIDDLE.days + 1  # the last evening may run past midnight


def test_same_seed_gives_the_same_market() -> None:
    """Nothing but source and seed decides."""
    first, again, other = simulate(SMALL, 3), simulate(SMALL, 3), simulate(SMALL, 4)
    for name in ("events", "items", "shoppers", "truth"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    assert not first.events["price"].head(500).equals(other.events["price"].head(500))


def test_a_session_is_one_visit_of_one_shopper(market: Market) -> None:
    """Events of a session follow each other, and no two of its events share item, kind and time."""
    by_session = market.events.groupby("session_id")
    assert (by_session["shopper_id"].nunique() == 1).all()
    assert (by_session["channel"].nunique() == 1).all()
    assert (by_session["time"].max() - by_session["time"].min()).max() < pd.Timedelta(hours=4)
    assert not market.events.duplicated(["shopper_id", "item_id", "time", "kind"]).any()


def test_prices_are_ladder_prices(market: Market) -> None:
    """The price shown is the rounded price of a rung, and a purchase pays what its view showed."""
    table = offers(market)
    ladder = ladder_prices(
        table["list_price"].to_numpy()[:, None], np.array(RUNGS)[None, :], Guardrails(minor_unit=0.01)
    )
    np.testing.assert_allclose(ladder[np.arange(len(table)), table["rung"]], table["price"], atol=1e-9)
    paid = market.events[market.events["kind"] == "purchase"].merge(
        table, on=["session_id", "item_id", "price"], suffixes=("", "_shown")
    )
    assert (market.events["kind"] == "purchase").sum() == table["bought"].sum()
    assert set(paid["event_id"]) == set(market.events.loc[market.events["kind"] == "purchase", "event_id"])


def test_rungs_are_shown_as_often_as_their_propensities_say(market: Market) -> None:
    """The mean of 1/propensity over the views at a rung estimates 1: a propensity that lies would shift it."""
    table = offers(market)
    for rung in range(len(RUNGS)):
        weight = np.where(table["rung"] == rung, 1 / table["propensity"], 0.0)
        assert pytest.approx(1.0, abs=4.5 * weight.std() / np.sqrt(len(weight))) == weight.mean()
    assert table["propensity"].min() >= 0.10 / len(RUNGS)


def test_confounded_prices_depend_on_the_shopper() -> None:
    """The legacy rule gives gold shoppers lower prices; random prices do not."""
    gap = {}
    for logging in LOGGINGS:
        shop = simulate(replace(SMALL, offers=8_000, shoppers=1_000, logging=logging), seed=5)
        table = offers(shop).merge(shop.shoppers, on="shopper_id")
        ratio = table["price"] / table["list_price"]
        gap[logging] = ratio[table["tier"] == "basic"].mean() - ratio[table["tier"] == "gold"].mean()
    assert abs(gap["randomised"]) < 0.02
    assert gap["confounded"] > 0.05


def test_true_demand_falls_with_the_price(market: Market) -> None:
    """Strictly, at every offer, and always as a probability."""
    q = chances(market.truth)
    assert (np.diff(q, axis=1) < 0).all()
    assert q.min() > 0
    assert q.max() < 1


def test_shoppers_buy_as_the_truth_says(market: Market) -> None:
    """In every bin of the true probability at the shown price, and at every rung, bought matches q within noise."""
    table = offers(market)
    q = chances(table)[np.arange(len(table)), table["rung"]]
    for group in (pd.qcut(q, 10, labels=False), table["rung"].to_numpy()):
        for one in np.unique(group):
            part = group == one
            spread = np.sqrt((q[part] * (1 - q[part])).sum()) / part.sum()
            assert pytest.approx(q[part].mean(), abs=4 * spread) == table["bought"][part].mean()


def test_base_conversion_is_that_of_a_shop(market: Market) -> None:
    """At the list price 8 to 16 % of the views end in a purchase."""
    assert 0.08 < chances(market.truth)[:, LIST_RUNG].mean() < 0.16


@pytest.mark.parametrize(("lowest", "highest", "floor"), [(0.0, 9.0, 0.0), (0.80, 1.10, 1.05)])
def test_personal_prices_can_gain_something(market: Market, lowest: float, highest: float, floor: float) -> None:
    """A perfect policy gains 5 to 15 % over the best single rung, with the ladder alone and within guardrails."""
    table = offers(market)
    price = table["list_price"].to_numpy()[:, None] * np.array(RUNGS)
    cost = table["unit_cost"].to_numpy()[:, None]
    rungs = np.array(RUNGS)
    admissible = (price >= floor * cost) & (rungs >= lowest) & (rungs <= highest)
    profit = (price - cost) * chances(table)
    best = np.where(admissible, profit, -np.inf).max(axis=1).mean()
    single = np.where(admissible, profit, profit[:, [LIST_RUNG]]).mean(axis=0).max()
    assert 0.05 < best / single - 1 < 0.15
    assert best / profit[:, LIST_RUNG].mean() - 1 > 0.08


@pytest.mark.parametrize("logging", LOGGINGS)
def test_where_nobody_differs_one_rung_is_best_for_all(logging: str) -> None:
    """With demand `alike` perfect personal prices are one price; purchase probabilities still differ between people."""
    table = offers(simulate(replace(SMALL, demand="alike", logging=logging), seed=5))
    price = np.round(table["list_price"].to_numpy()[:, None] * np.array(RUNGS), 2)
    q = chances(table)
    profit = (price - table["unit_cost"].to_numpy()[:, None]) * q
    assert {LIST_RUNG} == set(profit.argmax(axis=1))
    second = np.delete(profit.mean(axis=0), LIST_RUNG).max()
    assert 0.01 < 1 - second / profit[:, LIST_RUNG].mean() < 0.10
    assert (np.diff(q, axis=1) < 0).all()
    assert 0.03 < q[:, LIST_RUNG].std()
    assert 0.08 < q[:, LIST_RUNG].mean() < 0.16


def test_a_demand_that_does_not_exist_is_refused() -> None:
    """The message names the setting and what it may be."""
    with pytest.raises(InputError, match=r"source\.demand=personl must be 'personal' or 'alike'"):
        replace(SMALL, demand="personl")


def test_keywords_hold_the_words_of_their_flavour_only() -> None:
    """What is counted as a bargain search was one, in both languages."""
    listed = {"bargain": BARGAIN, "premium": PREMIUM}
    for flavour, texts in zip(FLAVOURS, keywords(), strict=True):
        for name, words in listed.items():
            holds = [any(word in text for word in words) for text in texts.ravel()]
            assert [flavour == name] * len(holds) == holds


def test_break_rows_adds_rows_and_leaves_the_log_intact() -> None:
    """Taking the added rows away gives the log back, in its order."""
    events = simulate(SMALL, 3).events
    broken = break_rows(events, 0.02, np.random.default_rng(1))
    added = broken["event_id"].str.startswith("x") | broken.duplicated("event_id")
    pd.testing.assert_frame_equal(events, broken[~added].reset_index(drop=True))
    assert added.sum() > 0.02 * len(events)


def test_break_rows_breaks_in_every_way() -> None:
    """Each flaw occurs; a share of 0 breaks nothing."""
    events = simulate(SMALL, 3).events
    broken = break_rows(events, 0.02, np.random.default_rng(1))
    assert broken.duplicated("event_id").any()
    assert (broken["price"] < 0).any()
    assert (broken["dwell_seconds"] > 86_400).any()
    assert "USD" in set(broken["currency"])
    assert "POST" in set(broken["item_id"])
    assert broken["time"].isna().any()
    assert broken["shopper_id"].isna().any()
    assert not set(broken["kind"]) <= {"view", "search", "cart", "purchase", "review"}
    bots = broken[broken["shopper_id"].str.startswith("bot", na=False)]
    assert len(bots) >= 200
    assert bots.groupby("session_id")["time"].agg(np.ptp).max() <= pd.Timedelta(minutes=1)
    key = ["shopper_id", "item_id", "time", "kind"]
    assert broken.drop_duplicates("event_id").duplicated(key).any()
    pd.testing.assert_frame_equal(events, break_rows(events, 0.0, np.random.default_rng(1)))
