"""choose: the scorecards of the select window -> the challenger.

Picked by likelihood in which every rung counts alike, less what an ensemble's own weights gain by chance; what a
candidate's own model promises to earn decides nothing.
Whether the challenger may price is another question, which `certify` answers on offers that nobody has looked at.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import read_json, replacing, write_json
from pipelines.manifest import GRAPH, MANIFEST

CHOICE = Path("models/choice.json")


def pick(cards: dict[str, dict[str, Any]]) -> str:
    """Return the name of the contender with the least `picking_loss` whose graph may serve."""
    able = {name: card for name, card in cards.items() if card["agreement"]["passed"]}
    if not able:
        raise InputError(
            "choose: no candidate's graph agrees with its Python policy, so none may serve; "
            "see check.mismatches in models/candidates/*/policy.json"
        )
    return min(able, key=lambda name: float(able[name]["picking_loss"]))


def refusal(name: str, agreement: dict[str, Any]) -> str:
    """Return why a candidate cannot be chosen."""
    same = min(agreement["same_price"], agreement["same_probability"])
    return f"graph and Python agree on {same:.2%} only; see check.mismatches in models/candidates/{name}/policy.json"


def main(cfg: Config) -> None:
    """Write models/choice.json, models/policy.onnx and models/policy.json."""
    cards = {name: read_json(Path(f"models/scorecards/{name}.json")) for name in cfg.contenders}
    name = pick(cards)
    losses, charged = ({n: card[key] for n, card in cards.items()} for key in ("balanced_log_loss", "picking_loss"))
    refused = {n: refusal(n, c["agreement"]) for n, c in cards.items() if not c["agreement"]["passed"]}
    graph = cards[name]["graph_sha256"]
    told = {"pick": name, "graph_sha256": graph, "balanced_log_loss": losses, "picking_loss": charged}
    write_json(CHOICE, {**told, "refused": refused})
    for file in (GRAPH, MANIFEST):
        with replacing(Path("models") / file) as draft:
            shutil.copyfile(Path("models/candidates") / name / file, draft)
    print(f"choose: {name}, with the best balanced log loss on the select window ({charged[name]:.4f})")


if __name__ == "__main__":
    stage(main)
