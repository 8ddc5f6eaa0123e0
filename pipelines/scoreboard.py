"""scoreboard: baselines and contenders in one table, what was certified and why, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import wording
from pipelines.config import Config, stage
from pipelines.files import read_json
from pipelines.packing import registered_name
from pipelines.tables import OffersInfo

REPORT = Path("models/report.html")
_BASELINES = {
    "list_price": "list price",
    "single": "best single price",
    "logged": "prices as logged",
    "imitation": "imitation of past prices",
    "no_personal": "nothing personal",
}
_NOTE = (
    "Trial policies, learned on the fit window, as they run; the share of the gain is that of their greedy prices.\n"
    "claimed: what a policy's own model promises, which decides nothing. Log loss: every rung counts alike, and\n"
    "an ensemble is charged for its weights; the least is picked.\n"
    "A quote's time is the median of the quietest of five rounds, on one thread."
)
_WIDTH = 140  # columns that the table needs


def row(name: str, card: dict[str, Any]) -> list[str]:
    """Return the cells of one policy; a dash where a number does not exist."""
    sensitivity = card.get("price_sensitivity", {}).get("p50")
    profit, low, high = (_number(card[k], 0) for k in ("profit_per_1000", "profit_low", "profit_high"))
    return [
        name,
        _number(card.get("picking_loss", card.get("balanced_log_loss")), 4),
        _number(card.get("calibration_error"), 4),
        _number(sensitivity, 2),
        f"{profit}  {low} … {high}",
        _number(card.get("claimed_per_1000"), 0),
        _number(card.get("true_profit_per_1000"), 0),
        _number(card.get("share_of_gain"), 0, percent=True),
        _number(card.get("quote_microseconds"), 0),
    ]


def _number(value: float | None, digits: int, percent: bool = False) -> str:
    if value is None:
        return "–"
    return wording.percent(value, digits) if percent else wording.number(value, f",.{digits}f")


def table(cards: dict[str, dict[str, Any]], baselines: dict[str, Any], info: OffersInfo, confidence: float) -> Table:
    """Return the scoreboard's table: baselines first, then contenders."""
    unknown = not (info.propensity_logged or info.anchored)
    kind = "OBSERVATIONAL" if baselines["policies"]["list_price"].get("observational", unknown) else "doubly robust"
    policies, bounds = baselines["policies"], baselines["bounds"]
    offers = policies["list_price"]["offers"]
    found = Table(title=f"{info.source}: trial policies on {offers:,} offers of the select window")
    found.add_column("policy", no_wrap=True)
    for title in (
        "log loss,\nbalanced", "calibration\nerror", "median\nelasticity",
        f"profit per 1,000 offers, {info.currency}\n{kind}, {confidence:.0%} interval",
        "claimed", "true\nprofit", "share of\nthe gain", "quote\nµs, p50",
    ):  # fmt: skip
        found.add_column(title, justify="right", no_wrap=True)
    for name, title in _BASELINES.items():
        card = policies[name]
        found.add_row(*row(title + (f" ({card['multiplier']:g})" if name == "single" else ""), card))
    if bounds is not None:
        perfect = f"{bounds['perfect_per_1000']:,.0f}"
        found.add_row("perfect (knows the truth)", "–", "–", "–", "–", "–", perfect, "100 %", "–", style="dim")
    found.add_section()
    for name, card in cards.items():
        failed = "" if card["agreement"]["passed"] else " (graph disagrees)"
        found.add_row(*row(name + failed, card))
    return found


def mode_lines(modes: dict[str, dict[str, Any]], pick: str) -> list[str]:
    """Return a line per way to price by the trial of the pick: profit, gain over the usual price, share of the gain."""
    lines = [f"Ways to price by {pick}, on the select window:"] if modes else []
    for name, card in modes.items():
        gain, share = card["gain_over_list_price"], card.get("share_of_gain")
        told = "" if share is None else f", {wording.percent(share)} of the possible gain"
        lead, low, high = (wording.number(gain[k], "+,.0f") for k in ("per_1000", "low", "high"))
        lines.append(
            f"  {card.get('label', name)}: {_number(card['profit_per_1000'], 0)} per 1,000 offers, "
            f"{lead} ({low} … {high}) over the usual price{told}"
        )
    return lines


