"""The user's own event log: every layout arrives in one schema, in any number of files and buckets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import clean, features, ingest
from pipelines.config import Clean, Config, load
from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.pricing import Guardrails
from pipelines.sources import EventColumns, EventsSource, event_clean, event_log, events
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, OffersInfo, check

ROOT = Path(__file__).parents[1]
FEATURES = load((), ROOT / "conf").features
NAMES = ("events", "items", "shoppers")
PRICES = {"a": 20.0, "b": 50.0, "c": 8.0}


pytestmark = pytest.mark.usefixtures("workplace")


def shop(visits: int = 300) -> pd.DataFrame:
    """Return a small log in the widespread layout, in the order of time."""
    rng = np.random.default_rng(3)
    rows = []
    for visit in range(visits):
        start = pd.Timestamp("2019-10-01", tz="UTC") + pd.Timedelta(seconds=int(rng.integers(0, 40 * 86_400)))
        user = int(rng.integers(1, 60))
        for k in range(int(rng.integers(1, 4))):
            item = str(rng.choice(list(PRICES)))
            price = round(PRICES[item] * float(rng.choice([0.8, 1.0, 1.0])), 2)
            kinds = ["view", *["cart"] * (rng.random() < 0.5), *["purchase"] * (rng.random() < 0.4)]
            for n, kind in enumerate([*kinds, *["remove_from_cart"] * (rng.random() < 0.1)]):
                when = (start + pd.Timedelta(minutes=2 * k, seconds=10 * n)).strftime("%Y-%m-%d %H:%M:%S UTC")
                rows.append((when, kind, item, f"group.{item}", f"by {item}", price, user, f"v{visit}"))
    names = ["event_time", "event_type", "product_id", "category_code", "brand", "price", "user_id", "user_session"]
    return pd.DataFrame(rows, columns=names).sort_values("event_time", kind="stable", ignore_index=True)


def hits(visits: int = 200) -> pd.DataFrame:
    """Return a small log of Google-Analytics-style hits, one row per hit and item."""
    rng = np.random.default_rng(4)
    rows = []
    for visit in range(visits):
        at = 1_700_000_000_000_000 + int(rng.integers(0, 40 * 86_400)) * 1_000_000
        item = str(rng.choice(list(PRICES)))
        thing = {"item_id": item, "item_name": item, "item_category": f"group {item}", "quantity": 1, "currency": "EUR"}
        thing["price"] = round(PRICES[item] * float(rng.choice([0.8, 1.0, 1.0])), 2)
        who = {
            "user_pseudo_id": f"{rng.integers(1, 50)}.7", "ga_session_id": visit, "device_language": "de",
            "country": str(rng.choice(["Germany", "France"])), "user_first_touch_timestamp": at - 86_400_000_000,
            "device_category": str(rng.choice(["mobile", "desktop"])),
            "traffic_medium": str(rng.choice(["cpc", "social"])),
        }  # fmt: skip
        made = [("page_view", {}), ("view_search_results", {"search_term": "cheap tea"}), ("view_item", thing)]
        made += [("add_to_cart", thing), ("purchase", thing)] if rng.random() < 0.4 else []
        for n, (name, more) in enumerate(made):
            rows.append({**who, "event_name": name, "event_timestamp": at + n * 1_000_000, **more})
            rows[-1]["engagement_time_msec"] = 1500
    return pd.DataFrame(rows).sort_values("event_timestamp", kind="stable", ignore_index=True)


def mapped(name: str, path: str) -> EventsSource:
    """Return the ready mapping of conf/source/ with another path."""
    source = load([f"source={name}", f"source.path={path}"], ROOT / "conf").source
    assert isinstance(source, EventsSource)
    return source


ECOMMERCE = mapped("events_ecommerce", "log.csv")


def raw(source: EventsSource, out: str = "raw") -> dict[str, pd.DataFrame]:
    """Return the raw tables of a log."""
    event_log.write(source, Path(out))
    return {name: pd.read_parquet(Path(out, f"{name}.parquet")) for name in NAMES}


def cleaned(source: EventsSource, rows: int = 1_000_000) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Return the clean tables of the raw log in `raw`, and what was set aside, read in buckets of `rows`."""
    where = f"{rows}"
    event_clean.write(Path("raw"), Path("clean" + where), Path("rest" + where), source, Clean(), rows)
    kept = {name: pd.read_parquet(f"clean{where}/{name}.parquet") for name in NAMES}
    return kept, {name: pd.read_parquet(f"rest{where}/{name}.parquet") for name in NAMES}


