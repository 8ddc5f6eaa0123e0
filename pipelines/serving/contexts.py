"""Contexts from the feature state: what a request leaves out of shopper, item and session is computed for it.

Terms of sale (list price, cost, bounds) come from the table of items, which every worker reads itself: whatever becomes
of the state, the list price is known. Where the state does not answer in time, that is what is quoted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.behaviour.exported import misfits
from pipelines.errors import InputError
from pipelines.policy import TERMS_OF_SALE
from pipelines.serving import happened
from pipelines.serving.asked import fields_given
from pipelines.serving.fields import RequestError, is_number
from pipelines.serving.owner import StateError
from pipelines.serving.problems import Problem
from pipelines.serving.quotes import NO_CONTEXT

if TYPE_CHECKING:
    from pipelines.behaviour.facts import Facts
    from pipelines.behaviour.measures import Event
    from pipelines.manifest import Manifest
    from pipelines.serving.asked import Asked
    from pipelines.serving.metrics import Cells
    from pipelines.serving.owner import Asking, Definitions
    from pipelines.serving.views import View

_log = logging.getLogger("pricewright")
_TERMS = ("list_price", "unit_cost", "min_price", "max_price")  # of a row of items
_WORDS, _NUMBERS = ("channel", "path"), ("page_depth", "list_price", "unit_cost")  # what the request itself knows
_TO_KEEP = 5.0  # seconds that the state has to put events on the disk; sent again, those that it has are duplicates
_SHOWN = 3  # misfits that a message repeats


class State(Protocol):
    """The owner, in this process or at the other end of a socket."""

    async def contexts(self, asked: Sequence[Asking]) -> list[list[float | str | None] | str]:
        """As Owner.contexts."""

    async def events(self, events: Sequence[Event], now: int) -> list[str]:
        """As Owner.events."""


class FromState:
    """Contexts by ids. patience: seconds that the state has to answer."""

    def __init__(
        self, state: State, facts: Facts, definitions: Definitions, cells: Cells, patience: float = 0.25
    ) -> None:
        self.state, self.facts, self.definitions, self.cells, self.patience = state, facts, definitions, cells, patience
        self.trouble: str | None = None
        self._names = tuple(definitions.features.features)
        self._fits: dict[str, str | None] = {}
        self._looked = 0.0

    async def fill(self, wanted: Sequence[Asked], view: View, now: float) -> None:
        """Complete the contexts of a page that came as ids; those that cannot be are to get the list price.

        What the request brings stays as it is. now: seconds since 1970, the instant of those that name none. Raises
        RequestError, whose `row` says which one, for an item without a price and an `at` that lies too far back.
        """
        self._look(now)
        given = [fields_given(one.context, view.names) for one in wanted]
        rows = [self._row(one) for one in wanted]
        for at, (one, own, row) in enumerate(zip(wanted, given, rows, strict=True)):
            one.context = self._terms(one, own, view.policy.manifest, at)
            listed = one.context.get("list_price")
            if is_number(listed):  # else it is refused where it is priced
                row.setdefault("list_price", listed)
        found = await self._found(wanted, rows, view, now)
        for at, (one, own, answer) in enumerate(zip(wanted, given, found, strict=True)):
            if isinstance(answer, str):
                if one.at is not None:
                    raise RequestError("at", answer, at)
                self._worry(answer)
                one.instead = NO_CONTEXT
            elif answer is None:
                one.instead = NO_CONTEXT
            else:
                known = {n: v for n, v in zip(self._names, answer, strict=True) if v is not None and v != ""}
                if not view.policy.manifest.listed:
                    known.pop("list_price", None)
                one.context = known | one.context | own
        outcome = {None: "computed", NO_CONTEXT: NO_CONTEXT}
        for one in wanted:
            self.cells.add(self.cells.place("contexts_total", outcome=outcome[one.instead]))

    async def events(self, given: Sequence[Mapping[str, Any]], now: float) -> list[str]:
        """Take events, in their order; return for each `taken`, or why not, once those that were are on disk.

        Raises RequestError, and takes none, where one is wrong, and Problem 503 where they cannot be kept now.
        """
        self._look(now)
        currency = self.definitions.currency
        read = [happened.read(one, f"events[{k}]", self.facts.items, currency) for k, one in enumerate(given)]
        good = [one for one in read if not isinstance(one, str)]
        try:
            async with asyncio.timeout(_TO_KEEP):
                answers = iter(await self.state.events(good, int(now * 1e6)) if good else [])
        except StateError as error:
            raise self._unkept(str(error)) from None
        except TimeoutError:
            raise self._unkept(f"it does not put events on the disk within {_TO_KEEP:g} s") from None
        except InputError as error:
            raise RequestError("events", str(error)) from None
        self.trouble = None
        told = [one if isinstance(one, str) else next(answers) for one in read]
        for answer in told:
            self.cells.add(self.cells.place("events_total", answer=answer))
        return told

    def misfit(self, manifest: Manifest) -> str | None:
        """Return why the features are not those that a policy learned from, or None."""
        digest = manifest.graph_sha256
        if digest not in self._fits:
            inputs = tuple(f for f in manifest.inputs if f.name not in TERMS_OF_SALE)
            found = misfits(self.definitions.features, inputs, manifest.definitions)
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            self._fits[digest] = None if not found else (
                f"the feature state has other definitions than the policy {manifest.name} learned from: "
                f"{'; '.join(found[:_SHOWN])}{more}. Train with these (`make repro`), or attach those it learned from: "
                "`python -m pipelines.behaviour.attach --rebuild`"
            )  # fmt: skip
        return self._fits[digest]

    async def _found(
        self, wanted: Sequence[Asked], rows: Sequence[dict[str, Any]], view: View, now: float
    ) -> Sequence[list[float | str | None] | str | None]:
        nothing: list[None] = [None] * len(wanted)
        if self.misfit(view.policy.manifest) is not None:
            return nothing
        asked = [
            (
                one.shopper or "",
                one.item or "",
                one.session or "",
                round((now if one.at is None else one.at) * 1e6),
                row,
            )
            for one, row in zip(wanted, rows, strict=True)
        ]
        try:
            async with asyncio.timeout(self.patience):
                found = await self.state.contexts(asked)
        except (StateError, InputError) as error:
            self._worry(str(error))
            return nothing
        except TimeoutError:
            self._worry(f"it does not answer within {self.patience:g} s")
            return nothing
        self.trouble = None
        return found

    def _terms(self, one: Asked, own: dict[str, Any], manifest: Manifest, at: int) -> dict[str, Any]:
        """Return what the table of items says of the terms of sale, and what the request brings over it."""
        item = self.facts.items.get(one.item or "", {})
        terms = {name: item[name] for name in _TERMS if item.get(name) is not None}
        if not manifest.listed:
            terms.pop("list_price", None)
        elif "list_price" not in terms and "list_price" not in own:
            raise RequestError("item", "is not in the table of items, and the request brings no list_price", at)
        return terms | own

    def _row(self, one: Asked) -> dict[str, Any]:
        """Return what the request knows of the offer; what is of the wrong type is refused where it is priced."""
        get = one.context.get
        row = {n: v for n in _WORDS if isinstance(v := get(n), str)}
        return row | {n: v for n in _NUMBERS if is_number(v := get(n))}

    def _unkept(self, why: str) -> Problem:
        self._worry(why, "events are not taken")
        return Problem(503, "events cannot be kept now; send them again", headers={"Retry-After": "1"})

    def _worry(self, why: str, so: str = "list prices are quoted where a context is needed") -> None:
        if why != self.trouble:
            _log.warning("feature state: %s; %s", why, so)
        self.trouble = why

    def _look(self, now: float) -> None:
        """Look at most once in a second whether items and shoppers were written anew."""
        if not self._looked <= now <= self._looked + 1:
            self._looked = now
            self.facts.refresh()
