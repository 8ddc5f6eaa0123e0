"""Raw context columns to numbers: learned on the fit window, kept as data, the same in NumPy and in the graph.

All arithmetic is in double precision and rounded to float32 once, at the end, so that NumPy and ONNX Runtime give the
same bits and no tree split flips between training and serving.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spox import Var

_SKEWED = 1.5  # skewness from which a non-negative column is taken by its logarithm
_RARE = 0.002  # share of rows below which a word counts as unseen
_WORDS = 40  # words kept per column
_CONSTANT = 1e-12  # a smaller spread, relative to the values, is rounding: the column never moved


@dataclass(frozen=True)
class Number:
    """How one numeric column is read: filled, cut to the range seen, perhaps logged, standardised."""

    name: str
    fill: float
    low: float
    high: float
    log: bool
    mean: float
    scale: float
    missing: bool  # a column of its own says whether the value was missing

    @classmethod
    def fit(cls, name: str, values: NDArray[np.float64]) -> Self:
        """Learn from one column, (N,) with NaN where missing."""
        known = values[np.isfinite(values)]
        if not len(known):
            known = np.zeros(1)
        low, high = np.quantile(known, [0.0005, 0.9995])
        cut = np.clip(known, low, high)
        spread = cut.std()
        skewness = ((cut - cut.mean()) ** 3).mean() / spread**3 if spread > 0 else 0.0
        log = bool(low >= 0 and skewness > _SKEWED)
        seen = np.log1p(cut) if log else cut
        return cls(
            name=name,
            fill=float(np.median(known)),
            low=float(low),
            high=float(high),
            log=log,
            mean=float(seen.mean()),
            scale=float(seen.std()) if spread > _CONSTANT * max(abs(high), 1.0) else 1.0,
            missing=bool(np.mean(~np.isfinite(values)) > _RARE),
        )


@dataclass(frozen=True)
class Word:
    """How one categorical column is read: one indicator per frequent word, none for all others."""

    name: str
    words: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, values: pd.Series[str]) -> Self:
        """Learn from one column of text; an empty text is missing."""
        shares = values[values != ""].value_counts(normalize=False) / max(len(values), 1)
        kept = shares[shares >= _RARE].sort_index().sort_values(ascending=False, kind="stable")
        return cls(name, tuple(str(word) for word in kept.index[:_WORDS]))


@dataclass(frozen=True)
class Encoder:
    """The learned reading of a context: raw columns -> (N, D) float32."""

    numbers: tuple[Number, ...]
    words: tuple[Word, ...]

    @classmethod
    def fit(cls, table: pd.DataFrame, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> Self:
        """Learn from the fit window alone."""
        return cls(
            tuple(Number.fit(name, table[name].to_numpy(float)) for name in numeric),
            tuple(Word.fit(name, table[name]) for name in categorical),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The D encoded columns, in order."""
        missing = [f"{n.name} is missing" for n in self.numbers if n.missing]
        words = [f"{w.name}={word}" for w in self.words for word in w.words]
        return (*(n.name for n in self.numbers), *missing, *words, "1")

    def encode(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Return the (N, D) encoded context of a table that has all raw columns."""
        parts: list[NDArray[Any]] = []
        if self.numbers:
            raw = np.column_stack([table[n.name].to_numpy(float) for n in self.numbers])
            parts.append(self._numbers(raw, np))
            parts.append(np.isnan(raw)[:, [n.missing for n in self.numbers]])
        for word in self.words:
            values = table[word.name].to_numpy(object)
            parts.append(values[:, None] == np.array(word.words, dtype=object)[None, :])
        parts.append(np.ones((len(table), 1)))
        return np.concatenate([p.astype(np.float32) for p in parts], axis=1)

    def _numbers(self, raw: Any, xp: Any) -> Any:
        """Return the standardised numbers, (N, C) double; Array API, so NumPy and the graph share it."""

        def row(key: str) -> Any:
            return xp.asarray(np.array([[getattr(n, key) for n in self.numbers]]))

        filled = xp.where(xp.isnan(raw), row("fill"), raw)
        cut = xp.minimum(xp.maximum(filled, row("low")), row("high"))
        if any(n.log for n in self.numbers):
            # log(1 + x) is spelled out because ONNX has no log1p; that of unlogged columns, NaN for x < -1, is not used
            with np.errstate(divide="ignore", invalid="ignore"):
                cut = xp.where(row("log"), xp.log(1 + cut), cut)
        return (cut - row("mean")) / row("scale")

    def graph(self, inputs: dict[str, Var]) -> Var:
        """Return the ONNX value of `encode`: inputs are (N, 1) doubles and strings by column name."""
        import ndonnx as ndx
        import spox.opset.ai.onnx.v21 as op

        parts: list[Any] = []
        if self.numbers:
            raw = ndx.asarray(op.concat([inputs[n.name] for n in self.numbers], axis=1))
            parts.append(self._numbers(raw, ndx))
            kept = np.flatnonzero([n.missing for n in self.numbers])
            if len(kept):
                parts.append(ndx.take(ndx.isnan(raw), ndx.asarray(kept), axis=1))
        known = [w for w in self.words if w.words]
        if known:
            parts.append(ndx.asarray(_indicators(known, inputs)))
        if not parts:
            parts.append(ndx.asarray(next(iter(inputs.values())))[:, :0])
        encoded = op.concat([ndx.astype(p, ndx.float32).unwrap_spox() for p in parts], axis=1)
        return op.pad(encoded, op.const(np.array([0, 0, 0, 1])), op.const(np.float32(1.0)))  # the column of ones

    def columns_in(self, other: Encoder) -> NDArray[np.int64] | None:
        """Return where in the other's encoded context each encoded column of this one stands, (D,); None if not all do.

        Numbers must be read alike; of words the column and the word must be the same.
        """
        at = {column: i for i, column in enumerate(other._columns)}
        found = [at[column] for column in self._columns if column in at]
        return np.array(found) if len(found) == len(self._columns) else None

    @property
    def _columns(self) -> tuple[tuple[Number | str, str], ...]:
        numbers = [(n, "value") for n in self.numbers]
        missing = [(n, "missing") for n in self.numbers if n.missing]
        return (*numbers, *missing, *((w.name, word) for w in self.words for word in w.words), ("", "1"))

    def to_json(self) -> dict[str, Any]:
        """Return the learned state as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the encoder of `to_json`."""
        return cls(
            tuple(Number(**n) for n in values["numbers"]),
            tuple(Word(w["name"], tuple(w["words"])) for w in values["words"]),
        )


def _indicators(columns: list[Word], inputs: dict[str, Var]) -> Var:
    """Return (N, W) bool: which of all columns' words each (N, 1) string is, in the order of the columns.

    Every word has one number, whichever columns know it: one look-up and one comparison serve all columns, since few
    nodes make a fast quote.
    """
    import spox.opset.ai.onnx.ml.v4 as ml
    import spox.opset.ai.onnx.v21 as op

    words = [word for c in columns for word in c.words]
    number = {word: i for i, word in enumerate(dict.fromkeys(words))}
    found = ml.label_encoder(
        op.concat([inputs[c.name] for c in columns], axis=1),
        keys_strings=list(number),
        values_int64s=list(number.values()),
        default_int64=-1,
    )
    owner = np.repeat(np.arange(len(columns)), [len(c.words) for c in columns])
    return op.equal(op.gather(found, op.const(owner), axis=1), op.const(np.array([[number[word] for word in words]])))
