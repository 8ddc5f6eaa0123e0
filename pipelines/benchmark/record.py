"""What one run showed: the capture of every contender and rival, the pick, and what the gate said of it."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import graph
from pipelines.benchmark.chain import Ran, Task, alone, ran
from pipelines.benchmark.offers import Floats, Ints, Offers, Values, values
from pipelines.benchmark.rivals import RIVALS, Absent
from pipelines.config import Config
from pipelines.files import read_json
from pipelines.manifest import GRAPH
from pipelines.window import nearest_rung

MODELS = Path("models")
_SHOWING = {
    ("benchmark", name) for name in ("__main__", "arguments", "gate", "picture", "pool", "table")
}  # change no record
_SAME = 1e-9  # of the profit: less is no room for a gain


def policies(path: Path, fresh: Offers) -> tuple[Ints, Floats]:
    """Return the greedy rungs (N,) of a policy graph on fresh contexts, and its rung probabilities as run (N, K)."""
    columns = fresh.contexts.assign(list_price=fresh.list_price, unit_cost=fresh.unit_cost)
    found = graph.run(graph.session(path), columns, ("price", "ladder_price", "ladder_propensity"))
    ladder = tuple(fresh.ladder.tolist())
    at = nearest_rung(found["ladder_price"] / fresh.list_price[:, None], ladder)
    running = np.zeros_like(fresh.truth)
    for k in range(at.shape[1]):
        np.add.at(running, (np.arange(len(at)), at[:, k]), found["ladder_propensity"][:, k])
    return nearest_rung(found["price"] / fresh.list_price, ladder), running


def scored(found: Values) -> dict[str, float | None]:
    """Return capture (None where nothing is to be gained) and the profit lost against the best single rung."""
    room = found.headroom > _SAME
    return {"capture": found.capture if room else None, "lost": found.lost}


def as_run(running: Floats, fresh: Offers, greedy: Values) -> Values:
    """Return the values of a policy (N, K) that is run as it is, with its exploration."""
    earned = float((running * fresh.unit_profit * fresh.truth).sum(axis=1).mean())
    return dataclasses.replace(greedy, policy=earned)


def contenders(run: Ran) -> dict[str, Any]:
    """Return the scores of every contender, greedy."""
    found = {}
    for name in run.cfg.contenders:
        rungs, _ = policies(MODELS / "candidates" / name / GRAPH, run.fresh)
        found[name] = scored(values(rungs, run.fresh.truth, run.fresh.unit_profit))
    return found


def rivals(run: Ran, seed: int) -> dict[str, Any]:
    """Return the scores of every rival, or why there are none."""
    found: dict[str, Any] = {}
    for name, learned in RIVALS.items():
        policy = learned(run.learn, seed)
        if isinstance(policy, Absent):
            found[name] = {"absent": policy.reason}
        else:
            found[name] = scored(values(policy(run.fresh), run.fresh.truth, run.fresh.unit_profit))
    return found


def picked(run: Ran, others: dict[str, Any]) -> dict[str, Any]:
    """Return what `choose` picked, its scores greedy and as run, and its regret against the best in hindsight."""
    rungs, running = policies(MODELS / GRAPH, run.fresh)
    greedy = values(rungs, run.fresh.truth, run.fresh.unit_profit)
    best = min(others, key=lambda name: float(others[name]["lost"]))
    regret, gain = greedy.lost - others[best]["lost"], -others[best]["lost"]
    room = greedy.headroom > _SAME
    return {
        "pick": read_json(MODELS / "choice.json")["pick"],
        "best": best,
        "choose": scored(greedy),
        "as_run": scored(as_run(running, run.fresh, greedy)),
        "regret": regret,
        "keeps": 1 - regret / gain if room and gain > _SAME else None,
        "headroom": greedy.headroom,
        "single": greedy.single,
    }


def judged() -> dict[str, Any]:
    """Return what `certify` said, beside what is true on its own contexts of the policy as run.

    false_promotion: promoted although it earns less there than the best single rung that it was compared with.
    """
    result = read_json(MODELS / "champion.json")
    card, over = result["scorecard"], result["metrics"]["gain_over_single"]
    promoted = result["verdict"] == "promote"
    return {
        "verdict": result["verdict"],
        "reason": result["reason"],
        "promoted": promoted,
        "false_promotion": promoted and over["true_per_1000"] < 0,
        "gain_over_single": over,
        "gain_over_champion": result["metrics"]["gain_over_champion"],
        "covers": card["interval_holds_truth"],
        "interval": [card["profit_low"], card["profit_high"]],
        "truth": card["true_profit_per_1000"],
        "claimed": card["claimed_per_1000"],
        "checks": {c["name"]: c["verdict"] for c in result["checks"]},
    }


def learned(cfg: Config) -> dict[str, Any]:
    """Return damping, curve shape and weights of the contenders, and the losses by which they are picked."""
    about = {n: read_json(MODELS / "candidates" / n / "demand/about.json") for n in cfg.contenders}
    return {
        "damping": {n: a.get("damping") for n, a in about.items()},
        "shape": {n: a["shape"] for n, a in about.items() if "shape" in a},
        "weights": next((a["weights"] for a in about.values() if "weights" in a), {}),
        "picking_loss": read_json(MODELS / "choice.json")["picking_loss"],
    }


def record(task: Task, root: Path) -> dict[str, Any]:
    """Return everything that one run of the method showed. root: the folder that holds conf/."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pricewright-") as scratch, alone(Path(scratch)):
        run = ran(task, root / "conf")
        own = contenders(run)
        chosen, verdict, about = picked(run, own), judged(), learned(run.cfg)
        before = time.perf_counter()
        others = rivals(run, task.seed)
        run.seconds["rivals"] = time.perf_counter() - before
    return {
        "world": task.world,
        "seed": task.seed,
        "n": task.size,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code(root),
        "contenders": own,
        **chosen,
        **verdict,
        **about,
        "rivals": others,
        "seconds": {**run.seconds, "total": time.perf_counter() - started},
    }


def work(argument: tuple[Task, Path]) -> dict[str, Any]:
    """Return the record of one task, for a worker process."""
    return record(*argument)


def code(root: Path) -> str:
    """Return a short SHA-256 of the modules and settings that a record comes from, to tell those of older code."""
    modules = [p for p in (root / "pipelines").rglob("*.py") if (p.parent.name, p.stem) not in _SHOWING]
    files = sorted([*modules, *(root / "conf").rglob("*.yaml")])
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:12]
