"""The report that a pricing manager reads: one page without network or script, made of what the stages wrote.

`page` is pure: facts in, HTML out. All names in it come from users' tables and are escaped by the template.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from pipelines import gate, report_quality
from pipelines.drawing import Scale, Series, bar, plot, span
from pipelines.files import read_json, replacing
from pipelines.wording import (
    BASELINES,
    CHECKS,
    ESTIMATORS,
    GUARDRAILS,
    VERDICTS,
    changed,
    money,
    moved,
    number,
    percent,
    price_axis,
    rung_named,
    signed,
    unknown_chances,
    usual,
)

MODELS, OFFERS = Path("models"), Path("data/offers/offers.json")
TEMPLATE = Path(__file__).with_name("report.html.jinja")
PLOTS = ("calibration", "demand", "price_change")

_TYPICAL = {1: "the least sensitive tenth", 5: "a middle tenth", 10: "the most sensitive tenth"}


def gather(champion: dict[str, Any], confidence: float) -> dict[str, Any]:
    """Return the facts of the page, from the files that the stages wrote; champion: what `certify` found."""
    choice, folder = read_json(MODELS / "choice.json"), MODELS / "plots" / champion["pick"]
    return {
        "champion": champion,
        "choice": choice,
        "confidence": confidence,
        "info": {**read_json(OFFERS), "fallback": champion["facts"]["fallback"]},
        "baselines": read_json(MODELS / "scorecards/baselines.json"),
        "cards": {n: read_json(MODELS / f"scorecards/{n}.json") for n in choice["balanced_log_loss"]},
        "overlap": read_json(MODELS / "overlap/report.json"),
        "plots": {n: _rows(folder / f"{n}.csv") for n in PLOTS},
        "quality": report_quality.read(),
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a plot's table with None in its gaps; none where there is no such plot (a baseline)."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = json.loads(pd.read_csv(path).to_json(orient="records"))
    return rows


def write(path: Path, champion: dict[str, Any], confidence: float) -> None:
    """Write the page."""
    text = page(gather(champion, confidence))
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def page(facts: dict[str, Any]) -> str:
    """Return the page, as HTML; facts: see `gather`."""
    world = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters |= {
        "money": money,
        "signed": signed,
        "percent": percent,
        "moved": moved,
        "changed": changed,
        "number": number,
    }
    info = {"listed": True, "timed": True, **facts["info"]}
    told = {
        **facts,
        "info": info,
        "verdict": headline(facts["champion"]),
        "reasons": reasons(facts["champion"]),
        "card": {"modes": None, "frontier": None, "segments": None, **_measured(facts)},
        "tried": tried(facts),
        "certified": certified(facts["champion"]),
        "curves": curves(facts["plots"]["demand"], info["listed"]),
        "calibration": calibration(facts["plots"]["calibration"]),
        "unknown": unknown(facts),
        "chances": unknown_chances(facts["champion"]["facts"].get("unsummed", False)),
        "usual": usual(info["fallback"], info["listed"]),
        "axis": price_axis(info["listed"]),
        "check_words": CHECKS,
        "bar": bar,
        "ranges": ranges,
        "guardrail_words": GUARDRAILS,
        "style": report_quality.style(),
        "quality": report_quality.section(facts.get("quality")),
    }
    return world.from_string(TEMPLATE.read_text(encoding="utf-8")).render(told)


def headline(champion: dict[str, Any]) -> tuple[str, str]:
    """Return the verdict in a few words, and in a sentence."""
    if champion["verdict"] == "promote" and champion["facts"].get("prices_already"):
        return "May price on", "It prices already, and was shown to earn more than the price for everybody."
    return VERDICTS[champion["verdict"]]


def reasons(champion: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what stands in the way, each reason once: what was asked for, in words, and what was found."""
    found = gate.reasons([gate.Check(**check) for check in champion["checks"]])
    named = [(", ".join(CHECKS.get(name, name) for name in names.split(", ")), reason) for names, reason in found]
    return named if champion["verdict"] != "promote" else []


