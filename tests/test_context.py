"""The context of a view knows nothing but the past, and nothing hidden comes in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from brute_force import SOURCE, Tables, differences, log, short, slow_features
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import context
from pipelines.behaviour.definitions import FeatureSet
from pipelines.clean import cleaned
from pipelines.config import Clean, EngineSettings, load
from pipelines.market import break_rows, simulate
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import EventsSource
from pipelines.tables import OffersInfo

BY_STEP = ("previous", "steps_again", "after_search")  # they read the step before, which a session forgets
SHIPPED = load(conf=Path(__file__).parents[1] / "conf").features.with_all()
SETS = {features.name: features for features in (SHIPPED, short())}
WHOLE, IN_PARTS = EngineSettings(), EngineSettings(rows=50)
HIDDEN = {"bought", "price", "multiplier", "rung", "propensity", "dwell_seconds", *(f"q_{k}" for k in range(9))}


def found(features: FeatureSet, tables: Tables, engine: EngineSettings = WHOLE) -> pd.DataFrame:
    """Return what DuckDB makes of the tables, by offer_id."""
    return context.contexts(features, tables, engine).set_index("offer_id")


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(3, 160), tick=st.sampled_from([3_000.5, 0.004, 400_000.0]))
def test_every_feature_equals_a_look_through_the_past(name: str, seed: int, count: int, tick: float) -> None:
    """The SQL gives for every view what a slow, obvious search through the earlier events gives.

    Over seconds nothing is forgotten, over hours what is meant to be in `short`, over months everything.
    """
    tables = log(seed, count, tick)
    if (tables["events"]["kind"] == "view").any():
        assert [] == differences(slow_features(SETS[name], tables), found(SETS[name], tables))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_log_in_parts_gives_the_same(name: str, seed: int) -> None:
    """A log cut by items and by shoppers, because it is long, gives every bit of what the whole one gives."""
    tables = log(seed)
    whole, parts = found(SETS[name], tables), found(SETS[name], tables, IN_PARTS)
    assert len(tables["events"]) > IN_PARTS.rows
    pd.testing.assert_frame_equal(whole, parts)


def test_the_reference_tells_a_wrong_feature() -> None:
    """The comparison finds another window, another memory, and an event too many."""
    tables, features = log(0), short()
    right = slow_features(features, tables)
    longer = dataclasses.replace(features, forget={**features.forget, "session": "30h"})
    found_wrong = {name for _, name, _, _ in differences(right, found(longer, tables))}
    assert any(name.startswith("session") for name in found_wrong)
    assert {"session"} == {n.split("_")[0] for n in found_wrong if not n.endswith(BY_STEP)}
    view = dataclasses.replace(features.define["item_views_2h"], window="3h")
    wider = dataclasses.replace(features, define={**features.define, "item_views_2h": view})
    assert {"item_views_2h"} == {name for _, name, _, _ in differences(right, found(wider, tables))}
    fewer = {**tables, "events": tables["events"].drop(index=3)}
    assert differences(right, found(features, fewer))


def slow_outcome(events: pd.DataFrame, view: pd.Series) -> int:
    """Return whether the view was followed by a purchase before the next view of the item in the session."""
    keys = ["shopper_id", "session_id", "item_id"]
    same = events[(events[keys] == view[keys]).all(axis=1) & (events["time"] > view["time"])]
    views, sold = same[same["kind"] == "view"]["time"], same[same["kind"] == "purchase"]["time"]
    return int(bool(len(sold)) and (views.empty or sold.min() <= views.min()))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_view_is_bought_if_a_purchase_follows(seed: int) -> None:
    """An offer is bought if a purchase of the item follows in the session before its next view there."""
    events = log(seed)["events"]
    views = events[events["kind"] == "view"]
    expected = {view["event_id"]: slow_outcome(events, view) for _, view in views.iterrows()}
    assert expected == found(short(), log(seed))["bought"].to_dict()
    assert 0 < sum(expected.values()) < len(expected)


def test_of_two_views_at_once_the_last_is_bought() -> None:
    """Where an item was seen twice at the same instant, the purchase is of the view with the greatest event_id."""
    tables = log(0)
    view = tables["events"].query("kind == 'view'").iloc[[0]]
    later = view["time"] + pd.Timedelta(seconds=1)
    rows = [
        view.assign(event_id="b"),
        view.assign(event_id="a"),
        view.assign(event_id="c", kind="purchase", time=later),
    ]
    offers = found(short(), {**tables, "events": pd.concat(rows, ignore_index=True)})
    assert {"a": 0, "b": 1} == offers["bought"].to_dict()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(3, 1_000), share=st.floats(0.2, 0.9))
def test_future_events_change_nothing(seed: int, share: float) -> None:
    """Cutting the log off at any time, or shuffling what happens from then on, leaves earlier contexts as they are."""
    tables = log(seed)
    events = tables["events"]
    cut = events["time"].quantile(share)
    past, future = events[events["time"] <= cut], events[events["time"] > cut]
    other = future.assign(
        **{name: future[name].sample(frac=1, random_state=seed).array for name in events if name != "time"}
    )
    whole = found(SHIPPED, tables)
    before = whole[whole["time"] <= cut].drop(columns="bought")
    for log_then in (past, pd.concat([past, other], ignore_index=True)):
        after = found(SHIPPED, {**tables, "events": log_then})
        pd.testing.assert_frame_equal(before, after.loc[before.index].drop(columns="bought"))


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, OffersInfo, Tables]:
    """Return offers, their description and the raw tables of a small simulated shop."""
    shop = simulate(SOURCE, seed=3)
    flawed = break_rows(shop.events, 0.02, np.random.default_rng(1))
    raw = {"events": flawed, "items": shop.items, "shoppers": shop.shoppers, "truth": shop.truth}
    offers, off, info = context.offers(SOURCE, cleaned(raw, SOURCE, Clean())[0], SHIPPED, WHOLE)
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
    offers, off, _ = context.offers(SOURCE, tables, SHIPPED, WHOLE)
    assert [(tables["events"].loc[at, "event_id"], "off_ladder")] == list(
        zip(off["offer_id"], off["rule"], strict=True)
    )
    assert len(market[0]) - 1 == len(offers)


def test_of_a_long_own_log_some_shoppers_are_read() -> None:
    """With most_offers below its views, an own log gives all offers of some shoppers, features as in the whole."""
    shop = simulate(SOURCE, seed=3)
    tables = cleaned({"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}, SOURCE, Clean())[0]
    source = EventsSource("events", "events", rungs=SOURCE.rungs, most_offers=500)
    offers, off, info = context.own_offers(source, tables, SHIPPED, WHOLE, ["Told."])
    whole = found(SHIPPED, tables)
    kept = pd.concat([offers, off]).set_index("offer_id")
    assert 200 < len(kept) < len(whole) / 2
    assert set(whole.index[whole["shopper_id"].isin(kept["shopper_id"])]) == set(kept.index)
    pd.testing.assert_frame_equal(whole.loc[kept.index, list(info.numeric)], kept[list(info.numeric)])
    assert "Told." in info.assumptions
