"""A window that policies are compared on: its offers as logged, a reference demand, and the truth where known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import graph, value
from pipelines.errors import InputError
from pipelines.files import read_table
from pipelines.logging_policy import FOLDER, randomised
from pipelines.policy import LADDER, QUOTE, TERMS_OF_SALE, Belief, Terms, decide, in_words
from pipelines.tables import OffersInfo
from pipelines.value import Floats, Logged

OFFERS, TRUTH, REFERENCE = (
    Path("data/offers"),
    Path("data/truth/offers.parquet"),
    Path("models/baselines/reference.parquet"),
)


@dataclass(frozen=True)
class Window:
    """The offers of a window as logged.

    demand: (N, K) of a plain reference model that was fitted on earlier offers, for doubly robust scores.
    truth: (N, K) true purchase probabilities, or None outside a simulation. shock: (N,) of what an instrument left of
    the price, or None.
    """

    offers: pd.DataFrame
    info: OffersInfo
    logged: Logged
    demand: Floats
    truth: Floats | None
    shock: Floats | None = None

    @property
    def observational(self) -> bool:
        """Whether nobody knows how the prices of these very offers came about."""
        return not (self.info.propensity_logged or (self.info.anchored and bool(randomised(self.offers).all())))

    @property
    def sale(self) -> dict[str, Floats]:
        """The terms of sale of every offer, (N, 1) each; without `u`."""
        missing = np.full((len(self.offers), 1), np.nan)
        return {n: self.offers[[n]].to_numpy(float) if n in self.offers else missing for n in TERMS_OF_SALE}


def read_select(info: OffersInfo) -> Window:
    """Return the select window, with the reference demand that `baselines` fitted on the fit window."""
    path, shown = OFFERS / "select.parquet", read_table(FOLDER / "offers.parquet").query("window == 'select'")
    offers, reference = read_table(path), read_table(REFERENCE)
    for name, table in {str(REFERENCE): reference, str(FOLDER / "offers.parquet"): shown}.items():
        if not np.array_equal(table["offer_id"].to_numpy(object), offers["offer_id"].to_numpy(object)):
            raise InputError(f"{name} speaks of other offers than {path}: run `dvc repro`")
    demand = reference[[f"q_{k}" for k in range(len(info.ladder))]].to_numpy(float)
    window = window_of(offers, info, demand, shown["propensity"].to_numpy(float), truth_of(offers, info))
    return replace(window, shock=shown["shock"].to_numpy(float)) if info.instrument else window


def window_of(
    offers: pd.DataFrame, info: OffersInfo, demand: Floats, propensity: Floats, truth: Floats | None = None
) -> Window:
    """Return the window of `offers`; demand: (N, K) of a reference; propensity: (N,) of the rungs shown.

    Where some offers are flagged as priced at random (`info.anchored`), policies are compared on these alone.
    """
    if info.anchored and (kept := randomised(offers)).any():
        offers, demand, propensity = offers[kept].reset_index(drop=True), demand[kept], propensity[kept]
        truth = None if truth is None else truth[kept]
    prices = offers[["list_price"]].to_numpy(float) * np.array([info.ladder])
    cost = offers["unit_cost"].to_numpy(float)
    logged = Logged(
        rung=offers["rung"].to_numpy(np.int64),
        propensity=propensity,
        earned=(offers["price"].to_numpy(float) - cost) * offers["bought"].to_numpy(float),
        shopper=pd.factorize(offers["shopper_id"])[0],
        unit_profit=prices - cost[:, None],
    )
    return Window(offers, info, logged, demand, truth)


def truth_of(offers: pd.DataFrame, info: OffersInfo) -> Floats | None:
    """Return the true purchase probabilities (N, K) of `offers`, or None where there is no truth."""
    if not TRUTH.is_file():
        return None
    columns = [f"q_{k}" for k in range(len(info.ladder))]
    found = read_table(TRUTH).set_index("offer_id").reindex(offers["offer_id"])
    if found.isna().to_numpy().any():
        raise InputError(f"{TRUTH} does not know all offers of {OFFERS}: run `dvc repro`")
    return found[columns].to_numpy(float)


def targets(session: Any, window: Window) -> tuple[Floats, Floats]:
    """Return rung probabilities as a policy graph runs, and its greedy rungs, on the window, (N, K) each."""
    return targets_of(graph.run(session, window.offers, (*LADDER, "price")), window)


def quotes(belief: Belief, window: Window, terms: Terms) -> dict[str, Any]:
    """Return the quotes of the Python policy on the window, as `graph.run` gives them: (N,) and (N, K)."""
    found = in_words(decide(belief, window.sale, terms))
    return {name: values[:, 0] if name in QUOTE else values for name, values in found.items()}


def targets_of(found: dict[str, Any], window: Window) -> tuple[Floats, Floats]:
    """Return rung probabilities as a policy runs, and its greedy rungs, (N, K) each, from its quotes without `u`.

    A price between rungs (an ending moved it) is valued as the rung nearest to it.
    """
    list_price = window.offers[["list_price"]].to_numpy(float)
    quoted = on_ladder(found["price"][:, None] / list_price, window.info.ladder)
    rungs = nearest_rung(found["ladder_price"] / list_price, window.info.ladder)
    running = np.zeros_like(quoted)
    for k in range(rungs.shape[1]):
        np.add.at(running, (np.arange(len(rungs)), rungs[:, k]), found["ladder_propensity"][:, k])
    # A fallback that is no rung of the policy has no propensity there: all its mass is the quoted price's.
    return np.where(running.sum(axis=1, keepdims=True) > 0.5, running, quoted), quoted


def nearest_rung(multipliers: Floats, ladder: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the index of the rung nearest to each multiplier on the log scale, same shape."""
    rungs = np.log(np.array(ladder))
    edges = (rungs[1:] + rungs[:-1]) / 2
    return np.searchsorted(edges, np.log(multipliers)).astype(np.int64)


