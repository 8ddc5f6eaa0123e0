"""Profiles of tiny tables against numbers counted by hand, and the order in which a log arrived."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines import quality_profile
from pipelines.quality_arrival import arrival
from pipelines.quality_profile import columns, counts, opened, parts, session

SECOND = 1_000_000
BETWEEN = ("2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00")


@pytest.fixture
def connection() -> Iterator[Any]:
    """A session of DuckDB."""
    with session() as one:
        yield one


def written(folder: Path, table: pd.DataFrame, name: str = "table.parquet") -> Path:
    """Return the path of a table that was written there."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)
    return path


def profiled(connection: Any, folder: Path, table: pd.DataFrame, **ranges: list[float | None]) -> dict[str, Any]:
    """Return the profile of a table."""
    return columns(opened(connection, "events", [written(folder, table)]), ranges)


def test_numbers_are_those_counted_by_hand(connection: Any, tmp_path: Path) -> None:
    """The values 1 … 101: the 1 % quantile is 2, the median 51, every decile holds ten, and nothing lies outside."""
    found = profiled(connection, tmp_path, pd.DataFrame({"x": np.arange(101, 0, -1.0)}))["x"]
    assert (101, 0, 1.0, 2.0, 51.0, 100.0, 101.0) == tuple(
        found[k] for k in ("rows", "missing", "min", "low", "median", "high", "max")
    )
    assert [11.0, 21.0, 31.0, 41.0, 51.0, 61.0, 71.0, 81.0, 91.0, 101.0] == found["bins"]["cuts"][1:]
    assert [0, 11, *[10] * 9, 0, 0] == found["bins"]["counts"]


def test_what_is_no_number_is_missing(connection: Any, tmp_path: Path) -> None:
    """NaN, infinity and nothing; and the same in a column that holds nothing else, which then has no bins."""
    table = pd.DataFrame({"x": [1.0, math.nan, math.inf, None, 2.0], "none": [math.nan] * 5})
    found = profiled(connection, tmp_path, table)
    assert (5, 3, 1.0, 2.0) == tuple(found["x"][k] for k in ("rows", "missing", "min", "max"))
    assert 3 == found["x"]["bins"]["counts"][-1]
    assert {"kind": "number", "rows": 5, "missing": 5} == found["none"]


def test_values_outside_a_range_are_counted(connection: Any, tmp_path: Path) -> None:
    """Below the low end, above the high one; an open end lets everything pass, the ends themselves belong to it."""
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [1.0, 2.0, 3.0, 4.0], "c": [1.0, 2.0, 3.0, 4.0]})
    found = profiled(connection, tmp_path, table, a=[2.0, 3.0], b=[None, 3.0])
    assert (2, 1) == (found["a"]["outside"], found["b"]["outside"])
    assert "outside" not in found["c"]


def test_words_are_counted_and_ranked(connection: Any, tmp_path: Path) -> None:
    """The most frequent first, ties by name; an empty text is missing; quotes and Chinese are words like others."""
    table = pd.DataFrame({"w": ["b", "国家", "b", "", None, "it's", "a", "a"], "shopper_id": list("aabbccdd")})
    found = profiled(connection, tmp_path, table)
    assert [["a", 2], ["b", 2], ["it's", 1], ["国家", 1]] == found["w"]["frequent"]
    assert (8, 2, 4) == tuple(found["w"][k] for k in ("rows", "missing", "distinct"))
    assert {"words": ["a", "b", "it's", "国家"], "counts": [2, 2, 1, 1, 0, 2]} == found["w"]["bins"]
    assert {"kind": "key", "rows": 8, "missing": 0, "distinct": 4} == found["shopper_id"]


def test_nobodys_words_are_shown(connection: Any, tmp_path: Path) -> None:
    """Keys and free text are counted only."""
    table = pd.DataFrame({"text": ["my phone is 123", "nice"], "shopper_id": ["Ann", "Bob"]})
    told = json.dumps(profiled(connection, tmp_path, table))
    assert "123" not in told
    assert "Ann" not in told


def test_only_rows_that_should_have_a_value_can_lack_it(connection: Any, tmp_path: Path) -> None:
    """A rating is missing from a review, not from a view."""
    table = pd.DataFrame({"kind": ["view", "review", "review", "view"], "rating": [None, 4.0, None, None]})
    found = profiled(connection, tmp_path, table)["rating"]
    assert (2, 1) == (found["rows"], found["missing"])


def test_times_have_a_first_and_a_last(connection: Any, tmp_path: Path) -> None:
    """In UTC, with what is missing."""
    times = pd.to_datetime(["2026-03-02T10:00", None, "2026-03-02T09:00"], utc=True)
    found = profiled(connection, tmp_path, pd.DataFrame({"time": times}))["time"]
    assert ("2026-03-02T09:00:00+00:00", "2026-03-02T10:00:00+00:00", 1) == (
        found["first"], found["last"], found["missing"],
    )  # fmt: skip


def test_bins_of_another_table_catch_what_it_had_not(connection: Any, tmp_path: Path) -> None:
    """Numbers below the least and above the greatest, and new words, have bins of their own."""
    table = opened(
        connection, "now", [written(tmp_path, pd.DataFrame({"x": [0.0, 5.0, 7.0, 99.0], "w": list("abbz")}))]
    )
    assert [1, 1, 1, 1, 0] == counts(table, "x", {"cuts": [1.0, 5.0, 10.0]})
    assert [1, 2, 1, 0] == counts(table, "w", {"words": ["a", "b"]})


