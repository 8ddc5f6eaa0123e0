"""A market's log, event by event through live state, gives the batch features of every offer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines import config, context
from pipelines.behaviour import replay
from pipelines.behaviour.benchmark_live import measured
from pipelines.behaviour.measures import Event
from pipelines.behaviour.state import LATE, FeatureState
from pipelines.clean import cleaned
from pipelines.files import write_table
from pipelines.market import simulate
from pipelines.sources import MarketSource

COPIES = 5  # of the market's shoppers, so that 100,000 offers need no long simulation
OFFERS = 20_100

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def market() -> Tables:
    """Return the clean tables of a simulated shop."""
    source = MarketSource("market", "market", rungs=(0.8, 1.0, 1.1), days=60, shoppers=900, items=120, offers=OFFERS)
    shop = simulate(source, seed=5)
    raw = {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}
    return cleaned(raw, source, config.Clean())[0]


def repeated(tables: Tables, times: int) -> Tables:
    """Return the tables with every shopper and what they did so many times over, a little apart; items are shared."""
    made: dict[str, list[pd.DataFrame]] = {"events": [], "shoppers": []}
    for k in range(times):
        for name, copies in made.items():
            ids = tables[name].columns.intersection(["event_id", "shopper_id", "session_id"])
            copy = tables[name].assign(**{column: tables[name][column] + f"-{k}" for column in ids})
            copies.append(copy.assign(time=copy["time"] + pd.Timedelta(k * 7_001, "us")) if "time" in copy else copy)
    return {"items": tables["items"]} | {name: pd.concat(copies, ignore_index=True) for name, copies in made.items()}


def batch(tables: Tables) -> pd.DataFrame:
    """Return the features of every offer as the batch engine makes them, by offer_id."""
    cfg = config.load()
    return context.contexts(cfg.features.with_all(), tables, cfg.engine).set_index("offer_id")


def test_one_hundred_thousand_offers_are_as_in_batch(market: Tables) -> None:
    """Every feature of every offer is the batch one."""
    tables = repeated(market, COPIES)
    live = replay.live_features(config.load().features.with_all(), tables)
    assert {} == {name: n for name, n in replay.differences(batch(tables), live).items() if n}
    assert len(live) >= 100_000
    assert live["shopper_sessions"].max() > 5
    assert (live["last_step"] != "").any()


def scattered(events: list[Event], lateness: int) -> Iterator[Event]:
    """Return the events as a network brings them: out of order by up to the lateness, and one in ten twice."""
    chance = random.Random(3)
    arrivals = [(event.instant + chance.randrange(lateness), event) for event in events]
    arrivals += [(at + chance.randrange(lateness), event) for at, event in arrivals[::10]]
    yield from (event for _, event in sorted(arrivals, key=lambda arrival: arrival[0]))


def test_the_order_of_arrival_does_not_matter(market: Tables) -> None:
    """Out of order and in part twice, asked when nothing more can come before the view, it is as in batch."""
    features = config.load().features.with_all()
    first = market["events"].sort_values("time").head(6_000)
    tables = {**market, "events": first}
    state = FeatureState(
        features, replay.facts(market["items"], "item_id"), replay.facts(market["shoppers"], "shopper_id")
    )
    views: list[Event] = []
    told: dict[str, dict[str, float | str]] = {}
    for event in scattered(list(replay.events(first)), state.lateness):
        for view in [view for view in views if view.instant < event.instant - state.lateness]:
            told[view.event_id] = state.context(view.shopper_id, view.item_id, view.session_id, view.instant, view.row)
            views.remove(view)
        if state.add(event) == "taken" and event.kind == "view":
            views.append(event)
    for view in views:
        told[view.event_id] = state.context(view.shopper_id, view.item_id, view.session_id, view.instant, view.row)
    live = pd.DataFrame.from_dict(told, orient="index", columns=list(features.features))
    assert {} == {name: n for name, n in replay.differences(batch(tables), live).items() if n}
    assert state.counted["taken"] == len(first)
    assert sum(state.counted.values()) - len(first) == len(first) / 10
    assert state.counted[LATE] < len(first) / 10


def test_the_command_counts_what_differs(market: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The comparison of live and batch is a command for anybody's log."""
    for name, table in {**market, "events": market["events"].head(2_000)}.items():
        write_table(tmp_path / f"{name}.parquet", table)
    assert 0 == replay.main(tmp_path)
    assert "47 features, 0 differences" in capsys.readouterr().out


def test_differences_are_seen(market: Tables) -> None:
    """A number that is off by more than the tolerance, a missing one and another word each count."""
    one = pd.DataFrame({"n": [1.0, 2.0, float("nan")], "w": ["a", "", "b"]}, index=["x", "y", "z"])
    other = pd.DataFrame({"n": [1.0 + 2e-6, float("nan"), float("nan")], "w": ["a", "c", "b"]}, index=["x", "y", "z"])
    assert {"n": 2, "w": 1} == replay.differences(one, other)


def test_the_benchmark_measures_every_event(market: Tables) -> None:
    """What the benchmark prints is of all events, and of as many contexts as it says."""
    log = list(replay.events(market["events"].head(1_000)))
    speed = measured(log, FeatureState(config.load().features.with_all()), every=10)
    assert (1_000, sum(event.kind == "view" for event in log) // 10) == (speed.events, speed.contexts)
    assert 0 < speed.p50 <= speed.p99
    assert speed.per_second > 0
