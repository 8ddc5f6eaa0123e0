"""Online retail: order lines become offers of customer, product and week that know only earlier weeks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.clean import cleaned
from pipelines.config import Clean
from pipelines.errors import InputError
from pipelines.sources import OnlineRetailSource, online_retail
from pipelines.tables import EVENTS, ITEMS, SHOPPERS

SOURCE = OnlineRetailSource(
    "online_retail", "online_retail", currency="GBP", rungs=(0.5, 0.8, 0.9, 1.0, 1.1, 1.25), list_price_weeks=3
)
START = pd.Timestamp("2010-12-01")

Tables = dict[str, pd.DataFrame]


def order_lines(seed: int, count: int = 500) -> pd.DataFrame:
    """Return random order lines with guests, bulk lines, postage, free lines and changing prices."""
    rng = np.random.default_rng(seed)
    invoice = np.sort(rng.integers(0, 120, count))
    customer = rng.integers(0, 6, 120)[invoice]
    minute = np.sort(rng.integers(0, 60 * 24 * 70, 120))[invoice]
    code = rng.choice(["85123A", "22752", "71053", "84029g", "POST"], count, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    return pd.DataFrame(
        {
            "InvoiceNo": (536365 + invoice).astype("int32"),
            "StockCode": pd.Categorical(code),
            "Description": pd.Categorical(["THING " + c for c in code]),
            "Quantity": rng.choice([1, 2, 6, 12, 13, 48], count).astype("int32"),
            "InvoiceDate": START + pd.Timedelta(hours=8) + pd.to_timedelta(minute, unit="min"),
            "UnitPrice": rng.choice([0.0, 1.8, 2.0, 2.0, 2.0, 2.2, 7.0], count),
            "CustomerID": np.where(customer == 0, 0, 17850 + customer).astype("int32"),
            "Country": pd.Categorical(rng.choice(["United Kingdom", "France"], count)),
        }
    )


def clean_tables(lines: pd.DataFrame) -> Tables:
    """Return the clean tables of order lines."""
    return cleaned(online_retail.tables(lines, SOURCE), SOURCE, Clean())[0]


def all_offers(tables: Tables) -> pd.DataFrame:
    """Return the offers with those that stand on no rung, by offer_id."""
    kept, off, _ = online_retail.offers(SOURCE, tables)
    return pd.concat([kept, off]).set_index("offer_id").sort_index()


def slow_offers(tables: Tables) -> pd.DataFrame:
    """Return the offers the obvious way: for every customer, week and product look through all lines."""
    events = tables["events"].query("shopper_id != '0'")
    events = events.assign(week=(events["time"] - tables["events"]["time"].min().normalize()).dt.days // 7)
    country = tables["shoppers"].set_index("shopper_id")["country"]
    listed = {
        (item, week): usual_price(lines[lines["week"].between(week - 3, week - 1)])
        for item, lines in events.groupby("item_id")
        for week in range(events["week"].max() + 1)
    }
    rows = [
        row
        for (shopper, week), _ in events.groupby(["shopper_id", "week"])
        for item in sorted(set(events.query("shopper_id == @shopper and week < @week")["item_id"]))
        if (row := slow_offer(events, shopper, item, int(week), country, listed)) is not None
    ]
    return pd.DataFrame(rows).set_index("offer_id").sort_index()


def usual_price(lines: pd.DataFrame) -> float:
    """Return the most frequent price of lines of at most 12 pieces, of equals the higher; NaN without one."""
    counts = lines[lines["quantity"] <= 12]["price"].value_counts()
    return max((n, p) for p, n in counts.items())[1] if len(counts) else np.nan


def slow_offer(
    events: pd.DataFrame, shopper: str, item: str, week: int, country: Any, listed: dict[Any, float]
) -> dict[str, Any] | None:
    """Return one offer with its context, or None where the product has no price that week."""
    of_item = events[events["item_id"] == item]
    price = usual_price(of_item[of_item["week"] == week])
    if np.isnan(price):
        return None
    mine = events[(events["shopper_id"] == shopper) & (events["week"] < week)]
    same, sold = mine[mine["item_id"] == item], of_item[of_item["week"] < week]
    cheap = [p < listed[i, w] for p, i, w in zip(mine["price"], mine["item_id"], mine["week"], strict=True)]
    orders, spend = mine["session_id"].nunique(), (mine["price"] * mine["quantity"]).sum()
    now = events.query("shopper_id == @shopper and week == @week")
    return {
        "offer_id": f"{shopper}-{item}-{week}",
        "price": price,
        "list_price": listed[item, week],
        "bought": int(item in set(now["item_id"])),
        "orders": orders,
        "spend": spend,
        "weeks_since_order": week - mine["week"].max(),
        "orders_per_week": orders / (week - mine["week"].min()),
        "mean_basket": spend / orders,
        "discount_share": np.mean(cheap),
        "times_bought": same["session_id"].nunique(),
        "pieces_bought": same["quantity"].sum(),
        "weeks_since_bought": week - same["week"].max(),
        "weeks_since_first_sale": week - sold["week"].min(),
        "item_lines": len(sold),
        "recent_lines": sold["week"].between(week - 3, week - 1).sum(),
        "typical_pieces": np.exp(np.log(sold["quantity"]).mean()),
        "week_of_year": (START + pd.Timedelta(weeks=week)).isocalendar().week,
        "country": country[shopper],
        "series": item[:2],
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_offers_equal_a_look_through_all_lines(seed: int) -> None:
    """The SQL finds the same offers, prices and contexts as a slow, obvious search."""
    tables = clean_tables(order_lines(seed, 250))
    expected, table = slow_offers(tables), all_offers(tables)
    assert {*online_retail.NUMERIC, *online_retail.CATEGORICAL, "price", "bought"} == set(expected.columns)
    pd.testing.assert_frame_equal(
        expected, table[expected.columns], check_dtype=False, check_names=False, rtol=1e-5, atol=1e-5
    )


def test_later_lines_change_nothing() -> None:
    """Leaving out the last weeks leaves the offers of the earlier ones as they are."""
    lines = order_lines(2)
    end = START + pd.Timedelta(weeks=6)
    tables, past = clean_tables(lines), clean_tables(lines[lines["InvoiceDate"] < end])
    past["shoppers"] = tables["shoppers"]  # where a customer lives is no event
    before, after = all_offers(past), all_offers(tables)
    pd.testing.assert_frame_equal(before, after[after["time"] < end.tz_localize("UTC")])


def test_order_lines_arrive_in_the_canonical_schema() -> None:
    """A line is a purchase, its invoice the session; guests are shopper 0, and codes are in upper case."""
    lines = order_lines(0)
    raw = online_retail.tables(lines, SOURCE)
    for name, schema in {"events": EVENTS, "items": ITEMS, "shoppers": SHOPPERS}.items():
        assert list(schema.columns) == list(raw[name].columns)
    events = raw["events"]
    assert len(lines) == events["event_id"].nunique()
    assert f"536365-{events.loc[0, 'item_id']}-1" == events.loc[0, "event_id"]
    assert (lines["CustomerID"] == 0).sum() == (events["shopper_id"] == "0").sum()
    assert "84029G" in set(raw["items"]["item_id"])
    assert "0" not in set(raw["shoppers"]["shopper_id"])


def test_what_is_no_product_goes_to_quarantine() -> None:
    """Postage and free lines are set aside by their rules; bulk orders are nobody's machine."""
    lines = order_lines(0)
    _, rejected = cleaned(online_retail.tables(lines, SOURCE), SOURCE, Clean(events_per_minute=1))
    assert {"not_a_product", "price_not_positive", "duplicate_event"} == set(rejected["events"]["rule"])
    assert (lines["StockCode"] == "POST").sum() == rejected["events"]["rule"].eq("not_a_product").sum()


