"""Columns that stand beside the context while a candidate learns, so that price and demand are not confused.

The usual price: what such contexts are usually shown, one more input where the log does not say how prices were chosen.
The shock: what moved the price and perhaps the demand, hidden from the context (a control function, Petrin & Train,
"A control function approach to endogeneity in consumer choice models", JMR 2010). A live price does not follow the
shock, so the curve that prices is the mean over the shocks that there were. The curve that outcomes are held against is
that of each row's own shock: prices that followed a shock say nothing of a demand without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.demand import Demand, Encode
from pipelines.files import read_json, write_json
from pipelines.logging_policy import FOLDER, SHOWN, LoggingPolicy
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from spox import Var

_SHOCKS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of the shock that live curves are averaged over


@dataclass(frozen=True)
class Controls:
    """Which columns are added to an encoded context, before its last column of ones.

    habit: the logging policy behind the usual price, or None. rungs: (K,) multipliers. centre, scale: of the usual log
    multiplier. shocks: those over which live curves are averaged; empty where there is no shock. own: curves are those
    of each row's own shock, as `scored` wants them; never saved.
    """

    habit: LoggingPolicy | None = None
    rungs: tuple[float, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    shocks: tuple[float, ...] = ()
    own: bool = False

    @classmethod
    def of(cls, info: OffersInfo, fit: pd.DataFrame) -> Self:
        """Return what the fit window (`multiplier`, `shock`) asks for, as `overlap` told it.

        The usual price where no propensity is logged, and a shock if there is any.
        """
        logs = np.log(fit["multiplier"].to_numpy(float))
        habit = None if info.propensity_logged else LoggingPolicy.load(FOLDER / SHOWN)
        shock = fit["shock"].to_numpy(float)
        # a randomised price has no shock, and a live price is like it; an instrument leaves shocks to average over
        spread = tuple(float(s) for s in np.quantile(shock, _SHOCKS)) if info.instrument else (0.0,)
        shocks = spread if shock.std() else ()
        return cls(habit, info.ladder, float(logs.mean()), max(float(logs.std()), 1e-9), shocks)

    @property
    def any(self) -> bool:
        """Whether there is anything to add."""
        return self.habit is not None or bool(self.shocks)

    def learning(self, z: NDArray[np.float32], table: pd.DataFrame) -> NDArray[np.float32]:
        """Return z (N, D) with the columns `usual` and `shock` of the table, as learned from."""
        usual = table["usual"].to_numpy(float) if self.habit is not None else None
        return self._beside(z, usual, table["shock"].to_numpy(float) if self.shocks else None)

    def serving(self, z: NDArray[np.float32], table: pd.DataFrame) -> list[NDArray[np.float32]]:
        """Return z (N, D) with the usual price of such contexts, once for each of the shocks to average over.

        With `own`, once: with the column `shock` of the table, if it has one.
        """
        usual = None if self.habit is None else self.habit.probability(table) @ np.log(np.array(self.rungs))
        if not self.shocks:
            return [self._beside(z, usual, None)]
        if self.own and "shock" in table:
            return [self._beside(z, usual, table["shock"].to_numpy(float))]
        return [self._beside(z, usual, np.full(len(z), shock)) for shock in self.shocks]

    def graph(self, z: Var, encode: Encode) -> list[Var]:
        """Return `serving` as ONNX values."""
        if not self.any:
            return [z]
        import ndonnx as ndx

        encoded = ndx.asarray(z)
        added = []
        if self.habit is not None:
            shown = ndx.asarray(self.habit.graph_of(encode(self.habit.encoder)))
            usual = ndx.sum(shown * ndx.asarray(np.log(np.array([self.rungs]))), axis=1, keepdims=True)
            added.append(ndx.astype((usual - self.centre) / self.scale, ndx.float32))
        last = encoded[:, -1:]
        shocks = [[ndx.astype(last * shock, ndx.float32)] for shock in self.shocks] or [[]]
        return [ndx.concat([encoded[:, :-1], *added, *shock, last], axis=1).unwrap_spox() for shock in shocks]

    def _beside(
        self, z: NDArray[np.float32], usual: NDArray[np.float64] | None, shock: NDArray[np.float64] | None
    ) -> NDArray[np.float32]:
        if not self.any:
            return z
        added = [] if usual is None else [(usual - self.centre) / self.scale]
        added += [] if shock is None else [shock]
        return np.column_stack([z[:, :-1], *added, z[:, -1:]]).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write controls.json, and habit.json if there is one, into an existing folder."""
        told = {"rungs": list(self.rungs), "centre": self.centre, "scale": self.scale, "shocks": list(self.shocks)}
        write_json(folder / "controls.json", told)
        if self.habit is not None:
            self.habit.save(folder / "habit.json")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the controls that `save` wrote."""
        told, path = read_json(folder / "controls.json"), folder / "habit.json"
        habit = LoggingPolicy.load(path) if path.is_file() else None
        return cls(habit, tuple(told["rungs"]), told["centre"], told["scale"], tuple(told["shocks"]))


def scored(demand: Demand) -> Demand:
    """Return the demand as logged outcomes are held against it: the curve of each row at its own `shock`.

    Of a candidate, an ensemble or a damped demand; without a shock it is the same.
    """
    one: Any = demand
    if hasattr(one, "controls"):
        return replace(one, controls=replace(one.controls, own=True))  # type: ignore[no-any-return]
    if hasattr(one, "members"):
        return replace(one, members=tuple(scored(member) for member in one.members))  # type: ignore[no-any-return]
    return replace(one, demand=scored(one.demand)) if hasattr(one, "demand") else demand
