"""The candidates: each family learns the coefficients of a demand curve in its own way, behind one contract.

A family is a module here with `Settings`, `fit` and `load`; adding one is adding a module (docs/add-a-candidate.md).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.demand import Curve, DemandModel, Learning
from pipelines.encoder import Encoder
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

# Learning curves by name, e.g. "valid_log_loss": one value per step, all of one length.
History = dict[str, list[float]]


@dataclass(frozen=True)
class Candidate:
    """A trained candidate as a whole: raw context columns -> the demand curve of every row."""

    encoder: Encoder
    curve: Curve
    model: DemandModel

    def coefficients(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta of every row; columns are found by name, others are ignored."""
        return self.model.coefficients(self.encoder.encode(table))

    def probability(self, table: pd.DataFrame, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the purchase probability, (N, K), at multipliers (N, K) or (1, K)."""
        q: NDArray[np.float64] = self.curve.probability(self.coefficients(table), multipliers)
        return q

    def save(self, folder: Path) -> None:
        """Write encoder.json, curve.json and the model's own file into `folder`, which is made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "encoder.json", self.encoder.to_json())
        write_json(folder / "curve.json", self.curve.to_json())
        self.model.save(folder)


def family_module(family: str) -> Any:
    """Return the module of a family: its `Settings`, `fit` and `load`."""
    return importlib.import_module(f"pipelines.candidates.{family}")


def learn(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    settings: Any,
    seed: int,
) -> tuple[Candidate, History]:
    """Return the candidate and its learning curves; encoder and price axis know the training window alone.

    columns: the (numeric, categorical) names of the context; none of either gives one curve for all.
    """
    encoder = Encoder.fit(train, *columns)
    curve = Curve.fit(settings.curve, train["multiplier"].to_numpy(float))
    windows = [
        Learning(encoder.encode(w), curve.t(w["multiplier"].to_numpy(float)), w["bought"].to_numpy(np.int64))
        for w in (train, valid)
    ]
    model, history = family_module(settings.family).fit(*windows, settings, seed)
    return Candidate(encoder, curve, model), history


def load_candidate(folder: Path, family: str) -> Candidate:
    """Return the candidate that `Candidate.save` wrote; InputError if a file is missing."""
    return Candidate(
        Encoder.from_json(read_json(folder / "encoder.json")),
        Curve(**read_json(folder / "curve.json")),
        family_module(family).load(folder),
    )
