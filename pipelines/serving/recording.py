"""What callers record: outcomes by quote id, events of shoppers, tokens to verify; checked as far as they can be."""

from __future__ import annotations

from typing import Any

from pipelines.serving.asked import LONGEST_TOKEN, named, text
from pipelines.serving.fields import RequestError, is_number

_AHEAD = 300.0  # seconds by which a caller's clock may be ahead


def token(body: Any) -> tuple[str, str | None, str | None]:
    """Return token, shopper and item of {"quote": "…", "shopper": "…", "item": "…"}, None where one is not asked about.

    Raises RequestError.
    """
    given = body.get("quote") if isinstance(body, dict) else None
    if not isinstance(given, str):
        raise RequestError("quote", f"is {named(given)}; expected the signature of a quote, a text")
    shopper, item = (None if body.get(name) is None else text(body[name], name) for name in ("shopper", "item"))
    return text(given, "quote", LONGEST_TOKEN), shopper, item


def outcomes(body: Any, most: int, now: float) -> list[dict[str, Any]]:
    """Return the outcomes of {"outcomes": [{"quote_id": "…", "bought": true, "quantity": 1, "at": seconds}, …]}.

    `bought` is true where it is left out, `quantity` 1 and `at` now. Raises RequestError, which names the field. What
    lies ahead is refused: the newest time in a log says how long its quotes have had to be bought.
    """
    found = []
    for place, one in enumerate(_array(body, "outcomes", most)):
        where = f"outcomes[{place}]"
        if not isinstance(one, dict):
            raise RequestError(where, f"is {named(one)}; expected an object with a quote_id")
        quote_id, bought, at = one.get("quote_id"), one.get("bought", True), one.get("at", now)
        if not isinstance(quote_id, str):
            raise RequestError(f"{where}.quote_id", f"is {named(quote_id)}; expected the id of a quote, a text")
        text(quote_id, f"{where}.quote_id")
        if not isinstance(bought, bool):
            raise RequestError(f"{where}.bought", f"is {named(bought)}; expected true or false")
        if not is_number(at) or not 0 < at <= 4e9:
            raise RequestError(f"{where}.at", "is not a time; expected seconds since 1970, e.g. 1772400000.5")
        if at > now + _AHEAD:
            raise RequestError(f"{where}.at", f"lies {at - now:,.0f} seconds ahead: set the clock of whoever tells it")
        quantity = one.get("quantity", 1.0)
        if not is_number(quantity) or not 0 < quantity <= 1e9:
            raise RequestError(f"{where}.quantity", "is no number of pieces; expected a positive one")
        found.append({"quote_id": quote_id, "time": float(at), "bought": bought, "quantity": float(quantity)})
    return found


def events(body: Any, most: int) -> list[dict[str, Any]]:
    """Return the events of {"events": [{…}, …]}; what each must hold, the feature state says. Raises RequestError."""
    given = _array(body, "events", most)
    for place, one in enumerate(given):
        if not isinstance(one, dict):
            raise RequestError(f"events[{place}]", f"is {named(one)}; expected an object")
    return given


def _array(body: Any, name: str, most: int) -> list[Any]:
    given = body.get(name) if isinstance(body, dict) else None
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        what = f"holds {len(given)}" if isinstance(given, list) else f"is {named(given)}"
        raise RequestError(name, f"{what}; expected an array of 1 to {most}")
    return given
