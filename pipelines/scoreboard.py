"""scoreboard: every candidate and baseline in one table, the champion and why, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.config import Config, stage
from pipelines.files import read_json
from pipelines.packing import registered_name
from pipelines.tables import OffersInfo

_BASELINES = {
    "list_price": "list price",
    "single": "best single multiplier",
    "logged": "prices as logged",
    "imitation": "imitation of past prices",
}


_NOTE = (
    "Profits are of the policy as it runs, with its exploration; the share of the gain is that of its greedy prices.\n"
    "A quote's time is the median of the quietest of five rounds, on one thread."
)
_WIDTH = 136  # columns that the table needs


def row(name: str, card: dict[str, Any]) -> list[str]:
    """Return the cells of one policy; a dash where a number does not exist."""
    sensitivity = card.get("price_sensitivity", {}).get("p50")
    interval = f"{_number(card['profit_per_1000'], 0)}  {card['profit_low']:,.0f} … {card['profit_high']:,.0f}"
    return [
        name,
        _number(card.get("log_loss"), 4),
        _number(card.get("calibration_error"), 4),
        _number(sensitivity, 2),
        interval,
        _number(card.get("true_profit_per_1000"), 0),
        _number(card.get("share_of_gain"), 0, percent=True),
        _number(card.get("quote_microseconds"), 0),
    ]


def _number(value: float | None, digits: int, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.{digits}f} %" if percent else f"{value:,.{digits}f}"


def table(cards: dict[str, dict[str, Any]], baselines: dict[str, Any], info: OffersInfo, confidence: float) -> Table:
    """Return the scoreboard's table: baselines first, then candidates."""
    kind = "doubly robust" if info.propensity_logged else "OBSERVATIONAL"
    found = Table(title=f"{info.source}: {info.rows['test']:,} offers of the test window")
    found.add_column("policy", no_wrap=True)
    for title in (
        "log\nloss", "calibration\nerror", "median\nelasticity",
        f"profit per 1,000 offers, {info.currency}\n{kind}, {confidence:.0%} interval",
        "true\nprofit", "share of\nthe gain", "quote\nµs, p50",
    ):  # fmt: skip
        found.add_column(title, justify="right", no_wrap=True)
    policies, bounds = baselines["policies"], baselines["bounds"]
    for name, title in _BASELINES.items():
        card = policies[name]
        found.add_row(*row(title + (f" ({card['multiplier']:g})" if name == "single" else ""), card))
    if bounds is not None:
        perfect = f"{bounds['perfect_per_1000']:,.0f}"
        found.add_row("perfect (knows the truth)", "–", "–", "–", "–", perfect, "100 %", "–", style="dim")
    found.add_section()
    for name, card in cards.items():
        failed = "" if card["agreement"]["passed"] else " (graph disagrees)"
        found.add_row(*row(name + failed, card))
    return found


def verdict_lines(champion: dict[str, Any], info: OffersInfo, served: str) -> list[str]:
    """Return the champion and why, the checks, and what had to be assumed."""
    lines = [
        f"Champion: {served}. Challenger: {champion['pick']}.",
        f"{champion['verdict']}: {champion['reason']}.",
    ]
    lines += [f"  {c['verdict']:<6} {c['name']}: {c['reason']}" for c in champion["checks"]]
    lines += [f"  refused {name}: {why}" for name, why in champion["refused"].items()]
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
    cards = {name: read_json(Path(f"models/scorecards/{name}.json")) for name in cfg.candidates}
    champion, baselines = (
        read_json(Path("models/champion.json")),
        read_json(Path("models/scorecards/baselines.json")),
    )
    model = registered_name(info.source)
    promoted = Path("models/incumbent") / model / "policy.json"
    served = read_json(promoted)["name"] if promoted.is_file() else "list_price"
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)  # a narrower terminal wraps lines, but loses no number
    console.print(table(cards, baselines, info, cfg.gate.confidence))
    for line in [_NOTE, *verdict_lines(champion, info, served), *next_commands(model)]:
        console.print(line)


if __name__ == "__main__":
    stage(main)
