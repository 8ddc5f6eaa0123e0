"""What stands behind a quote: each rung with its price, demand, profit and chance, and what forbids it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import pricing
from pipelines.policy import KNOTS, LADDER
from pipelines.serving.quotes import OUTPUTS, UNPRICEABLE, known, told

if TYPE_CHECKING:
    from pipelines.serving.asked import Asked
    from pipelines.serving.disclosure import Disclosures
    from pipelines.serving.parts import Facts
    from pipelines.serving.views import View

_OFFER = {"quote_id", "valid_until", "signature", "repeat"}  # what a question does not get


def curve(one: Asked, view: View, texts: Disclosures) -> Facts:
    """Return the quote of a context and what stands behind it. Raises RequestError."""
    policy, terms = view.policy, view.policy.manifest.terms
    columns, outputs = policy.columns([one.context]), (*OUTPUTS, *LADDER, *KNOTS)
    found = dict(zip(outputs, policy.answers(columns, outputs), strict=True))
    row, answer = [column[0] for column in columns], [found[name][0] for name in OUTPUTS]
    quote = told(one, row, answer, view, UNPRICEABLE, "", "", texts)
    list_price, cost = row[view.list_price], row[view.cost]
    if math.isnan(cost) and terms.cost_share is not None:
        cost = list_price * terms.cost_share
    rungs = zip(terms.ladder, *(found[name][0] for name in LADDER), strict=True)
    ladder = [
        {"multiplier": rung, "price": price, "probability": known(q), "profit": known(profit), "propensity": chance}
        for rung, price, q, profit, chance in rungs
    ]
    for rung, rules in zip(ladder, _forbidding(ladder, row, view, cost), strict=True):
        rung["forbidden_by"] = rules
    return {
        "quote": {name: value for name, value in quote.items() if name not in _OFFER},
        "unit_cost": known(cost),
        "ladder": ladder,
        "demand": [
            {"multiplier": knot, "price": knot * list_price, "probability": known(q)}
            for knot, q in zip(terms.knots, found["demand"][0], strict=True)
        ],
        "guardrails": asdict(terms.guardrails),
    }


def _forbidding(ladder: list[Facts], row: Sequence[Any], view: View, cost: float) -> list[list[str]]:
    """Return which guardrails forbid each rung, as far as prices tell; `support` the graph alone knows."""
    rails = view.policy.manifest.terms.guardrails
    prices = np.array([[rung["price"] for rung in ladder]])
    list_price, unit_cost, least, most = (
        np.array([[value]]) for value in (row[view.list_price], cost, row[view.least], row[view.most])
    )
    rules = pricing.allowed(prices, list_price, unit_cost, least, most, rails)
    if math.isnan(cost) and "margin_floor" in rules:  # no rung is below the floor; nobody knows where that is
        rules["unit_cost_missing"] = rules.pop("margin_floor")
    return [[name for name, admitted in rules.items() if not admitted[0, at]] for at in range(len(ladder))]
