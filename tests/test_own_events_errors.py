"""Every mistake in a log, or in what is said of it, gets one clear message; logs elsewhere are read too."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from pipelines.behaviour import __main__ as pages
from pipelines.config import Clean, load
from pipelines.errors import InputError
from pipelines.sources import EventColumns, EventsSource, event_clean, event_files, event_log, events

ROOT = Path(__file__).parents[1]
SOURCE = EventsSource("events", "events", path="log.csv")
LOG = pd.DataFrame(
    {
        "time": ["2026-03-02T09:00:00", "2026-03-02T09:01:00", "2026-03-02T09:02:00"],
        "kind": ["view", "cart", "purchase"],
        "shopper_id": ["u", "u", "u"],
        "item_id": ["i", "i", "i"],
        "price": [5.0, 5.0, 5.0],
    }
)


pytestmark = pytest.mark.usefixtures("workplace")


def told(source: EventsSource = SOURCE) -> str:
    """Return the message with which ingest refuses a log; nothing half-written stays."""
    with pytest.raises(InputError) as caught:
        event_log.write(source, Path("raw"))
    return str(caught.value)


def test_a_wrong_name_says_the_key_and_the_nearest_column() -> None:
    """All columns that are not there are named at once, each with its key; optional ones may be set to null."""
    LOG.rename(columns={"shopper_id": "shoper_id"}).to_csv("log.csv", index=False)
    message = told(replace(SOURCE, columns=EventColumns(text="comment")))
    assert "'shopper_id' (source.columns.shopper_id) (did you mean 'shoper_id'?)" in message
    assert "'comment' (source.columns.text)" in message
    assert "set to null what the log does not have (text)" in message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.csv", "source.path=absent.csv: there is no such file, folder with files, or glob"),
        ("hollow", "source.path=hollow: there is no such file, folder with files, or glob"),
        ("none/*.csv", "source.path=none/*.csv: there is no such file"),
        ("strange", "1 file(s), none ends in .parquet, .pq, .csv, .csv.gz"),
        ("mixed", "mixed holds Parquet and CSV files; choose one kind by a glob, e.g. mixed/*.csv"),
        ("nowhere://log.csv", "source.path=nowhere://log.csv cannot be opened"),
        ("zero.csv", "zero.csv is empty: not even a header"),
        ("header.csv", "header.csv: 1 file(s), but not one row"),
        ("bad.parquet", "bad.parquet cannot be read as Parquet"),
        ("bad.csv.gz", "bad.csv.gz cannot be read as CSV"),
        ("ragged.csv", "Original Line: 2026-03-02T09:02:00,purchase,u,u,u,i,5.0 Expected Number of Columns: 5 Found"),
        ("latin.csv", "latin.csv cannot be read as CSV"),
        ("twice.csv", "column 'price' occurs twice"),
        ("parts", "1.csv lacks 'price', which "),
    ],
)
def test_files_that_cannot_be_a_log(path: str, message: str) -> None:
    """What is absent, empty, damaged or unlike the first file is refused by name."""
    for place in ("hollow", "strange", "mixed", "parts"):
        Path(place).mkdir()
    Path("strange/log.xlsx").touch()
    LOG.to_csv("mixed/0.csv", index=False)
    LOG.to_parquet("mixed/1.parquet")
    Path("zero.csv").touch()
    LOG[:0].to_csv("header.csv", index=False)
    Path("bad.parquet").write_text("hello, this is no Parquet at all")
    Path("bad.csv.gz").write_bytes(b"nor is this gzip")
    Path("ragged.csv").write_text(LOG.to_csv(index=False).replace("purchase,u", "purchase,u,u,u"))
    Path("latin.csv").write_bytes(LOG.assign(kind="vüe").to_csv(index=False).encode("latin-1"))
    LOG.assign(more=1).rename(columns={"more": "price"}).to_csv("twice.csv", index=False)
    LOG.to_csv("parts/0.csv", index=False)
    LOG.drop(columns="price").to_csv("parts/1.csv", index=False)
    assert message in told(replace(SOURCE, path=path))
    assert not Path("raw").exists()


def test_a_file_system_that_lacks_its_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of what it says; HDFS without Java tells every place where it has looked."""

    def lacking(path: str) -> None:
        raise OSError("Unable to load libjvm\ndlopen(/usr/lib/jvm/libjvm.so) failed")

    monkeypatch.setattr("fsspec.core.url_to_fs", lacking)
    with pytest.raises(
        InputError, match=r"^source.path=hdfs://shop/log cannot be opened: Unable to load libjvm; install"
    ):
        event_files.found(replace(SOURCE, path="hdfs://shop/log"))


