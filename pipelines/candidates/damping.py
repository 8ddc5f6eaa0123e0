"""Damping: where evidence is thin, personal demand curves keep closer to the shape that all shoppers share.

With r(k) everybody's demand at rung k and a(x) = sum_k q(x, k) / sum_k r(k) the level of a context, the damped curve is
(a(x) · r(k))^(1 - s) · q(x, k)^s. At s = 0 all have the same relative demand, so (where costs are alike) the best
single price is everybody's; at s = 1 nothing is damped. The level is that of all rungs, not of one: curves know a
single rung, the dearest above all, badly from few offers, and a wrong level would refute the shape that all share.
s is the larger of two answers to "how much of it do the select window's outcomes bear out?", both at prior odds of 1 to
20, since that window has chosen the shape of the curves and their strength as well:

- the slope of the deviation that makes them most likely, shrunk by its own uncertainty: the calibration slope of Copas,
  "Regression, prediction and shrinkage" (JRSS B 1983), with positive-part shrinkage after James & Stein (1961);
- the posterior probability that the undamped curves are right and not the pooled shape (Kass & Raftery, "Bayes
  factors", JASA 1995). With much evidence it is 1: curves that exaggerate a little are still
  the best guide to everybody's rung, and damping all of them would cost more than it saves.

r(k) is what the offers themselves say of everybody (`everybody`), not the mean of the curves: where evidence is thin or
a family's shape is wrong, that mean errs in all of them alike, and no damping of deviations from it would help. Where
prices followed a hidden shock the offers cannot say it, and the mean of the curves, which are mended, is taken.

Both are asked of the offers as they are and of the offers weighted so that every rung counts alike. The weighted
likelihood looks at the rungs that a policy moves to; but where prices followed the context, its weights leave the
evidence of few offers, and it then damps what the log as it is bears out beyond doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import everybody
from pipelines.candidates import load_demand
from pipelines.candidates.controls import scored
from pipelines.demand import Demand, Encode, log_loss, probability
from pipelines.encoder import Encoder
from pipelines.files import write_json
from pipelines.pricing import Array

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

_GRID = np.linspace(0.0, 1.0, 41)
_PRIOR_ODDS = 20.0  # of the pooled shape against the undamped curves, before the select window speaks
_SMALLEST = 1e-9  # of a probability: below it nobody buys


@dataclass(frozen=True)
class Damped:
    """A demand and how much of its personal deviation is believed: share, s in [0, 1]; pooled, (K,) r(k)."""

    demand: Demand
    share: float
    pooled: tuple[float, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """Those of the demand."""
        return self.demand.weights

    @property
    def encoder(self) -> Encoder:
        """That of the demand."""
        return self.demand.encoder

    def probabilities(self, table: pd.DataFrame) -> list[NDArray[np.float64]]:
        """Return the damped curve of each member, (N, K)."""
        return [self._damped(q) for q in self.demand.probabilities(table)]

    def graph(self, inputs: dict[str, Var], encode: Encode) -> list[Array]:
        """Return the same as ndonnx arrays."""
        return [self._damped(q) for q in self.demand.graph(inputs, encode)]

    def _damped(self, q: Array) -> Array:
        return damped(q, self.share, np.array(self.pooled))

    def save(self, folder: Path) -> None:
        """Write demand.json and the demand in a folder of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        told = {"kind": "damped", "share": self.share, "pooled": list(self.pooled)}
        write_json(folder / "demand.json", told)
        self.demand.save(folder / "undamped")

    @classmethod
    def load(cls, folder: Path, told: dict[str, Any]) -> Damped:
        """Return the demand that `save` wrote; told: the content of demand.json."""
        return cls(load_demand(folder / "undamped"), told["share"], tuple(told["pooled"]))


def damp(trial: Demand, demand: Demand, fit: pd.DataFrame, select: pd.DataFrame) -> tuple[Damped, Damped]:
    """Return trial and settled demand, both damped as far as the trial's curves are borne out on the select window.

    fit, select: `rung`, `bought`, `weight`; of select also the context, and `shock` where the candidates have one, so
    that curves are held against outcomes at the shock of each. The ladder is the curves'.
    """
    import pandas as pd

    rung, bought, weight = (select[name].to_numpy() for name in ("rung", "bought", "weight"))
    curves = probability(scored(trial), select)
    share = max(believed(curves, rung, bought, w) for w in (weight, np.ones_like(weight)))
    if "shock" in select and select["shock"].std() > 0:
        shapes = [probability(d, select).mean(axis=0) for d in (trial, demand)]
    else:
        windows = [fit, pd.concat([fit, select], ignore_index=True)]
        shapes = [everybody.told(window, rungs_of(trial)) for window in windows]
    first, second = (Damped(d, share, tuple(shape.tolist())) for d, shape in zip((trial, demand), shapes, strict=True))
    return first, second


def rungs_of(demand: Demand) -> NDArray[np.float64]:
    """Return the multipliers, (K,), at which a candidate's or an ensemble's curves are known."""
    one: Any = demand
    while hasattr(one, "members"):
        one = one.members[0]
    return np.array(one.curve.rungs)


def damped(q: Array, share: float, pooled: NDArray[np.float64]) -> Array:
    """Return the damped curves, (N, K), of curves q (N, K), on the Array API; pooled: (K,), neither rising.

    A level is limited so that a(x) r(0) <= (1 + q(x, 0)) / 2: a multiple of everybody's may not promise a sure sale.
    """
    if share == 1.0:
        return q
    xp = q.__array_namespace__()
    usual, safe = np.maximum(pooled, _SMALLEST), xp.maximum(q, xp.asarray(np.array([[_SMALLEST]])))
    mean = xp.sum(safe, axis=1, keepdims=True) / float(usual.sum())
    level = xp.log(xp.minimum(mean, (1 + safe[:, :1]) / (2 * float(usual.max()))))
    return xp.exp(share * xp.log(safe) + (1 - share) * (level + xp.asarray(np.log(usual)[None, :])))


def believed(
    q: NDArray[np.float64],
    rung: NDArray[np.int64],
    bought: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> float:
    """Return the share s of the personal deviation that the offers bear out, in [0, 1].

    q: (N, K) curves from other offers. rung, bought, weight: (N,) of the select window. With L(s) the log likelihood of
    the damped curves, s* the most likely slope and G = L(s*) - L(0) - ln 20, of which 2 G is about the square of a
    z-score: s = max(s* (1 - 1/(2 G))+, 1 / (1 + 20 exp(L(0) - L(1)))).
    """
    rows, pooled = np.arange(len(q)), q.mean(axis=0)
    size = float(weight.sum() ** 2 / (weight**2).sum())  # unequal weights tell less than their number (Kish)
    losses = [size * log_loss(bought, damped(q, float(s), pooled)[rows, rung], weight) for s in _GRID]
    best = int(np.argmin(losses))
    gain = losses[0] - losses[best] - float(np.log(_PRIOR_ODDS))
    slope = float(_GRID[best] * max(0.0, 1 - 1 / (2 * gain))) if gain > 0 else 0.0
    certain = losses[0] - losses[-1]
    return max(slope, float(1 / (1 + _PRIOR_ODDS * np.exp(-np.clip(certain, -50, 50)))))