def config(source: EventsSource) -> Config:
    """Return a configuration for `source` with everything else as it comes."""
    return Config(source, Guardrails(), {}, ("gbm",), seed=7)


def offered(source: EventsSource) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Run ingest and clean as stages, and return the offers."""
    ingest.main(config(source))
    clean.main(config(source))
    return features.made(replace(config(source), features=FEATURES))


@pytest.mark.parametrize(
    ("name", "table", "kept", "lost"),
    [
        ("events_ecommerce", shop(), {"session_carts", "category", "spend"}, {"session_searches", "country", "tier"}),
        ("events_analytics", hits(), {"days_since_signup", "device", "channel"}, {"page_depth", "item_rating"}),
    ],
)
def test_each_ready_mapping_runs_to_its_offers(name: str, table: pd.DataFrame, kept: set[str], lost: set[str]) -> None:
    """Raw, clean and offers come of each layout; features that carry nothing are left out with a sentence each."""
    Path("log").mkdir()
    table.to_parquet("log/one.parquet")
    made, off, info = offered(mapped(name, "log"))
    views = table[table.iloc[:, 1].eq("view") | table.get("event_name", table.iloc[:, 1]).eq("view_item")]
    assert len(views) == len(made) + len(off)
    assert {0.8, 1.0} <= set(info.ladder)
    used = {*info.numeric, *info.categorical}
    assert kept <= used
    for feature in lost:
        assert feature not in used
        assert 1 == sum(f"Feature {feature!r} is left out" in sentence for sentence in info.assumptions)
    assert not info.propensity_logged
    ready = features.ordered(made, info)
    assert all(ready[column].nunique(dropna=False) > 1 for column in used)
    assert set(EVENTS.columns) == set(pd.read_parquet("data/clean/events.parquet"))


def test_the_layout_in_any_form_is_the_same_log() -> None:
    """One CSV, gzip, Parquet, a folder of parts and a glob give the same raw tables."""
    table = shop()
    half = len(table) // 2
    for place in ("parts/2019", "globbed"):
        Path(place).mkdir(parents=True)
    table.to_csv("log.csv", index=False)
    table.to_csv("log.csv.gz", index=False)
    table.to_parquet("log.parquet")
    for k, part in enumerate((table[:half], table[half:])):
        part.to_csv(f"parts/2019/{k}.csv", index=False)
        part.to_parquet(f"globbed/{k}.parquet")
    Path("parts/_SUCCESS").touch()
    Path("globbed/notes.txt").write_text("not a log")
    expected = raw(ECOMMERCE, "first")
    for k, path in enumerate(["log.csv.gz", "log.parquet", "parts", "globbed/*.parquet"]):
        found = raw(replace(ECOMMERCE, path=path), f"raw{k}")
        for name in NAMES:
            pd.testing.assert_frame_equal(expected[name], found[name], obj=f"{path} {name}")


@pytest.mark.parametrize("unit", ["iso", "seconds", "milliseconds", "microseconds"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_are_told_by_their_values(unit: str, kind: str) -> None:
    """ISO 8601 and seconds, milliseconds or microseconds since 1970 are the same instants, and the unit is said."""
    table = shop(20)
    moments = pd.to_datetime(table["event_time"].str.removesuffix(" UTC"), utc=True)
    scale = {"seconds": 1, "milliseconds": 1000, "microseconds": 1_000_000}
    if unit != "iso":
        table["event_time"] = moments.dt.as_unit("s").astype("int64") * scale[unit]
    table.to_csv("log.csv", index=False) if kind == "csv" else table.to_parquet("log.parquet")
    found = raw(replace(ECOMMERCE, path=f"log.{kind}"))["events"]["time"]
    wanted = table["event_type"] != "remove_from_cart"
    assert moments[wanted].dt.as_unit("us").tolist() == found.tolist()
    assert unit == read_json(Path("raw/source.json"))["time_unit"]


@pytest.mark.parametrize("unit", ["iso", "seconds"])
def test_a_word_is_no_time(unit: str) -> None:
    """Neither the clock's time nor 1970, and `nan` does not change the unit of the others: its row is set aside."""
    table = shop(30)
    moments = pd.to_datetime(table["event_time"].str.removesuffix(" UTC"), utc=True)
    if unit == "seconds":
        table["event_time"] = moments.dt.as_unit("s").astype("int64").astype("str")
    words = ["now", "today", "epoch", "nan", "infinity"]
    shown = table.index[table["event_type"] == "view"]
    table.loc[shown[: len(words)], "event_time"] = words
    table.to_csv("log.csv", index=False)
    raw(ECOMMERCE)
    assert unit == read_json(Path("raw/source.json"))["time_unit"]
    kept, rest = cleaned(ECOMMERCE)
    assert [(word, "bad_time") for word in words] == list(
        zip(rest["events"]["time"], rest["events"]["rule"], strict=True)
    )
    assert set(kept["events"]["time"]) <= set(moments)


