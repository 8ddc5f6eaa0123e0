"""promote: let the challenger price, if its verdict allows; nothing else writes models/incumbent/ or `champion`.

Not a stage of DVC: it changes what customers pay. The folder is the truth and the alias follows it, so a run that
was cut short is finished by the next one. Without a folder the list-price policy is the champion. What may price is
signed; every move of the alias is a line in models/history.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pipelines import moves, registry, releases, signing, tracking
from pipelines.card import card
from pipelines.champion import INCUMBENT, Hand, go_to, roll_back, same
from pipelines.config import Config, load
from pipelines.deploy import AwayError, Deployer
from pipelines.errors import InputError
from pipelines.files import digest
from pipelines.manifest import GRAPH, Manifest
from pipelines.moves import HISTORY, Move

MODELS = Path("models")
LIST_PRICE = MODELS / "baselines" / "list_price"
ACCEPTABLE = ("canary", "review")  # verdicts that a person may overrule, with a reason


def permission(verdict: dict[str, Any], accepted: str | None, taken_back: Move | None = None) -> str | None:
    """Return why the challenger may price, or None if it may not. `accepted` is a person's reason.

    taken_back: the move by which a person took this very graph out of pricing; then its old verdict is not enough.
    Raises InputError where a person accepts what was rejected: a decision is asked for on canary and review alone.
    """
    if verdict["verdict"] == "promote" and taken_back is None:
        return str(verdict["reason"])
    if accepted is None:
        return None
    if not accepted.strip():
        raise InputError("--accept needs a reason: it is kept with the version that it lets price")
    if verdict["verdict"] not in (*ACCEPTABLE, "promote"):
        raise InputError(
            f"the verdict on {verdict['pick']} is {verdict['verdict']}, which no person can accept: "
            f"{verdict['reason']}. Change what it names and run `dvc repro`"
        )
    after = verdict["verdict"] if taken_back is None else f"{verdict['verdict']} and {taken_back.kind}"
    return f"accepted after {after}: {accepted.strip()}"


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


def promote(
    challenger: Manifest, verdict: dict[str, Any], why: str | None, hand: Hand, taken_back: Move | None = None
) -> str:
    """Move folder and alias as far as `why` permits, and return what there is to tell."""
    model, folder = challenger.model, INCUMBENT / challenger.model
    listed, now = Manifest.read(LIST_PRICE), incumbent(folder, challenger)
    first, wants = _ensure(LIST_PRICE, listed), _ensure(MODELS, challenger, verdict)
    releases.sign(challenger, wants, hand.key, "shadow")
    registry.point(model, "challenger", wants)
    moved = why is not None and not same(now, challenger)
    if moved:
        registry.copy_policy(MODELS, folder)
        now = challenger
    if now:
        hand.seal(folder, now, approved=why is not None and same(now, challenger))
    champion, version = (now, _ensure(folder, now)) if now else (listed, first)
    told = (
        why if why is not None and same(champion, challenger) else f"the alias follows {folder if now else LIST_PRICE}"
    )
    pointed = hand.move(champion, version, "promote" if moved else "restore", told)
    if pointed and why is not None:
        registry.tag(model, version, promoted_because=why)
    named = f"{champion.name} ({champion.graph_sha256[:12]}) is the champion, {model} version {version}"
    news = "from now on" if moved else "the alias was set anew" if pointed else "as before"
    return f"promote: {named}, {news}\n  " + _reason(same(champion, challenger), verdict, why, taken_back)


def _reason(prices: bool, verdict: dict[str, Any], why: str | None, taken_back: Move | None) -> str:
    if prices:
        return f"because: {why or 'it was promoted earlier'}"
    if taken_back is not None and verdict["verdict"] != "reject":
        return (
            f"{taken_back.who} took this challenger back at {taken_back.at} ({taken_back.why}): the verdict "
            f'{verdict["verdict"]} is not enough; to let it price again: python -m pipelines.promote --accept "why"'
        )
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


def main(cfg: Config, accepted: str | None, key: Path | None = None) -> None:
    """Promote what models/champion.json allows, and say what was done and why."""
    hand = Hand(signing.signing_key(key))
    challenger, verdict = registry.challenger(MODELS)
    _of_this_source(challenger, cfg, MODELS)
    taken_back = moves.withdrawn(moves.moves(HISTORY, challenger.model), challenger.graph_sha256)
    permitted = permission(verdict, accepted, taken_back)
    tracking.start(cfg)
    print(promote(challenger, verdict, permitted, hand, taken_back))
    _deploy(cfg, challenger.model, hand)


def by_hand(cfg: Config, version: str | None, why: str | None, key: Path | None = None) -> None:
    """Let `version` price, or without one the version that did so before, and say what was done and why."""
    hand, reason = Hand(signing.signing_key(key)), (why or "").strip() or "no reason was given"
    listed = Manifest.read(LIST_PRICE)
    _of_this_source(listed, cfg, LIST_PRICE)
    tracking.start(cfg)
    print(roll_back(listed, reason, hand) if version is None else go_to(listed, version, "to", reason, hand))
    _deploy(cfg, listed.model, hand)


def _deploy(cfg: Config, model: str, hand: Hand) -> None:
    """Hand the champion to the endpoint of this machine, so that one that starts before any watcher is right too."""
    try:
        told = Deployer(model, cfg.tracking.uri, (hand.key.public_key(),)).champion()
    except (InputError, AwayError, OSError) as problem:
        told = [f"note: what was promoted is not deployed here ({problem}): run `python -m pipelines.deploy --once`"]
    for line in told:
        print(line)


def _of_this_source(manifest: Manifest, cfg: Config, folder: Path) -> None:
    if manifest.source != cfg.source.name:
        raise InputError(
            f"{folder}/policy.json was made from the source {manifest.source}, but conf/config.yaml says "
            f"{cfg.source.name}: run `dvc repro` first"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.promote", description=__doc__.splitlines()[0])
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--accept", metavar="REASON", help="let a challenger price whose verdict is canary or review")
    one.add_argument("--to", metavar="VERSION", help="let a version of the registered model price that did so before")
    one.add_argument("--rollback", action="store_true", help="let the version price that did before this one")
    parser.add_argument("--why", metavar="REASON", help=f"of --to and --rollback: kept in {HISTORY}")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help=f"to sign with (default: ${signing.VARIABLE}, {signing.KEY})"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for every stage")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    try:
        if given.rollback or given.to is not None:
            by_hand(load(given.overrides), given.to, given.why, given.key)
        else:
            main(load(given.overrides), given.accept, given.key)
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(1) from None
