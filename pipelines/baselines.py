"""baselines: the policies that a candidate must beat, and the reference that all policies are valued with.

List price, best single multiplier (chosen on the valid window), the logged policy, and imitation (the textbook
regression of past prices on behaviour), under the same guardrails. The list-price policy is packed like a candidate,
so that a champion always serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import graph, scorecard, value
from pipelines.candidates import Candidate, learn, linear
from pipelines.config import Config, stage
from pipelines.encoder import Encoder
from pipelines.files import read_table, write_json, write_table
from pipelines.manifest import GRAPH, Manifest
from pipelines.packing import pack, terms_of
from pipelines.policy import Terms
from pipelines.simple_policies import as_logged, best_single, bounds, greedy, single
from pipelines.tables import OffersInfo
from pipelines.value import Floats, share_of_gain
from pipelines.window import OFFERS, REFERENCE, Window, read_window, scores, targets, true_value, window_of

LIST_PRICE = Path("models/baselines/list_price")
_LOGGING_ROWS = 60_000  # rows that the propensity model is fitted on: it has few parameters
_LEAST_PROPENSITY = 0.01  # of an estimated propensity: smaller ones are noise that weighs like evidence


def demand_model(
    columns: tuple[tuple[str, ...], tuple[str, ...]], train: pd.DataFrame, valid: pd.DataFrame, seed: int
) -> Candidate:
    """Return the linear candidate on the given (numeric, categorical) columns; none of either: one curve for all."""
    return learn(train, valid, columns, linear.Settings(l2=(16.0,)), seed)[0]


def logging_policy(encoder: Encoder, train: pd.DataFrame, offers: pd.DataFrame, rungs: int, seed: int) -> Floats:
    """Return the estimated probability of each rung, (N, K), where the log does not say: a multinomial logit."""
    from sklearn.linear_model import LogisticRegression

    part = train.sample(min(len(train), _LOGGING_ROWS), random_state=seed)
    found = np.zeros((len(offers), rungs))
    shown = np.unique(part["rung"])
    if len(shown) == 1:
        found[:, shown] = 1.0
    else:
        model = LogisticRegression(C=0.1, max_iter=200).fit(encoder.encode(part), part["rung"])
        found[:, model.classes_] = model.predict_proba(encoder.encode(offers))
    return np.maximum(found, _LEAST_PROPENSITY)


def reference_of(
    model: Candidate, train: pd.DataFrame, offers: pd.DataFrame, info: OffersInfo, seed: int
) -> pd.DataFrame:
    """Return offer_id, q_0 … q_{K-1} of the reference demand, and the propensity of the rung shown, for `offers`."""
    demand = model.probability(offers, np.array([info.ladder]))
    table = pd.DataFrame(demand, columns=[f"q_{k}" for k in range(len(info.ladder))])
    table.insert(0, "offer_id", offers["offer_id"].to_numpy())
    if info.propensity_logged:
        return table.assign(propensity=offers["propensity"].to_numpy(float))
    guessed = logging_policy(model.encoder, train, offers, len(info.ladder), seed)
    return table.assign(propensity=guessed[np.arange(len(offers)), offers["rung"].to_numpy(int)])


def imitation(encoder: Encoder, train: pd.DataFrame, window: Window, terms: Terms) -> Floats:
    """Return the policy that quotes the rung nearest to the price that past behaviour predicts, (N, K)."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=10.0).fit(encoder.encode(train), np.log(train["multiplier"]))
    expected = model.predict(encoder.encode(window.offers))
    return greedy(-np.abs(np.log(np.array([terms.ladder])) - expected[:, None]), window, terms)


def logged_worth(window: Window, listed: Floats, bounds: dict[str, float] | None, confidence: float) -> dict[str, Any]:
    """Return what the logged prices earned per 1,000 offers: counted, not estimated; listed: the list-price policy."""

    def thousand(scores: Floats) -> tuple[float, float, float]:
        found = value.interval(scores, window.logged.shopper, confidence)
        return 1000 * found.mean, 1000 * found.low, 1000 * found.high

    card: dict[str, Any] = dict(
        zip(("profit_per_1000", "profit_low", "profit_high"), thousand(window.logged.earned), strict=True)
    )
    gain = thousand(window.logged.earned - scores(listed, window))
    card["gain_over_list_price"] = dict(zip(("per_1000", "low", "high"), gain, strict=True))
    truth = true_value(as_logged(window), window)
    if truth is not None and bounds is not None:
        card["true_profit_per_1000"] = 1000 * truth
        card["share_of_gain"] = share_of_gain(1000 * truth, bounds["best_single_per_1000"], bounds["perfect_per_1000"])
    return card


def scorecards(cfg: Config, window: Window, policies: dict[str, Floats], terms: Terms) -> dict[str, Any]:
    """Return the scorecard of every baseline, and the true bounds where they are known; policies are (N, K) each."""
    manifest, session = Manifest.read(LIST_PRICE), graph.session(LIST_PRICE / GRAPH)
    listed, _ = targets(session, window)
    limits, level = bounds(window, terms), cfg.gate.confidence
    cards: dict[str, Any] = {"list_price": scorecard.of_graph(manifest, session, window, listed, limits, level)}
    for name, target in policies.items():
        cards[name] = scorecard.profit_metrics(target, target, window, listed, limits, level)
    cards["logged"] = logged_worth(window, listed, limits, level)
    return {"policies": cards, "bounds": limits}


def main(cfg: Config) -> None:
    """Write models/baselines/ and models/scorecards/baselines.json."""
    info = OffersInfo.read(OFFERS / "offers.json")
    train, valid, test = (read_table(OFFERS / f"{name}.parquet") for name in ("train", "valid", "test"))
    everybody = demand_model(((), ()), train, valid, cfg.seed)
    reference = demand_model((info.numeric, info.categorical), train, valid, cfg.seed)
    write_table(REFERENCE, reference_of(reference, train, test, info, cfg.seed))
    alone, terms = terms_of(cfg, info, everybody.curve, (info.fallback,)), terms_of(cfg, info, everybody.curve)
    pack(LIST_PRICE, cfg, info, valid, everybody, alone, "list_price", "baseline")
    window = read_window(info)
    on_valid = window_of(valid, info, reference_of(reference, train, valid, info, cfg.seed), None)
    multiplier = best_single(on_valid, terms)
    imitated = imitation(reference.encoder, train, window, terms)
    policies = {"single": single(window, terms, multiplier), "imitation": imitated}
    found = scorecards(cfg, window, policies, terms)
    found["policies"]["single"]["multiplier"] = multiplier
    write_json(Path("models/scorecards/baselines.json"), found)
    print(f"baselines: the best single multiplier of the valid window is {multiplier:g} -> models/scorecards/")


if __name__ == "__main__":
    stage(main)
