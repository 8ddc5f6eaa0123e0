"""Golden quotes: a batch of contexts beside a policy with what it answered when it was signed, to test it by itself.

A policy that answers otherwise on another machine or another release of ONNX Runtime must not price there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from pipelines.manifest import Field, Manifest
from pipelines.serving.runtime import ANSWERS, Policy

GOLDEN = "golden.json"
_CLOSE = 1e-5  # relative; of numbers other than prices, which other processors may round otherwise
_CENT = 1e-9  # relative; of prices
_EXACT = ("price", "multiplier", "propensity")
_PRICES = (9.99, 24.5, 180.0)


def contexts(manifest: Manifest) -> list[dict[str, Any]]:
    """Return contexts in which a policy of this manifest shows what it does, the same ones every time.

    The least, middle and largest that it was trained on, nothing but a list price, each of its words (the first
    few) and one never seen; with chance, without a personal price, within bounds, and below cost.
    """
    fields = [f for f in manifest.inputs if f.name not in _SALE]
    prices = [1.0] * len(_PRICES) if not manifest.listed else list(_PRICES)
    filled = [
        {"list_price": price, "unit_cost": share * price, **_filled(fields, at, word)}
        for (at, word), (price, share) in product(
            ((0.0, 0), (0.5, 1), (1.0, 2)), zip(prices, (0.3, 0.5, 0.7), strict=True)
        )
    ]
    middle, price = filled[4], prices[1]
    sale: list[dict[str, Any]] = [
        *({"u": u} for u in (0.0, 0.31, 0.72, 0.97, 0.999)),
        {"u": 0.999, "personal": 0.0},
        {"personal": 0.0},
        {"unit_cost": 2 * price},
        {"unit_cost": None},
        {"max_price": 0.95 * price},
        {"min_price": 1.02 * price},
    ]
    odd = [{"list_price": price}, {**middle, **{f.name: "never seen" for f in fields if f.kind == "word"}}]
    return [*filled, *({**middle, **terms} for terms in sale), *odd]


def make(policy: Policy) -> dict[str, Any]:
    """Return the content of golden.json: the contexts of a policy and its answers now."""
    asked = contexts(policy.manifest)
    return {"graph_sha256": policy.manifest.graph_sha256, "contexts": asked, "answers": _answers(policy, asked)}


def failure(policy: Policy, golden: Mapping[str, Any]) -> str | None:
    """Return the first way in which a policy does not answer as its golden.json says; None where it passes."""
    if golden["graph_sha256"] != policy.manifest.graph_sha256:
        return "its golden quotes are those of another graph"
    asked, expected = golden["contexts"], golden["answers"]
    if not asked or len(asked) != len(expected):
        return f"it has {len(asked)} golden contexts and {len(expected)} answers: there is nothing to test it by"
    for number, (was, now) in enumerate(zip(expected, _answers(policy, asked), strict=True)):
        for name in ANSWERS:
            if name not in was or not _same(name, was[name], now[name]):
                return f"golden quote {number}: {name} is {now[name]!r} instead of {was.get(name)!r}"
    return None


def _answers(policy: Policy, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fields = {f.name: f for f in policy.manifest.inputs}
    columns = [[_given(context.get(n), fields[n], policy.manifest) for context in asked] for n in policy.inputs]
    found = zip(*policy.answers(columns, ANSWERS), strict=True)
    return [{name: _plain(value) for name, value in zip(ANSWERS, row, strict=True)} for row in found]


def _given(value: Any, field: Field, manifest: Manifest) -> Any:
    if value is not None:
        return value
    return "" if field.kind == "word" else 1.0 if field.name == "list_price" and not manifest.listed else math.nan


def _plain(value: Any) -> Any:
    """Return an answer as JSON has it."""
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None


def _same(name: str, was: Any, now: Any) -> bool:
    if not isinstance(was, float | int) or not isinstance(now, float | int):
        return bool(was == now)
    return math.isclose(was, now, rel_tol=_CENT if name in _EXACT else _CLOSE, abs_tol=1e-9)


def _filled(fields: list[Field], at: float, word: int) -> dict[str, Any]:
    """Return a context `at` a share of the way from the least to the largest value of each number."""
    context: dict[str, Any] = {}
    for field in fields:
        if field.kind == "word":
            context[field.name] = field.words[word % len(field.words)] if field.words else ""
        else:
            low, high = field.low or 0.0, field.high if field.high is not None else 1.0
            context[field.name] = low + at * (high - low)
    return context


_SALE = ("list_price", "unit_cost", "min_price", "max_price", "u", "personal")