def test_a_number_that_is_none_does_not_change_the_unit() -> None:
    """Seconds with a NaN or infinity among them, as Parquet may hold, are still seconds."""
    table = shop(30)
    moments = pd.to_datetime(table["event_time"].str.removesuffix(" UTC"), utc=True)
    table["event_time"] = moments.dt.as_unit("s").astype("int64").astype("float64")
    shown = table.index[table["event_type"] == "view"]
    table.loc[shown[:2], "event_time"] = [np.nan, np.inf]
    whole = pa.Table.from_pandas(table)
    place = whole.schema.get_field_index("event_time")
    times = pa.array(table["event_time"].to_numpy(), from_pandas=False)  # NaN, which is no empty cell
    pq.write_table(whole.set_column(place, "event_time", times), "log.parquet")
    source = replace(ECOMMERCE, path="log.parquet")
    raw(source)
    assert "seconds" == read_json(Path("raw/source.json"))["time_unit"]
    assert ["bad_time"] * 2 == cleaned(source)[1]["events"]["rule"].tolist()


def test_buckets_make_no_difference() -> None:
    """Many buckets set aside the same rows and keep the same as one, with ids shared across shoppers too."""
    table = shop(400)
    table["id"] = [f"e{k}" for k in range(len(table))]
    extra = table.iloc[::9].copy()
    extra.loc[extra.index[::2], "user_id"] = 61  # the same id, of another shopper
    table.loc[5, "price"] = -1.0  # a broken row's id may be used again
    table.loc[7, "event_type"] = "glance"
    again = table.loc[[5, 7]].assign(price=9.0, event_type="view", user_id=62)
    whole = pd.concat([table, extra, again], ignore_index=True)
    whole.to_parquet("log.parquet")
    source = replace(ECOMMERCE, path="log.parquet", columns=replace(ECOMMERCE.columns, event_id="id"))
    raw(source)
    (one, rest), (many, others) = cleaned(source), cleaned(source, 100)
    for name in NAMES:
        pd.testing.assert_frame_equal(one[name], many[name])
        pd.testing.assert_frame_equal(rest[name], others[name])
    counts = rest["events"]["rule"].value_counts().to_dict()
    assert {"price_not_positive": 1, "unknown_kind": 1} == {r: n for r, n in counts.items() if r != "duplicate_id"}
    assert counts["duplicate_id"] == (extra["event_type"] != "remove_from_cart").sum()
    assert {"e5", "e7"} <= set(one["events"]["event_id"])


def test_words_of_theirs_are_read_and_others_set_aside() -> None:
    """Kinds are mapped in any case; a word in no list is set aside, an ignored one counted and left out."""
    table = shop(30)
    table.loc[0, "event_type"] = "VIEW"
    table.loc[1, "event_type"] = "wink"
    table.to_csv("log.csv", index=False)
    event_log.write(ECOMMERCE, Path("raw"))
    made = event_clean.write(Path("raw"), Path("clean"), Path("rest"), ECOMMERCE, Clean())
    assert {"unknown_kind": 1} == made["events"]["rejected"]
    ignored = int((table["event_type"] == "remove_from_cart").sum())
    assert {"remove_from_cart": ignored} == made["events"]["ignored"]
    assert len(table) - ignored == made["events"]["rows_in"]
    rest = pd.read_parquet("rest/events.parquet")
    assert ["wink"] == rest["kind"].tolist()
    assert "view" == pd.read_parquet("clean/events.parquet")["kind"].iloc[0]


def test_single_broken_cells_go_to_quarantine_as_they_came() -> None:
    """A price or time that is none costs its row, which is shown as it stood."""
    table = shop(30).astype({"price": object})
    table.loc[0, "price"] = "twelve"
    table.loc[1, "event_time"] = "yesterday"
    table.to_csv("log.csv", index=False)
    raw(ECOMMERCE)
    _, rest = cleaned(ECOMMERCE)
    found = rest["events"][["price", "time", "rule"]].to_dict("records")
    assert ("twelve", "not_a_number") == (found[0]["price"], found[0]["rule"])
    assert ("yesterday", "bad_time") == (found[1]["time"], found[1]["rule"])


