"""The stage quality: what it writes, that it says the same again, and each threshold refusing and passing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import quality, report_quality
from pipelines import report as report_page
from pipelines.config import Config, load
from pipelines.errors import InputError
from pipelines.files import digest, read_json
from pipelines.quality_history import HISTORY
from pipelines.quality_limits import Quality
from pipelines.sources import OffersSource
from tests import worlds
from tests.test_report import EVIL, Reading, facts

ROOT = Path(__file__).parents[1]
FILES = ("profile.json", "quality.json", "report.html")


def config(**limits: Any) -> Config:
    """Return a run with these thresholds."""
    return worlds.config(quality=Quality(**limits))


def put(path: str, table: pd.DataFrame) -> None:
    """Write a table of the run."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def events() -> pd.DataFrame:
    """Return ten events in order of arrival: the fourth and fifth late, by 100 and 400 s, one of them in a session."""
    seconds = [0, 60, 600, 500, 200, 660, 720, 780, 840, 900]
    kinds = ["view"] * 6 + ["review"] * 4
    return pd.DataFrame(
        {
            "event_id": [str(k) for k in range(10)],
            "time": pd.Timestamp("2026-03-02", tz="UTC") + pd.to_timedelta(seconds, unit="s"),
            "shopper_id": "s", "session_id": ["a", "b", "a", "a", "b", *"cccca"], "item_id": "one", "kind": kinds,
            "price": [9.0, 10.0, 11.0, 12.0, 13.0, 99.0, *[np.nan] * 4],
            "rating": [*[np.nan] * 6, 5.0, 4.0, np.nan, 3.0],
        }
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables of a run: two of twelve events were set aside, one as a duplicate."""
    monkeypatch.chdir(tmp_path)
    worlds.write_offers(tmp_path)
    for name in ("raw", "clean"):
        put(f"data/{name}/events.parquet", events())
    put("data/quarantine/events.parquet", events()[:2].assign(rule=["duplicate_id", "bad_time"]))
    put("data/clean/items.parquet", pd.DataFrame({"item_id": ["one"], "category": ["toys"]}))
    put("data/clean/shoppers.parquet", pd.DataFrame({"shopper_id": ["s"], "country": [EVIL]}))
    put("data/offers/quarantine.parquet", worlds.offers(2)[0].assign(rule="off_ladder"))
    return tmp_path


def test_the_headline_numbers_are_those_counted_by_hand(shop: Path) -> None:
    """Rows, shares of what was set aside, and lateness: two of ten events late, both beyond a minute."""
    quality.main(config())
    told = read_json(quality.OUT / "quality.json")
    assert {"events": 10, "items": 1, "shoppers": 1, "offers": 2000} == told["rows"]
    assert (round(2 / 12, 6), round(2 / 2002, 6)) == (told["rejected"]["events"], told["rejected"]["offers"])
    assert (round(1 / 12, 6), 0.2, 0.2, 1) == (
        told["duplicates"]["events"], told["late"], told["late_beyond"], told["backwards"],
    )  # fmt: skip
    assert (True, 0, None) == (told["passed"], told["broken"], told["drift"])
    assert told["drift_inside"]["psi"] < 0.25
    assert {"passed": True} == read_json(quality.OUT / quality.PASSED)


def test_the_same_data_give_the_same_files(shop: Path) -> None:
    """However often; and in another order of rows, since only that of arrival counts."""
    quality.main(config())
    first = {name: digest(quality.OUT / name) for name in (*FILES, quality.PASSED)}
    quality.main(config())
    put("data/clean/events.parquet", events()[::-1])
    quality.main(config())
    assert first == {name: digest(quality.OUT / name) for name in (*FILES, quality.PASSED)}
    assert 1 == len(HISTORY.read_text().splitlines())


def test_new_data_are_compared_with_the_last(shop: Path) -> None:
    """And with the same again when they are profiled anew, though they are the last by then."""
    quality.main(config())
    table = pd.read_parquet("data/offers/fit.parquet")
    put("data/offers/fit.parquet", table.assign(age=table["age"] + 1))
    for _ in range(2):
        quality.main(config())
        assert "offers.age" == read_json(quality.OUT / "quality.json")["drift"]["column"]
        assert read_json(quality.OUT / "quality.json")["drift_inside"]["column"] == "offers.age"
    assert 2 == len(HISTORY.read_text().splitlines())


def drifted() -> None:
    """Make the certify window's shoppers older, after a run with them as they were."""
    quality.main(config())
    table = pd.read_parquet("data/offers/certify.parquet")
    put("data/offers/certify.parquet", table.assign(age=table["age"] + 1))


def as_it_is() -> None:
    """Change nothing."""


REFUSED = {
    "rows": ({"rows": {"events": 11}}, {"rows": {"events": 10}}, r"events: 10 rows, and quality\.rows\.events asks"),
    "nulls": (
        {"nulls": {"rating": 0.24}}, {"nulls": {"events.rating": 0.25, "rating": 0.1}},
        r"events\.rating: share missing is 0\.25 \(1 of 4 rows\), and quality\.nulls\.rating allows 0\.24",
    ),
    "ranges": (
        {"ranges": {"events.price": [None, 90.0]}}, {"ranges": {"events.price": [9.0, 99.0]}},
        r"events\.price: greatest value is 99 \(1 of 6 rows\), and quality\.ranges\.events\.price allows 90",
    ),
    "least": (
        {"ranges": {"events.price": [11.0, None]}}, {"ranges": {"events.price": [None, None]}},
        r"events\.price: least value is 9 \(2 of 6 rows\)",
    ),
    "rejected": (
        {"rejected": 0.16}, {"rejected": 0.17},
        r"events: share rejected \(bad_time 1, duplicate_id 1\) is 0\.166667 \(2 of 12 rows\).*rejected allows 0\.16",
    ),
    "duplicates": ({"duplicates": 0.08}, {"duplicates": 0.09}, r"events: share of duplicates \(duplicate_id 1\)"),
    "late": ({"late": 0.19}, {"late": 0.2}, r"events\.time: share later than 60 s is 0\.2 \(2 of 10 rows\)"),
    "backwards": ({"backwards": 0.0}, {"backwards": 0.1}, r"events\.time: share with the clock run back is 0\.1"),
    "drift": ({"drift": 0.1}, {"drift": 9.0}, r"offers\.age: PSI since the last run is .*quality\.drift allows 0\.1"),
    "inside": (
        {"drift_inside": 0.25}, {"drift_inside": 99.0}, r"offers\.age: PSI from the fit to the certify window is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_threshold_fails_and_says_where(shop: Path, name: str) -> None:
    """With column, rule, value, threshold, count and what to do; a little more and the same data pass."""
    strict, generous, told = REFUSED[name]
    (drifted if name in ("drift", "inside") else as_it_is)()
    with pytest.raises(InputError, match=told + r".*\. See data/quality/report\.html; mend the source, or change"):
        quality.main(config(**strict))
    quality.main(config(**generous))
    assert read_json(quality.OUT / "quality.json")["passed"]


def test_a_failed_run_leaves_its_report_and_is_no_reference(shop: Path) -> None:
    """The files are there and name what broke; the word that lets learning begin is not, nor a line for later runs."""
    quality.main(config())
    put("data/clean/events.parquet", events()[:5])
    with pytest.raises(InputError, match=r"events: 5 rows, and quality\.rows\.events asks for 6"):
        quality.main(config(rows={"events": 6}))
    assert (False, 1) == tuple(read_json(quality.OUT / "quality.json")[k] for k in ("passed", "broken"))
    assert "Threshold broken" in (quality.OUT / "report.html").read_text()
    assert not (quality.OUT / quality.PASSED).exists()
    assert 1 == len(HISTORY.read_text().splitlines())


def test_learning_waits_for_the_word_alone() -> None:
    """A report that reads otherwise makes nothing learn anew; and DVC neither empties nor restores the history."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    waiting = {name: [dep for dep in stage["deps"] if "data/quality" in dep] for name, stage in stages.items()}
    assert {"overlap": ["data/quality/passed.json"], "certify": ["data/quality/profile.json"]} == {
        name: deps for name, deps in waiting.items() if deps
    }
    assert not any(str(HISTORY) in yaml.safe_dump(stage.get("outs", [])) for stage in stages.values())


def test_small_tables_do_not_drift_by_chance(shop: Path) -> None:
    """A PSI above the threshold, but within what so few rows make, is no breach."""
    quality.main(config())
    put("data/clean/items.parquet", pd.DataFrame({"item_id": ["one"], "category": ["books"]}))
    quality.main(config(drift=0.1))
    moved = read_json(quality.OUT / "profile.json")["drift"]["tables"]["items"]["category"]
    assert 0.1 < moved["psi"] < moved["by_chance"]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"nulls": {"ratng": 0.1}}, r"quality\.nulls\.ratng: .* no such column \(did you mean 'rating'\?\)"),
        ({"ranges": {"offers.rating": [0.0, 1.0]}}, r"quality\.ranges\.offers\.rating: .* no such column"),
        ({"rows": {"event": 1}}, r"quality\.rows\.event: .* no such table \(did you mean 'events'\?\)"),
    ],
)
def test_a_threshold_of_nothing_is_an_error(shop: Path, limits: dict[str, Any], told: str) -> None:
    """A typing error must not pass for a check."""
    with pytest.raises(InputError, match=told):
        quality.main(config(**limits))


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"rejected": 1.5}, r"quality\.rejected=1\.5 must be a share from 0 to 1"),
        ({"nulls": {"x": -0.1}}, r"quality\.nulls\.x=-0\.1 must be a share"),
        ({"drift": 0.0}, r"quality\.drift=0\.0 must be above 0"),
        ({"rows": {"events": -1}}, r"quality\.rows\.events=-1 must be a number that is not below 0"),
        (
            {"nulls": {"events": {"channel": 0.1}}},
            r"quality\.nulls\.events=.* must be a share .* \{table\.column: share\}",
        ),
        ({"ranges": {"x": [1.0]}}, r"quality\.ranges\.x=\[1\.0\] must be \[low, high\]"),
        ({"ranges": {"x": [2.0, 1.0]}}, r"must be \[low, high\]"),
        ({"ranges": {"x": ["a", "b"]}}, r"must be \[low, high\]"),
        ({"ranges": {"x": 3}}, r"quality\.ranges\.x=3 must be \[low, high\]"),
    ],
)
def test_nonsense_thresholds_are_refused(limits: dict[str, Any], told: str) -> None:
    """When they are made."""
    with pytest.raises(InputError, match=told):
        Quality(**limits)


def test_thresholds_come_from_conf() -> None:
    """With open ends; a typing error is named."""
    words = ["quality.ranges={offers.price: [null, 5]}", "quality.nulls={rating: 1}", "quality.drift=0.25"]
    found = load(words, ROOT / "conf").quality
    assert ({"offers.price": [None, 5.0]}, {"rating": 1.0}, 0.25) == (found.ranges, found.nulls, found.drift)
    with pytest.raises(InputError, match=r"quality\.drfit is not a known setting \(did you mean 'drift'\?\)"):
        load(["quality.drfit=1"], ROOT / "conf")


def _without_log(folder: Path) -> None:
    for name in ("raw/events", "clean/events", "clean/items", "clean/shoppers", "quarantine/events"):
        (folder / f"data/{name}.parquet").unlink()


def _in_parts(folder: Path) -> None:
    for name in ("raw", "clean"):
        (folder / f"data/{name}/events.parquet").unlink()
        put(f"data/{name}/events.parquet/0.parquet", events()[:4])
        put(f"data/{name}/events.parquet/1.parquet", events()[4:])


def _empty(folder: Path) -> None:
    for name in ("raw", "clean"):
        put(f"data/{name}/events.parquet", events()[:0])
    (folder / "data/quarantine/events.parquet").unlink()


@pytest.mark.parametrize(
    ("change", "rows", "late"), [(_without_log, None, None), (_in_parts, 10, 0.2), (_empty, 0, None)]
)
def test_every_form_of_data_has_a_report(
    shop: Path, change: Callable[[Path], None], rows: int | None, late: float | None
) -> None:
    """A table of offers alone, a log in parts, an empty log."""
    change(shop)
    source = OffersSource(kind="offers", name="offers") if rows is None else config().source
    quality.main(replace(config(), source=source))
    told = read_json(quality.OUT / "quality.json")
    assert (rows, late) == (told["rows"].get("events"), told["late"])
    assert [] == Reading((quality.OUT / "report.html").read_text()).open


def test_without_offers_it_says_what_to_do(shop: Path) -> None:
    """The windows are what is learned on."""
    for path in (shop / "data/offers").glob("*.parquet"):
        path.unlink()
    with pytest.raises(InputError, match="holds no window: run `dvc repro`"):
        quality.main(config())


def test_any_word_is_shown_as_it_is(shop: Path) -> None:
    """The page needs nothing else, and a table's words are text, never markup."""
    quality.main(config())
    page = (quality.OUT / "report.html").read_text()
    found = Reading(page)
    assert "script" not in found.tags
    assert 'alert("1")' in found.text
    assert ([], []) == (found.open, found.links)


def test_the_reports_page_has_the_section(shop: Path) -> None:
    """Before what is not known; and without it where the stage was left out."""
    bare = report_page.page(facts())
    quality.main(config())
    page = report_page.page(facts() | {"quality": report_quality.read()})
    assert page.index("What the data are like") < page.index("What is not known")
    assert "What the data are like" not in bare
    assert [] == Reading(page).open


def test_the_section_tells_what_moved_in_words(shop: Path) -> None:
    """Much, and by how much; what stayed within chance hardly moved; without a report there is no section."""
    drifted()
    quality.main(config())
    text = Reading(str(report_quality.section(json.loads((quality.OUT / "profile.json").read_text())))).text
    first = text[text.index("Were the test offers") :]
    assert first.index("much") < first.index("hardly")
    assert first.index("age") < first.index("visits")
    assert "" == report_quality.section(None)
    assert ("hardly", "hardly", "somewhat", "much") == tuple(
        report_quality.moved_word(*pair) for pair in ((0.3, 0.4), (0.05, 0.01), (0.2, 0.01), (0.25, 0.01))
    )
