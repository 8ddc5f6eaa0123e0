"""certify: the challenger's graph on offers that nobody has looked at -> promote, canary, review or reject.

Everything is frozen before: the graph, the champion, the reference demand (fitted on earlier offers), and the rules of
`gate`. The ledger counts how many challengers have opened this window; the more, the higher the bar for each.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import gate, graph, ledger, report, scorecard, value
from pipelines.balance import misfits, per_rung
from pipelines.candidates import load_demand
from pipelines.config import Config, Gate, stage
from pipelines.demand import probability
from pipelines.files import read_json, read_table, write_json
from pipelines.gate import Effect, Facts
from pipelines.logging_policy import FOLDER, SHOWN, LoggingPolicy, propensities
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.packing import SINGLE, priced, registered_name, terms_of
from pipelines.refutation import Placebo, Slope
from pipelines.simple_policies import bounds, single
from pipelines.tables import OffersInfo
from pipelines.value import Floats
from pipelines.window import OFFERS, Window, gain_over, targets, targets_of, truth_of, window_of

MODELS, LIST_PRICE = Path("models"), Path("models/baselines/list_price")


@dataclass(frozen=True)
class Rivals:
    """What the challenger is held against on the window, as rung probabilities (N, K).

    champion: what prices now, or the list-price policy where that is the challenger itself (`same`). single: the best
    single multiplier of the fit window. name: of the champion.
    """

    champion: Floats
    single: Floats
    name: str
    manifest: Manifest
    same: bool
    multiplier: float


def incumbent_folder(model: str) -> Path:
    """Return the folder of the policy that prices now: what `promote` wrote, else the list-price policy."""
    promoted = MODELS / "incumbent" / model
    return promoted if (promoted / MANIFEST).is_file() else LIST_PRICE


def read_certify(info: OffersInfo) -> Window:
    """Return the certify window, with the reference demand and the propensities that earlier windows gave."""
    offers = read_table(OFFERS / "certify.parquet")
    demand = probability(load_demand(MODELS / "baselines/reference"), offers)
    return window_of(offers, info, demand, propensities(offers), truth_of(offers, info))


def rivals(cfg: Config, info: OffersInfo, window: Window, challenger: Manifest) -> Rivals:
    """Return what prices now and the best single multiplier, as they run."""
    folder = incumbent_folder(registered_name(info.source, info.model))
    manifest = Manifest.read(folder)
    same = manifest.graph_sha256 == challenger.graph_sha256
    running, _ = targets(graph.session((LIST_PRICE if same else folder) / GRAPH), window)
    multiplier = float(read_json(SINGLE)["multiplier"])
    alone = single(window, terms_of(cfg, info), multiplier)
    return Rivals(running, alone, "list_price" if same else manifest.name, manifest, same, multiplier)


def facts(
    cfg: Config,
    window: Window,
    challenger: Manifest,
    card: dict[str, Any],
    running: Floats,
    against: Rivals,
    count: int,
) -> Facts:
    """Return what was measured of the challenger; count: how many challengers have opened the window."""
    level, report = ledger.level(cfg.gate.confidence, count), read_json(FOLDER / "report.json")
    least = cfg.gate.support
    shown = LoggingPolicy.load(FOLDER / SHOWN).probability(window.offers)
    leads = {
        name: value.gain(running, other, window.demand, window.logged, level)
        for name, other in {"champion": against.champion, "single": against.single}.items()
    }
    # where a control function mended the slope, the mended one is judged
    found = (report.get("endogeneity") or {}).get("corrected") or report.get("slope")
    slope = Slope(**found) if found else None
    rungs = per_rung(
        window.logged.rung, window.logged.propensity, shown, window.info.ladder, least, window.logged.shopper
    )
    told = {k: v for k, v in (report.get("placebo") or {}).items() if k != "shows_effect"}
    everywhere = window.info.everywhere
    # of earlier windows and of this one; a rung that is wrong in both is told once
    wrong = tuple(
        {row[0]: row for row in (*misfits(rungs, everywhere), *misfits(report.get("rungs", []), everywhere))}.values()
    )
    return Facts(
        challenger=challenger.name,
        champion=against.name,
        prices_already=against.same,
        other_guardrails=against.manifest.terms.guardrails != cfg.guardrails,
        observational=window.observational,
        agreed=bool(challenger.check["passed"]),
        same_price=float(challenger.check["same_price"]),
        offers=len(window.offers),
        purchase_rate=float(window.offers["bought"].mean()),
        calibration_error=card["calibration_error"],
        elasticity=card["price_sensitivity"]["p50"],
        slope=slope,
        placebo=Placebo(**{**told, "z": tuple(told["z"])}) if told else None,
        unsupported=value.unsupported(running, shown, least),
        effective_sample_size=card["effective_sample_size"],
        mean_weight=Effect(*(card["mean_weight"][k] for k in ("mean", "low", "high"))),
        gain=leads["champion"],
        personal=leads["single"],
        level=level,
        challengers=count,
        fallback=terms_of(cfg, window.info).fallback,
        single=against.multiplier,
        listed=window.info.listed,
        unsummed=window.info.unsummed,
        misfits=wrong if window.info.propensity_logged else (),
    )


def looked_at() -> str:
    """Return the SHA-256 of what a look at the certify window reveals: its outcomes, whatever columns stand beside."""
    seen = read_table(OFFERS / "certify.parquet", ["offer_id", "rung", "bought"]).sort_values("offer_id")
    return hashlib.sha256(seen.to_csv(index=False).encode()).hexdigest()


def limits(settings: Gate) -> gate.Limits:
    """Return what `conf: gate` allows."""
    return gate.Limits(settings.calibration_error, settings.effective_sample_size, settings.unsupported)


def main(cfg: Config) -> None:
    """Write models/champion.json, which says whether models/policy.onnx may price, and why."""
    info, challenger = priced(OffersInfo.read(OFFERS / "offers.json")), Manifest.read(MODELS)
    count = ledger.opened(ledger.LEDGER, looked_at(), challenger.graph_sha256, challenger.name)
    window = read_certify(info)
    against = rivals(cfg, info, window, challenger)
    found = graph.run(graph.session(MODELS / GRAPH), window.offers, scorecard.NEEDED)
    running, _ = targets_of(found, window)
    limit = bounds(window, terms_of(cfg, info))
    card = scorecard.measured(challenger, found, window, against.champion, limit, cfg.gate.confidence)
    measured = facts(cfg, window, challenger, card, running, against, count)
    checks = gate.checks(measured, limits(cfg.gate))
    result = {
        "verdict": gate.verdict(checks),
        "pick": challenger.name,
        "incumbent": against.manifest.name,
        "reason": gate.sentence(measured, checks),
        "checks": [asdict(c) for c in checks],
        "facts": finite(asdict(measured)),
        "metrics": {
            "gain_over_champion": gain_over(running, against.champion, window, cfg.gate.confidence),
            "gain_over_single": gain_over(running, against.single, window, cfg.gate.confidence),
        },
        "sensitivity": {
            name: {k: finite(getattr(e, k)) for k in ("mean", "low", "high")}
            for name, e in value.sensitivity(running, window.demand, window.logged, against.champion).items()
        },
        "scorecard": {k: v for k, v in card.items() if k != "agreement"},
        "bounds": limit,
        "graph_sha256": challenger.graph_sha256,
    }
    write_json(MODELS / "champion.json", result)
    report.write(MODELS / "report.html", result, cfg.gate.confidence)
    print(f"certify: {result['verdict']} - {result['reason']}")


def finite(values: Any) -> Any:
    """Return nested values with None for numbers that JSON has no word for."""
    if isinstance(values, dict):
        return {k: finite(v) for k, v in values.items()}
    if isinstance(values, list | tuple):
        return [finite(v) for v in values]
    return values if not isinstance(values, float) or np.isfinite(values) else None


if __name__ == "__main__":
    stage(main)
