"""What a clean row is: the rules of events, items and shoppers, each by the name that quarantine knows it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import pandera.pandas as pa

from pipelines import ladder, tidy
from pipelines.config import Clean
from pipelines.errors import InputError, nearest
from pipelines.sources import EventsSource, OnlineRetailSource, Source, online_retail
from pipelines.tables import CHANNELS, KINDS

Rule = tuple[str, Callable[[pd.DataFrame], "pd.Series[bool]"]]

EARLIEST, LATEST = pd.Timestamp("1995-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")
_PHRASES = ("keywords", "text", "kind", "channel", "path")
_PRICED = ("view", "purchase")
_BOUNDS = {  # outside is impossible
    "dwell_seconds": (0.0, 86_400.0),
    "page_depth": (0.0, 10_000.0),
    "rating": (1.0, 5.0),
    "propensity": (1e-12, 1.0),
    "quantity": (1e-9, 1e9),
    "list_price": (1e-6, 1e9),  # below nought has a rule of its own
    "price": (1e-6, 1e9),
    "unit_cost": (0.0, 1e9),
    "min_price": (0.0, 1e9),
    "max_price": (0.0, 1e9),
}


def sift(raw: pd.DataFrame, table: pd.DataFrame, by: Sequence[Rule]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `table` that pass every rule, and those of `raw` that do not, with the first such `rule`.

    Both tables have the same rows; a rule sees only rows that passed the ones before it.
    """
    caught: list[pd.DataFrame] = []
    for name, breaks in by:
        broken = breaks(table).astype(bool)
        caught.append(raw.loc[table.index[broken]].assign(rule=pd.Series(name, table.index[broken], dtype="str")))
        table = table[~broken]
    return table.drop(columns="unreadable", errors="ignore"), pd.concat(caught).sort_index()


def counted(rejected: pd.DataFrame) -> dict[str, int]:
    """Return the rejected rows by rule."""
    return {str(rule): int(n) for rule, n in rejected["rule"].value_counts().sort_index().items()}


def nothing_left(where: str, counts: Mapping[str, int], example: str = "") -> str:
    """Return what to tell the user when no row passed: the rejected rows by rule, and an `example` of one."""
    if not counts:
        return f"{where} has no rows, so there is nothing to learn from; check the source"
    told = ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items(), key=lambda pair: -pair[1]))
    said = f": {example}" if example else ""
    return f"{where}: all {sum(counts.values())} rows were rejected ({told}){said}; mend the source, see docs/schema.md"


def example_of(rejected: pd.DataFrame, source: EventsSource, items: pd.Series[str]) -> str:
    """Return what a rejected event holds, in which column of theirs, and what it should; '' where none is to blame.

    rejected: the rows as they came, with their `rule`; items: the ids of the clean items.
    """
    rule = str(rejected["rule"].mode().iloc[0])
    known = f"the items have ids such as {items.iloc[0]!r} (source.items={source.items or 'null'})"
    column, wanted = {
        "bad_time": (
            "time",
            "outside 1995 to 2099: numbers count from 1970 (source.time_unit), days are as 2026-03-02",
        ),
        "unknown_kind": ("kind", "which is not in source.kinds"),
        "unknown_channel": ("channel", "which is not in source.channels"),
        "unknown_item": ("item_id", f"but {known}"),
        "foreign_currency": ("currency", f"but source.currency={source.currency}"),
    }.get(rule, (None, ""))
    if column is None or column not in source.used_columns:
        return ""
    found = rejected.loc[rejected["rule"] == rule, column].dropna()
    value = repr(str(found.iloc[0])) if len(found) else "nothing"
    holds = "is read as" if column == "time" else "holds"
    return f"column {source.used_columns[column]!r} (source.columns.{column}) {holds} {value}, {wanted}"


def typed(raw: pd.DataFrame, schema: pa.DataFrameSchema, where: str) -> pd.DataFrame:
    """Return `raw` with the columns and types of `schema`, and a column `unreadable`: a number was no number.

    Optional columns that are absent become empty; raises InputError where a required one is.
    """
    columns: dict[str, pd.Series] = {}
    unreadable = pd.Series(False, index=raw.index)
    for name, column in schema.columns.items():
        if name not in raw:
            if not column.nullable:
                raise InputError(
                    f"{where}: there is no column {name!r}{nearest(name, list(raw.columns))}; see docs/schema.md"
                )
            columns[name] = tidy.absent(raw.index, _dtype(column))
        elif name.endswith("_id"):
            columns[name] = tidy.identifiers(raw[name])
        elif str(column.dtype).startswith("datetime"):
            columns[name] = tidy.times(raw[name])
        elif str(column.dtype) == "float64":
            columns[name] = tidy.numbers(raw[name])
            unreadable |= columns[name].isna() & raw[name].notna()
        else:
            columns[name] = (tidy.phrases if name in _PHRASES else tidy.labels)(raw[name])
    return pd.DataFrame(columns).assign(unreadable=unreadable)


def _dtype(column: pa.Column) -> str:
    return str(column.dtype)