def on_ladder(multipliers: Floats, ladder: tuple[float, ...]) -> Floats:
    """Return (N, K) with a 1 at the rung nearest to each of the (N, 1) multipliers."""
    return np.asarray(nearest_rung(multipliers, ladder) == np.arange(len(ladder))[None, :], dtype=np.float64)


def true_value(target: Floats, window: Window) -> float | None:
    """Return the true profit per offer of a policy (N, K) on the window, where the truth is known."""
    if window.truth is None:
        return None
    return float(value.direct(target, window.truth, window.logged).mean())


def scores(target: Floats, window: Window) -> Floats:
    """Return the doubly robust scores of a policy (N, K), (N,): profit per offer."""
    return value.doubly_robust(target, window.demand, window.logged)


def worth(target: Floats, window: Window, confidence: float) -> dict[str, Any]:
    """Return what a policy (N, K) would have earned per 1,000 offers, by each estimator and by the truth."""
    floor = value.noise(target, window.demand, window.logged)
    robust = value.interval(scores(target, window), window.logged.shopper, confidence, floor)
    normalised = value.interval(value.self_normalised(target, window.logged), window.logged.shopper, confidence)
    truth = true_value(target, window)
    w = value.weights(target, window.logged)
    weight = value.interval(w, window.logged.shopper, 0.999)
    return {
        "profit_per_1000": 1000 * robust.mean,
        "profit_low": 1000 * robust.low,
        "profit_high": 1000 * robust.high,
        "self_normalised": {
            "profit_per_1000": _known(1000 * normalised.mean),
            "low": _known(1000 * normalised.low),
            "high": _known(1000 * normalised.high),
        },
        "true_profit_per_1000": None if truth is None else 1000 * truth,
        "interval_holds_truth": None if truth is None else bool(robust.low <= truth <= robust.high),
        "effective_sample_size": value.effective_sample_size(target, window.logged),
        # 1 in the mean wherever every rung that the policy uses had a chance to be shown
        "mean_weight": dict(zip(("mean", "low", "high"), (weight.mean, weight.low, weight.high), strict=True)),
        "largest_weight": float(w.max()),
        "observational": window.observational,
    }


def _known(number: float) -> float | None:
    """Return the number, or None where there is none (NaN): none of the policy's rungs was ever shown."""
    return number if np.isfinite(number) else None


def gain_over(target: Floats, other: Floats, window: Window, confidence: float) -> dict[str, Any]:
    """Return the paired difference in profit per 1,000 offers of two policies (N, K), with its interval."""
    difference = scores(target, window) - scores(other, window)
    floor = value.noise(target - other, window.demand, window.logged)
    found = value.interval(difference, window.logged.shopper, confidence, floor)
    mine, theirs = true_value(target, window), true_value(other, window)
    return {
        "per_1000": 1000 * found.mean,
        "low": 1000 * found.low,
        "high": 1000 * found.high,
        "standard_error": 1000 * found.standard_error,
        "true_per_1000": None if mine is None or theirs is None else 1000 * (mine - theirs),
    }
