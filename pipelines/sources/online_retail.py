"""The source online_retail: order lines of a UK gift shop, and the offers (customer x product x week) made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import engine, ladder, tidy
from pipelines.errors import InputError
from pipelines.sources import OnlineRetailSource, external
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, UTC, OffersInfo

GUEST = "0"
PRODUCT = r"\d{5}"  # how a stock code starts that stands for a product; postage, fees and slips do not
MOST_PIECES = 12  # of a line whose price is no bulk price

NUMERIC = {
    "orders": "earlier orders of the customer",
    "spend": "money spent before by the customer",
    "weeks_since_order": "weeks since the customer's last order",
    "orders_per_week": "earlier orders per week since the customer's first",
    "mean_basket": "money per earlier order of the customer",
    "discount_share": "share of the customer's earlier lines below the list price of their week",
    "times_bought": "earlier orders of the customer with the product",
    "pieces_bought": "pieces of the product that the customer bought before",
    "weeks_since_bought": "weeks since the customer's last order with the product",
    "weeks_since_first_sale": "weeks since the product's first sale",
    "item_lines": "earlier order lines of the product",
    "recent_lines": "order lines of the product in the preceding weeks that also make its list price",
    "typical_pieces": "geometric mean of the pieces per earlier order line of the product",
    "list_price": "money",
    "week_of_year": "ISO week, 1 to 53",
}
CATEGORICAL = {"country": "where the customer's first order went", "series": "the stock code's first two digits"}
PERSONAL = (
    "orders", "spend", "weeks_since_order", "orders_per_week", "mean_basket", "discount_share", "times_bought",
    "pieces_bought", "weeks_since_bought", "country",
)  # fmt: skip
_LINE = {
    "InvoiceNo": None, "StockCode": None, "Description": None, "Quantity": float, "InvoiceDate": None,
    "UnitPrice": float, "CustomerID": None, "Country": None,
}  # fmt: skip


def read(source: OnlineRetailSource) -> pd.DataFrame:
    """Return the order lines as the shop wrote them, of the first `source.days` days if given."""
    path = Path(source.path)
    where = "get the data set 'Online Retail' (https://doi.org/10.24432/C5BW33), save it there as Parquet or CSV"
    lines = external.read(path, "source.path", ("InvoiceNo", "StockCode", "CustomerID"), where)
    external.require(lines, [("source.path", name) for name in _LINE], path)
    for name, kind in _LINE.items():
        if kind is float:
            external.require_number(lines[name], "source.path", path)
    moments = pd.to_datetime(lines["InvoiceDate"], errors="coerce")
    if moments.isna().all():
        raise InputError(f"{path}: column 'InvoiceDate' holds no time; save it as ISO 8601, e.g. 2010-12-01 08:26")
    lines = lines.assign(InvoiceDate=moments)
    if source.days is not None:
        lines = lines[moments < moments.min().normalize() + pd.Timedelta(days=source.days)]
    return lines.reset_index(drop=True)


def tables(lines: pd.DataFrame, source: OnlineRetailSource) -> dict[str, pd.DataFrame]:
    """Return order lines as `events` (a purchase each; the session is the invoice), `items` and `shoppers`."""
    text = {name: lines[name].astype("str") for name in ("InvoiceNo", "StockCode", "CustomerID", "Country")}
    customer = text["CustomerID"].str.removesuffix(".0").fillna(GUEST)
    code = text["StockCode"].str.strip().str.upper()
    number = (lines.groupby(text["InvoiceNo"]).cumcount() + 1).astype("str")
    events = pd.DataFrame(
        {
            "event_id": text["InvoiceNo"] + "-" + code + "-" + number,
            "time": lines["InvoiceDate"].dt.tz_localize("UTC").astype(UTC),
            "shopper_id": customer,
            "session_id": text["InvoiceNo"],
            "item_id": code,
            "kind": "purchase",
            "channel": "web",
            "price": lines["UnitPrice"].astype(float),
            "quantity": lines["Quantity"].astype(float),
            "currency": source.currency,
        }
    )
    items = pd.DataFrame({"item_id": code, "title": lines["Description"].astype("str")})
    items = _most_frequent(items, "item_id", "title").assign(category=lambda t: t["item_id"].str[:2])
    # the first order's country: a later one would tell earlier offers what was not known then
    people = pd.DataFrame({"shopper_id": customer, "country": text["Country"], "time": lines["InvoiceDate"]})
    people = people[customer != GUEST].sort_values(["shopper_id", "time"], kind="stable").drop_duplicates("shopper_id")
    return {
        "events": _complete(events, EVENTS.columns),
        "items": _complete(items, ITEMS.columns),
        "shoppers": _complete(people, SHOPPERS.columns),
    }


def _most_frequent(table: pd.DataFrame, key: str, value: str) -> pd.DataFrame:
    counts = table.value_counts([key, value]).reset_index()
    counts = counts.sort_values([key, "count", value], ascending=[True, False, True])
    return counts.drop_duplicates(key)[[key, value]].reset_index(drop=True)


def _complete(table: pd.DataFrame, columns: Mapping[str, object]) -> pd.DataFrame:
    """Return `table` with every canonical column, empty where the shop does not know it."""
    empty = {
        name: tidy.absent(table.index, str(column.dtype))  # type: ignore[attr-defined]
        for name, column in columns.items()
        if name not in table
    }
    return table.assign(**empty)[list(columns)]


def offers(
    source: OnlineRetailSource, clean: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of the shop, those on no rung, and what the offers are."""
    events = clean["events"]
    start = int(events["time"].min().normalize().value // 1000) if len(events) else 0
    table = engine.query(
        "online_retail", clean, start=start, weeks=source.list_price_weeks, guest=GUEST, pieces=float(MOST_PIECES)
    )
    if table.empty:
        raise InputError(
            f"{source.path}: no customer ordered a product that the customer had bought in an earlier week, so there "
            "is no offer; bring more weeks (source.days)"
        )
    table.insert(3, "time", engine.instants_to_times(table.pop("instant")))
    table["week_of_year"] = table["time"].dt.isocalendar().week.astype(float)
    table["unit_cost"] = table["list_price"] * source.cost_share
    table["multiplier"] = table["price"] / table["list_price"]
    rungs = source.rungs or ladder.derived(table["multiplier"].dropna(), source.path)
    table["rung"] = ladder.on_rung(table["multiplier"], rungs, source.snap if source.rungs else None)
    table.loc[table["list_price"].isna(), "rung"] = -1
    rule = pd.Series(np.where(table["list_price"].isna(), "no_list_price", "off_ladder"), table.index, dtype="str")
    off = table["rung"] < 0
    return table[~off], table[off].assign(rule=rule[off]), _info(source, rungs)


def _info(source: OnlineRetailSource, rungs: tuple[float, ...]) -> OffersInfo:
    return OffersInfo(
        source=source.name or source.kind,
        currency=source.currency,
        ladder=rungs,
        numeric=tuple(NUMERIC),
        categorical=tuple(CATEGORICAL),
        personal=PERSONAL,
        units={**NUMERIC, **CATEGORICAL},
        cost_share=source.cost_share,
        propensity_logged=False,
        assumptions=(
            "Prices were never randomised: every effect of a price found here is observational.",
            f"The shop's costs are unknown: a unit cost of {source.cost_share:.0%} of the list price is assumed.",
            "Orders only, no views: a customer is taken to have considered, in a week with an order, every product "
            "bought in an earlier week that has a price in that week.",
            "The list price is the product's most frequent unit price of the preceding "
            f"{source.list_price_weeks} weeks, and the price shown that of the week, each among customers' lines of at "
            f"most {MOST_PIECES} pieces.",
            "Orders without a customer number are left out: they pay another, higher price list.",
            "Times are taken as UTC.",
        ),
    )
