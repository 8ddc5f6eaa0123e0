"""A policy in about five prices that a person can read: a shallow tree on the raw context, cut on the optimal price.

N offers, K rungs of the source, C columns that the tree may ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import wording
from pipelines.encoder import Encoder
from pipelines.policy import Belief, Terms, fallback_price, options
from pipelines.value import Floats, direct
from pipelines.window import Window, gain_over, on_ladder, quotes, targets_of, true_value

LEAVES = 5
_LEAST = 0.02  # share of the offers in a segment at least: fewer are nobody's segment
_ROWS = 20


@dataclass(frozen=True)
class Question:
    """One column that the tree may ask for: a number, or whether a word is (or a number is missing)."""

    column: str
    word: str | None = None
    missing: bool = False


@dataclass(frozen=True)
class Step:
    """One answer on the way to a segment: the question's value is at most `threshold` (`below`), or above it."""

    question: Question
    below: bool
    threshold: float


def readable(encoder: Encoder, table: pd.DataFrame) -> tuple[Floats, list[Question]]:
    """Return what the tree may ask, (N, C): raw numbers, filled where missing, and one indicator per kept word."""
    values, questions = list[Floats](), list[Question]()
    for number in encoder.numbers:
        raw = table[number.name].to_numpy(float)
        values.append(np.where(np.isnan(raw), number.fill, raw))
        questions.append(Question(number.name))
        if number.missing:
            values.append(np.isnan(raw).astype(np.float64))
            questions.append(Question(number.name, missing=True))
    for words in encoder.words:
        column = table[words.name].to_numpy(object)
        for word in words.words:
            values.append((column == word).astype(np.float64))
            questions.append(Question(words.name, word))
    return (np.column_stack(values) if values else np.zeros((len(table), 0))), questions


def cut(
    x: Floats, wanted: Floats, leaves: int = LEAVES
) -> tuple[NDArray[np.int64], dict[int, list[tuple[int, bool, float]]]]:
    """Return each offer's segment, (N,), and the way to each: (column, at most, threshold) from the root down.

    x: (N, C); wanted: (N,) the price that the tree should tell, as a multiplier.
    """
    from sklearn.tree import DecisionTreeRegressor

    if not x.shape[1] or len(x) < 2 * _ROWS or np.ptp(wanted) < 1e-9:
        return np.zeros(len(x), np.int64), {0: []}
    least = max(_ROWS, int(_LEAST * len(x)))
    tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=least, random_state=0).fit(x, wanted)
    return tree.apply(x).astype(np.int64), _ways(tree.tree_)


def _ways(tree: Any, node: int = 0, way: tuple[tuple[int, bool, float], ...] = ()) -> dict[int, Any]:
    if tree.children_left[node] < 0:
        return {node: list(way)}
    asked, threshold = int(tree.feature[node]), float(tree.threshold[node])
    left = _ways(tree, int(tree.children_left[node]), (*way, (asked, True, threshold)))
    return left | _ways(tree, int(tree.children_right[node]), (*way, (asked, False, threshold)))


def rule(steps: list[Step]) -> str:
    """Return a way through the tree in words: each column once, with its tightest bounds."""
    bounds: dict[str, list[float]] = {}
    told: dict[str, list[tuple[bool, str]]] = {}
    for step in steps:
        asked = step.question
        if asked.missing:
            told.setdefault(asked.column, []).append((False, f"is {'known' if step.below else 'missing'}"))
        elif asked.word is not None:
            told.setdefault(asked.column, []).append(
                (not step.below, f"{'is not' if step.below else '='} {asked.word}")
            )
        else:
            low, high = bounds.setdefault(asked.column, [-np.inf, np.inf])
            bounds[asked.column] = [low, min(high, step.threshold)] if step.below else [max(low, step.threshold), high]
    parts = [_between(column, *ends) for column, ends in bounds.items()]
    for column, answers in told.items():
        enough = [answer for answer in answers if answer[0]] or answers  # "= ios" says "is not android" too
        parts += [f"{column} {text}" for _, text in enough]
    return " and ".join(parts) or "everybody"


def _between(column: str, low: float, high: float) -> str:
    least, most = (wording.number(end, ".4g") for end in (low, high))
    if not np.isfinite(low):
        return f"{column} ≤ {most}"
    return f"{column} > {least}" if not np.isfinite(high) else f"{least} < {column} ≤ {most}"


