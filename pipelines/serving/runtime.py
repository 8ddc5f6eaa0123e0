"""A policy that answers requests: plain named fields of one shopper looking at one item in, one quote out.

Both servers price through it. It loads ONNX and JSON only, and imports nothing but NumPy and ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines import graph
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, Manifest
from pipelines.policy import QUOTE, TERMS_OF_SALE
from pipelines.serving.packed import NUMBERS, inputs, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the graph's outputs, those that a quote tells, in its order.
ANSWERS = (
    "price", "multiplier", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity",
)  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class _Feed:
    """What a graph is fed with for one request, to be filled again and again: to make it anew costs more than to fill.

    numbers, words: a place for each input of the kind. named: the same memory as the session takes it.
    """

    numbers: NDArray[np.float64]
    words: NDArray[np.object_]
    named: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Return an empty feed of a policy."""
        numbers, words = np.empty(len(policy.numbers)), np.empty(len(policy.words), dtype=object)
        return cls(numbers, words, _named_inputs(policy, numbers.reshape(1, -1), words.reshape(-1, 1, 1)))


@dataclass(frozen=True)
class Policy:
    """A verified policy graph and its manifest.

    session: of the graph whose numbers are one input (`packed`). numbers, words: its inputs by type. required: those
    that a request must bring. Where the manifest knows no list prices, a request needs none, and may bring none but 1:
    the rungs are prices.
    """

    manifest: Manifest
    session: Any
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    required: frozenset[str]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read policy.onnx and policy.json of `folder`; nothing else there is opened.

        Raises InputError where one is missing, the graph is not the manifest's, or their inputs differ.
        """
        if not (folder / GRAPH).is_file():
            raise InputError(f"{folder / GRAPH} is missing: run `make repro` first, which makes a policy")
        content = (folder / GRAPH).read_bytes()
        manifest = Manifest.read(folder)
        # the very bytes that will run are the ones that are verified, whatever is written meanwhile
        if hashlib.sha256(content).hexdigest() != manifest.graph_sha256:
            raise InputError(f"{folder / GRAPH} changed while it was read: start again")
        return cls.of(manifest, content, str(folder))

    @classmethod
    def of(cls, manifest: Manifest, content: bytes, where: str) -> Self:
        """Return the policy of a graph's verified bytes; `where` they come from is for messages.

        Raises InputError where the graph does not load, or its inputs are not those of the manifest.
        """
        declared = {f.name: f.kind for f in manifest.inputs}
        numbers, words = (tuple(f.name for f in manifest.inputs if f.kind == kind) for kind in ("number", "word"))
        try:
            given = inputs(content)
            if given == declared:
                session = graph.session(packed(content, numbers), live=True)
        except Exception as error:
            raise InputError(f"{where}/{GRAPH} does not load: {[*str(error).splitlines(), ''][0]}") from error
        if given != declared:
            odd = sorted(name for name, _ in given.items() ^ declared.items())
            raise InputError(f"{where}: graph and manifest disagree on {odd}: export the policy again")
        return cls(
            manifest=manifest,
            session=session,
            numbers=numbers,
            words=words,
            required=_required(manifest),
        )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs in the order of `columns`."""
        return (*self.numbers, *self.words)

    @cached_property
    def _free(self) -> frozenset[str]:
        """The numbers that may be missing and have no bounds."""
        return self._missable - _CHECKED

    @cached_property
    def _missable(self) -> frozenset[str]:
        """The numbers that the graph may be fed NaN for."""
        return frozenset(self.numbers) - self.required - {"list_price"}

    @cached_property
    def _feeds(self) -> list[_Feed]:
        """Feeds of one request that no thread uses now."""
        return []

    @cached_property
    def _run(self) -> Callable[..., list[NDArray[Any]]]:
        """The call of the session itself.

        `InferenceSession.run` looks through all names and types of the inputs first, which takes as long as a seventh
        of the graph; here they were compared with the manifest's once, when the policy was loaded.
        """
        run: Callable[..., list[NDArray[Any]]] = self.session._sess.run
        return run

    @cached_property
    def digest(self) -> str:
        """What quotes call this graph: the first 12 hexadecimal digits of its SHA-256."""
        return self.manifest.graph_sha256[:12]

    def quote(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the quote of each request, a mapping of field name to number, word or None.

        A missing number or word is left to the graph, which imputes it; a field that the policy does not know
        is ignored. Raises RequestError for a wrong type or an impossible value.
        """
        if not rows:
            return []
        if len(rows) == 1:
            return [self._told(rows[0], *self.answer(self.row(rows[0]), ANSWERS))]
        told = zip(*self.answers(self.columns(rows)), strict=True)
        return [self._told(row, *values) for row, values in zip(rows, told, strict=True)]

    def row(self, request: Mapping[str, Any]) -> list[Any]:
        """Return what the graph is fed with for one request, `numbers` first, then `words`.

        Most requests come alone, so it is as short as it can be. Raises RequestError.
        """
        if type(request) is not dict and not isinstance(request, Mapping):
            raise RequestError(None, f"a request is an object of named fields, not {_named(request)}")
        get, free = request.get, self._free
        row: list[Any] = [
            value
            if type(value := get(name)) is float and name in free and -_HUGE <= value <= _HUGE
            else math.nan
            if value is None and name in free
            else self._number(value, name)
            for name in self.numbers
        ]
        row += [
            value if type(value := get(name)) is str and value.isascii() else self._word(value, name)
            for name in self.words
        ]
        return row

    def answer(self, row: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
        """Return the graph's outputs for one request, of `QUOTE` alone; `row` as `row` gives it."""
        return [found.item() for found in self._found(row, outputs)]

    def _found(self, row: Sequence[Any], outputs: Sequence[str]) -> list[NDArray[Any]]:
        split, feeds = len(self.numbers), self._feeds
        try:
            feed = feeds.pop()
        except IndexError:  # all are in use, by other threads
            feed = _Feed.of(self)
        feed.numbers[:], feed.words[:] = row[:split], row[split:]
        found = self._run(outputs, feed.named, None)
        feeds.append(feed)  # what was found has memory of its own
        return found

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Return what the graph is fed with, a column per input, `numbers` first, then `words`.

        Raises RequestError, whose `row` says which request, for a wrong type or an impossible value.
        """
        if len(rows) == 1:
            return [[value] for value in self.row(rows[0])]
        for at, row in enumerate(rows):
            if type(row) is not dict and not isinstance(row, Mapping):
                raise RequestError(None, f"a request is an object of named fields, not {_named(row)}", at)
        names, keys, nothing = self.inputs, [*rows[0]], (None,) * len(rows)
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
        if kinds <= {float, int} and (name != "list_price" or self.manifest.listed) and name != "personal":
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

    def answers(self, columns: Sequence[Sequence[Any]], outputs: Sequence[str] = ANSWERS) -> list[list[Any]]:
        """Return the graph's outputs, a list with an entry for each request each; `columns` as `columns` gives them."""
        split, rows = len(self.numbers), len(columns[0])
        if rows == 1:
            found = self._found([column[0] for column in columns], outputs)
        else:
            table = np.empty((rows, split))
            for at, column in enumerate(columns[:split]):
                table[:, at] = column
            words = np.array(columns[split:], dtype=object).reshape(-1, rows, 1)
            found = self._run(outputs, _named_inputs(self, table, words), None)
        return [
            [answer.item()]
            if answer.size == 1 and name in QUOTE
            else (answer[:, 0] if name in QUOTE else answer).tolist()
            for name, answer in zip(outputs, found, strict=True)
        ]

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
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise RequestError(name, f"is {_named(value)}; expected {_expected(name)}")
        # an integer may be too large for a double, so the comparison comes first
        if not -_HUGE <= value <= _HUGE or (name in TERMS_OF_SALE and not _possible(name, value)):
            raise RequestError(name, f"is {_shown(value)}; expected {_expected(name)}")
        if name == "list_price" and not self.manifest.listed and value != 1:
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

    def _told(
        self, row: Mapping[str, Any], price: float, multiplier: float, probability: float, profit: float,
        sensitivity: float, guardrail: str, fallback: str, propensity: float,
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "price": price,
            "currency": self.manifest.currency,
            "list_price": 1.0 if row.get("list_price") is None else float(row["list_price"]),
            "multiplier": multiplier,
            "purchase_probability": _known(probability),
            "expected_profit": _known(profit),
            "price_sensitivity": _known(sensitivity),
            "guardrail": guardrail,
            "fallback": fallback or None,
            "propensity": propensity,
            "policy": self.manifest.name,
            "digest": self.digest,
        }


def _named_inputs(policy: Policy, table: NDArray[np.float64], words: NDArray[np.object_]) -> dict[str, NDArray[Any]]:
    """Return what a session takes. table: (N, numbers). words: (words, N, 1)."""
    return {NUMBERS: table, **dict(zip(policy.words, words, strict=True))}


def _required(manifest: Manifest) -> frozenset[str]:
    """Return the inputs that a request must bring: the list price among them, wherever there are list prices."""
    declared = {f.name for f in manifest.inputs if f.required}
    return frozenset(declared | {"list_price"} if manifest.listed else declared - {"list_price"})


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


def _known(value: float) -> float | None:
    """Return a number that JSON has a word for, or None."""
    return value if math.isfinite(value) else None


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
