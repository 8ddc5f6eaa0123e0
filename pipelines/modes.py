"""Policy modes built from one fit, and what each guardrail costs: the frontier.

N offers, K rungs of the source. All is measured on one window, against the usual price: the list price, or where that
is no rung the best single one. An item's own price bounds hold in every row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.policy import Belief, Terms
from pipelines.pricing import Guardrails
from pipelines.scorecard import quote_metrics
from pipelines.simple_policies import bounds as true_bounds
from pipelines.simple_policies import single
from pipelines.value import Floats, direct, share_of_gain
from pipelines.window import Window, gain_over, quotes, targets_of, true_value, worth

MOVES = (0.05, 0.10, 0.20, 0.30)
FLOORS = (0.0, 0.05, 0.10, 0.20)
_RULES = {
    "largest_cut": "cut of at most {} %",
    "largest_rise": "rise of at most {} %",
    "margin_floor": "margin of at least {} %",
    "rungs": "fewer prices",
    "endings": "price endings",
    "support": "prices that such shoppers were shown",
    "exploration": "exploration of {} %",
    "caution": "caution of {} deviations",
}


@dataclass(frozen=True)
class Setting:
    """One way to price: what it is called, what it believes, and its terms. `key` is for programs, `label` to read."""

    key: str
    label: str
    belief: Belief
    terms: Terms


def within(terms: Terms, cut: float | None, rise: float | None) -> Terms:
    """Return terms whose prices move from the usual one by at most these shares; None adds no limit.

    Where the list price is no rung, guardrails that speak of it mean nothing, and the ladder is cut instead.
    """
    rails = terms.guardrails
    if terms.fallback == 1.0:
        tighter = replace(
            rails,
            largest_cut=_least(rails.largest_cut, cut),
            largest_rise=_least(rails.largest_rise, rise),
        )
        return replace(terms, guardrails=tighter)
    low = 0.0 if cut is None else terms.fallback * (1 - cut - 1e-9)
    high = math.inf if rise is None else terms.fallback * (1 + rise + 1e-9)
    kept = tuple(m for m in terms.ladder if low <= m <= high)
    return replace(terms, ladder=kept or (terms.fallback,))


def compare(
    belief: Belief,
    impersonal: Belief | None,
    window: Window,
    terms: Terms,
    bounds: dict[str, float] | None,
    confidence: float,
) -> dict[str, dict[str, Any]]:
    """Return each mode's worth, its gain over the usual price per 1,000 offers, and whose prices it moves.

    impersonal: what is believed without anything personal; None where no column is, and then there is no such mode.
    bounds: true profit of the perfect and the best single policy, per 1,000 offers, under the same guardrails.
    """
    settings = [
        Setting("full", "personal prices", belief, terms),
        Setting("discount_only", "discounts only", belief, within(terms, None, 0.0)),
    ]
    if impersonal is not None:
        settings.append(Setting("no_personal", "nothing personal", impersonal, terms))
    usual, cards = single(window, terms, terms.fallback), {}
    for one in settings:
        found = quotes(one.belief, window, one.terms)
        running, quoted = targets_of(found, window)
        card: dict[str, Any] = {"label": one.label, **worth(running, window, confidence)}
        card["gain_over_list_price"] = gain_over(running, usual, window, confidence)
        card |= quote_metrics(found, terms.fallback)
        if bounds is not None:
            mine = 1000 * (true_value(quoted, window) or 0.0)
            card["share_of_gain"] = share_of_gain(mine, bounds["best_single_per_1000"], bounds["perfect_per_1000"])
        cards[one.key] = card
    return cards


def settings(belief: Belief, impersonal: Belief | None, terms: Terms) -> Iterator[Setting]:
    """Return the settings of the frontier, the freest first and the one in conf/guardrails/ last."""
    free = replace(terms, ladder=terms.knots, guardrails=Guardrails())
    yield Setting("none", "no guardrail", belief, free)
    for key, label, alone in _alone(terms, free):
        yield Setting(key, f"only: {label}", belief, alone)
    for move in MOVES:
        yield Setting(f"within_{move:g}", f"moves of at most ±{100 * move:g} %", belief, within(free, move, move))
    for floor in FLOORS:
        label = f"margin of at least {100 * floor:g} %" if floor else "never below cost"
        yield Setting(f"margin_{floor:g}", label, belief, _railed(free, margin_floor=floor))
    yield Setting("discount_only", "discounts only", belief, within(free, None, 0.0))
    if impersonal is not None:
        yield Setting("no_personal", "nothing personal", impersonal, free)
    yield Setting("configured", "all guardrails, as configured", belief, terms)


def frontier(
    belief: Belief, impersonal: Belief | None, window: Window, terms: Terms, confidence: float
) -> list[dict[str, Any]]:
    """Return what is left of the gain over the usual price under each setting: one row of the table each.

    gain: over the usual price; cost: paired, of the setting against no guardrail at all; money per 1,000 offers, doubly
    robust with an interval, and true where the truth is known. kept: share of the free policy's gain that is left, of
    the true gains where known (`kept_by` "truth"), else of the estimates, and None where the free policy's own gain is
    not surely positive. modelled_per_1000: what the model promises, which no tighter guardrail can raise.
    share_of_gain: of the greedy policy, against the best prices that no guardrail limits, where the truth is known.
    """
    usual, rows, free = single(window, terms, terms.fallback), list[dict[str, Any]](), None
    limits = true_bounds(window, replace(terms, ladder=terms.knots, guardrails=Guardrails()))
    for one in settings(belief, impersonal, terms):
        running, quoted = targets_of(quotes(one.belief, window, one.terms), window)
        free = running if free is None else free
        row = _row(one, running, (usual, free), belief.demand, window, confidence)
        if limits is not None:
            mine = 1000 * (true_value(quoted, window) or 0.0)
            row["share_of_gain"] = share_of_gain(mine, limits["best_single_per_1000"], limits["perfect_per_1000"])
        rows.append(row)
    known = window.truth is not None
    for row in rows:
        row["kept"], row["kept_by"] = _kept(row["gain"], rows[0]["gain"], known), "truth" if known else "estimate"
    return rows


def chart(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the frontier as bars into a PNG: the share of the gain that each setting keeps; none where it is unknown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis, kept = figure.subplots(), [100 * (row["kept"] or 0.0) for row in rows]
    colours = ["tab:orange" if row["setting"] == "configured" else "tab:blue" for row in rows]
    axis.barh([row["label"] for row in rows], kept, color=colours)
    axis.invert_yaxis()
    axis.set(xlabel=f"% of the gain without guardrails that is left (by {rows[0]['kept_by']})")
    figure.savefig(path, dpi=110)


def _row(
    one: Setting, running: Floats, against: tuple[Floats, Floats], demand: Floats, window: Window, confidence: float
) -> dict[str, Any]:
    usual, free = against
    return {
        "setting": one.key,
        "label": one.label,
        "gain": gain_over(running, usual, window, confidence),
        "cost": gain_over(free, running, window, confidence),
        "modelled_per_1000": 1000 * float(direct(running, demand, window.logged).mean()),
    }


def _kept(gain: dict[str, Any], most: dict[str, Any], known: bool) -> float | None:
    if known:
        return share_of_gain(gain["true_per_1000"], 0.0, most["true_per_1000"]) if most["true_per_1000"] > 0 else None
    return gain["per_1000"] / most["per_1000"] if most["low"] > 0 else None


def _alone(terms: Terms, free: Terms) -> Iterator[tuple[str, str, Terms]]:
    """Return each guardrail in force by itself: its name, in words, and the terms."""
    rails, plain = terms.guardrails, Guardrails()
    for name, words in _RULES.items():
        value = getattr(rails, name)
        if value == getattr(plain, name):
            continue
        label = words.format(f"{value if name == 'caution' else 100 * value:g}") if "{" in words else words
        if name == "rungs":
            yield name, label, replace(free, ladder=terms.ladder)
        elif name == "endings":
            yield name, label, _railed(free, endings=value, minor_unit=rails.minor_unit)
        else:
            yield name, label, _railed(free, **{name: value})


def _railed(terms: Terms, **changes: Any) -> Terms:
    return replace(terms, guardrails=replace(terms.guardrails, **changes))


def _least(one: float | None, other: float | None) -> float | None:
    given = [value for value in (one, other) if value is not None]
    return min(given) if given else None
