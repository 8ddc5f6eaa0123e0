"""What can be read off one event, in SQL for the batch engines and in Python for live use.

In SQL the event is `e`, its item `i`, what its search is made of `k` and what its review says `r`
(pipelines/behaviour/texts.py); `previous_step` is the step of the session's event before it. Numbers are added up as
whole millionths, which doubles hold exactly up to 9·10⁹: no sum depends on the order of rows, threads or machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.behaviour.texts import TOPICS, read_review, read_search

MILLION = 1_000_000
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One clean event of the log (tables.EVENTS) with its item's facts, as live state takes it.

    instant: microseconds since 1970. item: the row of `items`, empty for a search. previous_step: see `step`.
    """

    instant: int
    event_id: str
    kind: str
    shopper_id: str
    session_id: str
    item_id: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    item: Mapping[str, Any] = field(default_factory=dict)
    previous_step: str | None = None


@dataclass(frozen=True)
class Measure:
    """A number or word of one event: what it is, as SQL and as Python; missing (NULL, None) where it has none."""

    name: str
    kind: str  # number or word
    meaning: str
    sql: str
    of: Callable[[Event], Value]


def known(value: Any) -> Any:
    """Return `value`, with NaN and NaT as None: what a row of a table does not know."""
    return None if value is None or value != value else value


def millionths(value: float) -> float:
    """Return `value` in whole millionths, halves away from zero, as SQL's round does."""
    scaled = abs(value) * MILLION
    whole = float(int(scaled + 0.5))
    return whole if value >= 0 else -whole


def step(event: Event) -> str:
    """Return where in the shop an event happens: the last page of a view's path, or the event's kind."""
    if event.kind != "view":
        return event.kind
    path = known(event.row.get("path")) or ""
    return str(path).rsplit(">", 1)[-1] or "item"


def _number(name: str) -> Callable[[Event], Value]:
    return lambda event: known(event.row.get(name))


def _money(event: Event) -> Value:
    price, quantity = known(event.row.get("price")), known(event.row.get("quantity"))
    return None if price is None else price * (1.0 if quantity is None else quantity)


def _discounted(event: Event) -> Value:
    price, listed = known(event.row.get("price")), known(event.row.get("list_price"))
    return float(price is not None and listed is not None and price < listed)


def _search(part: str) -> Callable[[Event], Value]:
    return lambda event: read_search(known(event.row.get("keywords"))).get(part)


def _review(part: str) -> Callable[[Event], Value]:
    return lambda event: read_review(known(event.row.get("text"))).get(part)


_STEP = """CASE WHEN e.kind <> 'view' THEN e.kind
        WHEN coalesce(split_part(e.path, '>', -1), '') = '' THEN 'item' ELSE split_part(e.path, '>', -1) END"""

