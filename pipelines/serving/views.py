"""A policy as its quotes tell it: worked out once when it starts to price, so that a request finds it ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
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

    sorted_inputs, blank, keys, in_order: their names sorted, these with nothing, as keys of JSON, and what brings the
    columns of `Policy.columns`, or a `Policy.row`, into that order. personal: which of them are personal data. switch,
    least, most, cost, chance, list_price: the places of the terms of sale. rungs: the ladder in words, and last, where
    an index of -1 finds it, that there is none; meant: likewise as multipliers, last the one of last resort. alone: it
    has one price only, so nothing decides. explores: chance may decide.
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
    keys: dict[str, str]
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
            keys={name: orjson.dumps(name).decode() + ":" for name in inputs},
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

    def texts(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return the inputs of each request as JSON, by name, sorted, of columns as `Policy.columns` gives them.

        Column by column: what all requests have in common is written once, and the numbers of a column in one call.
        """
        rows, names = len(columns[0]), self.sorted_inputs
        parts: list[Iterable[str]] = []
        same = "{"  # what stands between two columns, in every request
        for name, column in zip(names, self.in_order(columns), strict=True):
            first = column[0]
            same += self.keys[name]
            # zero is no constant: it equals minus zero, which is written otherwise
            if first and first in column[-1:] and column.count(first) == rows:
                same += orjson.dumps(first).decode() + ","
                continue
            parts.append(repeat(same, rows))
            same = ","
            if type(first) is float:
                parts.append(orjson.dumps(column).decode()[1:-1].split(","))
            else:
                told = {word: orjson.dumps(word).decode() for word in {*column}}
                parts.append([told[word] for word in column])
        parts.append(repeat(same[:-1] + "}", rows))
        return [row.encode() for row in map("".join, zip(*parts, strict=True))]

    def text(self, row: Sequence[Any]) -> bytes:
        """Return the same of one request, of a row as `Policy.row` gives it."""
        inputs = self.blank.copy()  # to copy and fill it is cheaper than to make a dictionary grow
        inputs.update(zip(self.sorted_inputs, self.in_order(row), strict=False))  # to look would double the time
        return orjson.dumps(inputs)

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
