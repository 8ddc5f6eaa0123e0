"""Events as callers send them: the columns of the table `events` (docs/schema.md), brought to the form of the batch.

What `clean` sets aside because a value is wrong is refused here and names its field; what it sets aside for other
reasons (`unknown_item`, `foreign_currency`) is answered event by event.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.behaviour.definitions import KINDS
from pipelines.behaviour.measures import Event
from pipelines.serving.asked import LONGEST, named
from pipelines.serving.fields import RequestError, is_number

CHANNELS = ("web", "app", "social")  # tables.CHANNELS, which live use must not load pandas for
UNKNOWN_ITEM, FOREIGN = "unknown_item", "foreign_currency"
_EARLIEST, _LATEST = 788_918_400_000_000, 4_102_444_800_000_000  # 1995 and 2100, as rules.EARLIEST and LATEST
_MILLISECONDS = 1e11  # as tidy: a number above it cannot be in seconds
NUMBERS = {  # as rules._BOUNDS
    "dwell_seconds": (0.0, 86_400.0), "page_depth": (0.0, 10_000.0), "rating": (1.0, 5.0),
    "list_price": (1e-6, 1e9), "price": (1e-6, 1e9), "propensity": (1e-12, 1.0), "quantity": (1e-9, 1e9),
}  # fmt: skip
PHRASES = {"path": 2_000, "keywords": 1_000, "text": 10_000}  # characters
PRICED = ("view", "purchase")
Items = Mapping[str, Mapping[str, Any]]


def read(given: Mapping[str, Any], where: str, items: Items, currency: str) -> Event | str:
    """Return an event as the feature state takes it, or why it is not for this state.

    where: what refusals call it. items: by id; a missing list price is taken of there. Raises RequestError.
    """
    kind = _phrase(given, "kind", where, 20)
    if kind not in KINDS:
        raise RequestError(f"{where}.kind", f"is {_shown(given.get('kind'))}; expected one of {', '.join(KINDS)}")
    channel = _phrase(given, "channel", where, 20)
    if channel not in CHANNELS:
        raise RequestError(
            f"{where}.channel", f"is {_shown(given.get('channel'))}; expected one of {', '.join(CHANNELS)}"
        )
    event_id, shopper, session = (_id(given, name, where) for name in ("event_id", "shopper_id", "session_id"))
    item = _id(given, "item_id", where) if kind != "search" or given.get("item_id") is not None else None
    row: dict[str, Any] = {"channel": channel}
    for name, (low, high) in NUMBERS.items():
        value = given.get(name)
        if value is None:
            continue
        if not is_number(value) or not low <= value <= high:
            raise RequestError(f"{where}.{name}", f"is {_shown(value)}; expected a number from {low:g} to {high:g}")
        row[name] = float(value)
    for name, most in PHRASES.items():
        if (text := _phrase(given, name, where, most)) is not None:
            row[name] = text
    if kind in PRICED and "price" not in row:
        raise RequestError(f"{where}.price", f"is missing; a {kind} needs the price that was shown or paid")
    at = instant(given.get("time"), f"{where}.time")
    money = given.get("currency")
    if money is not None:
        if not isinstance(money, str):
            raise RequestError(f"{where}.currency", f"is {named(money)}; expected a text")
        if money.strip().upper() != currency.upper():
            return FOREIGN
    if item is not None:
        known = items.get(item)
        if known is None:
            return UNKNOWN_ITEM
        if "price" in row and "list_price" not in row and known.get("list_price") is not None:
            row["list_price"] = float(known["list_price"])
    return Event(at, event_id, kind, shopper, session, item, row)


def _id(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= LONGEST or _broken(text):
        raise RequestError(f"{where}.{name}", f"is {_shown(value)}; expected a text of 1 to {LONGEST} characters")
    return text


def _phrase(given: Mapping[str, Any], name: str, where: str, most: int) -> str | None:
    """Return a text as `clean` leaves it (tidy.phrases); None where it is missing or empty."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most or _broken(value):
        raise RequestError(f"{where}.{name}", f"is {_shown(value)}; expected a text of at most {most} characters")
    return _folded(_folded(value).lower()) or None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _broken(text: str) -> bool:
    """Tell whether a text holds half of a surrogate pair, which no file can keep."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def instant(value: Any, where: str) -> int:
    """Return µs since 1970 of seconds, milliseconds or a text of ISO 8601; without a zone it is UTC."""
    found: float | None = None
    if isinstance(value, str):
        try:
            told = datetime.fromisoformat(value)
        except ValueError:
            told = None
        if told is not None:
            told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
            # whole numbers throughout: a float of seconds would not hold every microsecond
            since = told - datetime(1970, 1, 1, tzinfo=UTC)
            found = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    elif is_number(value) and abs(value) < _MILLISECONDS * 1000:
        found = round((value if abs(value) < _MILLISECONDS else value / 1000) * 1e6)
    if found is None or not _EARLIEST <= found <= _LATEST:
        raise RequestError(
            where, f"is {_shown(value)}; expected ISO 8601, e.g. 2026-03-02T12:00:00Z, or seconds since 1970"
        )
    return int(found)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if is_number(value):
        return f"the number {value:g}" if abs(value) < 1e300 else "a number beyond all bounds"
    return named(value)
