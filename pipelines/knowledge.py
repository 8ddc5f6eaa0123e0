"""What a policy knows: demand as a person's context tells it, demand without anything personal, and what was shown.

One graph holds both demands; the input `personal` switches. With 0 (a shopper who opted out) no personal column has any
effect: the impersonal model was fitted without them, not fed with blanks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import load_demand
from pipelines.demand import Demand
from pipelines.encoder import Encoder
from pipelines.logging_policy import FOLDER, IMPERSONAL, SHOWN, LoggingPolicy
from pipelines.policy import Belief
from pipelines.pricing import Array, Guardrails
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd
    from spox import Var


@dataclass(frozen=True)
class View:
    """One way of looking at a context: its demand, and which rungs such contexts were shown (None: not asked)."""

    demand: Demand
    shown: LoggingPolicy | None = None

    def belief(self, table: pd.DataFrame) -> Belief:
        """Return what is believed of the rows of a table."""
        shown = None if self.shown is None else self.shown.probability(table)
        return Belief(list(self.demand.probabilities(table)), self.demand.weights, shown)


@dataclass(frozen=True)
class Knowledge:
    """The personal view and, where any column is personal, the impersonal one."""

    personal: View
    impersonal: View | None = None

    @property
    def encoder(self) -> Encoder:
        """How raw columns are read."""
        return self.personal.demand.encoder

    def belief(self, table: pd.DataFrame) -> Belief:
        """Return what is believed of the rows of a table; those whose column `personal` is 0 are seen impersonally."""
        seen = self.personal.belief(table)
        if self.impersonal is None or "personal" not in table or not (table["personal"] == 0).any():
            return seen
        return _switched(seen, self.impersonal.belief(table), (table["personal"] == 0).to_numpy()[:, None])

    def graph(self, inputs: dict[str, Var]) -> Belief:
        """Return the same in ndonnx arrays; inputs: (N, 1) doubles and strings by name, `personal` among them."""
        import ndonnx as ndx
        import spox.opset.ai.onnx.v21 as op

        encoded: dict[Encoder, Var] = {}

        def encode(encoder: Encoder) -> Var:
            if encoder not in encoded:
                found = ((z, encoder.columns_in(other)) for other, z in encoded.items())
                among = next(((z, columns) for z, columns in found if columns is not None), None)
                encoded[encoder] = (
                    encoder.graph(inputs) if among is None else op.gather(among[0], op.const(among[1]), axis=1)
                )
            return encoded[encoder]

        def view(one: View) -> Belief:
            shown = None if one.shown is None else ndx.asarray(one.shown.graph_of(encode(one.shown.encoder)))
            return Belief(one.demand.graph(inputs, encode), one.demand.weights, shown)

        seen = view(self.personal)
        if self.impersonal is None:
            return seen
        return _switched(seen, view(self.impersonal), ndx.asarray(inputs["personal"]) == 0)


def known(demand: Path, info: OffersInfo, guardrails: Guardrails, impersonal: Path) -> Knowledge:
    """Return what a policy with the demand of a folder knows; `impersonal` holds the one without personal columns.

    Which rungs such contexts were shown is asked only where a guardrail needs it.
    """

    def view(folder: Path, shown: str) -> View:
        logging = None if guardrails.support is None else LoggingPolicy.load(FOLDER / shown)
        return View(load_demand(folder), logging)

    return Knowledge(view(demand, SHOWN), view(impersonal, IMPERSONAL) if info.personal else None)


def _switched(personal: Belief, impersonal: Belief, off: Any) -> Belief:
    """Return the impersonal belief where `off`, (N, 1); its mean curve stands for every member's."""

    def pick(one: Array, other: Array) -> Array:
        return (np if isinstance(one, np.ndarray) else one.__array_namespace__()).where(off, other, one)

    mean = impersonal.demand
    curves = [pick(q, mean) for q in personal.curves]
    both = personal.shown is not None and impersonal.shown is not None
    shown = pick(personal.shown, impersonal.shown) if both else None
    return Belief(curves, personal.weights, shown, pick(personal.demand, mean))
