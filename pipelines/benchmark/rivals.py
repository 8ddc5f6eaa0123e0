"""Simpler ways to price, to compare the method with: each learns from offers and then names a rung per context."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.benchmark.offers import Floats, Ints, Offers

Policy = Callable[[Offers], Ints]  # fresh offers -> the rung for each, (N,); reads contexts, prices and costs alone


@dataclass(frozen=True)
class Absent:
    """A rival that cannot be run here, and why."""

    reason: str


@dataclass(frozen=True)
class Columns:
    """How contexts become numbers: numbers as they are, NaN where missing, and a 0/1 column for each known word."""

    numbers: tuple[str, ...]
    words: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, contexts: pd.DataFrame) -> Columns:
        """Return the columns of the contexts that are learned from."""
        names = [str(n) for n in contexts]
        numeric = [n for n in names if pd.api.types.is_numeric_dtype(contexts[n])]
        rest = [n for n in names if n not in numeric]
        words = [(n, w) for n in rest for w in sorted(contexts[n].dropna().astype(str).unique())]
        return cls(tuple(numeric), tuple(words))

    def matrix(self, contexts: pd.DataFrame) -> Floats:
        """Return the contexts as numbers, (N, columns)."""
        parts = [contexts[n].to_numpy(float) for n in self.numbers]
        parts += [(contexts[n].astype(str) == w).to_numpy(float) for n, w in self.words]
        return np.column_stack(parts) if parts else np.zeros((len(contexts), 0))


def best_single(learn: Offers, seed: int = 0) -> Policy:
    """Return the policy of one rung for all: that of the highest profit, weighted by inverse propensity.

    V_k = sum_i 1[rung_i = k] r_i / p_i over sum_i 1[rung_i = k] / p_i (self-normalised; Hajek 1971), r the profit made.
    Where propensities are not known every offer weighs the same.
    """
    weight = 1 / np.where(np.isfinite(learn.propensity), learn.propensity, 1.0)
    earned = learn.unit_profit[np.arange(len(learn.rung)), learn.rung] * learn.bought
    rungs = len(learn.ladder)
    total = np.bincount(learn.rung, weights=weight, minlength=rungs)
    profit = np.bincount(learn.rung, weights=weight * earned, minlength=rungs)
    value = np.divide(profit, total, out=np.full(rungs, -np.inf), where=total > 0)
    best = int(value.argmax())
    return lambda fresh: np.full(len(fresh.contexts), best, dtype=np.int64)


def imitation(learn: Offers, seed: int = 0) -> Policy:
    """Return the policy that asks what such contexts were asked: a ridge regression of the past price on the context.

    price / list price is regressed on standardised columns and moved to the nearest rung.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = Columns.of(learn.contexts)
    model = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV(alphas=np.logspace(-2, 3, 6))
    )
    model.fit(columns.matrix(learn.contexts), learn.ladder[learn.rung])

    def policy(fresh: Offers) -> Ints:
        asked = model.predict(columns.matrix(fresh.contexts))
        return np.asarray(np.abs(asked[:, None] - fresh.ladder[None, :]).argmin(axis=1))

    return policy


def _by_profit(fresh: Offers, demand: Floats) -> Ints:
    """Return the rung of the highest promised profit for each context, (N,)."""
    return np.asarray((fresh.unit_profit * demand).argmax(axis=1))


_HELD_OUT, _ROUNDS, _PATIENCE, _TRIALS = 0.25, 2_000, 40, 12


def _trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return settings to try, drawn without repetition from a grid."""
    grid = [
        {"max_depth": depth, "eta": eta, "min_child_weight": least, "subsample": share, "lambda": ridge}
        for depth in (2, 3, 4, 6)
        for eta in (0.03, 0.1)
        for least in (1, 10, 40)
        for share in (0.6, 1.0)
        for ridge in (1.0, 10.0)
    ]
    return [grid[i] for i in rng.choice(len(grid), _TRIALS, replace=False)]


def classifier(learn: Offers, seed: int = 0) -> Policy:
    """Return the policy of a tuned XGBoost classifier that takes price / list price as one more feature.

    Settings and rounds are those of the lowest log loss on a quarter of the offers; the model is then learned anew on
    all of them, and the rung is the one of the highest predicted profit.
    """
    import xgboost as xgb

    columns, rng = Columns.of(learn.contexts), np.random.default_rng([seed, 17])
    x = np.column_stack([columns.matrix(learn.contexts), learn.ladder[learn.rung]])
    held = np.zeros(len(x), dtype=bool)
    held[rng.permutation(len(x))[: int(_HELD_OUT * len(x))]] = True
    fit, check = (xgb.DMatrix(x[part], learn.bought[part], nthread=1) for part in (~held, held))
    fixed = {"objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1, "seed": seed, "max_bin": 128}
    found: list[tuple[float, int, dict[str, Any]]] = []
    for settings in _trials(rng):
        tried = xgb.train(
            fixed | settings, fit, _ROUNDS, evals=[(check, "held_out")],
            early_stopping_rounds=_PATIENCE, verbose_eval=False,
        )  # fmt: skip
        found.append((tried.best_score, tried.best_iteration + 1, settings))
    _, rounds, settings = min(found, key=lambda trial: trial[0])
    model = xgb.train(fixed | settings, xgb.DMatrix(x, learn.bought, nthread=1), rounds)

    def policy(fresh: Offers) -> Ints:
        known = columns.matrix(fresh.contexts)
        at = [np.column_stack([known, np.full(len(known), rung)]) for rung in fresh.ladder]
        return _by_profit(fresh, np.column_stack([model.inplace_predict(one) for one in at]))

    return policy


def econml(learn: Offers, seed: int = 0) -> Policy | Absent:
    """Return the policy of EconML's LinearDML on the price, where EconML is installed.

    theta(x) is the effect of price / list price t on buying; the demand is m(x) + theta(x) (t - e(x)), with m and e
    the outcome and the price expected in the context (gradient boosting, as in the first stages), kept in [0, 1].
    """
    if importlib.util.find_spec("econml") is None:
        return Absent("econml is not installed")
    from sklearn.ensemble import HistGradientBoostingRegressor

    columns, t = Columns.of(learn.contexts), learn.ladder[learn.rung]
    x, bought = columns.matrix(learn.contexts), learn.bought.astype(float)
    middle = np.nan_to_num(np.nanmean(x, axis=0))

    def whole(values: Floats) -> Floats:
        return np.where(np.isnan(values), middle, values)

    def boosted() -> Any:
        return HistGradientBoostingRegressor(max_leaf_nodes=8, learning_rate=0.05, random_state=seed)

    effect: Any = importlib.import_module("econml.dml").LinearDML(
        model_y=boosted(), model_t=boosted(), discrete_treatment=False, random_state=seed
    )
    effect.fit(bought, t, X=whole(x))
    level, usual = boosted().fit(x, bought), boosted().fit(x, t)

    def policy(fresh: Offers) -> Ints:
        known = columns.matrix(fresh.contexts)
        theta = np.ravel(effect.const_marginal_effect(whole(known)))[:, None]
        away = fresh.ladder[None, :] - usual.predict(known)[:, None]
        return _by_profit(fresh, np.clip(level.predict(known)[:, None] + theta * away, 0.0, 1.0))

    return policy


RIVALS: dict[str, Callable[[Offers, int], Policy | Absent]] = {
    "best single": best_single,
    "imitation": imitation,
    "classifier": classifier,
    "econml": econml,
}
