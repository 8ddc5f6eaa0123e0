"""Clean: what is broken goes to quarantine with its rule, what is whole stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import clean, rules
from pipelines.clean import cleaned, report
from pipelines.config import Clean, Config
from pipelines.errors import InputError
from pipelines.market import break_rows, simulate
from pipelines.pricing import Guardrails
from pipelines.sources import MarketSource

SOURCE = MarketSource("market", "market", days=5, shoppers=80, items=24, offers=800)
SHOP = simulate(SOURCE, seed=5)
RAW = {"events": SHOP.events, "items": SHOP.items, "shoppers": SHOP.shoppers}

Tables = dict[str, pd.DataFrame]


def caught(**changes: object) -> list[str]:
    """Return the rules that catch one view of the market in which the cells `changes` are different."""
    view = SHOP.events.index[SHOP.events["kind"] == "view"][3]
    events = SHOP.events.astype(dict.fromkeys(changes, object))
    for name, value in changes.items():
        events.loc[view, name] = value
    return cleaned({**RAW, "events": events}, SOURCE, Clean())[1]["events"]["rule"].tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_broken_market_comes_back_whole(seed: int) -> None:
    """Cleaning a market with flawed rows gives back exactly the rows that were there before."""
    broken = break_rows(SHOP.events, 0.05, np.random.default_rng(seed))
    kept, rejected = cleaned({**RAW, "events": broken}, SOURCE, Clean())
    whole = cleaned(RAW, SOURCE, Clean())[0]
    expected = SHOP.events.sort_values(["time", "event_id"], ignore_index=True)
    expected["text"] = expected["text"].str.normalize("NFKC").str.lower()  # 东西好， becomes 东西好,
    pd.testing.assert_frame_equal(expected, kept["events"], check_dtype=False)
    assert all(whole[name].equals(kept[name]) for name in RAW)
    assert len(broken) - len(SHOP.events) == len(rejected["events"])
    assert {"duplicate_id", "duplicate_event", "machine", "foreign_currency"} <= set(rejected["events"]["rule"])


def test_cleaning_twice_changes_nothing() -> None:
    """What is clean stays as it is, and nothing more is rejected."""
    broken = break_rows(SHOP.events, 0.05, np.random.default_rng(2))
    once, _ = cleaned({**RAW, "events": broken}, SOURCE, Clean())
    twice, rejected = cleaned(once, SOURCE, Clean())
    for name, table in once.items():
        pd.testing.assert_frame_equal(table, twice[name])
    assert [len(table) for table in rejected.values()] == [0, 0, 0]


def test_the_report_adds_up() -> None:
    """Rows in are rows kept and rows rejected, rule by rule."""
    broken = break_rows(SHOP.events, 0.05, np.random.default_rng(2))
    counts = report(*cleaned({**RAW, "events": broken}, SOURCE, Clean()))
    assert len(broken) == counts["events"]["rows_in"]
    for table in counts.values():
        assert table["rows_in"] == table["kept"] + sum(table["rejected"].values())
    assert len(broken) > counts["events"]["kept"]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("missing_id", {"shopper_id": None}),
        ("missing_id", {"event_id": " "}),
        ("bad_time", {"time": pd.NaT}),
        ("bad_time", {"time": pd.Timestamp("1970-01-01", tz="UTC")}),
        ("unknown_kind", {"kind": "glance"}),
        ("unknown_channel", {"channel": "fax"}),
        ("unknown_item", {"item_id": "POST"}),
        ("unknown_item", {"item_id": None}),
        ("foreign_currency", {"currency": "USD"}),
        ("not_a_number", {"price": "twelve"}),
        ("missing_price", {"price": np.nan}),
        ("missing_price", {"list_price": None}),
        ("price_not_positive", {"price": 0.0}),
        ("price_not_positive", {"list_price": -1.0}),
        ("impossible_value", {"dwell_seconds": -1.0}),
        ("impossible_value", {"propensity": 1.5}),
        ("impossible_value", {"price": np.inf}),
        ("impossible_value", {"price": 1e-9}),
        ("impossible_value", {"list_price": 9e8, "price": 9.0}),
    ],
)
def test_each_rule_catches_its_flaw(rule: str, changes: dict[str, object]) -> None:
    """One broken cell is caught by the rule that is named after it, and nothing else is."""
    assert [rule] == caught(**changes)


def test_bounds_that_contradict_each_other_are_impossible() -> None:
    """No price lies between a least one and a largest one below it; one of them alone, or both alike, is fine."""
    bounds = pd.DataFrame({"min_price": [5.0, 5.0, 5.0, np.nan], "max_price": [4.0, 5.0, np.nan, 4.0]})
    assert [True, False, False, False] == rules.impossible(bounds).tolist()


def test_a_currency_is_the_same_in_small_letters() -> None:
    """`eur` is no foreign currency to a source in EUR, nor EUR to one in `eur`."""
    assert [] == caught(currency="eur")
    assert [] == caught(currency="Eur ")


def test_odd_writing_is_mended() -> None:
    """Case, white space and width of letters are brought to one form, and do not cost a row."""
    assert caught(kind=" View ", channel="ＷＥＢ", price="12.50") == []


def test_rejected_rows_keep_what_stood_there() -> None:
    """Quarantine shows the raw value, so that a person can see what was wrong."""
    events = SHOP.events.astype({"price": object})
    events.loc[0, ["kind", "price"]] = ["view", "twelve"]
    rejected = cleaned({**RAW, "events": events}, SOURCE, Clean())[1]["events"]
    assert list(zip(rejected["price"], rejected["rule"], strict=True)) == [("twelve", "not_a_number")]


def test_a_rejected_item_takes_its_events_along() -> None:
    """Events of an item without a cost have no item to belong to."""
    items = SHOP.items.copy()
    items.loc[0, "unit_cost"] = np.nan
    _, rejected = cleaned({**RAW, "items": items}, SOURCE, Clean())
    assert rejected["items"]["rule"].tolist() == ["missing_cost"]
    lost = SHOP.events["item_id"].eq(items.loc[0, "item_id"]).sum()
    assert lost == rejected["events"]["rule"].eq("unknown_item").sum()


def test_machines_are_sessions_beyond_the_limit() -> None:
    """A session with more views in a minute than the limit goes as a whole; at the limit it stays."""
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta([0, 1, 2, 70, 0, 1], unit="s")
    sessions, kinds = ["a", "a", "a", "a", "b", "b"], ["view", "search", "cart", "purchase", "view", "view"]
    events = pd.DataFrame({"shopper_id": "u", "session_id": sessions, "kind": kinds, "time": times})
    assert rules.machines(events, 2).tolist() == [True] * 4 + [False] * 2
    assert not rules.machines(events, 3).any()


def test_nothing_left_is_an_error() -> None:
    """If every row is rejected, the error counts the rules and says where to look."""
    with pytest.raises(InputError, match=r"events.parquet: all \d+ rows were rejected \(unknown_kind \d+\)"):
        cleaned({**RAW, "events": SHOP.events.assign(kind="x")}, SOURCE, Clean())
    with pytest.raises(InputError, match=r"events.parquet has no rows"):
        cleaned({**RAW, "events": SHOP.events.iloc[:0]}, SOURCE, Clean())


def test_a_missing_column_is_an_error() -> None:
    """An absent required column is named with its file and the nearest column; an optional one is filled."""
    events = SHOP.events.rename(columns={"shopper_id": "shoper_id"})
    with pytest.raises(InputError, match=r"events.parquet: there is no column 'shopper_id' \(did you mean 'shoper_id'"):
        cleaned({**RAW, "events": events}, SOURCE, Clean())
    kept, _ = cleaned({**RAW, "events": SHOP.events.drop(columns="text")}, SOURCE, Clean())
    assert kept["events"]["text"].isna().all()


def test_the_stage_leaves_nothing_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each folder is written as a whole: a table of another source does not survive."""
    monkeypatch.chdir(tmp_path)
    for folder in ("raw", "clean", "quarantine"):
        Path("data", folder).mkdir(parents=True)
        Path("data", folder, "stale.parquet").touch()
    for name, table in RAW.items():
        table.to_parquet(f"data/raw/{name}.parquet", index=False)
    clean.main(Config(SOURCE, Guardrails(), {}, ("gbm",), seed=7))
    names = ["events.parquet", "items.parquet", "shoppers.parquet"]
    assert [*names[:2], "report.json", names[2]] == sorted(p.name for p in Path("data/clean").iterdir())
    assert names == sorted(p.name for p in Path("data/quarantine").iterdir())
    assert [*RAW["events"].columns, "rule"] == list(pd.read_parquet("data/quarantine/events.parquet"))
