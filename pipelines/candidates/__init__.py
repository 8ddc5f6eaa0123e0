"""The candidates: each family learns the coefficients of a demand curve in its own way, behind one contract.

A family is a module here with `Settings`, `fit` and `load`; adding one is adding a module (docs/add-a-candidate.md).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates.terms import Terms
from pipelines.demand import Curve, DemandModel, Encode, mean_curve, side_by_side
from pipelines.encoder import Encoder
from pipelines.files import read_json, write_json
from pipelines.pricing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

    from pipelines.candidates.controls import Controls

# Learning curves by name, e.g. "select_log_loss": one value per step, all of one length.
History = dict[str, list[float]]


@dataclass(frozen=True)
class Candidate:
    """A trained member of a family: raw context columns -> the demand curve of every row at the source's rungs."""

    encoder: Encoder
    curve: Curve
    model: DemandModel
    family: str
    controls: Controls
    terms: Terms = Terms()  # noqa: RUF009 - frozen, so one for all does no harm

    weights = (1.0,)

    def probabilities(self, table: pd.DataFrame) -> list[NDArray[np.float64]]:
        """Return the one curve of every row, (N, K); columns are found by name, others are ignored."""
        views = self.controls.serving(self.encoder.encode(table), table)
        with np.errstate(over="ignore"):  # log-odds of -1000 are a probability of 0
            return [self._mean([self.curve.probability(self.model.coefficients(self.terms.beside(z))) for z in views])]

    def graph(self, inputs: dict[str, Var], encode: Encode) -> list[Array]:
        """Return the same as an ndonnx array, (N, K) double."""
        return graph_of([self], encode)

    @staticmethod
    def _mean(curves: list[Array]) -> Array:
        return mean_curve(curves, tuple(1 / len(curves) for _ in curves)) if len(curves) > 1 else curves[0]

    def save(self, folder: Path) -> None:
        """Write demand.json (kind, encoder, curve), the controls and the model's own files."""
        folder.mkdir(parents=True, exist_ok=True)
        told = {"encoder": self.encoder.to_json(), "curve": self.curve.to_json(), "terms": self.terms.to_json()}
        write_json(folder / "demand.json", {"kind": "candidate", "family": self.family, **told})
        self.controls.save(folder)
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path, told: dict[str, Any]) -> Candidate:
        """Return the candidate that `save` wrote; told: the content of demand.json."""
        from pipelines.candidates.controls import Controls

        return cls(
            Encoder.from_json(told["encoder"]),
            Curve.from_json(told["curve"]),
            family_module(told["family"]).load(folder),
            told["family"],
            Controls.load(folder),
            Terms.from_json(told["terms"]),
        )


def graph_of(candidates: Sequence[Candidate], encode: Encode) -> list[Array]:
    """Return the one curve of each candidate as an ndonnx array, (N, K) double.

    Curves of one link are evaluated side by side: as few nodes as a fast quote needs.
    """
    import ndonnx as ndx
    import spox.opset.ai.onnx.v21 as op

    made: dict[tuple[int, Terms], Var] = {}  # candidates that learned from the same offers share their terms
    views = []
    for c in candidates:
        for z in c.controls.graph(encode(c.encoder), encode):
            if (id(z), c.terms) not in made:
                made[id(z), c.terms] = c.terms.graph(z)
            views.append((c, made[id(z), c.terms]))
    found: dict[int, list[Array]] = {id(c): [] for c in candidates}
    for link in dict.fromkeys(c.curve.link for c in candidates):
        alike = [(c, ndx.asarray(c.model.graph(z))) for c, z in views if c.curve.link == link]
        if len(alike) == 1:
            found[id(alike[0][0])].append(alike[0][0].curve.probability(alike[0][1]))
            continue
        curves = side_by_side([c.curve for c, _ in alike], ndx.concat([both for _, both in alike], axis=1))
        each = op.split(curves.unwrap_spox(), num_outputs=len(alike), axis=1)
        for (c, _), q in zip(alike, each, strict=True):
            found[id(c)].append(ndx.asarray(q))
    return [Candidate._mean(found[id(c)]) for c in candidates]


def family_module(family: str) -> Any:
    """Return the module of a family: its `Settings`, `fit` and `load`."""
    return importlib.import_module(f"pipelines.candidates.{family}")


def load_demand(folder: Path) -> Any:
    """Return the demand (candidate, ensemble or damped) that a `save` wrote; InputError if a file is missing."""
    from pipelines.candidates.damping import Damped
    from pipelines.candidates.ensemble import Ensemble

    told = read_json(folder / "demand.json")
    kinds: dict[str, Any] = {"candidate": Candidate, "ensemble": Ensemble, "damped": Damped}
    return kinds[told["kind"]].load(folder, told)
