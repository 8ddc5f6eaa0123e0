"""The source decisions: what the live policy decided and what came of it, as offers with exact propensities.

A decision becomes an offer once its time for a purchase is over, bought or not: counting purchases sooner than their
absence would make the youngest offers look bought. What is left out is counted, in data/raw/decisions.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import InputError, nearest
from pipelines.ladder import DIGITS
from pipelines.sources import DecisionsSource, decision_log
from pipelines.sources.decision_log import INPUT, Logged

RESERVED_INPUTS = ("list_price", "unit_cost", "min_price", "max_price", "u", "personal")  # of every policy
CHOSEN = ("", "no_admissible_price", "unit_cost_missing")  # the graph's own words: with these it has decided
_DAY = 86_400.0
_CLOCKS = 3600.0  # seconds by which the clocks of a till and of an endpoint may differ

Told = dict[str, Any]


def read(source: DecisionsSource) -> tuple[pd.DataFrame, Told]:
    """Return the offers of a log as a table in the parts of `decided.as_offers`, and what is told of it."""
    logged = decision_log.read(Path(source.path))
    policies, model = _policies(logged, source)
    until = _as_of(logged, source)
    shown, left_out = _shown(logged.decisions, policies, until - source.attribution_days * _DAY)
    if shown.empty:
        counts = ", ".join(f"{name} {count:,}" for name, count in left_out.items() if count) or "nothing was logged"
        raise InputError(
            f"{source.path}: no decision of {model} is an offer yet ({counts}): a decision becomes one "
            f"{source.attribution_days:g} days after it (source.attribution_days), once its segment is sealed"
        )
    bought, outcomes = _bought(shown, logged, source.attribution_days * _DAY)
    told = _described(policies, model, source)
    table = _parts(shown.assign(bought=bought), told)
    told |= {
        "as_of": _iso(until),
        "attribution_days": source.attribution_days,
        "offers": len(table),
        "left_out": left_out | {"unreadable": logged.unreadable},
        "outcomes": outcomes,
        "damaged": logged.damaged,
        "unnamed": {name: int(shown[name].isna().sum()) for name in ("shopper", "item")},
    }
    return table, told


def _policies(logged: Logged, source: DecisionsSource) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Return the policies of one registered model, in the order of their first decisions, and the model's name."""
    used = [digest for digest in logged.decisions["digest"].dropna().unique() if digest in logged.policies]
    models = sorted({logged.policies[digest]["model"] for digest in used})
    model = source.model or (models[0] if len(models) == 1 else None)
    if not models:
        lost = f" ({logged.damaged:,} files or groups of records are damaged)" if logged.damaged else ""
        raise InputError(f"{source.path}: there is no decision of a known policy in its sealed segments yet{lost}")
    if model is None:
        raise InputError(f"{source.path} has decisions of {', '.join(models)}: name one of them with source.model")
    if model not in models:
        raise InputError(f"{source.path} has no decision of source.model={model}{nearest(model, models)}")
    chosen = {digest: logged.policies[digest] for digest in used if logged.policies[digest]["model"] == model}
    for what in ("currency", "listed"):
        values = sorted({str(manifest[what]) for manifest in chosen.values()})
        if len(values) > 1:
            raise InputError(
                f"{source.path}: the policies of {model} disagree on {what} ({', '.join(values)}): move the segments "
                "of the older ones elsewhere"
            )
    return chosen, model


def _as_of(logged: Logged, source: DecisionsSource) -> float:
    """Return the time up to which things are known, in seconds: the one set, else the newest that was logged."""
    if source.as_of is not None:
        return datetime.fromisoformat(source.as_of).timestamp()
    # an outcome's time is its caller's, whose clock may be ahead; a decision's is the endpoint's own
    outcome = min(logged.outcomes["time"].max(), time.time(), key=np.nan_to_num)
    return float(max(logged.decisions["time"].max(), outcome, key=np.nan_to_num))