def single_prices(belief: Belief, window: Window, terms: Terms) -> dict[float, Floats]:
    """Return for each multiplier of the policy the rungs (N, K) of quoting it: the fallback where it may not be."""
    able = options(window.sale, terms, belief.shown)
    instead, listed = fallback_price(window.sale["list_price"], terms), window.sale["list_price"]
    return {
        m: on_ladder(np.where(able.admissible[:, [k]], able.prices[:, [k]], instead) / listed, window.info.ladder)
        for k, m in enumerate(terms.ladder)
    }


def best_prices(segment: NDArray[np.int64], belief: Belief, window: Window, terms: Terms) -> dict[int, float]:
    """Return for each segment the one multiplier with the best mean expected profit there; of equals the usual one."""
    able = single_prices(belief, window, terms)
    usual = sorted(terms.ladder, key=lambda m: abs(np.log(m / terms.fallback)))
    profit = {m: direct(able[m], belief.demand, window.logged) for m in usual}
    found = {}
    for s in np.unique(segment):
        inside = segment == s
        means = [float(profit[m][inside].mean()) for m in usual]
        found[int(s)] = usual[int(np.argmax(means))]
    return found


def priced(
    segment: NDArray[np.int64], prices: dict[int, float], belief: Belief, window: Window, terms: Terms
) -> Floats:
    """Return the policy (N, K) that quotes each segment its price."""
    able = single_prices(belief, window, terms)
    target = np.zeros_like(next(iter(able.values())))
    for s, m in prices.items():
        target[segment == s] = able[m][segment == s]
    return target


def summary(
    encoder: Encoder,
    belief: Belief,
    window: Window,
    terms: Terms,
    bounds: dict[str, float] | None,
    confidence: float,
) -> dict[str, Any]:
    """Return the segments, cheapest first, and what their prices keep of the personal policy's gain over one price.

    kept: by truth where it is known, by the model itself, and by doubly robust estimates; None where the personal
    policy's own gain is not positive, or as measured not surely so. gains: over the best single price, money per
    1,000 offers. All greedy. bounds: as in `modes.compare`.
    """
    found = quotes(belief, window, terms)
    x, questions = readable(encoder, window.offers)
    segment, ways = cut(x, found["multiplier"])
    prices = best_prices(segment, belief, window, terms)
    everybody = np.zeros(len(segment), np.int64)
    one = best_prices(everybody, belief, window, terms)
    policies = {
        "personal": targets_of(found, window)[1],
        "segments": priced(segment, prices, belief, window, terms),
        "single": priced(everybody, one, belief, window, terms),
    }
    change = found["multiplier"] / terms.fallback - 1
    rows = [
        {
            "rule": rule([Step(questions[c], below, at) for c, below, at in ways[s]]),
            "offers": int((segment == s).sum()),
            "share": float((segment == s).mean()),
            "multiplier": float(m),
            "change": float(m / terms.fallback - 1),
            "mean_personal_change": float(change[segment == s].mean()),
        }
        for s, m in sorted(prices.items(), key=lambda pair: pair[1])
    ]
    return {"segments": rows, "single": float(one[0]), **_measured(policies, belief, window, bounds, confidence)}


def _measured(
    policies: dict[str, Floats], belief: Belief, window: Window, bounds: dict[str, float] | None, confidence: float
) -> dict[str, Any]:
    gains = {n: gain_over(policies[n], policies["single"], window, confidence) for n in ("personal", "segments")}
    modelled = {n: 1000 * float(direct(p, belief.demand, window.logged).mean()) for n, p in policies.items()}
    true = {n: 1000 * (true_value(p, window) or 0.0) for n, p in policies.items()}
    best = bounds["best_single_per_1000"] if bounds is not None else None
    mine, theirs = gains["segments"]["per_1000"], gains["personal"]
    sure = _share(mine, theirs["per_1000"]) if theirs["low"] > 0 else None
    return {
        "gains": {**gains, "modelled": {n: modelled[n] - modelled["single"] for n in gains}},
        "kept": {
            "truth": None if best is None else _share(true["segments"] - best, true["personal"] - best),
            "model": _share(modelled["segments"] - modelled["single"], modelled["personal"] - modelled["single"]),
            "estimate": sure,
        },
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 1e-9 else None
