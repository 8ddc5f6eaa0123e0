"""baselines: the policies that a candidate must beat, and the plain models that all policies share.

List price, best single multiplier (of the fit window), the logged policy, imitation (the textbook regression of past
prices on behaviour) and one price per item and time (nothing personal), under the same guardrails, valued on the select
window. The list-price policy is packed like a candidate, so that a champion always serves. Written beside them: the
impersonal demand that every policy graph holds, and the reference demand of doubly robust values.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import everybody, graph, scorecard, value
from pipelines.candidates import Candidate
from pipelines.candidates.controls import Controls
from pipelines.candidates.learning import Columns, regress, weighted
from pipelines.config import Config, stage
from pipelines.demand import probability
from pipelines.encoder import Encoder
from pipelines.files import read_table, replacing, write_json, write_table
from pipelines.knowledge import Knowledge, View
from pipelines.logging_policy import FOLDER, judged
from pipelines.manifest import GRAPH, Manifest
from pipelines.packing import SINGLE, pack, priced, terms_of, within
from pipelines.policy import Terms
from pipelines.simple_policies import as_logged, best_single, bounds, greedy, single
from pipelines.tables import OffersInfo
from pipelines.value import Floats, share_of_gain
from pipelines.window import (
    OFFERS,
    REFERENCE,
    Window,
    quotes,
    read_select,
    scores,
    targets,
    targets_of,
    true_value,
    window_of,
)

MODELS = Path("models/baselines")
LIST_PRICE = MODELS / "list_price"
_HOW_PRICED = ("propensity", "usual", "shock")  # what `overlap` told of every offer
_DISTILLED = 50_000  # answers of the reference, at least, that the impersonal demand learns from


def impersonal(info: OffersInfo) -> Columns:
    """Return the numeric and categorical columns of the context that are not personal."""
    numeric, categorical = (
        tuple(n for n in names if n not in info.personal) for names in (info.numeric, info.categorical)
    )
    return numeric, categorical


def learned(fit: pd.DataFrame, both: pd.DataFrame, info: OffersInfo, seed: int) -> dict[str, Candidate]:
    """Return the plain models by name: `reference` and `impersonal`, of fit and select together and (`…_trial`) of the
    fit window alone, and `everybody`, one curve for all."""
    whole = (info.numeric, info.categorical)
    found = {"everybody": regress(both, ((), ()), info.ladder, seed)}
    for suffix, table in {"_trial": fit, "": both}.items():
        reference = regress(table, whole, info.ladder, seed)
        found[f"reference{suffix}"] = reference
        found[f"impersonal{suffix}"] = distilled(reference, table, info, seed) if info.personal else reference
    return found


def distilled(reference: Candidate, offers: pd.DataFrame, info: OffersInfo, seed: int) -> Candidate:
    """Return the demand without personal columns, learned from what the reference says of offers at random rungs.

    Not from the outcomes: where personal columns moved past prices, leaving them out would confound price and demand.
    """
    rng, columns = np.random.default_rng(seed), impersonal(info)
    table = pd.concat([offers] * max(1, -(-_DISTILLED // len(offers))), ignore_index=True)
    rung = rng.integers(0, len(info.ladder), len(table))
    chance = np.concatenate([probability(reference, offers)] * (len(table) // len(offers)))
    bought = (rng.random(len(table)) < chance[np.arange(len(table)), rung]).astype(np.int64)
    asked = table.assign(rung=rung, multiplier=np.array(info.ladder)[rung], bought=bought, weight=1.0)
    return regress(asked, columns, info.ladder, seed, Encoder.fit(offers, *columns))


def save(models: dict[str, Candidate]) -> None:
    """Write each model into a folder of its own."""
    for name, model in models.items():
        with replacing(MODELS / name) as draft:
            model.save(draft)


def curves(model: Candidate, offers: pd.DataFrame) -> pd.DataFrame:
    """Return offer_id and q_0 … q_{K-1} of a model on `offers`."""
    q = probability(model, offers)
    table = pd.DataFrame(q, columns=[f"q_{k}" for k in range(q.shape[1])])
    table.insert(0, "offer_id", offers["offer_id"].to_numpy())
    return table


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
    found = graph.run(session, window.offers, scorecard.NEEDED)
    cards: dict[str, Any] = {"list_price": scorecard.measured(manifest, found, window, listed, limits, level)}
    for name, target in policies.items():
        cards[name] = scorecard.profit_metrics(target, target, window, listed, limits, level)
    cards["logged"] = logged_worth(window, listed, limits, level)
    return {"policies": cards, "bounds": limits}


def everybodys(fit: pd.DataFrame, info: OffersInfo, seed: int) -> Floats:
    """Return everybody's demand at the rungs, (K,): what the offers say, each weighing 1 / propensity.

    Where some rows were priced at random, they alone; where an instrument tells a hidden shock, which offers cannot be
    rid of by weights, the mean curve of a plain model that has it beside the context.
    """
    if info.instrument and not info.anchored and fit["shock"].std() > 0:
        columns = (info.numeric, info.categorical)
        controlled = regress(fit, columns, info.ladder, seed, beside=Controls.of(info, fit))
        return np.asarray(probability(controlled, fit).mean(axis=0))
    return everybody.told(judged(fit), np.array(info.ladder))


def best_multiplier(cfg: Config, info: OffersInfo, fit: pd.DataFrame) -> float:
    """Return everybody's best price in the fit window under the guardrails: the one rival of all that are personal.

    Where the list price is no rung it is also the usual price, and must do without another to fall back on.
    """
    alone, demand = info.fallback is None, everybodys(fit, info, cfg.seed)
    terms = terms_of(cfg, dataclasses.replace(info, fallback=info.fallback or info.ladder[0]))
    able = tuple(within(terms.ladder, cfg.guardrails)) if alone else terms.ladder
    curves = np.broadcast_to(demand, (len(fit), len(demand)))
    window = window_of(fit, info, curves, fit["propensity"].to_numpy(float))
    return best_single(window, dataclasses.replace(terms, ladder=able), demand, alone=alone)


def main(cfg: Config) -> None:
    """Write models/baselines/ and models/scorecards/baselines.json."""
    info, shown = OffersInfo.read(OFFERS / "offers.json"), read_table(FOLDER / "offers.parquet")
    fit, select = (
        weighted(read_table(OFFERS / f"{name}.parquet").assign(**{n: part[n].to_numpy(float) for n in _HOW_PRICED}))
        for name in ("fit", "select")
        for part in [shown[shown["window"] == name]]
    )
    multiplier = best_multiplier(cfg, info, fit)
    write_json(SINGLE, {"multiplier": multiplier})
    info = priced(info)
    both, terms = pd.concat([fit, select], ignore_index=True), terms_of(cfg, info)
    models = learned(fit, both, info, cfg.seed)
    save(models)
    write_table(REFERENCE, curves(models["reference_trial"], select))
    alone, about = terms_of(cfg, info, (terms.fallback,)), "one curve for everybody"
    pack(LIST_PRICE, cfg, info, select, Knowledge(View(models["everybody"])), alone, "list_price", "baseline", about)
    window = read_select(info)
    no_personal, _ = targets_of(quotes(View(models["impersonal_trial"]).belief(window.offers), window, terms), window)
    imitated = imitation(models["reference_trial"].encoder, fit, window, terms)
    policies = {"single": single(window, terms, multiplier), "imitation": imitated, "no_personal": no_personal}
    found = scorecards(cfg, window, policies, terms)
    found["policies"]["single"]["multiplier"] = multiplier
    write_json(Path("models/scorecards/baselines.json"), found)
    print(f"baselines: the best single multiplier of the fit window is {multiplier:g} -> models/scorecards/")


if __name__ == "__main__":
    stage(main)
