"""A candidate made into a policy: the graph, checked against Python, and the manifest beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import agreement, graph
from pipelines.config import Config
from pipelines.errors import InputError
from pipelines.files import digest, read_json, replacing
from pipelines.knowledge import Knowledge
from pipelines.manifest import GRAPH, Field, Manifest
from pipelines.policy import Terms
from pipelines.pricing import Guardrails, admitted_rungs
from pipelines.tables import OffersInfo
from pipelines.tracking import git_commit

SINGLE = Path("models/baselines/single.json")  # everybody's best price in the fit window
OUTPUTS = {
    "price": "price to charge, in the currency",
    "multiplier": "price / list price",
    "rung": "index in terms.ladder; -1 where the fallback was quoted",
    "purchase_probability": "expected probability that this shopper buys at this price",
    "expected_profit": "(price - unit cost) x purchase probability, in the currency",
    "price_sensitivity": "elasticity of the purchase probability at this price: -2 means 1 % dearer, 2 % fewer sales",
    "guardrail": "the guardrail that forbade the price with the highest expected profit; none if none did",
    "fallback": "why the fallback price (the list price, where it is a rung) was quoted; empty if it was not",
    "propensity": "probability with which this price was chosen: 1 without u, or on fallback",
    "ladder_price": "price of every rung, (N, K)",
    "ladder_probability": "purchase probability at every rung, (N, K)",
    "ladder_profit": "expected profit at every rung, (N, K)",
    "ladder_propensity": "probability with which each rung is chosen, (N, K)",
    "demand": "purchase probability at every rung of the source (terms.knots), (N, K)",
}
_SALE = (
    ("list_price", "public price of the item", True),
    ("unit_cost", "cost of one unit", False),
    ("min_price", "least price of this item, if it has one", False),
    ("max_price", "largest price of this item, if it has one", False),
    ("u", "chance in [0, 1) that decides exploration; without it the greedy price", False),
    ("personal", "0 = this shopper wants no personal price: nothing personal, u included, has any effect", False),
)


def registered_name(source: str, model: str = "") -> str:
    """Return the name of the registered model of a source; `model`: the one whose live decisions it holds, if so."""
    return model or ("pricing" if source == "market" else f"pricing-{source}")


def priced(info: OffersInfo) -> OffersInfo:
    """Return what the offers are with the fallback that `baselines` found, where it is not the list price."""
    return info if info.fallback is not None else replace(info, fallback=float(read_json(SINGLE)["multiplier"]))


def terms_of(cfg: Config, info: OffersInfo, ladder: tuple[float, ...] | None = None) -> Terms:
    """Return what a policy decides by; `ladder` restricts its rungs (baselines)."""
    usual = fallback(cfg.guardrails, info)
    rungs = ladder or admitted_rungs(info.ladder, cfg.guardrails)
    if ladder is None and not within(rungs, cfg.guardrails):
        todo = (
            "A price is price / list price: are both in the same unit, and is the list price the one that was public?"
            if info.listed
            else "For a table of absolute prices set `guardrails: none` in conf/config.yaml"
        )
        raise InputError(
            f"guardrails.largest_cut and largest_rise forbid every rung of the ladder {list(rungs)}: they are shares "
            f"of the list price. {todo}"
        )
    return Terms(rungs, info.ladder, cfg.guardrails, usual, info.cost_share)


def within(rungs: tuple[float, ...], guardrails: Guardrails) -> list[float]:
    """Return the rungs that largest cut and rise leave."""
    cut, rise = guardrails.largest_cut, guardrails.largest_rise
    least, most = 0.0 if cut is None else 1 - cut, float("inf") if rise is None else 1 + rise
    return [rung for rung in rungs if least - 1e-9 <= rung <= most + 1e-9]


def fallback(guardrails: Guardrails, info: OffersInfo) -> float:
    """Return the multiplier of last resort: the list price, or of the rungs that the guardrails leave the nearest to
    the one that `baselines` found best (`priced`)."""
    if info.fallback is None:
        raise InputError("the list price is no rung, and the price in its place is not known yet: run `dvc repro`")
    if info.fallback == 1.0:
        return 1.0
    usual, able = info.fallback, within(admitted_rungs(info.ladder, guardrails), guardrails)
    return min(able, key=lambda rung: abs(np.log(rung / usual))) if able else usual


def pack(
    folder: Path, cfg: Config, info: OffersInfo, offers: pd.DataFrame, knowledge: Knowledge, terms: Terms,
    name: str, family: str, about: str,
) -> Manifest:  # fmt: skip
    """Write policy.onnx and policy.json into `folder` and return the manifest, whose `check` says if they may serve.

    offers: rows to draw the checking contexts from. about: what its demand is, in a sentence. The check passes where
    graph and Python choose the same price on at least `gate.agreement` of the contexts, and purchase probabilities
    agree to 1e-4 on as many.
    """
    proto = graph.compose(
        info.numeric,
        info.categorical,
        knowledge.graph,
        terms,
    )
    content = proto.SerializeToString(deterministic=True)
    table = agreement.contexts(offers, info, np.random.default_rng(cfg.seed))
    check = agreement.compare(graph.session(content), knowledge, table, terms)
    check["passed"] = min(check["same_price"], check["same_probability"]) >= cfg.gate.agreement
    with replacing(folder / GRAPH) as draft:
        draft.write_bytes(content)
    manifest = Manifest(
        name=name,
        family=family,
        model=registered_name(info.source, info.model),
        source=info.source,
        currency=info.currency,
        inputs=tuple(_fields(knowledge, info)),
        outputs=OUTPUTS,
        terms=terms,
        demand=about,
        assumptions=info.assumptions,
        data_sha256=info.sha256,
        git_commit=git_commit(),
        graph_sha256=digest(folder / GRAPH),
        check=check,
        listed=info.listed,
        definitions=info.definitions,
    )
    manifest.write(folder)
    return manifest


def _fields(knowledge: Knowledge, info: OffersInfo) -> list[Field]:
    ranges = {n.name: (n.low, n.high) for n in knowledge.encoder.numbers}
    words = {w.name: w.words for w in knowledge.encoder.words}
    fields = [
        Field(name, "number", unit, required and info.listed, False, *ranges.get(name, ()))
        for name, unit, required in _SALE
    ]
    for name in info.numeric:
        if name != "list_price":
            personal = name in info.personal
            fields.append(Field(name, "number", info.units.get(name, ""), False, personal, *ranges.get(name, ())))
    for name in info.categorical:
        unit, personal = info.units.get(name, ""), name in info.personal
        fields.append(Field(name, "word", unit, False, personal, words=words.get(name)))
    return fields
