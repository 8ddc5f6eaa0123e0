"""The model card tells what is known, and leaves out what is not."""

from __future__ import annotations

from pathlib import Path

from policies import tiny_policy

from pipelines.card import card

SCORECARD = {"log_loss": 0.61234, "share_of_gain": 0.643, "auc": None, "price_sensitivity": {"p10": -3.1, "p50": -2.0}}
VERDICT = {
    "verdict": "review",
    "reason": "a person must decide",
    "checks": [{"name": "profit", "verdict": "review", "reason": "observational"}],
}


def test_card_has_every_part(tmp_path: Path) -> None:
    """Purpose, data, verdict, metrics, elasticities, guardrails, inputs, assumptions and limits."""
    text = card(tiny_policy(tmp_path), SCORECARD, VERDICT)
    parts = ["Verdict", "Metrics on the select window", "Elasticities", "Guardrails", "Inputs", "Assumptions", "Limits"]
    assert parts == [line[3:] for line in text.splitlines() if line.startswith("## ")]
    for told in (
        "data dddddddddddd",
        "**review**: a person must decide",
        "- profit: **review**, observational",
        "| log loss | 0.6123 |",
        "| share of the possible gain | 64.3% |",
        "p10: −3.10, p50: −2.00",
        "- margin over unit cost, at least: 5%",
        "personal: days_since_purchase, session_dwell, country",
        "unit cost is 40 % of the list price",
        "a personal price is damped",
        "hardly ever shown is not quoted",
    ):
        assert told in text
    assert "AUC" not in text


def test_card_of_a_judged_policy_shows_what_was_certified(tmp_path: Path) -> None:
    """The metrics are those of the policy itself on the certify window, not of its trial."""
    text = card(tiny_policy(tmp_path), SCORECARD, VERDICT | {"scorecard": {"log_loss": 0.7, "claimed_per_1000": 12.34}})
    for told in ("## Metrics on the certify window", "| log loss | 0.7000 |", "| … as its own model claims | 12.3 |"):
        assert told in text
    assert "0.6123" not in text


def test_card_without_measurements(tmp_path: Path) -> None:
    """A policy that nobody measured or judged has no empty tables."""
    text = card(tiny_policy(tmp_path), {})
    assert "Metrics" not in text
    assert "Verdict" not in text


def test_card_says_what_is_observational(tmp_path: Path) -> None:
    """Profits from prices that nobody randomised are marked."""
    assert "observational" in card(tiny_policy(tmp_path), {"profit_per_1000": 10.0, "observational": True})