@pytest.mark.parametrize("word", ["now", "Today", "tomorrow", "infinity", "epoch"])
def test_no_time_is_read_off_the_clock(word: str) -> None:
    """What DuckDB and pandas read off the clock would be another time at every run: it is set aside as it came."""
    table = shop(30).assign(joined="2019-01-01")
    table.loc[3, "event_time"] = word
    table.loc[0, "joined"] = word
    table.to_csv("log.csv", index=False)
    source = replace(ECOMMERCE, columns=replace(ECOMMERCE.columns, signup="joined"))
    raw(source)
    kept, rest = cleaned(source)
    assert [(word, "bad_time")] == list(rest["events"][["time", "rule"]].itertuples(index=False, name=None))
    assert kept["events"]["time"].max() < pd.Timestamp("2020-01-01", tz="UTC")
    assert 1 == kept["shoppers"]["signup"].isna().sum()


def small(rows: list[tuple[object, ...]], **more: object) -> EventsSource:
    """Write a log of (time, kind, shopper, item, price, *further) and return its source, `more` naming the further."""
    columns = [str(name) for name in more]
    table = pd.DataFrame(rows, columns=["time", "kind", "shopper_id", "item_id", "price", *columns])
    table.to_csv("small.csv", index=False)
    return EventsSource(
        "events", "small", path="small.csv", columns=EventColumns(**dict(zip(columns, columns, strict=True)))
    )


def test_shoppers_are_what_their_first_event_says() -> None:
    """Country is that of the first event in time, missing if it is missing there; never a later one."""
    rows = [
        ("2026-03-03", "view", "u", "i", 5, "FR"),
        ("2026-03-02", "view", "u", "i", 5, "DE"),
        ("2026-03-02", "view", "w", "i", 5, None),
        ("2026-03-04", "purchase", "w", "i", 5, "IT"),
    ]
    made = raw(small(rows, country=str))["shoppers"].set_index("shopper_id")["country"]
    assert "DE" == made["u"]
    assert pd.isna(made["w"])


def test_a_session_ends_with_a_pause() -> None:
    """Without a session column a new one begins after more than the pause; shoppers do not share them."""
    rows: list[tuple[object, ...]] = [
        (f"2026-03-02T{clock}", kind, who, "i", 5)
        for clock, kind, who in [
            ("09:00", "view", "u"), ("09:30", "view", "u"), ("10:00:01", "purchase", "u"), ("09:10", "view", "w"),
        ]
    ]  # fmt: skip
    made = raw(small(rows))["events"]
    assert ["1", "1", "2", "1"] == made["session_id"].tolist()


def test_the_list_price_is_what_was_shown_most_before() -> None:
    """The most frequent price of the preceding days, the day itself left out; at first the price shown."""
    prices = {1: [8, 10], 2: [10, 9, 9, 9], 3: [7], 40: [6]}
    rows: list[tuple[object, ...]] = [
        (pd.Timestamp("2026-01-01") + pd.Timedelta(days=day, minutes=k), "view", f"u{day}", "i", price)
        for day, shown in prices.items() for k, price in enumerate(shown)
    ]  # fmt: skip
    rows.append(("2026-02-10T20:00", "purchase", "u40", "i", 5))
    source = small(rows)
    raw(source)
    made = cleaned(source)[0]["events"]
    assert [8, 10, 10, 10, 10, 10, 9, 6, 5] == made["list_price"].tolist()  # after day 1: 8 and 10 once each


def test_a_log_of_one_day_has_no_list_price_of_its_own() -> None:
    """Several prices of one day are not told as one; with a day before, or a list price, they make a ladder."""
    rows: list[tuple[object, ...]] = []
    for k in range(80):
        price = 8 + k % 4
        rows.append((f"2026-03-02T{k % 20:02}:00", "view", f"u{k}", "i", price, 10))
        rows += [(f"2026-03-02T{k % 20:02}:01", "purchase", f"u{k}", "i", price, 10)] * (k % 3 == 0)
    source = small(rows, list_price=float)
    source = replace(source, columns=EventColumns())
    with pytest.raises(InputError, match=r"views are of 1 day\(s\), .*bring more days, or name .*columns\.list_price"):
        offered(source)
    assert (0.8, 0.9, 1.0, 1.1) == offered(replace(source, columns=EventColumns(list_price="list_price")))[2].ladder
    before = [("2026-03-01T09:00", "view", "w", "i", 10, 10), *rows]
    assert (0.8, 0.9, 1.0, 1.1) == offered(replace(small(before, list_price=float), columns=EventColumns()))[2].ladder
    with pytest.raises(InputError, match="every offer was shown at the same price"):
        offered(replace(small([(*row[:4], 10, 10) for row in rows], list_price=float), columns=EventColumns()))


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.behaviour import batch
from pipelines.config import load
from pipelines.sources import event_clean, event_log


