"""The scorecard of a policy on a window: how well its demand fits, what its prices would have earned."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from pipelines import policy
from pipelines.candidates.controls import scored
from pipelines.demand import Demand, log_loss, probability
from pipelines.manifest import Manifest
from pipelines.policy import KNOTS, LADDER, QUOTE
from pipelines.value import Floats, direct, kish, share_of_gain
from pipelines.window import Window, gain_over, targets_of, true_value, worth

NEEDED = (*QUOTE, *LADDER, *KNOTS)

_BINS = 20
_PURCHASES = 250  # in a bin at least: a rate is then known to about 6 %, well within what the gate allows
_ROUNDS, _QUOTES_TIMED = 5, 500


def shown_probability(demand: Floats, window: Window) -> Floats:
    """Return the purchase probability at the rung shown, (N,), of curves (N, K)."""
    return window.logged.shown(demand)


def calibration(bought: Any, q: Floats, most: int = _BINS) -> pd.DataFrame:
    """Return predicted, observed and rows of up to `most` bins of equal size, by predicted probability."""
    order = np.argsort(q, kind="stable")
    bins = [b for b in np.array_split(order, most) if len(b)]
    rows = [(q[b].mean(), bought[b].mean(), len(b)) for b in bins]
    return pd.DataFrame(rows, columns=["predicted", "observed", "rows"])


def fit_metrics(bought: Any, q: Floats) -> dict[str, float | None]:
    """Return log loss, AUC (None where only one outcome occurs) and the expected calibration error over the bins.

    Few purchases make few bins: bins of a handful of purchases differ from any prediction by chance.
    """
    from sklearn.metrics import roc_auc_score

    table = calibration(bought, q, int(np.clip(bought.sum() // _PURCHASES, 1, _BINS)))
    error = np.average(np.abs(table["predicted"] - table["observed"]), weights=table["rows"])
    both = 0 < bought.sum() < len(bought)
    return {
        "log_loss": log_loss(bought, q),
        "auc": float(roc_auc_score(bought, q)) if both else None,
        "calibration_error": float(error),
    }


def balanced_log_loss(bought: Any, q: Floats, propensity: Floats) -> float:
    """Return the log loss in which every rung counts alike: weighted by the inverse propensity, all (N,)."""
    return log_loss(bought, q, 1 / propensity)


def scored_loss(demand: Demand, window: Window) -> float:
    """Return the `balanced_log_loss` of a demand on the window, at each offer's own shock."""
    table = window.offers if window.shock is None else window.offers.assign(shock=window.shock)
    q = shown_probability(probability(scored(demand), table), window)
    return balanced_log_loss(window.offers["bought"].to_numpy(np.int64), q, window.logged.propensity)


def picking_loss(loss: float, weights: int, window: Window) -> float:
    """Return the balanced log loss by which a contender is picked: what was chosen on this very window is charged.

    A nat for each of so many free weights (Akaike 1974), spread over as many offers as the unequal weights of the
    likelihood leave (Kish). An ensemble has one for each candidate but the first, whether or not it came to nothing.
    """
    return loss + weights / kish(1 / window.logged.propensity)


def quote_microseconds(session: Any, offers: pd.DataFrame) -> float:
    """Return the median time of one quote on one thread, in microseconds: that of the quietest of five rounds.

    Other work on the machine slows whole rounds; the quietest says most about the graph.
    """
    kinds = {i.name: i.type == "tensor(string)" for i in session.get_inputs()}
    rows = offers.head(50)
    feeds = [
        {
            n: np.array(
                [[rows[n].iloc[i] if n in rows else ("" if word else np.nan)]],
                dtype=object if word else float,
            )
            for n, word in kinds.items()
        }
        for i in range(len(rows))
    ]
    outputs = list(QUOTE)
    rounds = np.empty((_ROUNDS, _QUOTES_TIMED))
    for i in range(rounds.size):
        start = time.perf_counter()
        session.run(outputs, feeds[i % len(feeds)])
        rounds.flat[i] = time.perf_counter() - start
    return float(np.median(rounds, axis=1).min() * 1e6)


def elasticities(demand: Floats, manifest: Manifest) -> Floats:
    """Return the elasticity of every context at the fallback price (the list price where it is a rung), (N,)."""
    terms = manifest.terms
    found: Floats = policy.elasticities(demand, terms.knots)[:, terms.knots_of((terms.fallback,))[0]]
    return found


def sensitivity(demand: Floats, manifest: Manifest) -> dict[str, float]:
    """Return quantiles of `elasticities`."""
    found = elasticities(demand, manifest)
    return {f"p{int(100 * p)}": float(np.quantile(found, p)) for p in (0.1, 0.25, 0.5, 0.75, 0.9)}


def profit_metrics(
    running: Floats,
    quoted: Floats,
    window: Window,
    listed: Floats,
    bounds: dict[str, float] | None,
    confidence: float,
) -> dict[str, Any]:
    """Return what a policy would have earned, and its share of the possible gain where the truth is known.

    running: the policy as it runs, with its exploration; quoted: its greedy rungs; listed: the list-price policy;
    (N, K) each. bounds: true profit of the perfect and the best single policy, per 1,000 offers.
    """
    card = worth(running, window, confidence)
    card["gain_over_list_price"] = gain_over(running, listed, window, confidence)
    if bounds is not None:
        for name, target in (("share_of_gain", quoted), ("share_of_gain_as_run", running)):
            mine = 1000 * (true_value(target, window) or 0.0)
            card[name] = share_of_gain(mine, bounds["best_single_per_1000"], bounds["perfect_per_1000"])
    return card


def quote_metrics(quotes: dict[str, Any], usual: float = 1.0) -> dict[str, Any]:
    """Return how greedy quotes move against the `usual` multiplier, and how often each guardrail binds."""
    bound = pd.Series(quotes["guardrail"]).value_counts(normalize=True)
    change = quotes["multiplier"] / usual - 1
    return {
        "mean_price_change": float(change.mean()),
        "share_cheaper": float((change < -1e-9).mean()),
        "share_dearer": float((change > 1e-9).mean()),
        "fallback_share": float((quotes["fallback"] != "").mean()),
        "guardrails": {str(k): float(v) for k, v in bound.sort_index().items()},
    }


def measured(
    manifest: Manifest,
    found: dict[str, Any],
    window: Window,
    listed: Floats,
    bounds: dict[str, float] | None,
    confidence: float,
) -> dict[str, Any]:
    """Return the scorecard of a policy on the window, from what it quotes there; listed and bounds as above.

    found: `NEEDED`, by the policy graph or by Python. `claimed_per_1000` is what the policy's own model promises;
    `optimism` how much more that is than the doubly robust value.
    """
    demand, bought = found["demand"], window.offers["bought"].to_numpy(np.int64)
    q = shown_probability(demand, window)
    running, quoted = targets_of(found, window)
    profit = profit_metrics(running, quoted, window, listed, bounds, confidence)
    claimed = 1000 * float(direct(running, demand, window.logged).mean())
    return {
        "name": manifest.name,
        "family": manifest.family,
        "data_sha256": manifest.data_sha256,
        "graph_sha256": manifest.graph_sha256,
        "offers": len(window.offers),
        "agreement": {k: manifest.check[k] for k in ("passed", "same_price", "same_probability")},
        **fit_metrics(bought, q),
        "balanced_log_loss": balanced_log_loss(bought, q, window.logged.propensity),
        "price_sensitivity": sensitivity(demand, manifest),
        **profit,
        "claimed_per_1000": claimed,
        "optimism": claimed - profit["profit_per_1000"],
        **quote_metrics(found, manifest.terms.fallback),
    }