def test_the_order_and_the_cut_into_parts_play_no_role(connection: Any, tmp_path: Path) -> None:
    """One file, or a folder of parts with the rows in another order: the same profile."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"event_id": [str(i) for i in range(500)], "x": rng.normal(size=500), "w": list("abcde") * 100}
    )
    one = columns(opened(connection, "one", [written(tmp_path, table)]), {})
    mixed = table.sample(frac=1, random_state=1)
    for k, part in enumerate((mixed[:70], mixed[70:])):
        written(tmp_path, part, f"folder.parquet/day={k}/part.parquet")
    files = parts(tmp_path / "folder.parquet")
    assert 2 == len(files)
    assert one == columns(opened(connection, "two", files), {})


def test_a_part_of_a_large_table_gives_nearly_its_quantiles(
    connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the sample's size only quantiles come from a part; rows, ends and bins are of all rows."""
    table = pd.DataFrame({"event_id": [str(i) for i in range(20_000)], "x": np.arange(20_000.0)})
    exact = profiled(connection, tmp_path, table)["x"]
    monkeypatch.setattr(quality_profile, "SAMPLE", 5_000)
    found = profiled(connection, tmp_path, table)["x"]
    assert (20_000, 0.0, 19_999.0, 20_000) == (found["rows"], found["min"], found["max"], sum(found["bins"]["counts"]))
    assert found["median"] != exact["median"]
    assert pytest.approx(exact["median"], rel=0.05) == found["median"]


def test_an_empty_table_has_a_profile(connection: Any, tmp_path: Path) -> None:
    """No rows, nothing missing, no bins of numbers."""
    empty = pd.DataFrame({"x": pd.Series(dtype=float), "w": pd.Series(dtype=str)})
    found = profiled(connection, tmp_path, empty)
    assert {"kind": "number", "rows": 0, "missing": 0} == found["x"]
    assert (0, 0, []) == (found["w"]["rows"], found["w"]["distinct"], found["w"]["frequent"])


def log(*rows: tuple[int, str], **more: Any) -> pd.DataFrame:
    """Return a log of (second of the day, session) in order of arrival."""
    seconds, sessions = zip(*rows, strict=True)
    times = pd.Timestamp("2026-03-02", tz="UTC") + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame({"time": times, "session_id": sessions, "shopper_id": "s", **more})


LATE = ((100, "a"), (200, "b"), (150, "c"), (130, "a"), (120, "a"), (300, "a"))


def test_late_events_are_counted_against_the_newest_seen(connection: Any, tmp_path: Path) -> None:
    """At 150, 130 and 120, 200 had been seen: late by 50, 70 and 80 s; in session a the clock ran from 130 to 120."""
    found = arrival(connection, [written(tmp_path, log(*LATE))], BETWEEN, 60 * SECOND)
    assert found is not None
    assert (6, 3, 2, 80.0, 1) == tuple(found[k] for k in ("rows", "late", "beyond", "longest_seconds", "backwards"))


def test_the_column_arrived_goes_before_the_order_of_rows(connection: Any, tmp_path: Path) -> None:
    """The same log sorted by time, whose arrival is told by a column."""
    table = log(*LATE, arrived=range(6)).sort_values("time")
    found = arrival(connection, [written(tmp_path, table)], BETWEEN, 60 * SECOND)
    assert found is not None
    assert (3, "arrived") == (found["late"], found["by"])
    again = arrival(connection, [written(tmp_path, table.drop(columns="arrived"))], BETWEEN, 60 * SECOND)
    assert again is not None
    assert (0, 0) == (again["late"], again["backwards"])


@pytest.mark.parametrize("form", ["text", "zoned", "bare", "seconds", "milliseconds"])
def test_raw_times_are_read_as_clean_reads_them(connection: Any, tmp_path: Path, form: str) -> None:
    """ISO 8601, seconds or milliseconds; what cannot be read, and what clean set aside, is left out."""
    table = log(*LATE, (90_000_000, "z"))
    seconds = table["time"].astype("int64") / (1e9 if table["time"].dt.unit == "ns" else 1e6)
    told = {"text": table["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), "seconds": seconds, "milliseconds": seconds * 1000,
            "bare": table["time"].dt.tz_localize(None).astype(str),
            "zoned": table["time"].dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%dT%H:%M:%S+08:00")}  # fmt: skip
    table["time"] = told[form]
    if form in ("text", "zoned", "bare"):
        table.loc[len(table)] = {"time": "yesterday", "session_id": "a", "shopper_id": "s"}
    found = arrival(connection, [written(tmp_path, table)], BETWEEN, 60 * SECOND)
    assert found is not None
    assert (6, 3, 1) == (found["rows"], found["late"], found["backwards"])


def test_a_log_in_parts_arrives_part_after_part(connection: Any, tmp_path: Path) -> None:
    """In the order of their names; a log without sessions has no order to tell of."""
    files = [written(tmp_path, log(*rows), f"log/{k}.parquet") for k, rows in enumerate((LATE[:2], LATE[2:]))]
    found = arrival(connection, files, BETWEEN, 60 * SECOND)
    assert found is not None
    assert (3, 2) == (found["late"], found["beyond"])
    bare = written(tmp_path, log(*LATE).drop(columns="session_id"), "bare.parquet")
    assert arrival(connection, [bare], BETWEEN, 60 * SECOND) is None