def die(*arguments, **names):
    os.kill(os.getpid(), signal.SIGKILL)
stage, conf = sys.argv[1:]
setattr({"ingest": event_log, "clean": event_clean._Pass, "features": batch._Run}[stage],
        {"ingest": "_survey", "clean": "_put_together", "features": "finish"}[stage], die)
module = __import__(f"pipelines.{stage}", fromlist=["main"])
module.main(load(["source=events_ecommerce", "source.path=log.csv"], Path(conf)))
"""


@pytest.mark.parametrize("stage", ["ingest", "clean", "features"])
def test_a_killed_run_leaves_nothing_for_good(stage: str) -> None:
    """What a stage that was killed half-way left in data/ is gone after the next run."""
    shop().to_csv("log.csv", index=False)
    cfg = load(["source=events_ecommerce", "source.path=log.csv"], ROOT / "conf")
    stages = {"ingest": ingest.main, "clean": clean.main, "features": features.main}
    for name, run in stages.items():
        if name == stage:
            break
        run(cfg)
    before = {path.name for path in Path("data").glob("*")}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, stage, str(ROOT / "conf")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert -signal.SIGKILL == killed.returncode
    assert {path.name for path in Path("data").glob("*")} > before
    for _, run in list(stages.items())[list(stages).index(stage) :]:
        run(cfg)
    assert {"raw", "truth", "clean", "quarantine", "offers"} == {path.name for path in Path("data").glob("*")}


def test_a_table_of_items_gives_costs_and_protected_columns_are_not_read() -> None:
    """Costs come from the user's items; a protected column is absent everywhere."""
    shop().to_csv("log.csv", index=False)
    items = pd.DataFrame({"item_id": list(PRICES), "category": ["x", "y", "y"], "unit_cost": [5.0, 20.0, 2.0]})
    items.to_csv("items.csv", index=False)
    source = replace(ECOMMERCE, items="items.csv")
    made, _, info = offered(source)
    assert {"cost_share", "category"} <= {*info.numeric, *info.categorical}
    assert {5.0, 20.0, 2.0} == set(made["unit_cost"])
    assert info.cost_share is None
    hidden, _, told = offered(replace(source, protected=("unit_cost",), cost_share=0.5))
    assert "cost_share" not in told.numeric
    assert np.allclose(hidden["unit_cost"], hidden["list_price"] * 0.5)


@pytest.mark.parametrize("many", [False, True], ids=["two prices", "over 40 prices"])
@pytest.mark.parametrize("missing", [0, 1, 20, 21, 400])
def test_a_few_views_without_a_propensity_are_set_aside(missing: int, many: bool) -> None:
    """Up to 5 % of the views, by a rule; beyond it no propensity is used; both are said with the count."""
    prices = (np.arange(50) + 51) / 100 if many else np.array([0.8, 1.0])
    views = pd.DataFrame(
        {
            "offer_id": [f"o{k}" for k in range(400)], "shopper_id": [f"u{k % 40}" for k in range(400)],
            "item_id": "i", "list_price": 10.0, "price": np.resize(prices, 400) * 10, "unit_cost": 1.0,
            "propensity": 1 / len(prices), "bought": np.arange(400) % 3 % 2, **dict.fromkeys(FEATURES.features, 1.0),
        }
    )  # fmt: skip
    views.loc[[(7 * k) % 400 for k in range(missing)], "propensity"] = np.nan
    source = EventsSource("events", columns=EventColumns(propensity="chance"))
    made, off, info = events.offers(views, source, FEATURES)
    few = missing <= 20
    assert few == info.propensity_logged
    assert (400 - missing if few else 400) == len(made)
    assert ["missing_propensity"] * (missing if few else 0) == off["rule"].tolist()
    assert sorted(views["offer_id"]) == sorted([*made["offer_id"], *off["offer_id"]])
    assert "costed" not in {*made, *off}
    assert (made["propensity"].notna() if few else made["propensity"].isna()).all()
    told = [sentence for sentence in info.assumptions if "ropensit" in sentence and "such a rung" not in sentence]
    end = "set aside (missing_propensity)." if few else "so none is used: what a price does is observational here."
    verb = "has" if missing == 1 else "have"
    start = f"{missing} of 400 views {verb} no propensity (source.columns.propensity)"
    assert ([f"{start}{':' if few else ','} {end}"] if missing else []) == told


