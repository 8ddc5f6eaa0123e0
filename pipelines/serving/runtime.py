"""A policy that answers requests: plain named fields of one shopper looking at one item in, one quote out.

Both servers price through it. It loads ONNX and JSON only, and imports nothing but NumPy and ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines import graph
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, Manifest
from pipelines.policy import QUOTE
from pipelines.serving.fields import Fields
from pipelines.serving.packed import NUMBERS, inputs, packed
from pipelines.serving.steady import is_steady

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT = 64  # requests of a feed that is kept for the next ones
# Of the graph's outputs, those that a quote tells, in its order.
ANSWERS = (
    "price", "multiplier", "purchase_probability", "expected_profit", "price_sensitivity",
    "guardrail", "fallback", "propensity",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feed:
    """What a graph is fed with for some requests, to be filled again: to make it anew costs more than to fill it.

    numbers: (N, numbers). words: (words, N, 1). named: the same memory as the session takes it.
    """

    numbers: NDArray[np.float64]
    words: NDArray[np.object_]
    named: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, policy: Policy, rows: int) -> Self:
        """Return an empty feed of a policy for so many requests."""
        numbers, words = np.empty((rows, len(policy.numbers))), np.empty((len(policy.words), rows, 1), dtype=object)
        return cls(numbers, words, {NUMBERS: numbers, **dict(zip(policy.words, words, strict=True))})

    def fill(self, rows: Sequence[Sequence[Any]]) -> None:
        """Put in what `Policy.row` gave of each request."""
        split = self.numbers.shape[1]
        for at, row in enumerate(rows):
            self.numbers[at], self.words[:, at, 0] = row[:split], row[split:]
        self.repeat(len(rows))

    def repeat(self, rows: int) -> None:
        """Put the last of so many requests into all places after it."""
        if rows < len(self.numbers):
            self.numbers[rows:], self.words[:, rows:] = self.numbers[rows - 1], self.words[:, rows - 1 : rows]


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
    def fields(self) -> Fields:
        """What a request may hold."""
        return Fields(self.numbers, self.words, self.required, self.manifest.listed)

    @cached_property
    def _feeds(self) -> dict[int, list[Feed]]:
        """Feeds that no thread uses now, by how many requests they hold."""
        return {}

    @cached_property
    def run(self) -> Callable[..., list[NDArray[Any]]]:
        """The call of the session itself.

        `InferenceSession.run` looks through all names and types of the inputs first, which takes as long as a seventh
        of the graph; here they were compared with the manifest's once, when the policy was loaded.
        """
        run: Callable[..., list[NDArray[Any]]] = self.session._sess.run
        return run

    @cached_property
    def steady(self) -> bool:
        """Whether requests may be priced together (`is_steady`); ask it once before the policy prices."""
        return is_steady(self)

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
        """Return what the graph is fed with for one request (`Fields.row`)."""
        return self.fields.row(request)

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Return what the graph is fed with for a page (`Fields.columns`)."""
        return self.fields.columns(rows)

    def answer(self, row: Sequence[Any], outputs: Sequence[str]) -> tuple[Any, ...]:
        """Return the graph's outputs for one request, of `QUOTE` alone; `row` as `row` gives it."""
        return self.group((row,), outputs)[0]

    def group(self, rows: Sequence[Sequence[Any]], outputs: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the graph's outputs for each of a few requests, of `QUOTE` alone; `rows` as `row` gives them."""
        size, count = _even(len(rows)), len(rows)
        kept = self._feeds.setdefault(size, [])
        try:
            feed = kept.pop()
        except IndexError:  # all are in use, by other threads
            feed = Feed.of(self, size)
        feed.fill(rows)
        found = self.run(outputs, feed.named, None)
        if size <= _KEPT:
            kept.append(feed)  # what was found has memory of its own
        if count == 1:
            return [tuple([answer.item(0) for answer in found])]
        return [*zip(*[answer[:count, 0].tolist() for answer in found], strict=True)]

    def answers(self, columns: Sequence[Sequence[Any]], outputs: Sequence[str] = ANSWERS) -> list[list[Any]]:
        """Return the graph's outputs, a list with an entry for each request each; `columns` as `columns` gives them."""
        split, rows = len(self.numbers), len(columns[0])
        feed = Feed.of(self, _even(rows))
        for at, column in enumerate(columns[:split]):
            feed.numbers[:rows, at] = column
        for at, column in enumerate(columns[split:]):
            feed.words[at, :rows, 0] = column
        feed.repeat(rows)
        return [
            (answer[:rows, 0] if name in QUOTE else answer[:rows]).tolist()
            for name, answer in zip(outputs, self.run(outputs, feed.named, None), strict=True)
        ]

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


def _even(rows: int) -> int:
    """Return how many rows a graph is run with for so many requests: the next even number.

    ONNX Runtime takes the `exp` of doubles in pairs, and of one that is left over by another formula, whose last digits
    differ. Of an even number of rows nothing is left over, however many rungs there are: so a request gets the same
    answer alone, beside others and on a page. `Policy.steady` looks whether that is so.
    """
    return rows + rows % 2


def _required(manifest: Manifest) -> frozenset[str]:
    """Return the inputs that a request must bring: the list price among them, wherever there are list prices."""
    declared = {f.name for f in manifest.inputs if f.required}
    return frozenset(declared | {"list_price"} if manifest.listed else declared - {"list_price"})


def _known(value: float) -> float | None:
    """Return a number that JSON has a word for, or None."""
    return value if math.isfinite(value) else None
