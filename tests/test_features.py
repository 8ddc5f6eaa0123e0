"""Features: windows follow each other in time, and the stage writes the same bytes for the same data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import features
from pipelines.clean import cleaned
from pipelines.config import Clean, Config, Split, load
from pipelines.errors import InputError
from pipelines.market import simulate
from pipelines.pricing import Guardrails
from pipelines.sources import MarketSource
from pipelines.tables import WINDOWS, OffersInfo

SOURCE = MarketSource("market", "market", days=12, shoppers=60, items=24, offers=1_500)

Tables = dict[str, pd.DataFrame]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(6, 80), distinct=st.integers(3, 30))
def test_windows_follow_each_other(seed: int, count: int, distinct: int) -> None:
    """All of fit is before all of select, and select before certify; offers of one time stay together."""
    minutes = np.sort(np.concatenate([[0, 1, 2], np.random.default_rng(seed).integers(0, distinct, count)]))
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    parts = features.windows(pd.DataFrame({"time": times}), Split(0.2, 0.3), seed=0)
    assert count + 3 == sum(map(len, parts.values()))
    assert parts["fit"]["time"].max() < parts["select"]["time"].min()
    assert parts["select"]["time"].max() < parts["certify"]["time"].min()


def test_windows_keep_their_shares() -> None:
    """With many times the windows have the shares that were asked for."""
    times = pd.date_range("2026-01-01", periods=1_000, freq="min", tz="UTC")
    parts = features.windows(pd.DataFrame({"time": times}), Split(0.15, 0.45), seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"fit": 400, "select": 150, "certify": 450}


def test_without_a_time_the_seed_draws_the_windows() -> None:
    """The same seed gives the same windows, another seed others, and every offer is in exactly one."""
    offers = untimed(range(100))
    first, again, other = (features.windows(offers, Split(0.2, 0.3), seed) for seed in (1, 1, 2))
    assert [len(first[name]) for name in WINDOWS] == [50, 20, 30]
    assert list(range(100)) == sorted(n for part in first.values() for n in part["n"])
    assert first["certify"].equals(again["certify"])
    assert not first["certify"].equals(other["certify"])


def untimed(shoppers: Iterable[int]) -> pd.DataFrame:
    """Return numbered offers to these shoppers, without a time."""
    names = [f"s{n}" for n in shoppers]
    times = pd.Series(pd.NaT, range(len(names)), dtype="datetime64[us, UTC]")
    return pd.DataFrame({"time": times, "shopper_id": names, "n": range(len(names))})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), shoppers=st.integers(20, 60))
def test_without_a_time_no_shopper_is_in_two_windows(seed: int, shoppers: int) -> None:
    """All offers of a shopper are dealt together, and the windows have nearly their shares."""
    offers = untimed(np.random.default_rng(seed).integers(0, shoppers, 20 * shoppers))
    parts = features.windows(offers, Split(0.2, 0.3), seed)
    assert offers["shopper_id"].nunique() == sum(part["shopper_id"].nunique() for part in parts.values())
    most = int(offers["shopper_id"].value_counts().max())
    for name, share in {"fit": 0.5, "select": 0.2, "certify": 0.3}.items():
        assert abs(len(parts[name]) - share * len(offers)) <= most + 1


def test_too_few_shoppers_leave_a_window_empty() -> None:
    """Two shoppers cannot be dealt to three windows: the message says that each is in one."""
    with pytest.raises(InputError, match=r"is left without an offer \(100 in all, to 2 shopper\(s\), each of whom"):
        features.windows(untimed([1] * 50 + [2] * 50), Split(0.2, 0.3), seed=0)
    assert all(len(part) for part in features.windows(untimed([1, 2, 3] * 30), Split(0.3, 0.3), seed=0).values())


def test_two_times_are_too_few() -> None:
    """A split by time needs three different times and says what to do about it."""
    times = pd.to_datetime(["2026-01-01", "2026-01-02"] * 5, utc=True)
    with pytest.raises(InputError, match=r"only 2 distinct time.*source.columns.time to null"):
        features.windows(pd.DataFrame({"time": times}), Split(0.2, 0.3), seed=0)


def config(source: MarketSource) -> Config:
    """Return a configuration for `source` with everything else as it comes."""
    shipped = load(conf=Path(__file__).parents[1] / "conf").features
    return Config(source, Guardrails(), {}, ("gbm",), seed=7, split=Split(0.2, 0.4), features=shipped)


def written(tables: Tables, monkeypatch: pytest.MonkeyPatch, folder: Path) -> OffersInfo:
    """Write clean `tables` under `folder`, run the stage there, and return what it says of its offers."""
    monkeypatch.chdir(folder)
    Path("data/clean").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(f"data/clean/{name}.parquet", index=False)
    features.main(config(SOURCE))
    return OffersInfo.read(Path("data/offers/offers.json"))


def test_the_stage_gives_the_same_bytes_with_or_without_truth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows in another order and a missing truth folder change no byte, and stale files do not survive."""
    shop = simulate(SOURCE, seed=3)
    raw = {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}
    tables = cleaned(raw, SOURCE, Clean())[0]
    first = tmp_path / "first"
    (first / "data/truth").mkdir(parents=True)
    shop.truth.to_parquet(first / "data/truth/offers.parquet")
    (first / "data/offers").mkdir()
    (first / "data/offers/stale.parquet").touch()
    with_truth = written(tables, monkeypatch, first)
    second = tmp_path / "second"
    second.mkdir()
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in tables.items()}
    without = written(shuffled, monkeypatch, second)
    assert with_truth == without
    assert with_truth.rows == {name: len(pd.read_parquet(f"data/offers/{name}.parquet")) for name in WINDOWS}
    assert not (first / "data/offers/stale.parquet").exists()