def test_a_truncated_file_is_refused() -> None:
    """Half of a gzip file is no log."""
    whole = gzip.compress(pd.concat([LOG] * 3000).to_csv(index=False).encode())
    Path("half.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "half.csv.gz cannot be read as CSV" in told(replace(SOURCE, path="half.csv.gz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": ["5,00", "5,00", "5"]}, "column 'price' (source.columns.price) must hold numbers"),
        ({"time": ["noon", "later", "2026-03-02"]}, "column 'time' (source.columns.time) must hold times"),
        ({"kind": ["PV", "cart", "purchase"]}, "no event is a view (column 'kind' never holds 'view'); it holds"),
        ({"kind": ["view", "cart", "order"]}, "no event is a purchase"),
    ],
)
def test_columns_that_cannot_play_their_part(changes: dict[str, list[str]], message: str) -> None:
    """Words for numbers or times, and kinds that nobody listed, are refused with what is there."""
    LOG.assign(**changes).to_csv("log.csv", index=False)
    assert message in told()


def test_a_unit_that_is_not_the_logs_is_refused() -> None:
    """Declared seconds in a log of ISO times are a mistake."""
    LOG.to_csv("log.csv", index=False)
    assert "holds ISO 8601, but source.time_unit=seconds" in told(replace(SOURCE, time_unit="seconds"))


def test_several_values_in_a_cell_are_refused() -> None:
    """A nested column, as GA exports have before they are flattened, is named."""
    LOG.assign(item_id=[["i"], ["i"], ["i"]]).to_parquet("log.parquet")
    assert "column 'item_id' (source.columns.item_id) holds several values in one cell" in told(
        replace(SOURCE, path="log.parquet")
    )


