"""The tables that stages hand to each other, and their schemas, checked at every boundary (docs/schema.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from pipelines.errors import InputError, shown
from pipelines.files import read_json, write_json

KINDS = ("view", "search", "cart", "purchase", "review")
CHANNELS = ("web", "app", "social")
WINDOWS = ("fit", "select", "certify")
UTC = "datetime64[us, UTC]"


def _text(nullable: bool = False, **more: Any) -> pa.Column:
    return pa.Column(str, nullable=nullable, **more)


def _number(low: float | None = None, nullable: bool = True, high: float | None = None) -> pa.Column:
    checks = [pa.Check.ge(low)] if low is not None else []
    checks += [pa.Check.le(high)] if high is not None else []
    return pa.Column(float, checks, nullable=nullable)


EVENTS = pa.DataFrameSchema(
    {
        "event_id": _text(unique=True),
        "time": pa.Column(UTC, nullable=False),
        "shopper_id": _text(),
        "session_id": _text(),
        "item_id": _text(nullable=True),  # a search has none
        "kind": pa.Column(str, pa.Check.isin(KINDS)),
        "channel": pa.Column(str, pa.Check.isin(CHANNELS)),
        "dwell_seconds": _number(0),  # of a view
        "page_depth": _number(0),  # pages seen in the session before, and with, this view
        "path": _text(nullable=True),  # of a view: home>category>item>reviews
        "keywords": _text(nullable=True),  # of a search
        "rating": _number(1, high=5),  # of a review
        "text": _text(nullable=True),  # of a review
        "list_price": _number(0),  # of a view, cart or purchase, in the source's currency
        "price": _number(0),  # the price shown or paid
        "propensity": _number(0, high=1),  # of a view: probability with which its price was chosen
        "quantity": _number(0),  # of a purchase
        "currency": _text(nullable=True),
    },
    name="events",
)

ITEMS = pa.DataFrameSchema(
    {
        "item_id": _text(unique=True),
        "category": _text(),
        "title": _text(nullable=True),
        "list_price": pa.Column(float, pa.Check.gt(0), nullable=True),  # unknown where only sales are logged
        "unit_cost": _number(0),
        "min_price": _number(0),
        "max_price": _number(0),
    },
    name="items",
)

SHOPPERS = pa.DataFrameSchema(
    {
        "shopper_id": _text(unique=True),
        "signup": pa.Column(UTC, nullable=True),
        "country": _text(nullable=True),
        "language": _text(nullable=True),
        "device": _text(nullable=True),
        "tier": _text(nullable=True),
    },
    name="shoppers",
)

OFFERS = pa.DataFrameSchema(
    {
        "offer_id": _text(unique=True),
        "shopper_id": _text(),
        "item_id": _text(),
        "time": pa.Column(UTC, nullable=True),
        "list_price": pa.Column(float, pa.Check.gt(0)),
        "unit_cost": _number(0, nullable=False),
        "min_price": _number(0),
        "max_price": _number(0),
        "price": pa.Column(float, pa.Check.gt(0)),
        "multiplier": pa.Column(float, pa.Check.gt(0)),  # price / list price
        "rung": pa.Column("int64", pa.Check.ge(0)),  # index in the ladder
        "propensity": pa.Column(float, [pa.Check.gt(0), pa.Check.le(1)], nullable=True),
        "instrument": pa.Column(float, nullable=True, required=False),  # moved the price, not demand
        "randomised": pa.Column(float, pa.Check.isin([0, 1]), nullable=True, required=False),  # 1: the price was drawn
        "bought": pa.Column("int64", pa.Check.isin([0, 1])),
    },
    name="offers",  # and the context's own columns, which OffersInfo names
)


def check(table: pd.DataFrame, schema: pa.DataFrameSchema, where: str) -> pd.DataFrame:
    """Return `table` if it fits `schema`; else raise InputError naming the column, the rule and an example."""
    try:
        return schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        column = first["column"] if isinstance(first["column"], str) else first["failure_case"]
        found = len(error.failure_cases)
        raise InputError(
            f"{where}: table {schema.name!r}, column {column!r} breaks the rule {first['check']!r}, "
            f"e.g. {shown(first['failure_case'])} ({found} problem{'s' * (found > 1)} in all); see docs/schema.md"
        ) from None


@dataclass(frozen=True)
class OffersInfo:
    """What the offers in data/offers/ are: ladder, context columns, and what had to be assumed.

    numeric, categorical: the context's columns, the only ones that a candidate may read.
    unsummed: whether the log tells propensities, but only of single prices that were merged into rungs.
    personal: those of them that say something of the shopper. units: column -> unit or meaning.
    instrument, anchored: whether the column of that name moves the price by itself, or flags rows priced at random.
    cost_share: unit cost as a share of the list price where a request brings no unit cost; None = unknown.
    fallback: the multiplier of last resort and of the first policy: 1, the list price; None where that is not on the
    ladder, so that `baselines` has to find the best single rung of the fit window. listed: whether there are list
    prices; if not, each is taken as 1 and rungs are prices. timed: whether there are times; if not, the windows are
    drawn at random. everywhere: whether every context had a chance of every rung. model: the registered model whose
    live decisions these are, if they are such: the next policy is a version of it.
    definitions: of the features, where they were made of an event log (behaviour/exported.py).
    """

    source: str
    currency: str
    ladder: tuple[float, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    propensity_logged: bool
    personal: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    cost_share: float | None = None
    fallback: float | None = 1.0
    assumptions: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    sha256: str = ""
    instrument: bool = False
    anchored: bool = False
    unsummed: bool = False
    listed: bool = True
    timed: bool = True
    everywhere: bool = True
    model: str = ""
    definitions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a ladder that is none, and a column that is both number and word."""
        if len(self.ladder) < 2 or list(self.ladder) != sorted(set(self.ladder)) or self.ladder[0] <= 0:
            raise InputError(f"ladder {list(self.ladder)} must be at least two rising, positive rungs")
        both = set(self.numeric) & set(self.categorical)
        if both:
            raise InputError(f"{sorted(both)}: a column is either numeric or categorical, not both")

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> OffersInfo:
        """Read from JSON."""
        values = read_json(path)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)