def _measured(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the pick's scorecard of the select window; of the certify window where it was no contender."""
    champion = facts["champion"]
    found: dict[str, Any] = facts["cards"].get(champion["pick"], champion["scorecard"])
    return found


def tried(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every policy that was measured on the select window, baselines first, the likeliest contender next."""
    policies, cards, pick = facts["baselines"]["policies"], facts["cards"], facts["champion"]["pick"]
    ranked = sorted(cards, key=lambda name: float(cards[name]["picking_loss"]))
    info = facts["info"]
    words = {**BASELINES, "list_price": f"{usual(info['fallback'], info.get('listed', True))} for everybody"}
    named = [(text, policies[name], False) for name, text in words.items() if name in policies]
    named += [(name, cards[name], True) for name in ranked]
    keys = ("profit_low", "profit_high", "true_profit_per_1000")
    scale = Scale.over([card.get(k) for _, card, _ in named for k in keys])
    return [
        {
            "name": name,
            "picked": contender and name == pick,
            "contender": contender,
            "card": card,
            "span": _span(card, scale),
        }
        for name, card, contender in named
    ]


def _span(card: dict[str, Any], scale: Scale) -> Markup:
    low, middle, high = (card[k] for k in ("profit_low", "profit_per_1000", "profit_high"))
    return span(low, middle, high, scale, card.get("true_profit_per_1000"))


def ranges(gains: list[dict[str, Any]]) -> list[Markup]:
    """Return intervals {per_1000, low, high, true_per_1000} drawn on one scale with nought."""
    keys = ("low", "high", "true_per_1000")
    scale = Scale.over([g.get(k) for g in gains for k in keys], zero=True)
    return [span(g["low"], g["per_1000"], g["high"], scale, g.get("true_per_1000")) for g in gains]


def certified(champion: dict[str, Any]) -> dict[str, Any]:
    """Return the certified leads, and the sensitivity of the one over what prices now; per 1,000 offers."""
    told, leads = champion["facts"], champion["metrics"]
    listed = told.get("listed", True)
    named = f" ({rung_named(told['single'], listed)})" if "single" in told else ""
    priced = told["champion"] == "list_price"
    against = usual(told["fallback"], listed) if priced else f"{told['champion']}, which prices now"
    gains = [
        {"against": against, "lower": 1000 * told["gain"]["lower"], **leads["gain_over_champion"]},
        {
            "against": f"the best single price{named}",
            "lower": 1000 * told["personal"]["lower"],
            **leads["gain_over_single"],
        },
    ]
    found = champion.get("sensitivity") or {}
    checked = [
        {"name": words, **{k: 1000 * found[name][key] for k, key in _KEYS.items()}}
        for name, words in ESTIMATORS.items()
        if name in found and all(found[name][key] is not None for key in _KEYS.values())
    ]
    return {"gains": gains, "sensitivity": checked}


_KEYS = {"per_1000": "mean", "low": "low", "high": "high"}


def curves(rows: list[dict[str, Any]], listed: bool = True) -> list[dict[str, Any]]:
    """Return the demand of the least, a middling and the most price-sensitive tenth of shoppers, one chart each.

    listed: whether there are list prices.
    """
    kept = [r for r in rows if r["decile"] in _TYPICAL]
    x = Scale.over([r["multiplier"] for r in kept])
    y = Scale.over([r[k] for r in kept for k in ("predicted", "observed")], zero=True)
    found = []
    for decile, words in _TYPICAL.items():
        part = [r for r in kept if r["decile"] == decile]
        seen = [r for r in part if r["observed"] is not None]
        series = [
            Series(tuple((r["multiplier"], r["predicted"]) for r in part)),
            Series(
                tuple((r["multiplier"], r["observed"]) for r in seen),
                line=False, dots=True, weights=tuple(r["rows"] for r in seen),
            ),
        ]  # fmt: skip
        drawn = plot(f"Demand of {words}", series, x, y, (price_axis(listed), "share that buys"))
        if part:
            found.append({"words": words, "chart": drawn})
    return found


def calibration(rows: list[dict[str, Any]]) -> Markup:
    """Return predicted against observed purchase rates; on the diagonal they are equal."""
    both = Scale.over([r[k] for r in rows for k in ("predicted", "observed")], zero=True)
    points = Series(tuple((r["predicted"], r["observed"]) for r in rows), line=False, dots=True)
    ideal = Series(((both.low, both.low), (both.high, both.high)), faint=True)
    return plot("Calibration", [ideal, points], both, both, ("predicted share", "observed share"))


def unknown(facts: dict[str, Any]) -> list[str]:
    """Return what the numbers do not say."""
    info, told = facts["info"], facts["champion"]["facts"]
    listed = info.get("listed", True)
    low, high, sure = min(info["ladder"]), max(info["ladder"]), facts["confidence"]
    said = [str(text) for text in info["assumptions"]]
    if told["observational"]:
        said.append(
            f"Observational: {unknown_chances(told.get('unsummed', False))}. If something that moved prices also moved "
            "demand and is not a column of the table, every gain here may be wrong, in either direction."
        )
    hardly = [r["multiplier"] for r in facts["overlap"]["rungs"] if r["unsupported"] > 0.5]
    if hardly:
        named = ", ".join(rung_named(m, listed) for m in hardly)
        said.append(f"Prices of {named} were hardly shown to most shoppers; little is known of them.")
    if told["challengers"] > 1:
        said.append(
            f"{told['challengers']} challengers have been tried on these offers. The bar was raised for it, but fresh "
            "offers would say more."
        )
    return [
        *said,
        f"Of prices below {rung_named(low, listed)} or above {rung_named(high, listed)} nothing is known: they were "
        "never shown.",
        "Each number is of past offers. Another season, a competitor's answer, or shoppers who learn that prices are "
        "personal may change demand; only a live trial shows that.",
        "Counted is the profit of the sale itself: not returns, later visits, trust, or whether a shopper finds it "
        "fair.",
        f"An interval of {percent(sure)} misses the truth in about {percent(1 - sure)} of cases.",
    ]
