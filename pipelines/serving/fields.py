"""What a request may hold: its fields are read, and refused where they are wrong, naming the field.

A page is read column by column, and value by value only where something in a column may be wrong.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.errors import InputError
from pipelines.policy import TERMS_OF_SALE

_CHECKED = frozenset(TERMS_OF_SALE)  # numbers that have bounds
_MOST = 1e12  # above it a double no longer holds every minor unit
_BOUNDS = {
    "list_price": (math.ulp(0.0), _MOST),
    "u": (0.0, math.nextafter(1.0, 0.0)),
    **dict.fromkeys(("unit_cost", "min_price", "max_price"), (0.0, _MOST)),
}
_HUGE = sys.float_info.max
_ANY = (-_HUGE, _HUGE)
_NO_LIST_PRICE = (
    "this policy was learned from a table without list prices, and quotes prices themselves: leave list_price out, or "
    "send 1"
)
_SHOWN = 40  # characters of a wrong value that an error repeats


class RequestError(InputError):
    """A request that cannot be priced: which field, what came, what is expected."""

    def __init__(self, field: str | None, detail: str, row: int = 0) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field, self.detail, self.row = field, detail, row


@dataclass(frozen=True)
class Fields:
    """The fields of a policy's requests.

    numbers, words: by type, in the order in which a graph is fed. required: those that a request must bring. listed:
    whether there are list prices; else a request may bring none but 1.
    """

    numbers: tuple[str, ...]
    words: tuple[str, ...]
    required: frozenset[str]
    listed: bool

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each field stands in a row."""
        return {name: at for at, name in enumerate((*self.numbers, *self.words))}

    @cached_property
    def _free(self) -> dict[str, int]:
        """Where the numbers stand that have no bounds, and the words."""
        return {name: at for name, at in self._places.items() if name not in _CHECKED}

    @cached_property
    def _blank(self) -> list[Any]:
        """A row of a request that holds nothing."""
        return [math.nan] * len(self.numbers) + [""] * len(self.words)

    @cached_property
    def _needed(self) -> tuple[str, ...]:
        """The fields that are looked at where they are missing as well."""
        return tuple(name for name in self._places if name in self.required or name == "list_price")

    @cached_property
    def _missable(self) -> frozenset[str]:
        """The numbers that the graph may be fed NaN for."""
        return frozenset(self.numbers) - self.required - {"list_price"}

    def row(self, request: Mapping[str, Any]) -> list[Any]:
        """Return what the graph is fed with for one request, `numbers` first, then `words`.

        Most requests come alone, so it is as short as it can be. Raises RequestError.
        """
        if type(request) is not dict and not isinstance(request, Mapping):
            raise RequestError(None, f"a request is an object of named fields, not {_named(request)}")
        row, free, places, split = self._blank.copy(), self._free, self._places, len(self.numbers)
        for name, value in request.items():
            at = free.get(name, -1)
            if (type(value) is float and 0 <= at < split and -_HUGE <= value <= _HUGE) or (
                type(value) is str and at >= split and value.isascii()
            ):
                row[at] = value
            elif value is not None and (at := places.get(name, -1)) >= 0:
                row[at] = self._number(value, name) if at < split else self._word(value, name)
        for name in self._needed:
            if request.get(name) is None:
                at = places[name]
                row[at] = self._number(None, name) if at < split else self._word(None, name)
        return row

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Return what the graph is fed with, a column per input, `numbers` first, then `words`.

        Raises RequestError, whose `row` says which request, for a wrong type or an impossible value.
        """
        if len(rows) == 1:
            return [[value] for value in self.row(rows[0])]
        for at, row in enumerate(rows):
            if type(row) is not dict and not isinstance(row, Mapping):
                raise RequestError(None, f"a request is an object of named fields, not {_named(row)}", at)
        names, keys, nothing = (*self.numbers, *self.words), [*rows[0]], (None,) * len(rows)
        table: Iterable[tuple[Any, ...]]
        if all(map(keys.__eq__, map(list, rows))):  # true of nearly every page: nothing is looked up row by row
            found = dict(zip(keys, zip(*[row.values() for row in rows], strict=True), strict=True))
            table = [found.get(name, nothing) for name in names]
        else:
            table = zip(*[map(row.get, names) for row in rows], strict=True)
        split, missing = len(self.numbers), [math.nan] * len(rows)
        return [
            self._numbers(values, name, missing) if at < split else self._words(values, name)
            for at, (name, values) in enumerate(zip(names, table, strict=True))
        ]

    def _numbers(self, values: tuple[Any, ...] | list[Any], name: str, missing: list[float]) -> list[float]:
        """Return a column of numbers: as a whole where nothing in it can be wrong, else one by one.

        missing: what a column is in which every number is.
        """
        if values[0] is None and name in self._missable and values.count(None) == len(values):
            return missing
        kinds = {*map(type, values)}
        if kinds <= {float, int} and (name != "list_price" or self.listed) and name != "personal":
            with suppress(OverflowError):  # an integer that no double holds
                if kinds != {float}:
                    values = [*map(float, values)]
                # whatever is NaN or infinite makes the sum so, and bounds need a look at the ends alone
                if math.isfinite(sum(values)):
                    low, high = _BOUNDS.get(name, _ANY)
                    if (low, high) == _ANY or (low <= min(values) and max(values) <= high):
                        return [*values]
        return self._each(self._number, values, name)

    def _words(self, values: Sequence[Any], name: str) -> list[str]:
        if {*map(type, values)} == {str} and "".join(values).isascii():
            return [*values]
        return self._each(self._word, values, name)

    def _each(self, check: Callable[[Any, str], Any], values: Sequence[Any], name: str) -> list[Any]:
        at = 0
        try:
            checked = []
            for at, value in enumerate(values):  # noqa: B007  # `at` is read where a value is refused
                checked.append(check(value, name))
            return checked
        except RequestError as refused:
            raise RequestError(refused.field, refused.detail, at) from None

    def _number(self, value: Any, name: str) -> float:
        if type(value) is float and name not in _CHECKED and -_HUGE <= value <= _HUGE:
            return value
        if value is None:
            if name in self.required:
                raise RequestError(name, f"is missing; expected {_expected(name)}")
            return 1.0 if name == "list_price" else math.nan
        if not is_number(value):
            raise RequestError(name, f"is {_named(value)}; expected {_expected(name)}")
        # an integer may be too large for a double, so the comparison comes first
        if not -_HUGE <= value <= _HUGE or (name in TERMS_OF_SALE and not _possible(name, value)):
            raise RequestError(name, f"is {_shown(value)}; expected {_expected(name)}")
        if name == "list_price" and not self.listed and value != 1:
            raise RequestError(name, f"is {_shown(value)}; {_NO_LIST_PRICE}")
        return float(value)

    def _word(self, value: Any, name: str) -> str:
        if value is None:
            if name in self.required:
                raise RequestError(name, "is missing; expected a text")
            return ""
        if not isinstance(value, str):
            raise RequestError(name, f"is {_named(value)}; expected a text")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise RequestError(name, "holds half of a surrogate pair, which is no character; expected a text")
        return value


def is_number(value: Any) -> bool:
    """Return whether JSON held a number; true and false, which Python counts among them, are none."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def _possible(name: str, value: float) -> bool:
    if name == "u":
        return 0 <= value < 1
    if name == "personal":
        return value in (0, 1)
    return 0 <= value <= _MOST and (value > 0 or name != "list_price")


def _expected(name: str) -> str:
    if name == "u":
        return "a number from 0 to below 1"
    if name == "personal":
        return "0 (no personal price) or 1"
    if name in TERMS_OF_SALE:
        return f"{'a positive number' if name == 'list_price' else 'a number from 0'} up to {_MOST:.0e}"
    return "a finite number"


def _named(value: Any) -> str:
    told = {str: "the text ", bool: "the truth value ", int: "the number ", float: "the number "}
    if type(value) in told:
        return told[type(value)] + _shown(value)
    kinds = {list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _HUGE:
        return "beyond all bounds"  # and Python refuses to spell integers of thousands of digits
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
