"""A quote as JSON tells it, as a signature covers it, and as the decision log keeps it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.serving import currencies

if TYPE_CHECKING:
    from orjson import Fragment

    from pipelines.serving.asked import Asked
    from pipelines.serving.disclosure import Disclosures
    from pipelines.serving.parts import Facts
    from pipelines.serving.views import View

OUTPUTS = (
    "price", "multiplier", "rung", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity",
)  # fmt: skip
# why the endpoint itself quoted the list price
DEADLINE, UNPRICEABLE, NO_CONTEXT = "deadline", "unpriceable", "no_context"
_DEAREST = 2**53  # minor units; above it a double no longer tells them apart
_ID = 10  # random bytes of an id


def told(
    one: Asked, row: Sequence[Any], answer: Any, view: View, reason: str, quote_id: str, until: str, texts: Disclosures
) -> Facts:
    """Return the quote of a context, as yet unsigned.

    row: the inputs as they were fed. answer: what the graph says, `OUTPUTS`; None where it says nothing, and then the
    list price is quoted for `reason`, as it is where what it says is no price.
    """
    list_price, scale, decimals = row[view.list_price], view.scale, view.decimals
    if answer is not None and 0 < answer[0] * scale < _DEAREST:
        price, multiplier, _, probability, profit, sensitivity, guardrail, fallback, propensity = answer
        personalised = view.is_personal(row, one.drawn)
    else:
        price, probability, profit, sensitivity, propensity = view.instead(list_price), None, None, None, None
        multiplier, guardrail, fallback, personalised = price / list_price, "none", reason, False
    minor = currencies.minor_units(price, scale, list_price, row[view.least], row[view.most])
    list_minor = currencies.minor_units(list_price, scale, list_price)
    return {
        "quote_id": quote_id,
        "price": currencies.written(minor, decimals),
        "price_minor": minor,
        "currency": view.currency,
        "list_price": currencies.written(list_minor, decimals),
        "list_price_minor": list_minor,
        "multiplier": multiplier,
        "purchase_probability": known(probability),
        "expected_profit": known(profit),
        "price_sensitivity": known(sensitivity),
        "guardrail": guardrail,
        "fallback": fallback or None,
        "propensity": propensity,
        "policy": view.told,
        "valid_until": until,
        "personalised": personalised,
        "disclosure": texts.text(one.jurisdiction) if personalised else None,
        "signature": None,
        "repeat": False,
    }


def too_late(wanted: Iterable[Asked]) -> None:
    """Let what is wanted get the list price, for the deadline is over."""
    for one in wanted:
        one.instead = one.instead or DEADLINE


def again(quote: Facts, shown: Facts, token: str, view: View, disclosure: str) -> None:
    """Make a quote the repeat of one that was `shown` and signed; what only a new decision has is null.

    disclosure: what is told where that price was personal.
    """
    nothing = ("purchase_probability", "expected_profit", "price_sensitivity", "propensity", "guardrail", "fallback")
    quote.update(dict.fromkeys(nothing))
    minor = shown["price_minor"]
    quote.update(
        quote_id=shown["quote_id"],
        price=currencies.written(minor, view.decimals),
        price_minor=minor,
        multiplier=minor / quote["list_price_minor"],
        valid_until=instant(int(shown["expires"])),
        personalised=shown["personalised"],
        disclosure=disclosure if shown["personalised"] else None,
        signature=token,
        repeat=True,
    )
    if shown["policy_digest"] != view.facts["digest"]:
        quote["policy"] = {"name": None, "version": None, "digest": shown["policy_digest"]}


def signed(quote: Facts, one: Asked, pseudonym: str | None, view: View, context_hash: str, expires: int) -> Facts:
    """Return the facts of a quote that its signature covers."""
    return {
        "quote_id": quote["quote_id"],
        "price_minor": quote["price_minor"],
        "currency": view.currency,
        "item": one.item,
        "shopper": pseudonym,
        "policy_digest": view.facts["digest"],
        "context_hash": context_hash,
        "expires": expires,
        "personalised": quote["personalised"],
    }


def record(
    quote: Facts, quote_id: str, one: Asked, row: Sequence[Any], inputs: Fragment, answer: Any, pseudonym: str | None,
    context_hash: str, shadow: Facts | None, view: View, now: float,
) -> Facts:  # fmt: skip
    """Return what off-policy learning needs of a quote.

    quote_id: its own, also where it repeats another. row: the inputs as they were fed. inputs: the same by name,
    as the JSON that was hashed; null is a missing number. rung: the multiplier that was meant, before rounding; None
    where the graph chose none, and then there is no propensity.
    """
    repeat = quote["repeat"]
    chosen = answer is not None and not repeat and quote["fallback"] != UNPRICEABLE
    return {
        "quote_id": quote_id,
        "time": now,
        "shopper": pseudonym,
        "item": one.item,
        "session": one.session,
        "inputs": inputs,
        "rung": view.meant[answer[2]] if chosen else None,
        "price": quote["price_minor"] / view.scale,
        "list_price": row[view.list_price],
        "unit_cost": row[view.cost],
        "propensity": quote["propensity"],
        "u": row[view.chance],
        "fallback": quote["fallback"],
        "guardrail": quote["guardrail"],
        "policy": view.facts["name"],
        "version": view.version,
        "digest": view.facts["digest"],
        "context_hash": context_hash,
        "repeat": repeat,
        "repeat_of": quote["quote_id"] if repeat else None,
        "personalised": quote["personalised"],
        "shadow": shadow,
    }


def ids(count: int, now: float) -> list[str]:
    """Return ids that nobody can guess, and that sort by time."""
    prefix, chance = f"{int(now * 1000):011x}", os.urandom(_ID * count).hex()
    return [prefix + chance[at : at + 2 * _ID] for at in range(0, len(chance), 2 * _ID)]


def instant(second: int) -> str:
    """Return a time as ISO 8601 writes it, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def known(value: float | None) -> float | None:
    """Return a number that JSON has a word for, or None."""
    return value if value is not None and math.isfinite(value) else None
