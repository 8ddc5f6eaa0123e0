"""A policy as its quotes tell it: worked out once when it starts to price, so that a request finds it ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson

from pipelines.policy import fallback_price
from pipelines.serving import currencies

if TYPE_CHECKING:
    from pipelines.serving.runtime import Policy


@dataclass(frozen=True)
class View:
    """What quotes tell of a policy, and where its inputs stand.

    sorted_inputs, blank, in_order: their names sorted, these with nothing, and what brings the columns of
    `Policy.columns`, or a `Policy.row`, into that order. personal: which of them are personal data. switch, least,
    most, cost, chance, list_price: the places of the terms of sale. rungs: the ladder in words, and last, where an
    index of -1 finds it, that there is none; meant: likewise as multipliers, last the one of last resort. alone: it has
    one price only, so nothing decides. explores: chance may decide.
    """

    policy: Policy
    version: str | None
    told: orjson.Fragment
    facts: dict[str, Any]
    currency: str
    decimals: int
    scale: int
    rungs: tuple[str, ...]
    meant: tuple[float, ...]
    sorted_inputs: tuple[str, ...]
    blank: dict[str, Any]
    in_order: Callable[[Sequence[Any]], tuple[Any, ...]]
    names: frozenset[str]
    personal: tuple[int, ...]
    switch: int
    list_price: int
    least: int
    most: int
    cost: int
    chance: int
    alone: bool
    explores: bool

    @classmethod
    def of(cls, policy: Policy, version: str | None) -> Self:
        """Return the view of `policy`, registered as `version`."""
        manifest, inputs = policy.manifest, (*policy.numbers, *policy.words)
        facts = {"name": manifest.name, "version": version, "digest": policy.digest}
        decimals, place = currencies.digits(manifest.currency), {name: at for at, name in enumerate(inputs)}
        return cls(
            policy=policy,
            version=version,
            told=orjson.Fragment(orjson.dumps(facts)),
            facts=facts,
            currency=manifest.currency,
            decimals=decimals,
            scale=10**decimals,
            meant=(*manifest.terms.ladder, manifest.terms.fallback),
            rungs=(*(f"{rung:g}" for rung in manifest.terms.ladder), "none"),
            sorted_inputs=tuple(sorted(inputs)),
            blank=dict.fromkeys(sorted(inputs)),
            in_order=itemgetter(*(place[name] for name in sorted(inputs))),
            names=frozenset(inputs),
            personal=tuple(place[f.name] for f in manifest.inputs if f.personal),
            switch=place["personal"],
            list_price=place["list_price"],
            least=place["min_price"],
            most=place["max_price"],
            cost=place["unit_cost"],
            chance=place["u"],
            alone=len(manifest.terms.ladder) == 1,
            explores=manifest.terms.guardrails.exploration > 0,
        )

    def fed(self, columns: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the inputs of each request by name, sorted, of columns as `Policy.columns` gives them."""
        names, found = self.sorted_inputs, []
        for row in zip(*self.in_order(columns), strict=True):
            inputs = self.blank.copy()  # to copy and fill it is cheaper than to make a dictionary grow
            inputs.update(zip(names, row, strict=False))  # each has one column; to look would double the time
            found.append(inputs)
        return found

    def fed_alone(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the same of one request, of a row as `Policy.row` gives it."""
        inputs = self.blank.copy()
        inputs.update(zip(self.sorted_inputs, self.in_order(row), strict=False))
        return inputs

    def instead(self, list_price: float) -> float:
        """Return the price of last resort: the list price, or what stands in its place where there is none."""
        return float(fallback_price(np.array([[list_price]]), self.policy.manifest.terms)[0, 0])

    def is_personal(self, row: Sequence[Any], drawn: bool) -> bool:
        """Tell whether personal data could move the price of a context; row: the inputs as they were fed.

        drawn: chance was drawn by shopper. A field that was left out (NaN, or no word) is no data.
        """
        if self.alone or row[self.switch] == 0:
            return False
        if drawn and self.explores:
            return True
        for at in self.personal:
            value = row[at]
            if value == value and value != "":
                return True
        return False