def of_events(source: Source, clean: Clean, items: pd.Series[str]) -> Sequence[Rule]:
    """Return the rules of events, in order; `items` are the ids of the clean items."""
    return (
        ("missing_id", lambda t: _missing(t, "event_id", "shopper_id", "session_id")),
        ("bad_time", lambda t: ~t["time"].between(EARLIEST, LATEST)),
        ("unknown_kind", lambda t: ~t["kind"].isin(KINDS)),
        ("unknown_channel", lambda t: ~t["channel"].isin(CHANNELS)),
        ("not_a_product", lambda t: t["item_id"].notna() & not_a_product(source, t["item_id"])),
        ("unknown_item", lambda t: (t["item_id"].notna() | (t["kind"] != "search")) & ~t["item_id"].isin(items)),
        ("foreign_currency", lambda t: t["currency"].notna() & (t["currency"].str.upper() != source.currency.upper())),
        ("not_a_number", lambda t: t["unreadable"]),
        ("missing_price", lambda t: _without_price(t, derives_list_price(source))),
        ("price_not_positive", lambda t: (t["price"] <= 0) | (t["list_price"] <= 0)),
        ("impossible_value", impossible),
        ("duplicate_id", lambda t: t.duplicated("event_id")),
        ("duplicate_event", duplicate_event),
        ("machine", lambda t: machines(t, clean.events_per_minute)),
    )


def of_items(source: Source) -> Sequence[Rule]:
    """Return the rules of items, in order."""
    return (
        ("missing_id", lambda t: _missing(t, "item_id")),
        ("not_a_product", lambda t: not_a_product(source, t["item_id"])),
        ("missing_category", lambda t: _missing(t, "category")),
        ("not_a_number", lambda t: t["unreadable"]),
        ("price_not_positive", lambda t: t["list_price"] <= 0),
        ("missing_cost", lambda t: t["unit_cost"].isna() & _needs_cost(source, t["unit_cost"])),
        ("impossible_value", impossible),
        ("duplicate_id", lambda t: t.duplicated("item_id")),
    )


def of_shoppers() -> Sequence[Rule]:
    """Return the rules of shoppers, in order."""
    return (
        ("missing_id", lambda t: _missing(t, "shopper_id")),
        ("duplicate_id", lambda t: t.duplicated("shopper_id")),
    )


def not_a_product(source: Source, items: pd.Series[str]) -> pd.Series[bool]:
    """Return which item ids stand for postage, fees and the like, as far as the source's ids tell."""
    if not isinstance(source, OnlineRetailSource):
        return pd.Series(False, index=items.index)
    return ~items.fillna("").str.match(online_retail.PRODUCT)


def impossible(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows hold a number outside its bounds, or two that contradict each other; a missing one is neither.

    A price that is nothing beside its list price stands on no rung: one of the two slipped.
    """
    broken = pd.Series(False, index=table.index)
    for name, (low, high) in _BOUNDS.items():
        if name in table:
            broken |= table[name].notna() & ~table[name].between(low, high)
    if "price" in table and "list_price" in table:
        broken |= (table["price"] / table["list_price"]).round(ladder.DIGITS) <= 0
    if "min_price" in table and "max_price" in table:
        broken |= table["min_price"] > table["max_price"]
    return broken


def duplicate_event(events: pd.DataFrame) -> pd.Series[bool]:
    """Return which events repeat an earlier row: same shopper, item, time and kind (and keywords, for a search).

    Shoppers without a number of their own are told apart by their sessions.
    """
    who = events["shopper_id"].where(events["shopper_id"] != online_retail.GUEST, events["session_id"])
    key = events[["item_id", "time", "kind", "keywords"]].assign(who=who)
    return key.duplicated()


def machines(events: pd.DataFrame, per_minute: int) -> pd.Series[bool]:
    """Return all events of sessions with more views, searches and carts in a minute of the clock than `per_minute`."""
    quick = events[events["kind"].isin(("view", "search", "cart"))]
    counts = quick.groupby(["shopper_id", "session_id", quick["time"].dt.floor("min")]).size()
    busy = counts[counts > per_minute].reset_index()
    sessions = pd.MultiIndex.from_frame(events[["shopper_id", "session_id"]])
    return pd.Series(sessions.isin(pd.MultiIndex.from_frame(busy[["shopper_id", "session_id"]])), index=events.index)


def _missing(table: pd.DataFrame, *columns: str) -> pd.Series[bool]:
    return table[list(columns)].isna().any(axis=1)


def derives_list_price(source: Source) -> bool:
    """Return whether the list price is made of the prices shown, because the log has none."""
    return isinstance(source, EventsSource) and "list_price" not in source.used_columns


def _needs_cost(source: Source, costs: pd.Series) -> bool:
    """Return whether an item without a cost can earn no known profit: unless nothing is known, or a share fills in."""
    if isinstance(source, EventsSource):
        return source.cost_share is None and bool(costs.notna().any())
    return not isinstance(source, OnlineRetailSource)


def _without_price(events: pd.DataFrame, derived: bool) -> pd.Series[bool]:
    return (events["kind"].isin(_PRICED) & events["price"].isna()) | (
        (events["kind"] == "view") & events["list_price"].isna() & (not derived)
    )
