"""From contexts to quotes: one graph call for a page, money in minor units, chance, signatures, records.

Contexts are priced one request at a time, never gathered across requests: a graph may round the last bits of a row
otherwise in a larger batch, and a logged quote must be the same when it is replayed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from pipelines import pricing
from pipelines.policy import KNOTS, LADDER
from pipelines.serving import currencies
from pipelines.serving.runtime import RequestError
from pipelines.serving.views import View

if TYPE_CHECKING:
    from pipelines.serving.asked import Asked
    from pipelines.serving.disclosure import Disclosures
    from pipelines.serving.parts import Facts, Parts
    from pipelines.serving.runtime import Policy

OUTPUTS = (
    "price", "multiplier", "rung", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity",
)  # fmt: skip
DEADLINE, UNPRICEABLE = "deadline", "unpriceable"  # why the endpoint itself quoted the list price
_DEAREST = 2**53  # minor units; above it a double no longer tells them apart
_log = logging.getLogger("pricewright")


@dataclass(frozen=True)
class Page:
    """Quotes as they are told, the records to log of them, and what is counted: (guardrail, rung, fallback) each."""

    quotes: list[Facts]
    records: list[Facts]
    counted: list[tuple[str, str, str | None]]


class Quoter:
    """Quotes by the policy that is live.

    validity: seconds for which a price is honoured. clock: seconds since 1970, as a function, so that it can be set.
    """

    def __init__(
        self, parts: Parts, disclosures: Disclosures, validity: int = 900, clock: Callable[[], float] = time.time
    ) -> None:
        self.parts, self.disclosures, self.validity, self.clock = parts, disclosures, validity, clock
        self._views: dict[int, View] = {}
        self._second, self._until = 0, ""

    def view(self) -> View:
        """Return the policy that is live; a request asks once and keeps it."""
        policy, version = self.parts.live.policy, self.parts.live.version
        seen = self._views.get(id(policy))
        if seen is None or seen.policy is not policy or seen.version != version:
            seen = View.of(policy, version)
            self._views = {id(policy): seen}
        return seen

    def page(self, wanted: Sequence[Asked], view: View, late: bool = False) -> Page:
        """Return the quotes of what is wanted, in one graph call; all list prices where it is too `late` for one.

        Raises RequestError, whose `row` says which context, for a wrong type or an impossible value.
        """
        now, chance = self.clock(), self.parts.chance
        for at, one in enumerate(wanted):
            if one.jurisdiction is not None and one.jurisdiction not in self.disclosures.texts:
                raise RequestError("jurisdiction", f"is none of {sorted(self.disclosures.texts)}", at)
        if chance is not None:
            for one in wanted:
                if one.shopper is not None and one.item is not None and one.context.get("u") is None:
                    one.context = {**one.context, "u": chance.u(one.shopper, one.item, now)}
                    one.drawn = True
        columns = view.policy.columns([one.context for one in wanted])
        rows = list(zip(*columns, strict=True))
        answers = [None] * len(wanted) if late else self._answers(view.policy, columns)
        reason = DEADLINE if late else UNPRICEABLE
        quotes = [
            self._quote(one, row, answer, view, now, reason)
            for one, row, answer in zip(wanted, rows, answers, strict=True)
        ]
        pseudonyms = [None if chance is None or w.shopper is None else chance.pseudonym(w.shopper) for w in wanted]
        self._honour(wanted, rows, quotes, pseudonyms, view, now)
        hashes = self._sign(wanted, rows, quotes, pseudonyms, view, now)
        counted = [(q["guardrail"] or "", _rung(a, view), q["fallback"]) for q, a in zip(quotes, answers, strict=True)]
        records: list[Facts] = []
        if self.parts.log is not None:
            shadows = self._shadows(wanted)
            places = range(len(wanted))
            records = [
                self._record(wanted[i], rows[i], quotes[i], answers[i], pseudonyms[i], hashes[i], shadows[i], view, now)
                for i in places
            ]
        return Page([_told(q, view) for q in quotes], records, counted)

    def curve(self, one: Asked, view: View) -> Facts:
        """Return a quote and what stands behind it: each rung's price, demand, profit and chance, and the whole curve.

        Raises RequestError.
        """
        policy = view.policy
        columns = policy.columns([one.context])
        found = dict(
            zip((*OUTPUTS, *LADDER, *KNOTS), policy.answers(columns, (*OUTPUTS, *LADDER, *KNOTS)), strict=True)
        )
        row = [column[0] for column in columns]
        answer = [found[name][0] for name in OUTPUTS]
        terms, list_price = policy.manifest.terms, row[view.list_price]
        quote = self._quote(one, row, answer, view, self.clock(), UNPRICEABLE)
        cost = row[view.cost]
        if math.isnan(cost) and terms.cost_share is not None:
            cost = list_price * terms.cost_share
        ladder = [
            {"multiplier": rung, "price": price, "probability": _known(q), "profit": _known(profit), "propensity": p}
            for rung, price, q, profit, p in zip(terms.ladder, *(found[name][0] for name in LADDER), strict=True)
        ]
        told = _told(quote, view)
        return {
            "quote": {
                name: told[name] for name in told if name not in ("quote_id", "signature", "valid_until", "repeat")
            },
            "unit_cost": _known(cost),
            "ladder": ladder,
            "demand": [
                {"multiplier": knot, "price": knot * list_price, "probability": _known(q)}
                for knot, q in zip(terms.knots, found["demand"][0], strict=True)
            ],
            "guardrails": asdict(terms.guardrails),
            "rules": _rules(ladder, row, view, cost),
        }

    def _answers(self, policy: Policy, columns: list[list[Any]]) -> list[Any]:
        try:
            return list(zip(*policy.answers(columns, OUTPUTS), strict=True))
        except Exception:  # whatever a graph does, a shopper sees a price
            _log.exception("the graph of %s failed; list prices are quoted", policy.manifest.name)
            return [None] * len(columns[0])

    def _quote(
        self, one: Asked, row: Sequence[Any], answer: Any, view: View, now: float, reason: str
    ) -> Facts:  # fmt: skip
        list_price, scale = row[view.list_price], view.scale
        fallback: str | None
        if answer is None or not 0 < answer[0] * scale < _DEAREST:
            price, probability, profit, sensitivity, propensity = view.instead(list_price), None, None, None, 1.0
            multiplier, guardrail, fallback = price / list_price, "none", reason
        else:
            price, multiplier, _, probability, profit, sensitivity, guardrail, why, propensity = answer
            probability, profit, sensitivity = _known(probability), _known(profit), _known(sensitivity)
            fallback = why or None
        least, most = row[view.least], row[view.most]
        minor = currencies.minor_units(price, scale, list_price, least, most)
        personalised = fallback not in (DEADLINE, UNPRICEABLE) and view.is_personal(row, one.drawn)
        return {
            "quote_id": _quote_id(now),
            "price_minor": minor,
            "list_price": list_price,
            "multiplier": multiplier,
            "purchase_probability": probability,
            "expected_profit": profit,
            "price_sensitivity": sensitivity,
            "guardrail": guardrail,
            "fallback": fallback,
            "propensity": propensity,
            "valid_until": self._valid_until(now),
            "personalised": personalised,
            "disclosure": self.disclosures.text(one.jurisdiction) if personalised else None,
            "signature": None,
            "repeat": False,
            "digest": None,
        }

    def _honour(
        self, wanted: Sequence[Asked], rows: Sequence[Any], quotes: list[Facts], pseudonyms: list[str | None],
        view: View, now: float,
    ) -> None:  # fmt: skip
        """Give the price again that a still valid signed quote showed to the same shopper for the same item."""
        signer = self.parts.signer
        if signer is None:
            return
        for one, row, quote, pseudonym in zip(wanted, rows, quotes, pseudonyms, strict=True):
            # a shopper who opted out since gets no personal price again
            if one.token is None or one.item is None or pseudonym is None or row[view.switch] == 0:
                continue
            shown = signer.verify(one.token, now)
            if isinstance(shown, str) or (one.item, pseudonym, view.currency) != (
                shown.get("item"), shown.get("shopper"), shown.get("currency")
            ):  # fmt: skip
                continue
            quote.update(dict.fromkeys(("purchase_probability", "expected_profit", "price_sensitivity", "propensity")))
            quote.update(
                quote_id=shown["quote_id"],
                price_minor=shown["price_minor"],
                multiplier=shown["price_minor"] / view.scale / quote["list_price"],
                guardrail=None,
                fallback=None,
                valid_until=_instant(int(shown["expires"])),
                signature=one.token,
                repeat=True,
                digest=shown["digest"],
            )

    def _sign(
        self, wanted: Sequence[Asked], rows: Sequence[Any], quotes: list[Facts], pseudonyms: list[str | None],
        view: View, now: float,
    ) -> list[str]:  # fmt: skip
        """Sign what is new, and return the hash of each context as it was fed to the graph."""
        signer = self.parts.signer
        if signer is None and self.parts.log is None:
            return [""] * len(quotes)
        hashes = [hashlib.blake2b(orjson.dumps(row), digest_size=12).hexdigest() for row in rows]
        if signer is not None:
            new = [at for at, quote in enumerate(quotes) if not quote["repeat"]]
            facts = [
                {
                    "quote_id": quotes[at]["quote_id"],
                    "price_minor": quotes[at]["price_minor"],
                    "currency": view.currency,
                    "item": wanted[at].item,
                    "shopper": pseudonyms[at],
                    "digest": view.policy.digest,
                    "context_hash": hashes[at],
                    "expires": int(now) + self.validity,
                }
                for at in new
            ]
            for at, token in zip(new, signer.sign(facts), strict=True):
                quotes[at]["signature"] = token
        return hashes

    def _shadows(self, wanted: Sequence[Asked]) -> list[Facts | None]:
        """Return what the shadow would have quoted; whatever goes wrong with it is not the shopper's trouble."""
        shadow = self.parts.live.shadow
        if shadow is None:
            return [None] * len(wanted)
        try:
            prices, chances = shadow.answers(shadow.columns([one.context for one in wanted]), ("price", "propensity"))
        except Exception as error:
            _log.warning("the shadow %s did not price: %s", shadow.manifest.name, error)
            return [None] * len(wanted)
        pairs = zip(prices, chances, strict=True)
        return [{"digest": shadow.digest, "price": price, "propensity": chance} for price, chance in pairs]

    def _record(
        self, one: Asked, row: Sequence[Any], quote: Facts, answer: Any, pseudonym: str | None, context_hash: str,
        shadow: Facts | None, view: View, now: float,
    ) -> Facts:  # fmt: skip
        """Return what off-policy learning needs of a quote; numbers that were missing are None."""
        inputs = {name: None if value != value else value for name, value in zip(view.inputs, row, strict=True)}
        return {
            "quote_id": quote["quote_id"],
            "time": now,
            "shopper": pseudonym,
            "item": one.item,
            "session": one.session,
            "inputs": inputs,
            "rung": None if answer is None or answer[2] < 0 else view.ladder[answer[2]],
            "price": quote["price_minor"] / view.scale,
            "list_price": quote["list_price"],
            "unit_cost": inputs["unit_cost"],
            "propensity": quote["propensity"],
            "u": inputs["u"],
            "fallback": quote["fallback"],
            "guardrail": quote["guardrail"],
            "policy": view.facts["name"],
            "version": view.version,
            "digest": quote["digest"] or view.facts["digest"],
            "context_hash": context_hash,
            "repeat": quote["repeat"],
            "personalised": quote["personalised"],
            "shadow": shadow,
        }

    def _valid_until(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second, self._until = second, _instant(second + self.validity)
        return self._until


def _told(quote: Facts, view: View) -> Facts:
    """Return a quote as JSON tells it."""
    list_minor = round(quote["list_price"] * view.scale)
    digest = quote["digest"]
    return {
        "quote_id": quote["quote_id"],
        "price": currencies.written(quote["price_minor"], view.decimals),
        "price_minor": quote["price_minor"],
        "currency": view.currency,
        "list_price": currencies.written(list_minor, view.decimals),
        "list_price_minor": list_minor,
        "multiplier": quote["multiplier"],
        "purchase_probability": quote["purchase_probability"],
        "expected_profit": quote["expected_profit"],
        "price_sensitivity": quote["price_sensitivity"],
        "guardrail": quote["guardrail"],
        "fallback": quote["fallback"],
        "propensity": quote["propensity"],
        "policy": view.told
        if digest in (None, view.facts["digest"])
        else {"name": None, "version": None, "digest": digest},
        "valid_until": quote["valid_until"],
        "personalised": quote["personalised"],
        "disclosure": quote["disclosure"],
        "signature": quote["signature"],
        "repeat": quote["repeat"],
    }


def _rules(ladder: list[Facts], row: Sequence[Any], view: View, cost: float) -> list[list[str]]:
    """Return for each rung which guardrails forbid it, as far as prices tell: support is known to the graph alone."""
    rails = view.policy.manifest.terms.guardrails
    prices = np.array([[rung["price"] for rung in ladder]])
    list_price, unit_cost, least, most = (
        np.array([[value]]) for value in (row[view.list_price], cost, row[view.least], row[view.most])
    )
    rules = pricing.allowed(prices, list_price, unit_cost, least, most, rails)
    return [[name for name, admitted in rules.items() if not admitted[0, at]] for at in range(len(ladder))]


def _rung(answer: Any, view: View) -> str:
    return "none" if answer is None or answer[2] < 0 else f"{view.ladder[answer[2]]:g}"


def _quote_id(now: float) -> str:
    """Return an id that nobody can guess, and that sorts by time."""
    return f"{int(now * 1000):011x}{os.urandom(10).hex()}"


def _instant(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _known(value: float) -> float | None:
    """Return a number that JSON has a word for, or None."""
    return value if math.isfinite(value) else None
