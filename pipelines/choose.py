"""choose: the best candidate against the incumbent and the baselines -> the challenger, and whether it may price.

Candidates are picked by likelihood on the valid window, in which every rung counts alike; a model's own promise of
profit decides nothing. The verdict rests on the paired, doubly robust difference to the incumbent on the test window.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import graph
from pipelines.config import Config, Gate, stage
from pipelines.demand import Curve
from pipelines.errors import InputError
from pipelines.files import read_json, replacing, write_json
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.packing import registered_name, terms_of
from pipelines.simple_policies import single
from pipelines.tables import OffersInfo
from pipelines.value import offers_needed
from pipelines.window import OFFERS, gain_over, read_window, targets

VERDICTS = ("PASS", "REVIEW", "FAIL")
_WEIGHT_SLACK = 0.02  # of the mean weight: rungs at the edge of an ending are valued at their neighbour
_WEAKEST = 0.5  # elasticity, in size, below which a price effect is not believed


@dataclass(frozen=True)
class Check:
    """One thing that a challenger must show, its verdict, and a sentence of reason."""

    name: str
    verdict: str
    reason: str


def pick(cards: dict[str, dict[str, Any]]) -> str:
    """Return the name of the candidate with the best likelihood on the valid window whose graph may serve."""
    able = {name: card for name, card in cards.items() if card["agreement"]["passed"]}
    if not able:
        raise InputError(
            "choose: no candidate's graph agrees with its Python policy, so none may serve; "
            "see check.mismatches in models/candidates/*/policy.json"
        )
    return min(able, key=lambda name: float(able[name]["valid_log_loss"]))


def refusal(name: str, agreement: dict[str, Any]) -> str:
    """Return why a candidate cannot be chosen."""
    same = min(agreement["same_price"], agreement["same_probability"])
    return f"graph and Python agree on {same:.2%} only; see check.mismatches in models/candidates/{name}/policy.json"


def checks(
    card: dict[str, Any], gains: dict[str, dict[str, Any]], incumbent: str, gate: Gate, base_rate: float
) -> list[Check]:
    """Return every check of the challenger `card`; `gains` are its differences to "incumbent" and "single"."""
    agreed = f"graph and Python choose the same price on {card['agreement']['same_price']:.2%} of contexts"
    return [
        Check("graph", "PASS", agreed),
        _calibration(card["calibration_error"], gate.calibration_error * base_rate),
        _price_effect(card["price_sensitivity"]["p50"]),
        _evidence(card, gate.effective_sample_size),
        _propensities(card),
        _overlap(card["mean_weight"]),
        _profit(gains["incumbent"], incumbent, card, gate.confidence),
        _personal(gains["single"]["per_1000"]),
    ]


def _calibration(error: float, allowed: float) -> Check:
    text = f"predicted probabilities are off by {error:.4f} on average, {allowed:.4f} is allowed"
    return Check("calibration", "PASS" if error <= allowed else "REVIEW", text)


def _price_effect(elasticity: float) -> Check:
    text = f"the median elasticity at the list price is {elasticity:.2f}"
    if elasticity < -_WEAKEST:
        return Check("price effect", "PASS", text)
    return Check("price effect", "REVIEW", f"{text}: so weak that every rise would pay; does the data show it at all?")


def _evidence(card: dict[str, Any], least: float) -> Check:
    size = card["effective_sample_size"]
    text = f"the log is worth {size:,.0f} offers of this policy's own, {least:,.0f} are needed"
    # guessed propensities prove no lack of evidence either
    short = "REVIEW" if card["observational"] else "FAIL"
    return Check("evidence", "PASS" if size >= least else short, text)


def _propensities(card: dict[str, Any]) -> Check:
    if card["observational"]:
        text = "the log does not say how prices were chosen; all values are observational and prove nothing"
        return Check("propensities", "REVIEW", text)
    return Check("propensities", "PASS", "the log says with which probability every price was shown")


def _overlap(weight: dict[str, float]) -> Check:
    """Return whether the log could have shown what the policy quotes: the weights then have mean 1."""
    text = f"the mean weight of the logged offers is {weight['mean']:.2f}; it must be 1"
    if weight["low"] <= 1 <= weight["high"] or abs(weight["mean"] - 1) <= _WEIGHT_SLACK:
        return Check("overlap", "PASS", text)
    why = "the policy quotes prices that such shoppers were not shown, or the propensities are wrong"
    return Check("overlap", "REVIEW", f"{text}: {why}, so its value rests on a model alone")


def _profit(gain: dict[str, Any], against: str, card: dict[str, Any], confidence: float) -> Check:
    interval = f"interval {gain['low']:+.1f} to {gain['high']:+.1f}"
    text = f"{gain['per_1000']:+.1f} per 1,000 offers against {against}, {interval}"
    if card["observational"]:
        return Check("profit", "REVIEW", f"{text}, but observational: a person must decide")
    if gain["low"] > 0:
        return Check("profit", "PASS", f"{text}: its lower bound is above zero")
    if gain["per_1000"] <= 0:
        return Check("profit", "FAIL", f"{text}: no gain was seen")
    needed = offers_needed(gain["standard_error"], card["offers"], gain["per_1000"], confidence)
    more = f"such a gain would show in about {needed:,.0f} test offers, {needed - card['offers']:,.0f} more than now"
    return Check("profit", "FAIL", f"{text}: not enough evidence; {more}")


def _personal(gain: float) -> Check:
    text = f"estimated {gain:+.1f} per 1,000 offers against the best single multiplier"
    if gain > 0:
        return Check("personal", "PASS", text)
    return Check("personal", "REVIEW", f"{text}: one price for all may do as well")


def _other_guardrails(incumbent: str) -> Check:
    text = f"{incumbent} prices live under other guardrails than conf/guardrails/ now has, and was valued with them"
    return Check("guardrails", "REVIEW", f"{text}; accept the challenger, or delete its folder to quote the list price")


def _not_failed(check: Check) -> Check:
    """Return the check as a matter for a person: a rival that breaks today's guardrails fails nobody by itself."""
    return Check(check.name, "REVIEW", check.reason) if (check.name, check.verdict) == ("profit", "FAIL") else check


