"""evaluate: a candidate's trial, as a policy on the select window -> its scorecard and plots.

The trial never saw the select window's outcomes, save to be tuned; what is exported is the same candidate, settled on
fit and select together. The profit that decides a promotion is measured elsewhere, on the certify window.
Usage: python -m pipelines.evaluate candidate=gbm
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines import charts, graph, modes, scorecard, segments, tracking
from pipelines.config import ENSEMBLE, Config, stage
from pipelines.errors import InputError
from pipelines.files import digest_folder, read_json, replacing, write_json
from pipelines.knowledge import Knowledge, known
from pipelines.manifest import GRAPH, Manifest
from pipelines.policy import Terms
from pipelines.tables import OffersInfo
from pipelines.window import OFFERS, Window, quotes, read_select, targets
from pipelines.wording import number

BASELINES = Path("models/baselines")


def explained(
    knowledge: Knowledge, window: Window, terms: Terms, bounds: dict[str, float] | None, confidence: float
) -> dict[str, Any]:
    """Return the policy's modes, what its guardrails cost, and its summary in a few prices; bounds: true, if known."""
    personal = knowledge.personal.belief(window.offers)
    impersonal = None if knowledge.impersonal is None else knowledge.impersonal.belief(window.offers)
    return {
        "modes": modes.compare(personal, impersonal, window, terms, bounds, confidence),
        "frontier": modes.frontier(personal, impersonal, window, terms, confidence),
        "segments": segments.summary(knowledge.encoder, personal, window, terms, bounds, confidence),
    }


def main(cfg: Config) -> None:
    """Write models/scorecards/<name>.json and models/plots/<name>/, and log both to the candidate's MLflow run."""
    if cfg.candidate is None:
        raise InputError("evaluate: which candidate? e.g. python -m pipelines.evaluate candidate=gbm")
    folder, plots = Path("models/candidates") / cfg.candidate, Path("models/plots") / cfg.candidate
    manifest, info = Manifest.read(folder), OffersInfo.read(OFFERS / "offers.json")
    window, rails = read_select(info), manifest.terms.guardrails
    listed, _ = targets(graph.session(BASELINES / "list_price" / GRAPH), window)
    knowledge = known(folder / "trial", info, rails, BASELINES / "impersonal_trial")
    found = quotes(knowledge.belief(window.offers), window, manifest.terms)
    bounds = read_json(Path("models/scorecards/baselines.json"))["bounds"]
    card = scorecard.measured(manifest, found, window, listed, bounds, cfg.gate.confidence)
    if window.shock is not None:
        card["balanced_log_loss"] = scorecard.scored_loss(knowledge.personal.demand, window)
    weights = len(cfg.candidates) - 1 if cfg.candidate == ENSEMBLE else 0
    card["picking_loss"] = scorecard.picking_loss(card["balanced_log_loss"], weights, window)
    card |= explained(knowledge, window, manifest.terms, bounds, cfg.gate.confidence)
    card["quote_microseconds"] = scorecard.quote_microseconds(graph.session(folder / GRAPH), window.offers)
    with replacing(plots) as draft:
        charts.draw(draft, manifest, found, window)
        modes.chart(draft / "frontier.png", card["frontier"])
    write_json(Path("models/scorecards") / f"{cfg.candidate}.json", card)
    tracking.start(cfg)
    with tracking.candidate_run(cfg, cfg.candidate, manifest.data_sha256, digest_folder(folder / "demand")):
        tracking.log_scorecard(card, plots)
    loss = card["balanced_log_loss"]
    print(f"evaluate {cfg.candidate}: log loss {loss:.4f}, {number(card['profit_per_1000'], ',.0f')} per 1,000 offers")


if __name__ == "__main__":
    stage(main)
