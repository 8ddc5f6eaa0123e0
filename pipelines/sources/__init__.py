"""Where offers come from: the settings of each kind of source (conf/source/)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from math import isfinite

from pipelines.errors import InputError


@dataclass(frozen=True)
class Source:
    """What every source says of itself; `name` is the name of its file in conf/source/."""

    kind: str
    name: str = ""
    currency: str = "EUR"
    rungs: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse a path without a name, and a ladder that is none."""
        if strange := [rung for rung in self.rungs or () if not isfinite(rung)]:
            raise InputError(f"source.rungs={list(self.rungs or ())}: {strange[0]} is no rung; take it out")
        if self.rungs is not None and (len(self.rungs) < 2 or list(self.rungs) != sorted(set(self.rungs))):
            raise InputError(f"source.rungs={list(self.rungs)} must be at least two rising, distinct numbers")
        if not str(getattr(self, "path", "data")).strip():
            raise InputError("source.path is empty: name your file with it, or your folder of files")
        if self.rungs is not None and self.rungs[0] <= 0:
            raise InputError(f"source.rungs={list(self.rungs)} must be positive")


@dataclass(frozen=True)
class MarketSource(Source):
    """A simulated shop whose true demand is known (pipelines/market/)."""

    rungs: tuple[float, ...] | None = (0.70, 0.80, 0.90, 1.0, 1.10, 1.20, 1.30)
    logging: str = "randomised"
    demand: str = "personal"  # or alike: what a price does is the same to everybody, so that one rung is best for all
    start: str = "2026-03-02"
    days: int = 56
    shoppers: int = 8_000
    items: int = 240
    offers: int = 300_000
    flaws: float = 0.002

    def __post_init__(self) -> None:
        """Refuse a shop without life in it."""
        super().__post_init__()
        if self.logging not in ("randomised", "confounded"):
            raise InputError(f"source.logging={self.logging} must be 'randomised' or 'confounded'")
        if self.demand not in ("personal", "alike"):
            raise InputError(f"source.demand={self.demand} must be 'personal' or 'alike'")
        try:
            date.fromisoformat(self.start)
        except ValueError:
            raise InputError(f"source.start={self.start!r} must be a day such as 2026-03-02") from None
        for key in ("days", "shoppers", "items", "offers"):
            if getattr(self, key) < 1:
                raise InputError(f"source.{key}={getattr(self, key)} must be at least 1")
        if self.rungs is None or 1.0 not in self.rungs:
            raise InputError("source.rungs must hold 1.0, the list price: a simulated shop shows it too")
        if self.offers > 3 * self.days * self.shoppers:
            raise InputError(
                f"source.offers={self.offers} is more than {self.shoppers} shoppers see in {self.days} days with a "
                "visit a day: raise source.shoppers or source.days"
            )
        if not 0 <= self.flaws < 0.5:
            raise InputError(f"source.flaws={self.flaws} must lie in [0, 0.5)")


@dataclass(frozen=True)
class OnlineRetailSource(Source):
    """Real order lines of a UK gift shop (doi:10.24432/C5BW33); no views, no costs, prices never randomised."""

    path: str = "data/external/online_retail.parquet"
    days: int | None = None
    cost_share: float = 0.5
    list_price_weeks: int = 8
    snap: float = 0.025

    def __post_init__(self) -> None:
        """Refuse numbers that would leave no offer."""
        super().__post_init__()
        _require_share("cost_share", self.cost_share)
        _require_share("snap", self.snap)
        if self.list_price_weeks < 1 or (self.days is not None and self.days < 1):
            raise InputError(
                f"source.list_price_weeks={self.list_price_weeks} and source.days={self.days} must be at least 1"
            )


@dataclass(frozen=True)
class Roles:
    """Which column of the user's table plays which part; null = the table has no such column."""

    price: str = "price"
    bought: str = "bought"
    shopper: str | None = None
    item: str | None = None
    time: str | None = None
    list_price: str | None = None
    unit_cost: str | None = None
    propensity: str | None = None
    min_price: str | None = None
    max_price: str | None = None
    offer: str | None = None
    instrument: str | None = None
    randomised: str | None = None
    rung: str | None = None

    def __post_init__(self) -> None:
        """Refuse two grounds for one correction."""
        if self.instrument is not None and self.randomised is not None:
            raise InputError(
                f"source.columns.instrument={self.instrument!r} and source.columns.randomised={self.randomised!r}: "
                "only one of them can correct the fit. Keep randomised, which assumes less, unless it flags few rows"
            )


@dataclass(frozen=True)
class OffersSource(Source):
    """The user's own table of offers: what was shown, at which price, and whether it was bought."""

    path: str = "data/external/offers.parquet"
    columns: Roles = field(default_factory=Roles)
    cost_share: float | None = None
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    personal: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    every_price: bool = True
    snap: float = 0.025

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        super().__post_init__()
        _require_share("snap", self.snap)
        if self.cost_share is not None:
            _require_share("cost_share", self.cost_share)


