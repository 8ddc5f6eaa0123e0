"""Ingest: each source arrives in the canonical schema, the truth apart from it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipelines import ingest
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.ingest import raw_tables
from pipelines.market import simulate
from pipelines.pricing import Guardrails
from pipelines.sources import MarketSource, OffersSource, OnlineRetailSource, Source
from pipelines.tables import EVENTS, ITEMS, SHOPPERS

MARKET = MarketSource("market", "market", days=4, shoppers=60, items=24, offers=400, flaws=0.02)


def config(source: Source) -> Config:
    """Return a configuration for `source` with everything else as it comes."""
    return Config(source, Guardrails(), {}, ("gbm",), seed=7)


pytestmark = pytest.mark.usefixtures("workplace")


def files(name: str) -> list[str]:
    """Return the names of the files in data/`name`."""
    return sorted(path.name for path in Path("data", name).iterdir())


def test_the_market_comes_with_flaws_and_its_truth() -> None:
    """The raw log holds every simulated event and some broken ones; the truth is no raw table."""
    raw, truth = raw_tables(MARKET, seed=7)
    shop = simulate(MARKET, seed=7)
    assert sorted(raw) == ["events", "items", "shoppers"]
    assert set(shop.events["event_id"]) < set(raw["events"]["event_id"])
    assert shop.truth.equals(truth["offers"])
    for name, schema in {"events": EVENTS, "items": ITEMS, "shoppers": SHOPPERS}.items():
        assert list(schema.columns) == list(raw[name].columns)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Two runs of the stage write the same files, another seed other ones."""
    ingest.main(config(MARKET))
    first = {path: path.read_bytes() for path in Path("data").rglob("*.parquet")}
    ingest.main(config(MARKET))
    assert first == {path: path.read_bytes() for path in Path("data").rglob("*.parquet")}
    assert not raw_tables(MARKET, seed=8)[0]["events"].equals(raw_tables(MARKET, seed=7)[0]["events"])


def test_another_source_leaves_nothing_of_the_last() -> None:
    """After the market, a table of offers stands alone, and no truth is left to be read."""
    ingest.main(config(MARKET))
    assert files("truth") == ["offers.parquet", "truth.json"]
    assert read_json(Path("data/truth/truth.json")) == {"known": True}
    pd.DataFrame({"price": [1.0, 2.0], "bought": [0, 1]}).to_csv("mine.csv", index=False)
    ingest.main(config(OffersSource("offers", "offers", path="mine.csv")))
    assert files("raw") == ["offers.parquet"]
    assert files("truth") == ["truth.json"]
    assert read_json(Path("data/truth/truth.json")) == {"known": False}


def test_an_error_leaves_the_last_data_whole() -> None:
    """A source that cannot be read changes no file."""
    ingest.main(config(MARKET))
    before = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    with pytest.raises(InputError):
        ingest.main(config(OffersSource("offers", "offers", path="absent.csv")))
    assert before == {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "source",
    [OffersSource("offers", path="absent.parquet"), OnlineRetailSource("online_retail", path="absent.parquet")],
)
def test_a_missing_file_says_where_it_belongs(source: Source) -> None:
    """The error names the path and the setting; for the public data set also where to get it."""
    with pytest.raises(InputError, match=r"^absent.parquet is missing: .*name another with source.path$") as caught:
        raw_tables(source, seed=1)
    assert (source.kind == "online_retail") == ("doi.org" in str(caught.value))


def test_a_kind_without_a_reader_is_an_error() -> None:
    """A source that no branch knows is refused by its kind."""
    with pytest.raises(InputError, match=r"source.kind=parrot"):
        raw_tables(Source("parrot"), seed=1)