def test_prices_snap_or_are_set_aside() -> None:
    """Kept offers are within the tolerance of their rung, the others name why they are not offers."""
    kept, off, info = online_retail.offers(SOURCE, clean_tables(order_lines(0)))
    rung = np.array(info.ladder)[kept["rung"]]
    assert (np.abs(kept["multiplier"] / rung - 1) <= SOURCE.snap + 1e-6).all()
    assert {"no_list_price", "off_ladder"} == set(off["rule"])
    assert off.loc[off["list_price"].isna(), "rule"].eq("no_list_price").all()
    assert (kept["unit_cost"] == kept["list_price"] * SOURCE.cost_share).all()
    assert not info.propensity_logged
    assert any("never randomised" in sentence for sentence in info.assumptions)
    assert any("50%" in sentence for sentence in info.assumptions)


def test_only_the_first_days_are_read(tmp_path: Path) -> None:
    """source.days keeps whole days from the first line on."""
    path = tmp_path / "lines.parquet"
    order_lines(0).to_parquet(path)
    days = order_lines(0)["InvoiceDate"].dt.normalize()
    lines = online_retail.read(replace(SOURCE, path=str(path), days=10))
    assert (days < days[0] + pd.Timedelta(days=10)).sum() == len(lines) > 0


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    """A missing column, words for prices and a log of one week each get one clear message."""
    path = tmp_path / "lines.parquet"
    source = replace(SOURCE, path=str(path))
    order_lines(0).rename(columns={"UnitPrice": "Unit Price"}).to_parquet(path)
    with pytest.raises(InputError, match=r"no column 'UnitPrice' \(did you mean 'Unit Price'\?\)"):
        online_retail.read(source)
    order_lines(0).assign(UnitPrice="dear").to_parquet(path)
    with pytest.raises(InputError, match=r"column 'UnitPrice' must hold numbers .* e.g. 'dear'"):
        online_retail.read(source)
    order_lines(0).to_parquet(path)
    with pytest.raises(InputError, match=r"there is no offer; bring more weeks \(source.days\)"):
        online_retail.offers(source, clean_tables(online_retail.read(replace(source, days=6))))


def real_file() -> Path:
    """Return where the real order lines are, or skip the test and say where to put them."""
    places = (Path("data/external/online_retail.parquet"), Path(os.environ.get("PRICEWRIGHT_ONLINE_RETAIL", "-")))
    found = [path for path in places if path.is_file()]
    if not found:
        pytest.skip("no data/external/online_retail.parquet (doi:10.24432/C5BW33), nor PRICEWRIGHT_ONLINE_RETAIL")
    return found[0]


def test_the_real_shop_in_its_first_days() -> None:
    """Sixty days of the real lines give thousands of offers, about a fifth of them bought."""
    source = replace(SOURCE, path=str(real_file()), days=60, list_price_weeks=8)
    kept, off, info = online_retail.offers(source, clean_tables(online_retail.read(source)))
    assert len(kept) > 15_000
    assert len(off) < 0.1 * len(kept)
    assert 0.05 < kept["bought"].mean() < 0.4
    assert kept[list(info.numeric)].notna().all().all()
