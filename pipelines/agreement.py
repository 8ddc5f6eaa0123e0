"""Whether a policy graph chooses the same prices as the Python policy, on contexts that try to break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines import graph
from pipelines.knowledge import Knowledge
from pipelines.policy import QUOTE, TERMS_OF_SALE, Terms, decide, in_words
from pipelines.tables import OffersInfo

CONTEXTS = 10_000
_STRANGE_WORDS = ("", "never seen", "中文字符串", "emoji 🛒", "x" * 300)
_SHOWN = 20  # mismatches listed in the manifest


def contexts(offers: pd.DataFrame, info: OffersInfo, rng: np.random.Generator) -> pd.DataFrame:
    """Return `CONTEXTS` requests: real contexts, of which most are then spoiled.

    A fifth stay as they are. The others lose numbers (NaN), take extreme ones (1,000 times the value, either sign) and
    words never seen (Chinese among them); list prices and costs vary by orders of magnitude; bounds and `u` vary too; a
    tenth opt out of personal prices.
    """
    table = offers.iloc[rng.integers(0, len(offers), CONTEXTS)].reset_index(drop=True)
    table = table[list(dict.fromkeys((*info.numeric, *info.categorical, "list_price", "unit_cost")))].copy()
    spoiled = rng.random(CONTEXTS) > 0.2
    for name in info.numeric:
        if name == "list_price":
            continue
        values = table[name].to_numpy(float).copy()
        lost = spoiled & (rng.random(CONTEXTS) < 0.15)
        wild = spoiled & (rng.random(CONTEXTS) < 0.05)
        values[wild] *= rng.choice([-1000.0, 1000.0], wild.sum())
        values[lost] = np.nan
        table[name] = values
    for name in info.categorical:
        words = table[name].to_numpy(object).copy()
        odd = spoiled & (rng.random(CONTEXTS) < 0.15)
        words[odd] = rng.choice(np.array(_STRANGE_WORDS, dtype=object), odd.sum())
        table[name] = words
    prices = table["list_price"] * np.where(spoiled, 10 ** rng.uniform(-1, 2, CONTEXTS), 1.0)
    table["list_price"] = prices.round(2).clip(0.01)
    cost = table["list_price"] * rng.uniform(0, 1.3, CONTEXTS)
    table["unit_cost"] = np.where(spoiled & (rng.random(CONTEXTS) < 0.5), cost, table["unit_cost"])
    table.loc[spoiled & (rng.random(CONTEXTS) < 0.1), "unit_cost"] = np.nan
    for name, low, high in (("min_price", 0.5, 1.1), ("max_price", 0.7, 1.5), ("u", 0.0, 1.0)):
        values = rng.uniform(low, high, CONTEXTS) * (1.0 if name == "u" else table["list_price"])
        table[name] = np.where(spoiled & (rng.random(CONTEXTS) < 0.3), values, np.nan)
    table["personal"] = np.where(rng.random(CONTEXTS) < 0.1, 0.0, np.nan)
    return table


def python_quotes(knowledge: Knowledge, table: pd.DataFrame, terms: Terms) -> dict[str, Any]:
    """Return the quotes of the Python policy, (N,) or (N, K) each, as `graph.run` does."""
    missing = np.full((len(table), 1), np.nan)
    sale = {name: table[[name]].to_numpy(float) if name in table else missing for name in TERMS_OF_SALE}
    quotes = in_words(decide(knowledge.belief(table), sale, terms))
    return {k: v[:, 0] if k in QUOTE else v for k, v in quotes.items()}


def compare(session: Any, knowledge: Knowledge, table: pd.DataFrame, terms: Terms) -> dict[str, Any]:
    """Return how the graph and Python agree on `table`: shares, largest difference, the first mismatches."""
    expected = python_quotes(knowledge, table, terms)
    found = graph.run(session, table)
    same = np.isclose(found["price"], expected["price"], rtol=0, atol=1e-9)
    gap = np.abs(found["purchase_probability"] - expected["purchase_probability"])
    close = gap <= 1e-4
    finite = np.isfinite(found["price"]) & np.isfinite(found["purchase_probability"])
    wrong = np.flatnonzero(~(same & close & finite))
    return {
        "contexts": len(table),
        "same_price": float(np.mean(same & finite)),
        "same_probability": float(np.mean(close & finite)),
        "largest_probability_gap": float(np.max(gap, initial=0.0, where=np.isfinite(gap))),
        "mismatches": [_mismatch(table.iloc[i], found, expected, i) for i in wrong[:_SHOWN]],
    }


def _mismatch(row: pd.Series[Any], found: dict[str, Any], expected: dict[str, Any], i: int) -> dict[str, Any]:
    context = {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
    return {
        "context": context,
        "graph": {k: _finite(found[k][i]) for k in ("price", "purchase_probability")},
        "python": {k: _finite(expected[k][i]) for k in ("price", "purchase_probability")},
    }


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