def test_a_missing_table_of_items_says_what_else_to_do() -> None:
    """It can be made of the log."""
    LOG.to_csv("log.csv", index=False)
    assert "set it to null to have items made of the log" in told(replace(SOURCE, items="items.csv"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": {"PV": "look"}}, "source.kinds.PV=look does not exist"),
        ({"kinds": {"PV": "view"}}, "source.kinds names no purchase"),
        ({"ignored": ("View",)}, "source.ignored: 'view' is also in source.kinds"),
        ({"channel": "fax"}, "source.channel=fax does not exist"),
        ({"channels": {"a": "fax"}}, "source.channels.a=fax does not exist"),
        ({"time_unit": "days"}, "source.time_unit=days does not exist"),
        ({"dwell_unit": "hours"}, "source.dwell_unit=hours does not exist"),
        ({"protected": ("price",)}, "source.protected: 'price' is no optional column"),
        ({"most_offers": 0}, "source.most_offers=0 must be at least 1"),
        ({"cost_share": 1.5}, "source.cost_share=1.5 must lie in [0, 1)"),
        ({"columns": EventColumns(price="")}, "source.columns.price is empty"),
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, object], message: str) -> None:
    """A wrong setting names itself."""
    with pytest.raises(InputError) as caught:
        replace(SOURCE, **settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_column_without_ids_is_no_event_id() -> None:
    """An event id that many shoppers share is refused before it costs the log, and needs no memory."""
    many = pd.concat([LOG.assign(shopper_id=f"u{k}") for k in range(40)], ignore_index=True).assign(day="monday")
    many.to_csv("log.csv", index=False)
    source = replace(SOURCE, columns=EventColumns(event_id="day"))
    event_log.write(source, Path("raw"))
    limit = event_clean._MOST_SCATTERED
    event_clean._MOST_SCATTERED = 50
    try:
        with pytest.raises(InputError, match=r"120 events share their id \(column 'day'\) .* or set it to null"):
            event_clean.write(Path("raw"), Path("clean"), Path("rest"), source, Clean(), 10)
    finally:
        event_clean._MOST_SCATTERED = limit


def test_views_that_nothing_follows_are_refused() -> None:
    """A log in which no purchase belongs to a view says nothing about prices."""
    table = pd.DataFrame(
        {
            "offer_id": ["a", "b"], "shopper_id": "u", "item_id": "i", "price": [5.0, 4.0], "list_price": 5.0,
            "unit_cost": None, "propensity": None, "bought": 0,
        }
    )  # fmt: skip
    with pytest.raises(InputError, match="none of the 2 views was followed by a purchase of the same shopper"):
        events.offers(table, SOURCE, load((), ROOT / "conf").features)


def test_nothing_left_names_the_rules() -> None:
    """If clean sets every event aside, it says by which rules."""
    LOG.assign(price=-1.0).to_csv("log.csv", index=False)
    event_log.write(SOURCE, Path("raw"))
    with pytest.raises(InputError, match=r"all 3 rows were rejected \(price_not_positive 3\)"):
        event_clean.write(Path("raw"), Path("clean"), Path("rest"), SOURCE, Clean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cur": "USD"},
            "(foreign_currency 3): column 'cur' (source.columns.currency) holds 'USD', but source.currency=EUR",
        ),
        (
            {"time": [20260302, 20260303, 20260304]},
            "(bad_time 3): column 'time' (source.columns.time) is read as '1970-08-23 11:51:42+00:00', outside "
            "1995 to 2099: numbers count from 1970 (source.time_unit), days are as 2026-03-02",
        ),
        (
            {"item_id": "1"},
            "(unknown_item 3): column 'item_id' (source.columns.item_id) holds '1', but the items have ids such as "
            "'001' (source.items=items.csv)",
        ),
        (
            {"way": "fax"},
            "(unknown_channel 3): column 'way' (source.columns.channel) holds 'fax', which is not in source.channels",
        ),
    ],
)
def test_nothing_left_shows_a_cell_with_its_column_and_setting(changes: dict[str, object], message: str) -> None:
    """So that one who mapped a column wrongly sees which, and what stands there."""
    pd.DataFrame({"item_id": ["001"], "category": "tea"}).to_csv("items.csv", index=False)
    LOG.assign(item_id="001", cur="eur", way="web").assign(**changes).to_csv("log.csv", index=False)
    source = replace(SOURCE, items="items.csv", columns=EventColumns(currency="cur", channel="way"))
    event_log.write(source, Path("raw"))
    with pytest.raises(InputError) as caught:
        event_clean.write(Path("raw"), Path("clean"), Path("rest"), source, Clean())
    assert f"raw/events.parquet: all 3 rows were rejected {message}; mend the source" in str(caught.value)


def test_a_log_in_memory_is_read_through_fsspec() -> None:
    """A folder of another file system gives the same rows as the local one."""
    system = fsspec.filesystem("memory")
    with system.open("/shop/log/a.csv", "wb") as file:
        file.write(LOG.to_csv(index=False).encode())
    try:
        event_log.write(replace(SOURCE, path="memory://shop/log"), Path("raw"))
    finally:
        system.rm("/shop", recursive=True)
    LOG.to_csv("log.csv", index=False)
    event_log.write(SOURCE, Path("local"))
    pd.testing.assert_frame_equal(pd.read_parquet("local/events.parquet"), pd.read_parquet("raw/events.parquet"))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("place", ["log [2]", "memory://shop/log [2]"])
