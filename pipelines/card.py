"""The model card: what a policy is for, how it was measured, and what it must not be trusted with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.manifest import Manifest
from pipelines.pricing import Guardrails
from pipelines.wording import number, unknown_chances

_LIMITS = (
    "It knows only the rungs that were shown; prices between and beyond them are never quoted.",
    "Where the guardrail `support` is set, a rung that such shoppers were hardly ever shown is not quoted either.",
    "Where evidence is thin, a personal price is damped: drawn towards the price that is best for everybody, by the "
    "share of the personal deviation that the select window bore out.",
    "It was measured on offers after its training data; demand that has changed since is not in it.",
    "Expected profit is of the single offer: stock, later purchases and competitors are not considered.",
    "A context unlike those seen is priced as if at the edge of the range seen; an unseen word as no word.",
)
_METRICS = (
    ("offers", "offers", ","),
    ("log_loss", "log loss", ".4f"),
    ("balanced_log_loss", "log loss, every rung counting alike", ".4f"),
    ("auc", "AUC", ".3f"),
    ("calibration_error", "calibration error", ".4f"),
    ("profit_per_1000", "profit per 1,000 offers", ",.1f"),
    ("profit_low", "… lower bound", ",.1f"),
    ("profit_high", "… upper bound", ",.1f"),
    ("claimed_per_1000", "… as its own model claims", ",.1f"),
    ("true_profit_per_1000", "true profit per 1,000 offers", ",.1f"),
    ("share_of_gain", "share of the possible gain", ".1%"),
    ("effective_sample_size", "effective sample size", ",.0f"),
    ("mean_price_change", "mean price change", "+.1%"),
    ("fallback_share", "share of fallback quotes", ".2%"),
)


def card(manifest: Manifest, scorecard: dict[str, Any], verdict: dict[str, Any] | None = None) -> str:
    """Return the card as Markdown.

    scorecard: what was measured of its trial on the select window. verdict: what `certify` said, if this one was
    picked; the metrics are then those of the policy itself on the certify window.
    """
    parts = ("\n".join(part) for part in _parts(manifest, scorecard, verdict))
    return "\n\n".join(parts) + "\n"


def _parts(manifest: Manifest, scorecard: dict[str, Any], verdict: dict[str, Any] | None) -> Iterator[list[str]]:
    yield [
        f"# {manifest.name}: a pricing policy ({manifest.family})",
        f"Quotes a price in {manifest.currency} for one shopper looking at one item, from what is known just before. "
        f"Learned from the source `{manifest.source}`; data {manifest.data_sha256[:12]}, "
        f"commit {manifest.git_commit[:12]}, graph {manifest.graph_sha256[:12]}.",
    ]
    if verdict is not None:
        checks = [f"- {c['name']}: **{c['verdict']}**, {c['reason']}" for c in verdict.get("checks", [])]
        yield ["## Verdict", f"**{verdict['verdict']}**: {verdict['reason']}", *checks]
    certified = (verdict or {}).get("scorecard")
    scorecard, where = (certified, "certify") if certified else (scorecard, "select")
    measured = [(label, style, scorecard.get(key)) for key, label, style in _METRICS]
    rows = [f"| {label} | {number(value, style)} |" for label, style, value in measured if value is not None]
    if rows:
        yield [f"## Metrics on the {where} window", "", "| metric | value |", "| --- | ---: |", *rows]
    if scorecard.get("observational"):
        unsummed = ((verdict or {}).get("facts") or {}).get("unsummed", False)
        yield [f"Profits are observational: {unknown_chances(unsummed)}."]
    deciles = scorecard.get("price_sensitivity") or {}
    if deciles:
        told = ", ".join(f"{name}: {number(value, '.2f')}" for name, value in deciles.items())
        yield ["## Elasticities", f"Of the purchase probability at the usual price, across contexts: {told}."]
    yield ["## Guardrails", *_guardrails(manifest)]
    personal = ", ".join(f.name for f in manifest.inputs if f.personal) or "none"
    yield ["## Inputs", f"{len(manifest.inputs)} named fields; of these, personal: {personal}."]
    yield ["## Assumptions", *(f"- {text}" for text in manifest.assumptions or ("None.",))]
    yield ["## Limits", *(f"- {text}" for text in _LIMITS)]


def _guardrails(manifest: Manifest) -> list[str]:
    rails: Guardrails = manifest.terms.guardrails
    told = {
        "margin over unit cost, at least": _percent(rails.margin_floor),
        "cut from the list price, at most": _percent(rails.largest_cut),
        "rise above the list price, at most": _percent(rails.largest_rise),
        "price endings": ", ".join(map(str, rails.endings)) or "any",
        "minor unit": str(rails.minor_unit) if rails.minor_unit else "none: prices are not rounded",
        "explored share of quotes": _percent(rails.exploration),
        "probability with which such shoppers were shown a price, at least": (
            "no limit" if rails.support is None else f"{rails.support:g}"
        ),
        "caution": f"{rails.caution:g}" if rails.caution else "none",
        "rungs": ", ".join(f"{rung:g}" for rung in manifest.terms.ladder),
    }
    return [f"- {rule}: {value}" for rule, value in told.items()]


def _percent(value: float | None) -> str:
    return "no limit" if value is None else f"{value:.0%}"
