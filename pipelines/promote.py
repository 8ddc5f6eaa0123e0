"""promote: let the challenger price, if its verdict allows; nothing else writes models/incumbent/ or `champion`.

Not a stage of DVC: it changes what customers pay. The folder is the truth and the alias follows it, so a run that
was cut short is finished by the next one. Without a folder the list-price policy is the champion.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pipelines import registry, tracking
from pipelines.card import card
from pipelines.config import Config, load
from pipelines.errors import InputError
from pipelines.files import digest
from pipelines.manifest import GRAPH, Manifest

MODELS = Path("models")
INCUMBENT = MODELS / "incumbent"
LIST_PRICE = MODELS / "baselines" / "list_price"
ACCEPTABLE = ("canary", "review")  # verdicts that a person may overrule, with a reason


def permission(verdict: dict[str, Any], accepted: str | None) -> str | None:
    """Return why the challenger may price, or None if it may not. `accepted` is a person's reason.

    Raises InputError where a person accepts what was rejected: a decision is asked for on canary and review alone.
    """
    if verdict["verdict"] == "promote":
        return str(verdict["reason"])
    if accepted is None:
        return None
    if not accepted.strip():
        raise InputError("--accept needs a reason: it is kept with the version that it lets price")
    if verdict["verdict"] not in ACCEPTABLE:
        raise InputError(
            f"the verdict on {verdict['pick']} is {verdict['verdict']}, which no person can accept: "
            f"{verdict['reason']}. Change what it names and run `dvc repro`"
        )
    return f"accepted after {verdict['verdict']}: {accepted.strip()}"


def incumbent(folder: Path, challenger: Manifest) -> Manifest | None:
    """Return the manifest of the promoted policy, or None; finish a promotion that was cut short."""
    if not (folder / GRAPH).is_file():
        return None
    try:
        return Manifest.read(folder)
    except InputError as error:
        # the graph is written first: if it is the challenger's, only the manifest is wanting
        if digest(folder / GRAPH) != challenger.graph_sha256:
            raise InputError(f"{error}; or delete {folder}, and the list price is quoted") from error
        registry.copy_policy(MODELS, folder)
        return challenger


def same(one: Manifest | None, other: Manifest) -> bool:
    """Tell whether two policies quote the same."""
    return one is not None and (one.graph_sha256, one.currency) == (other.graph_sha256, other.currency)


def promote(challenger: Manifest, verdict: dict[str, Any], why: str | None) -> str:
    """Move folder and alias as far as `why` permits, and return what there is to tell."""
    model, folder = challenger.model, INCUMBENT / challenger.model
    listed, now = Manifest.read(LIST_PRICE), incumbent(folder, challenger)
    first = _ensure(LIST_PRICE, listed)
    registry.point(model, "challenger", _ensure(MODELS, challenger, verdict))
    moved = why is not None and not same(now, challenger)
    if moved:
        registry.copy_policy(MODELS, folder)
        now = challenger
    champion, version = (now, _ensure(folder, now)) if now else (listed, first)
    pointed = registry.point(model, "champion", version)
    if pointed and why is not None:
        registry.tag(model, version, promoted_because=why)
    named = f"{champion.name} ({champion.graph_sha256[:12]}) is the champion, {model} version {version}"
    news = "from now on" if moved else "the alias was set anew" if pointed else "as before"
    return f"promote: {named}, {news}\n  " + _reason(same(champion, challenger), verdict, why)


def _reason(prices: bool, verdict: dict[str, Any], why: str | None) -> str:
    if prices:
        return f"because: {why or 'it was promoted earlier'}"
    stays, how = f"{verdict['verdict']}: {verdict['reason']}", 'python -m pipelines.promote --accept "why"'
    if verdict["verdict"] == "canary":
        return f"{stays}\n  {_trial(verdict)}; a person may let it price all the same: {how}"
    if verdict["verdict"] == "review":
        return f"{stays}\n  After review a person may let it price: {how}"
    return f"{stays}\n  A rejected challenger cannot be accepted: change what it names and run `dvc repro`"


def _trial(verdict: dict[str, Any]) -> str:
    """Return how to learn what a canary has not shown yet: price a share of offers by it, and how many more to log."""
    gains = [verdict["facts"][name] for name in ("gain", "personal") if "facts" in verdict]
    if gains and all(g["needed"] is not None for g in gains):
        more = max(g["needed"] - g["offers"] for g in gains)
        if more >= 1:
            about = f"{float(f'{more:.2g}'):,.0f}"  # more digits would pretend to be known
            return f"Try it on a share of the offers, and log about {about} more before the next verdict"
    return "Try it on a share of the offers, and log what happens"


def _ensure(folder: Path, manifest: Manifest, verdict: dict[str, Any] | None = None) -> str:
    return registry.ensure(folder, manifest, card(manifest, registry.scorecard(MODELS, manifest), verdict))


def main(cfg: Config, accepted: str | None) -> None:
    """Promote what models/champion.json allows, and say what was done and why."""
    challenger, verdict = registry.challenger(MODELS)
    if challenger.source != cfg.source.name:
        raise InputError(
            f"models/policy.json was made from the source {challenger.source}, but conf/config.yaml says "
            f"{cfg.source.name}: run `dvc repro` first"
        )
    why = permission(verdict, accepted)
    tracking.start(cfg)
    print(promote(challenger, verdict, why))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.promote", description=__doc__.splitlines()[0])
    parser.add_argument("--accept", metavar="REASON", help="let a challenger price whose verdict is canary or review")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for every stage")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    try:
        main(load(arguments.overrides), arguments.accept)
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(1) from None