def test_brackets_in_a_name_are_part_of_it(place: str, ending: str) -> None:
    """`log[1]` is a file of its own beside `log1`, and so is `log*`: alone, in a folder, and found by a glob."""
    system, inside = fsspec.core.url_to_fs(place)
    system.makedirs(inside, exist_ok=True)
    for name in ("1", "[1]", "*"):
        table = LOG.assign(shopper_id=name)
        table.to_csv("log.csv", index=False) if ending != "parquet" else table.to_parquet("log.parquet")
        whole = Path("log.parquet" if ending == "parquet" else "log.csv").read_bytes()
        with system.open(f"{inside}/log{name}.{ending}", "wb") as file:
            file.write(gzip.compress(whole) if ending == "csv.gz" else whole)
    expected = {
        place: {"1", "[1]", "*"},
        f"{place}/log[1].{ending}": {"[1]"},
        f"{place}/log1.{ending}": {"1"},
        f"{place}/log*.{ending}": {"*"},
        f"{place.replace('[2]', '*')}/log?.{ending}": {"1", "*"},
    }
    try:
        for out, path in enumerate(expected):
            event_log.write(replace(SOURCE, path=path), Path(f"raw{out}"))
            found = pd.read_parquet(f"raw{out}/events.parquet")["shopper_id"]
            assert dict.fromkeys(expected[path], len(LOG)) == found.value_counts().to_dict(), path
    finally:
        for name in system.find(inside):
            system.rm_file(name)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a bucket of a local stand-in for S3, found by its environment as a real one is."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed (make test installs it)")
    pytest.importorskip("s3fs", reason="s3fs is not installed (make test installs it)")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        fsspec.filesystem("s3").mkdir(f"shop{port}")
        yield f"shop{port}"
    finally:
        fsspec.filesystem("s3").clear_instance_cache()
        running.stop()


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_log_in_an_object_store_is_read(bucket: str, ending: str) -> None:
    """A folder and a glob on S3 give the rows that were put there; a bucket that is not there is an error."""
    LOG.to_csv(f"log.{ending}", index=False) if ending != "parquet" else LOG.to_parquet("log.parquet")
    system = fsspec.filesystem("s3")
    for k in (0, 1):
        system.put_file(f"log.{ending}", f"{bucket}/log/part-{k}.{ending}")
    for name, path in (("folder", f"s3://{bucket}/log"), ("glob", f"s3://{bucket}/log/*-1.{ending}")):
        event_log.write(replace(SOURCE, path=path), Path(name))
        found = pd.read_parquet(f"{name}/events.parquet")
        assert LOG["kind"].tolist() * (2 if name == "folder" else 1) == found["kind"].tolist()
    assert "s3://nobodys/log" in told(replace(SOURCE, path="s3://nobodys/log"))


def test_the_pages_of_features_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/features.md and the table of docs/own-events.md are what `python -m pipelines.behaviour` writes."""
    monkeypatch.chdir(ROOT)
    for path, text in pages.pages(load().features).items():
        assert text == path.read_text(encoding="utf-8"), f"{path}: run python -m pipelines.behaviour"


def test_every_setting_is_in_its_file_and_on_its_page() -> None:
    """conf/source/events.yaml and docs/own-events.md name every setting; the canonical columns are all there."""
    page, file = (ROOT / "docs/own-events.md").read_text(), (ROOT / "conf/source/events.yaml").read_text()
    for key in set(vars(SOURCE)) - {"name", "kind"}:
        assert f"| `{key}` |" in page, key
        assert f"\n{key}:" in file, key
    for column in vars(EventColumns()):
        assert f"\n  {column}: " in file, column


def test_suffixes_are_those_of_the_page() -> None:
    """The page names the endings that are read."""
    page = (ROOT / "docs/own-events.md").read_text()
    assert [s for s in event_files.SUFFIXES if f"`{s}`" not in page] == [".pq"]