def _shown(decisions: pd.DataFrame, policies: Mapping[str, Any], mature: float) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the decisions that are offers, no younger than `mature`, and how many are none, by the first reason."""
    needed = ["quote_id", "time", "price", "list_price", "digest"]
    reasons: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "incomplete": lambda d: d[needed].isna().any(axis=1),
        "other_policy": lambda d: ~d["digest"].isin(list(policies)),
        "repeats": lambda d: d["repeat"].eq(True) | d["repeat_of"].notna(),
        "not_chosen": lambda d: d["propensity"].isna() | ~d["fallback"].fillna("").isin(CHOSEN),
        "told_twice": lambda d: d.duplicated("quote_id"),
        "young": lambda d: d["time"] > mature,
    }
    left_out = {}
    for name, holds in reasons.items():
        caught = holds(decisions).astype(bool)
        left_out[name] = int(caught.sum())
        decisions = decisions[~caught]
    return decisions.reset_index(drop=True), left_out


def _bought(shown: pd.DataFrame, logged: Logged, window: float) -> tuple[np.ndarray, dict[str, int]]:
    """Return 1 for each decision whose last outcome within the window is a purchase, else 0; and counts of outcomes.

    Clocks differ a little; what was told to have happened well before its quote is no outcome of it (`early`).
    A purchase at a price that was repeated belongs to the decision that first quoted it.
    """
    told = logged.outcomes.dropna(subset=["quote_id", "time", "bought"])
    repeats = logged.decisions.dropna(subset=["repeat_of"])
    origin = dict(zip(repeats["quote_id"], repeats["repeat_of"], strict=True))
    known = set(logged.decisions["quote_id"].dropna())
    told = told.assign(quote=[_origin(quote, origin) for quote in told["quote_id"]])
    when = told["quote"].map(shown.set_index("quote_id")["time"])
    late, early = told["time"] > when + window, told["time"] < when - _CLOCKS
    counts = {
        "told": len(logged.outcomes),
        "unknown_quote": int((~told["quote_id"].isin(known)).sum()),
        "late": int(late.sum()),
        "early": int(early.sum()),
    }
    last = told[when.notna() & ~late & ~early].sort_values("time", kind="stable").drop_duplicates("quote", keep="last")
    bought = shown["quote_id"].isin(last.loc[last["bought"].astype(bool), "quote"])
    return bought.to_numpy(np.int64), counts | {"bought": int(bought.sum())}


def _origin(quote: str, origin: Mapping[str, str]) -> str:
    """Return the quote whose price a quote repeats, through any number of repeats."""
    seen = set()
    while quote in origin and quote not in seen:
        seen.add(quote)
        quote = origin[quote]
    return quote


def _described(policies: Mapping[str, Mapping[str, Any]], model: str, source: DecisionsSource) -> Told:
    """Return what the policies say of their inputs, the latest having the last word."""
    fields = {field["name"]: field for manifest in policies.values() for field in manifest["inputs"]}
    latest = list(policies.values())[-1]
    for setting in ("personal", "protected"):
        for name in getattr(source, setting) or ():
            if name not in fields:
                raise InputError(f"source.{setting} {name!r} is no input of {model}{nearest(name, list(fields))}")
    usable = [
        f for f in fields.values()
        if f["name"] not in (*RESERVED_INPUTS, *source.protected)
        or (f["name"] == "list_price" and f["low"] is not None and latest["listed"])  # seen in training: it is context
    ]  # fmt: skip
    told_personal = [f["name"] for f in usable if f["personal"]]
    share = latest["terms"]["cost_share"] if source.cost_share is None else source.cost_share
    return {
        "model": model,
        "currency": latest["currency"],
        "listed": latest["listed"],
        "cost_share": share,
        "numeric": [f["name"] for f in usable if f["kind"] == "number"],
        "categorical": [f["name"] for f in usable if f["kind"] == "word"],
        "personal": told_personal if source.personal is None else list(source.personal),
        "units": {f["name"]: f["unit"] for f in usable},
        "definitions": latest.get("definitions", {}),
        "ladder": _ladder(policies),
        "policies": {digest: manifest["name"] for digest, manifest in policies.items()},
    }


def _ladder(policies: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Return the rungs that the policies could quote, shown or not: what chance never drew may be drawn next time."""
    terms = [manifest["terms"] for manifest in policies.values()]
    return sorted({round(float(rung), DIGITS) for t in terms for rung in (*t["ladder"], t["fallback"])})


def _parts(shown: pd.DataFrame, told: Told) -> pd.DataFrame:
    """Return decisions in the columns that `decided.as_offers` names."""
    table = pd.DataFrame(
        {
            "offer_id": shown["quote_id"],
            "shopper_id": shown["shopper"].fillna(shown["quote_id"]),
            "item_id": shown["item"].fillna("item"),
            "time": shown["time"],
            "list_price": shown["list_price"],
            "price": shown["price"],
            "nominal": shown["rung"].fillna(shown["price"] / shown["list_price"]),
            "propensity": shown["propensity"],
            "bought": shown["bought"],
        }
    )
    names = ["unit_cost", "min_price", "max_price", *told["numeric"], *told["categorical"]]
    for name in (n for n in names if n != "list_price"):
        absent = np.nan if name not in told["categorical"] else None
        table[name] = shown.get(INPUT + name, absent)
    for name in told["categorical"]:
        table[name] = table[name].replace("", None)
    return table


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