def gain_lines(champion: dict[str, Any]) -> list[str]:
    """Return what the challenger was shown to gain, over the champion and over the best single price."""
    facts, lines = champion["facts"], []
    listed = facts.get("listed", True)
    usual = wording.usual(facts["fallback"], listed)
    rivals = {
        "champion": ("gain", usual if facts["champion"] == "list_price" else facts["champion"]),
        "single": ("personal", f"the best single price ({wording.rung_named(facts['single'], listed)})"),
    }
    for name, (fact, rival) in rivals.items():
        gain, truth = facts[fact], champion["metrics"][f"gain_over_{name}"]["true_per_1000"]
        told = "" if truth is None else f"; the truth is {wording.number(truth, '+,.1f')}"
        mean, lower = (wording.number(1000 * gain[k], "+,.1f") for k in ("mean", "lower"))
        lines.append(
            f"  {mean} per 1,000 offers over {rival}, lower bound "
            f"{lower} (one-sided, {100 * facts['level']:.4g} %){told}"
        )
    return lines


def verdict_lines(champion: dict[str, Any], choice: dict[str, Any], info: OffersInfo, served: str) -> list[str]:
    """Return who prices and who wants to, the verdict with its gains and checks, and what had to be assumed."""
    facts = champion["facts"]
    count = facts["challengers"]
    opened = "1 challenger has" if count == 1 else f"{count} challengers have"
    lines = [
        f"Champion: {served}. Challenger: {champion['pick']}, judged on {facts['offers']:,} offers of the certify "
        f"window, which {opened} opened.",
        f"{champion['verdict']}: {champion['reason']}.",
        *gain_lines(champion),
    ]
    lines += [f"  {c['verdict']:<7} {c['name']}: {c['reason']}" for c in champion["checks"]]
    lines += [f"  refused {name}: {why}" for name, why in choice["refused"].items()]
    if info.assumptions:
        lines += ["Assumed:", *(f"  - {text}" for text in info.assumptions)]
    return lines


def next_commands(model: str) -> list[str]:
    """Return the three commands to go on with."""
    return [
        "Next:",
        "  .venv/bin/mlflow ui                 # the runs side by side: http://127.0.0.1:5000",
        "  make serve                          # price live: http://127.0.0.1:8000/quote",
        f"  .venv/bin/mlflow models serve -m models:/{model}@champion --env-manager local --port 5001",
    ]


def main(cfg: Config) -> None:
    """Print the scoreboard of the last run."""
    info = OffersInfo.read(Path("data/offers/offers.json"))
    cards = {name: read_json(Path(f"models/scorecards/{name}.json")) for name in cfg.contenders}
    baselines, choice, champion = (
        read_json(Path("models") / f"{name}.json") for name in ("scorecards/baselines", "choice", "champion")
    )
    model, pick = registered_name(info.source, info.model), champion["pick"]
    promoted = Path("models/incumbent") / model / "policy.json"
    served = read_json(promoted)["name"] if promoted.is_file() else "list_price"
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)  # a narrower terminal wraps lines, but loses no number
    console.print(table(cards, baselines, info, cfg.gate.confidence))
    modes = mode_lines(cards.get(pick, {}).get("modes") or {}, pick)
    report = [f"Report: {REPORT}"] if REPORT.is_file() else []
    verdict = verdict_lines(champion, choice, info, served)
    for line in [_NOTE, *modes, *verdict, *report, *next_commands(model)]:
        console.print(line)


if __name__ == "__main__":
    stage(main)
