"""The ensemble: a weighted mean of several candidates' demand curves (stacking).

The weights are those under which the mean curve makes the select window's outcomes most likely, every rung counting
alike; non-negative, of sum 1. After Wolpert, "Stacked generalization" (1992), and Breiman, "Stacked regressions"
(1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import Candidate, graph_of, load_demand
from pipelines.demand import Demand, Encode
from pipelines.encoder import Encoder
from pipelines.files import write_json
from pipelines.pricing import Array

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

_STEPS = 500  # of expectation maximisation, at most
_SETTLED = 1e-6  # change of a weight at which it stops
_LEAST = 0.02  # of a weight: a member below it costs time and gives nothing


@dataclass(frozen=True)
class Ensemble:
    """Candidates and their weights, by name."""

    names: tuple[str, ...]
    members: tuple[Demand, ...]
    shares: tuple[float, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """Each curve's weight in the mean."""
        return tuple(s * w for m, s in zip(self.members, self.shares, strict=True) for w in m.weights)

    @property
    def encoder(self) -> Encoder:
        """How the first member reads the raw columns."""
        return self.members[0].encoder

    def probabilities(self, table: pd.DataFrame) -> list[NDArray[np.float64]]:
        """Return the curves of all members, (N, K) each."""
        return [q for member in self.members for q in member.probabilities(table)]

    def graph(self, inputs: dict[str, Var], encode: Encode) -> list[Array]:
        """Return the same as ndonnx arrays; candidates are evaluated side by side."""
        candidates = [m for m in self.members if isinstance(m, Candidate)]
        if len(candidates) == len(self.members):
            return graph_of(candidates, encode)
        return [q for member in self.members for q in member.graph(inputs, encode)]

    def save(self, folder: Path) -> None:
        """Write demand.json (names and weights) and one folder per member."""
        folder.mkdir(parents=True, exist_ok=True)
        told = {"kind": "ensemble", "weights": dict(zip(self.names, self.shares, strict=True))}
        write_json(folder / "demand.json", told)
        for name, member in zip(self.names, self.members, strict=True):
            member.save(folder / name)

    @classmethod
    def load(cls, folder: Path, told: dict[str, Any]) -> Ensemble:
        """Return the ensemble that `save` wrote; told: the content of demand.json."""
        names = tuple(told["weights"])
        return cls(names, tuple(load_demand(folder / n) for n in names), tuple(told["weights"].values()))


def stacked(
    curves: dict[str, NDArray[np.float64]], bought: NDArray[np.int64], weight: NDArray[np.float64]
) -> dict[str, float]:
    """Return the weight of each curve, by expectation maximisation from equal weights; negligible ones are left out.

    curves: by name, the purchase probability of every offer at the price shown, (N,), out of sample. weight: (N,) of
    each offer in the likelihood.
    """
    likelihood = np.stack([np.where(bought == 1, q, 1 - q) for q in curves.values()], axis=1).clip(1e-12)
    share = np.full(len(curves), 1 / len(curves))
    for _ in range(_STEPS):
        before, mine = share, share * likelihood
        share = np.average(mine / mine.sum(axis=1, keepdims=True), axis=0, weights=weight)
        if np.abs(share - before).max() < _SETTLED:
            break
    share = np.where(share >= min(_LEAST, share.max()), share, 0.0)
    share = share / share.sum()
    return {name: float(s) for name, s in zip(curves, share, strict=True) if s > 0}