_ALL = (
    Measure("one", "number", "the event itself", "1", lambda event: 1.0),
    Measure("money", "number", "money paid", "e.price * coalesce(e.quantity, 1)", _money),
    Measure("price", "number", "the price shown or paid", "e.price", _number("price")),
    Measure("dwell", "number", "seconds that a view lasted", "e.dwell_seconds", _number("dwell_seconds")),
    Measure("depth", "number", "pages seen in the session so far", "e.page_depth", _number("page_depth")),
    Measure("rating", "number", "stars given, 1 to 5", "e.rating", _number("rating")),
    Measure(
        "discounted", "number", "1 below the list price, else 0",
        "CASE WHEN e.price < e.list_price THEN 1 ELSE 0 END", _discounted,
    ),
    Measure("words", "number", "words searched for", "k.words", _search("words")),
    Measure("bargain", "number", "1 if a word of the search means cheap", "k.bargain", _search("bargain")),
    Measure("premium", "number", "1 if a word of the search means fine", "k.premium", _search("premium")),
    Measure("sentiment", "number", "praising minus blaming words of a review", "r.sentiment", _review("sentiment")),
    *(Measure(f"search_topic_{t}", "number", "hashed words of a search", f"k.topic_{t}", _search(f"topic_{t}"))
      for t in range(1, TOPICS + 1)),
    *(Measure(f"review_topic_{t}", "number", "hashed words of a review", f"r.topic_{t}", _review(f"topic_{t}"))
      for t in range(1, TOPICS + 1)),
    Measure("step", "word", "the last page of a view's path, or the kind of event", _STEP, step),
    Measure(
        "previous_step", "word", "the step before this one in the session", "previous_step",
        lambda event: event.previous_step,
    ),
    Measure(
        "after_search", "number", "1 if the step before was a search",
        "CASE WHEN previous_step = 'search' THEN 1 ELSE 0 END", lambda event: float(event.previous_step == "search"),
    ),
    Measure(
        "reads_reviews", "number", "1 if a view's path leads to the reviews",
        f"CASE WHEN {_STEP} = 'reviews' THEN 1 ELSE 0 END", lambda event: float(step(event) == "reviews"),
    ),
    Measure("session", "word", "the session", "e.session_id", lambda event: event.session_id),
    Measure("item", "word", "the item", "e.item_id", lambda event: event.item_id),
    Measure("category", "word", "the item's category", "i.category", lambda event: known(event.item.get("category"))),
    Measure("query", "word", "what was searched for", "e.keywords", _number("keywords")),
)  # fmt: skip
MEASURES = {measure.name: measure for measure in _ALL}


@dataclass(frozen=True, slots=True)
class Moment:
    """An offer about to be made: when, the row of its view (channel, path, list price …), its item and its shopper.

    instant: microseconds since 1970. Rows of nobody and nothing are empty.
    """

    instant: int
    row: Mapping[str, Any] = field(default_factory=dict)
    item: Mapping[str, Any] = field(default_factory=dict)
    shopper: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """What is known of an offer, its item or its shopper without looking back; SQL over `c`, the view, and `s`."""

    name: str
    entity: str  # offer, item or shopper
    kind: str  # number or word
    sql: str
    of: Callable[[Moment], Value]


def _cost_share(moment: Moment) -> Value:
    cost, listed = known(moment.item.get("unit_cost")), known(moment.row.get("list_price"))
    return None if cost is None or listed is None else cost / listed


def _since_signup(moment: Moment) -> Value:
    signup = known(moment.shopper.get("signup"))
    return None if signup is None or signup > moment.instant else (moment.instant - signup) / (86_400 * MILLION)


def _of_offer(name: str, kind: str) -> Fact:
    return Fact(name, "offer", kind, f"c.{name}", lambda moment: known(moment.row.get(name)))


def _of_shopper(name: str) -> Fact:
    return Fact(name, "shopper", "word", f"s.{name}", lambda moment: known(moment.shopper.get(name)))


_FACTS = (
    _of_offer("channel", "word"),
    _of_offer("path", "word"),
    _of_offer("page_depth", "number"),
    _of_offer("list_price", "number"),
    Fact("hour", "offer", "number", "c.instant // 3600000000 % 24", lambda m: float(m.instant // 3_600_000_000 % 24)),
    Fact(  # 1970 began on a Thursday; Monday is 0
        "weekday", "offer", "number", "(c.instant // 86400000000 + 3) % 7",
        lambda m: float((m.instant // 86_400_000_000 + 3) % 7),
    ),
    Fact("category", "item", "word", "c.category", lambda moment: known(moment.item.get("category"))),
    Fact("cost_share", "item", "number", "c.unit_cost / c.list_price", _cost_share),
    *(_of_shopper(name) for name in ("country", "language", "device", "tier")),
    Fact(
        "days_since_signup", "shopper", "number",
        "CASE WHEN s.signup <= c.instant THEN (c.instant - s.signup) / 86400e6 END", _since_signup,
    ),
)  # fmt: skip
FACTS = {fact.name: fact for fact in _FACTS}