@pytest.mark.parametrize(
    ("table", "columns", "why"),
    [
        (shop().assign(category_code="tea"), ECOMMERCE.columns, "the log has one category only, 'tea'"),
        (shop(), replace(ECOMMERCE.columns, category=None), "the log has no category"),
        (shop(), ECOMMERCE.columns, ""),
    ],
    ids=["one category", "no category", "several"],
)
def test_one_category_is_not_told_as_none(table: pd.DataFrame, columns: EventColumns, why: str) -> None:
    """Features of the category are left out where there is one or none, and the reason is the true one."""
    table.to_csv("log.csv", index=False)
    info = offered(replace(ECOMMERCE, columns=columns))[2]
    told = [sentence for sentence in info.assumptions if "category" in sentence and "is left out" in sentence]
    names = ("category_views_by_shopper", "category_purchases_by_shopper", "category") if why else ()
    assert sorted(f"Feature {name!r} is left out: {why}." for name in names) == sorted(told)


def test_a_missing_number_of_an_item_may_be_a_word() -> None:
    """NA beside a cell that is broken costs no row; the broken one does."""
    shop(30).to_csv("log.csv", index=False)
    items = pd.DataFrame({"item_id": list(PRICES), "category": ["NA", "y", "y"], "min_price": ["NA", "ask", "2.0"]})
    items = pd.concat([items, items.iloc[[2, 2]].assign(item_id=["d", "e"])]).assign(unit_cost=1.0)
    items.to_csv("items.csv", index=False)
    source = replace(ECOMMERCE, items="items.csv")
    raw(source)
    kept, rest = cleaned(source)
    assert [("b", "not_a_number")] == list(zip(rest["items"]["item_id"], rest["items"]["rule"], strict=True))
    assert ("NA", True) == (kept["items"]["category"][0], np.isnan(kept["items"]["min_price"][0]))


def test_most_offers_keeps_whole_shoppers() -> None:
    """A share of shoppers is kept with all their offers, with features of the whole log; the same in SQL and Python."""
    shop(600).to_csv("log.csv", index=False)
    every, _, _ = offered(ECOMMERCE)
    some, _, info = offered(replace(ECOMMERCE, most_offers=len(every) // 3))
    assert 0 < len(some) < len(every) * 2 / 3
    same = every[every["shopper_id"].isin(some["shopper_id"])]
    assert same["offer_id"].tolist() == some["offer_id"].tolist()
    assert same["item_views"].tolist() == some["item_views"].tolist()
    assert any("source.most_offers" in sentence for sentence in info.assumptions)
    kept = events.sampled(every["shopper_id"], 1 / 3)
    assert set(some["shopper_id"]) == set(every.loc[kept, "shopper_id"])


def test_the_canonical_schema_is_read_as_it_stands() -> None:
    """Tables as docs/schema.md has them need no mapping."""
    from pipelines.market import simulate
    from pipelines.sources import MarketSource

    made = simulate(MarketSource("market", "market", days=5, shoppers=80, items=24, offers=800), seed=5)
    for name, table in (("events", made.events), ("items", made.items), ("shoppers", made.shoppers)):
        table.to_parquet(f"{name}.parquet")
    source = replace(mapped("events", "events.parquet"), items="items.parquet", shoppers="shoppers.parquet")
    raw(source)
    kept, rest = cleaned(source)
    assert [0, 0, 0] == [len(table) for table in rest.values()]
    expected = made.events.sort_values(["time", "event_id"], ignore_index=True)
    for column in ("event_id", "time", "item_id", "price", "list_price", "propensity", "dwell_seconds", "keywords"):
        pd.testing.assert_series_equal(expected[column], kept["events"][column], check_dtype=False)
    for name, schema in {"events": EVENTS, "items": ITEMS, "shoppers": SHOPPERS}.items():
        assert list(schema.columns) == list(kept[name].columns)
        check(kept[name], schema, "test")
