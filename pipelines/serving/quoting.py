"""From contexts to quotes: one graph call for a page or a round, money in minor units, chance, signatures, records."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.serving import quotes
from pipelines.serving.curves import curve
from pipelines.serving.fields import RequestError
from pipelines.serving.problems import Problem
from pipelines.serving.quotes import OUTPUTS, UNPRICEABLE
from pipelines.serving.shadow import priced
from pipelines.serving.views import View

if TYPE_CHECKING:
    from pipelines.serving.asked import Asked
    from pipelines.serving.disclosure import Disclosures
    from pipelines.serving.parts import Facts, Parts

_log = logging.getLogger("pricewright")


@dataclass(frozen=True, slots=True)
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
        self._view: View | None = None
        self._second, self._until = -1, ""

    def view(self) -> View:
        """Return the policy that is live; a request asks once and keeps it. Problem 503 before there is one."""
        held, seen = self.parts.live.current, self._view
        if held is None:
            raise Problem(503, "there is no policy yet", headers={"Retry-After": "1"})
        if seen is None or seen.policy is not held.policy or seen.version != held.version:
            seen = self._view = View.of(held.policy, held.version)
            if self.parts.log is not None:
                self.parts.log.introduce(held.policy.manifest, held.policy.digest)
        return seen

    def page(self, wanted: Sequence[Asked], view: View) -> Page:
        """Return the quotes of a page, in one graph call and under one signature.

        Raises RequestError, whose `row` says which context, for a wrong type or an impossible value.
        """
        now = self.clock()
        self._prepare(wanted, now)
        columns = view.policy.columns([one.context for one in wanted])
        rows = list(zip(*columns, strict=True))
        if view.policy.steady and any(one.instead is None for one in wanted):
            answers = self._page_answers(view, columns)
        else:
            answers = self._needed(wanted, rows, view)
        texts = view.texts(columns) if self._keeps else ()
        return self._quoted(wanted, rows, answers, texts, view, now)

    def row(self, one: Asked, view: View, now: float) -> list[Any]:
        """Return a context as it will be fed, for `together`. Raises RequestError."""
        self._prepare((one,), now)
        return view.policy.row(one.context)

    def together(self, wanted: Sequence[Asked], rows: Sequence[list[Any]], view: View, now: float) -> Page:
        """Return the quotes of requests that wait at the same instant, in one graph call; each has its own signature.

        rows: as `row` gave them, at the same `now`. Where a graph is not steady, it is called for each by itself.
        """
        answers = self._needed(wanted, rows, view)
        texts = [*map(view.text, rows)] if self._keeps else ()
        return self._quoted(wanted, rows, answers, texts, view, now, alone=True)

    @property
    def _keeps(self) -> bool:
        """Whether inputs are kept, or a hash of them."""
        return self.parts.signer is not None or self.parts.log is not None

    def _quoted(
        self, wanted: Sequence[Asked], rows: Sequence[Sequence[Any]], answers: list[Any],
        inputs: Sequence[bytes], view: View, now: float, alone: bool = False,
    ) -> Page:  # fmt: skip
        """Return the quotes of answers.

        rows: inputs as they were fed. inputs: the same as JSON, where kept. alone: each is signed by itself.
        """
        texts, until = self.disclosures, self._valid_until(now)
        ids = quotes.ids(len(rows), now)
        told = []
        for at, one in enumerate(wanted):
            if one.instead is not None:
                answers[at] = None  # on a page the graph was asked all the same
            reason = one.instead or UNPRICEABLE
            told.append(quotes.told(one, rows[at], answers[at], view, reason, ids[at], until, texts))
        names = self._pseudonyms(wanted)
        self._honour(wanted, rows, told, names, view, now)
        records: list[Facts] = []
        if inputs:
            hashes = [hashlib.blake2b(text, digest_size=16).hexdigest() for text in inputs]
            self._sign(wanted, told, names, hashes, view, int(now) + self.validity, alone)
            if self.parts.log is not None:
                shadows = priced(self.parts.live.shadow, [one.context for one in wanted])
                records = [
                    quotes.record(
                        told[i],
                        ids[i],
                        wanted[i],
                        rows[i],
                        orjson.Fragment(inputs[i]),
                        answers[i],
                        names[i],
                        hashes[i],
                        shadows[i],
                        view,
                        now,
                    )
                    for i in range(len(told))
                ]
        counted = [
            (q["guardrail"] or "repeat", "none" if a is None or q["repeat"] else view.rungs[a[2]], q["fallback"])
            for q, a in zip(told, answers, strict=True)
        ]
        return Page(told, records, counted)

    def curve(self, one: Asked, view: View) -> Facts:
        """Return what stands behind the quote of a context; nobody is offered it. Raises RequestError."""
        self._prepare([one], self.clock())
        return curve(one, view, self.disclosures)

    def verified(self, token: str, shopper: str | None, item: str | None) -> Facts | str:
        """Return what a token vouches for, or why it is not to be honoured; shopper, item: None where not asked about.

        What it calls the shopper is a pseudonym, so that only who holds the secret can compare it.
        """
        signer, chance = self.parts.signer, self.parts.chance
        assert signer is not None
        found = signer.verify(token, self.clock())
        if isinstance(found, str):
            return found
        if item is not None and item != found["item"]:
            return "other_item"
        if shopper is not None and (chance is None or chance.pseudonym(shopper) != found["shopper"]):
            return "other_shopper"
        return found

    def _prepare(self, wanted: Sequence[Asked], now: float) -> None:
        """Check jurisdictions, and draw the chance of whoever brought none."""
        chance = self.parts.chance
        for at, one in enumerate(wanted):
            if one.jurisdiction is not None and one.jurisdiction not in self.disclosures.texts:
                raise RequestError("jurisdiction", f"is none of {sorted(self.disclosures.texts)}", at)
            if chance is not None and one.shopper and one.item and one.context.get("u") is None:
                # a new mapping: whose it is may ask with it again, for another shopper or in another time bucket
                one.context = {**one.context, "u": chance.u(one.shopper, one.item, now)}
                one.drawn = True

    def _page_answers(self, view: View, columns: list[list[Any]]) -> list[Any]:
        try:
            return list(zip(*view.policy.answers(columns, OUTPUTS), strict=True))
        except Exception:  # whatever a graph does, a shopper sees a price
            _log.exception("the graph of %s failed; list prices are quoted", view.facts["name"])
            return [None] * len(columns[0])

    def _needed(self, wanted: Sequence[Asked], rows: Sequence[Sequence[Any]], view: View) -> list[Any]:
        """Return what the graph says of each row, None where it need not be asked."""
        answers: list[Any] = [None] * len(wanted)
        asking = [at for at, one in enumerate(wanted) if one.instead is None]
        for at, answer in zip(asking, self._answers(view, [rows[at] for at in asking]), strict=True):
            answers[at] = answer
        return answers

    def _answers(self, view: View, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Return what the graph says of each row: at once, unless it is not steady, or fails for them together."""
        if len(rows) > 1 and view.policy.steady:
            with suppress(Exception):
                return view.policy.group(rows, OUTPUTS)
        answers: list[Any] = []
        failures: list[Exception] = []
        for row in rows:
            try:
                answers += view.policy.group((row,), OUTPUTS)
            except Exception as error:  # whatever a graph does, a shopper sees a price
                answers.append(None)
                failures.append(error)
        if failures:
            told = (view.facts["name"], len(failures), len(rows))
            _log.error("the graph of %s failed for %d of %d; list prices are quoted", *told, exc_info=failures[0])
        return answers

    def _pseudonyms(self, wanted: Sequence[Asked]) -> list[str | None]:
        chance, known = self.parts.chance, dict[str, str]()
        if chance is None:
            return [None] * len(wanted)
        for one in wanted:  # a page has one shopper as a rule
            if one.shopper is not None and one.shopper not in known:
                known[one.shopper] = chance.pseudonym(one.shopper)
        return [None if one.shopper is None else known[one.shopper] for one in wanted]

    def _honour(
        self, wanted: Sequence[Asked], rows: Sequence[Any], told: list[Facts], names: list[str | None],
        view: View, now: float,
    ) -> None:  # fmt: skip
        """Give the price again that a still valid signed quote showed to the same shopper for the same item."""
        signer = self.parts.signer
        if signer is None:
            return
        for one, row, quote, name in zip(wanted, rows, told, names, strict=True):
            # a shopper who opted out since gets no personal price again
            if one.token is None or one.item is None or name is None or row[view.switch] == 0:
                continue
            shown = signer.verify(one.token, now)
            if isinstance(shown, str):
                continue
            if (one.item, name, view.currency) == (shown["item"], shown["shopper"], shown["currency"]):
                quotes.again(quote, shown, one.token, view, self.disclosures.text(one.jurisdiction))

    def _sign(
        self, wanted: Sequence[Asked], told: list[Facts], names: list[str | None], hashes: list[str], view: View,
        expires: int, alone: bool,
    ) -> None:  # fmt: skip
        """Sign what is new, at once or each alone; a repeat keeps the signature that it came with."""
        signer = self.parts.signer
        if signer is None:
            return
        new = [at for at, quote in enumerate(told) if not quote["repeat"]]
        facts = [quotes.signed(told[at], wanted[at], names[at], view, hashes[at], expires) for at in new]
        tokens = [token for one in facts for token in signer.sign((one,))] if alone else signer.sign(facts)
        for at, token in zip(new, tokens, strict=True):
            told[at]["signature"] = token

    def _valid_until(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second, self._until = second, quotes.instant(second + self.validity)
        return self._until