def overall(found: list[Check]) -> str:
    """Return the worst verdict."""
    return max((c.verdict for c in found), key=VERDICTS.index)


def sentence(verdict: str, name: str, rival: str, found: list[Check], prices_already: bool = False) -> str:
    """Return the reason for the verdict on the challenger `name` against `rival`, in one sentence."""
    worst = "; ".join(f"{c.name}: {c.reason}" for c in found if c.verdict == verdict)
    profit = next(c.reason for c in found if c.name == "profit")
    if prices_already:
        return f"{name} prices already; " + (profit if verdict == "PASS" else f"look at it again: {worst}")
    if verdict == "PASS":
        return f"{name} may replace {rival}: {profit}"
    outcome = "needs a person's decision" if verdict == "REVIEW" else "may not replace it"
    return f"{rival} stays; {name} {outcome}: {worst}"


def incumbent_folder(model: str) -> Path:
    """Return the folder of the policy that prices now: what `promote` wrote, else the list-price policy."""
    promoted = Path("models/incumbent") / model
    return promoted if (promoted / MANIFEST).is_file() else Path("models/baselines/list_price")


def main(cfg: Config) -> None:
    """Write models/champion.json, models/policy.onnx and models/policy.json."""
    cards = {name: read_json(Path(f"models/scorecards/{name}.json")) for name in cfg.candidates}
    baselines = read_json(Path("models/scorecards/baselines.json"))["policies"]
    info = OffersInfo.read(OFFERS / "offers.json")
    name, folder = pick(cards), incumbent_folder(registered_name(info.source))
    incumbent = Manifest.read(folder)
    result = compare(cfg, info, cards[name], incumbent, folder, baselines["single"]["multiplier"])
    refused = {n: refusal(n, c["agreement"]) for n, c in cards.items() if not c["agreement"]["passed"]}
    write_json(Path("models/champion.json"), {**result, "refused": refused})
    for file in (GRAPH, MANIFEST):
        with replacing(Path("models") / file) as draft:
            shutil.copyfile(Path("models/candidates") / name / file, draft)
    print(f"choose: {result['verdict']} - {result['reason']}")


def compare(
    cfg: Config, info: OffersInfo, card: dict[str, Any], incumbent: Manifest, folder: Path, multiplier: float
) -> dict[str, Any]:
    """Return the verdict on the candidate `card` against the incumbent in `folder` and the single `multiplier`."""
    window, level = read_window(info), cfg.gate.confidence
    challenger = Path("models/candidates") / card["name"]
    mine, _ = targets(graph.session(challenger / GRAPH), window)
    same = incumbent.graph_sha256 == card["graph_sha256"]
    rival = Path("models/baselines/list_price") if same else folder
    rival_name = "list_price" if same else incumbent.name
    terms = terms_of(cfg, info, Curve("log", 0.0, 1.0))  # the axis plays no part in a fixed price
    gains = {
        "incumbent": gain_over(mine, targets(graph.session(rival / GRAPH), window)[0], window, level),
        "single": gain_over(mine, single(window, terms, multiplier), window, level),
    }
    found = checks(card, gains, rival_name, cfg.gate, float(window.offers["bought"].mean()))
    if incumbent.terms.guardrails != cfg.guardrails:
        found = [_not_failed(c) for c in found] + [_other_guardrails(incumbent.name)]
    verdict = overall(found)
    return {
        "verdict": verdict,
        "pick": card["name"],
        "incumbent": incumbent.name,
        "reason": sentence(verdict, card["name"], rival_name, found, prices_already=same),
        "checks": [asdict(c) for c in found],
        "metrics": {"gain_over_incumbent": gains["incumbent"], "gain_over_single": gains["single"]},
        "graph_sha256": card["graph_sha256"],
    }


if __name__ == "__main__":
    stage(main)
