"""Whether a quote keeps the guardrails of its policy, told from what was asked and answered, without the graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from pipelines.manifest import Manifest
from pipelines.pricing import allowed


def violated(manifest: Manifest, asked: Mapping[str, Any], quote: Mapping[str, Any]) -> list[str]:
    """Return the rules that a quote breaks.

    They are held against the list price that the quote tells. A price lies on a whole minor unit, so it may be half of
    one off the graph's. A repeat was judged when it was new;
    what is quoted as a fallback must be finite and positive, and without a price ladder of its own the list price.
    """
    price, list_price = float(Decimal(quote["price"])), float(Decimal(quote["list_price"]))
    if not (math.isfinite(price) and price > 0) and list_price >= _half(quote):
        return ["a price"]
    if quote["repeat"]:
        return []
    if quote["fallback"] is not None:
        plain = manifest.listed and manifest.terms.fallback == 1
        return ["the list price"] if plain and abs(price - list_price) > 2 * _half(quote) else []
    inside = asked["context"] if isinstance(asked.get("context"), Mapping) else asked
    given = {name: _number(inside.get(name)) for name in ("unit_cost", "min_price", "max_price")}
    if math.isnan(given["unit_cost"]) and manifest.terms.cost_share is not None:
        given["unit_cost"] = manifest.terms.cost_share * list_price
    near = np.array([[price - _half(quote), price, price + _half(quote)]])
    listed, cost, least, most = (np.array([[value]]) for value in (list_price, *given.values()))
    rules = allowed(near, listed, cost, least, most, manifest.terms.guardrails)
    return [name for name, kept in rules.items() if not bool(np.any(kept))]


def _half(quote: Mapping[str, Any]) -> float:
    """Return half a minor unit of the quote's currency."""
    _, _, decimals = str(quote["price"]).partition(".")
    return float(0.5 * 10.0 ** -len(decimals))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