@dataclass(frozen=True)
class DecisionsSource(Source):
    """The endpoint's own log: what it quoted, with exact propensities, and what was bought."""

    path: str = "data/decisions"
    model: str | None = None
    attribution_days: float = 7.0
    as_of: str | None = None
    cost_share: float | None = None
    personal: tuple[str, ...] | None = None
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a window that is none, a time without a zone, and rungs, which the policies know."""
        super().__post_init__()
        if self.rungs is not None:
            raise InputError("source.rungs is no setting of a decision log: each decision says which rung it stands on")
        if not 0 < self.attribution_days < 3650:
            raise InputError(f"source.attribution_days={self.attribution_days} must lie between 0 and 3650")
        if self.cost_share is not None:
            _require_share("cost_share", self.cost_share)
        if self.as_of is None:
            return
        try:
            zone = datetime.fromisoformat(self.as_of).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise InputError(f"source.as_of={self.as_of!r} must be a time with its zone, such as 2026-03-02T00:00:00Z")


@dataclass(frozen=True)
class EventColumns:
    """Which column of the log holds which canonical one (docs/own-events.md); null = the log has no such column."""

    time: str = "time"
    kind: str = "kind"
    shopper_id: str = "shopper_id"
    item_id: str = "item_id"
    price: str = "price"
    event_id: str | None = None
    session_id: str | None = None
    channel: str | None = None
    dwell_seconds: str | None = None
    page_depth: str | None = None
    path: str | None = None
    keywords: str | None = None
    rating: str | None = None
    text: str | None = None
    list_price: str | None = None
    propensity: str | None = None
    quantity: str | None = None
    currency: str | None = None
    category: str | None = None
    title: str | None = None
    unit_cost: str | None = None
    min_price: str | None = None
    max_price: str | None = None
    signup: str | None = None
    country: str | None = None
    language: str | None = None
    device: str | None = None
    tier: str | None = None


NEEDED_COLUMNS = ("time", "kind", "shopper_id", "item_id", "price")
CANONICAL_KINDS = ("view", "search", "cart", "purchase", "review")
TIME_UNITS = ("iso", "seconds", "milliseconds", "microseconds")
DWELL_UNITS = ("seconds", "milliseconds")


@dataclass(frozen=True)
class EventsSource(Source):
    """The user's own event log: views with the price shown, purchases, and what else shoppers did."""

    path: str = "data/external/events.parquet"
    columns: EventColumns = field(default_factory=EventColumns)
    kinds: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    channel: str = "web"
    channels: dict[str, str] = field(default_factory=dict)
    time_unit: str | None = None
    dwell_unit: str = "seconds"
    session_minutes: int = 30
    items: str | None = None
    shoppers: str | None = None
    cost_share: float | None = None
    list_price_days: int = 28
    every_price: bool = True
    snap: float = 0.025
    protected: tuple[str, ...] = ()
    most_offers: int | None = None

    def __post_init__(self) -> None:
        """Refuse words that mean nothing here, and a column with two parts to play."""
        super().__post_init__()
        _require_share("snap", self.snap)
        if self.cost_share is not None:
            _require_share("cost_share", self.cost_share)
        self._check_words()
        for key in ("session_minutes", "list_price_days", "most_offers"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise InputError(f"source.{key}={getattr(self, key)} must be at least 1")
        parts = vars(self.columns)
        for name in self.protected:
            if name not in parts or name in NEEDED_COLUMNS:
                known = ", ".join(n for n in parts if n not in NEEDED_COLUMNS)
                raise InputError(f"source.protected: {name!r} is no optional column of source.columns (those: {known})")
        for name in NEEDED_COLUMNS:
            if not parts[name]:
                raise InputError(f"source.columns.{name} is empty: a log needs {', '.join(NEEDED_COLUMNS)}")

    def _check_words(self) -> None:
        """Refuse kinds, channels and units that do not exist, and a word that is both used and ignored."""
        for setting, words, known in (
            ("kinds", self.kinds, CANONICAL_KINDS),
            ("channels", {**self.channels, "": self.channel}, ("web", "app", "social")),
            ("time_unit", {"": self.time_unit or "iso"}, TIME_UNITS),
            ("dwell_unit", {"": self.dwell_unit}, DWELL_UNITS),
        ):
            for theirs, ours in words.items():
                if ours not in known:
                    key = f"source.{setting}.{theirs}" if theirs else f"source.{setting}".replace("channels", "channel")
                    raise InputError(f"{key}={ours} does not exist (known: {', '.join(known)})")
        told = self.told_kinds
        if both := sorted({word.lower() for word in self.ignored} & set(told)):
            raise InputError(f"source.ignored: {both[0]!r} is also in source.kinds; take it out of one")
        if absent := {"view", "purchase"} - set(told.values()):
            raise InputError(
                f"source.kinds names no {' and no '.join(sorted(absent))}: say which word of yours means it"
            )

    @property
    def told_kinds(self) -> dict[str, str]:
        """Return their word in lower case -> the canonical kind; without `kinds` the canonical words themselves."""
        return {word.lower(): kind for word, kind in self.kinds.items()} or {kind: kind for kind in CANONICAL_KINDS}

    @property
    def used_columns(self) -> dict[str, str]:
        """Return the canonical column -> theirs, of the columns that the log has and that may be used."""
        return {name: theirs for name, theirs in vars(self.columns).items() if theirs and name not in self.protected}


def _require_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"source.{name}={value} must lie in [0, 1)")


SOURCES: dict[str, type[Source]] = {
    "market": MarketSource,
    "online_retail": OnlineRetailSource,
    "offers": OffersSource,
    "events": EventsSource,
    "decisions": DecisionsSource,
}
