"""benchmark-gate: do intervals hold the truth, and are worse challengers kept out? Hundreds of seeds of a fast world.

Usage: python -m pipelines.benchmark.gate [checks=random,confounded,null] [seeds=40] [--processes 2] [--fresh]
       [--folder logs/benchmark/gate]
Without `seeds` each check runs as many as it needs. Finished seeds are kept in the folder and not run again.

Each seed: two candidates are learned on 20,000 offers, one is picked by its log loss on the later quarter, and, damped
and smoothed as it would run, valued on 20,000 later offers. In the first 100 seeds two more challengers are learned, on
500 and on 4,000 of the offers, and held against the first, which is then the champion. What is counted as promoted is a
positive lower bound alone: the gate's other checks can only refuse more.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipelines import everybody, value, wording
from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark.offers import Floats, Offers
from pipelines.benchmark.offers import table as own_table
from pipelines.benchmark.pool import Piece, finished, worked
from pipelines.benchmark.worlds import world
from pipelines.candidates import gbm, linear
from pipelines.candidates.controls import Controls
from pipelines.candidates.damping import damp
from pipelines.candidates.learning import learned, readings, regress, weighted
from pipelines.demand import Demand, log_loss, probability
from pipelines.errors import InputError, nearest
from pipelines.files import write_json
from pipelines.knowledge import View
from pipelines.policy import Terms
from pipelines.pricing import Guardrails
from pipelines.simple_policies import best_single, single
from pipelines.tables import OffersInfo
from pipelines.window import Window, gain_over, quotes, targets_of, true_value, window_of, worth

FOLDER = Path("logs/benchmark/gate")
OFFERS, FEWER, SELECT = 20_000, (500, 4_000), 0.25
CANDIDATES = linear.Settings(), gbm.Settings(rounds=150, patience=20, learning_rate=0.1, max_depth=3, threads=1)
CHALLENGED = 100  # seeds in which worse challengers are learned too; those beyond ask about intervals alone
CONFIDENCE, EXPLORATION = 0.95, 0.1
CHECKS = {"random": ("fast", 400), "confounded": ("fast-confounded", 100), "null": ("fast-null", 40)}  # world, seeds


@dataclass(frozen=True)
class Job:
    """One seed of one check. offers: to learn from, and as many to certify on. fewer: of worse challengers."""

    check: str
    seed: int
    offers: int = OFFERS
    fewer: tuple[int, ...] = FEWER

    def __post_init__(self) -> None:
        """Refuse a check that does not exist."""
        if self.check not in CHECKS:
            raise InputError(f"checks={self.check}: there is no such check{nearest(self.check, list(CHECKS))}")


def canonical(offers: Offers) -> pd.DataFrame:
    """Return offers under the names that the stages use, with `weight`: every rung counts alike."""
    found = own_table(offers).assign(
        offer_id=[f"row-{i:07d}" for i in range(len(offers.rung))],
        list_price=offers.list_price,
        unit_cost=offers.unit_cost,
        rung=offers.rung,
        multiplier=offers.ladder[offers.rung],
    )
    return weighted(found.assign(shopper_id=found["offer_id"]))


def policy_of(offers: pd.DataFrame, info: OffersInfo, seed: int) -> Demand:
    """Return the demand of the candidate that the later offers like best, damped, and settled on all of them."""
    later = int(SELECT * len(offers))
    fit, select = offers[:-later].reset_index(drop=True), offers[-later:].reset_index(drop=True)
    shared = readings(fit, select, (info.numeric, ()), info.ladder, CANDIDATES[0], seed)
    found = [learned(shared, fit, select, one, seed, Controls()) for one in CANDIDATES]
    damped = [damp(one.trial, one.demand, fit, select) for one in found]
    rows, rung = np.arange(len(select)), select["rung"].to_numpy()
    bought, weight = select["bought"].to_numpy(), select["weight"].to_numpy()
    losses = [log_loss(bought, probability(trial, select)[rows, rung], weight) for trial, _ in damped]
    return damped[int(np.argmin(losses))][1]


def running(demand: Demand, window: Window, terms: Terms) -> Floats:
    """Return a policy as it runs, with its exploration, as rung probabilities (N, K)."""
    return targets_of(quotes(View(demand).belief(window.offers), window, terms), window)[0]


def compared(challenger: Floats, champion: Floats, window: Window) -> dict[str, Any]:
    """Return the lead of a challenger: its lower bound as the gate has it, and what is true."""
    lead = value.gain(challenger, champion, window.demand, window.logged, CONFIDENCE)
    truth = gain_over(challenger, champion, window, CONFIDENCE)["true_per_1000"]
    return {
        "mean": 1000 * lead.mean,
        "lower": 1000 * lead.lower,
        "true": truth,
        "promoted": lead.lower > 0,
        "worse": truth < 0,
        "effective_sample_size": lead.effective_sample_size,
    }


def seed_of(job: Job) -> dict[str, Any]:
    """Return what one seed showed; money per 1,000 offers."""
    started, made = time.perf_counter(), world(CHECKS[job.check][0], job.seed)
    drawn = [made.draw(job.offers, made.rng(stream)) for stream in ("learn", "certify")]
    early, late = (canonical(d) for d in drawn)
    ladder = tuple(drawn[0].ladder.tolist())
    numeric = tuple(str(n) for n in drawn[0].contexts)
    info = OffersInfo("offers", "EUR", ladder, numeric, (), propensity_logged=True)
    terms = Terms(ladder, ladder, Guardrails(exploration=EXPLORATION), fallback=ladder[0])
    reference = regress(early, (numeric, ()), ladder, job.seed)
    before, window = (
        window_of(t, info, probability(reference, t), t["propensity"].to_numpy(float), d.truth)
        for t, d in zip((early, late), drawn, strict=True)
    )
    champion, *worse = (running(policy_of(early[:n], info, job.seed), window, terms) for n in (job.offers, *job.fewer))
    alone = single(window, terms, best_single(before, terms, everybody.told(early, np.array(ladder))))
    found = worth(champion, window, CONFIDENCE)
    truth = true_value(champion, window) or 0.0
    best = max((window.logged.unit_profit * drawn[1].truth).mean(axis=0))
    return {
        **dataclasses.asdict(job),
        "mean": found["profit_per_1000"],
        "low": found["profit_low"],
        "high": found["profit_high"],
        "true": 1000 * truth,
        "covers": bool(found["interval_holds_truth"]),
        "lost": 1 - truth / best,
        "over_single": compared(champion, alone, window),
        "learned_on": {str(n): compared(one, champion, window) for n, one in zip(job.fewer, worse, strict=True)},
        "seconds": time.perf_counter() - started,
    }


def share(flags: Sequence[bool]) -> str:
    """Return a share with its standard error, in percent, and the counts."""
    if not flags:
        return "none to count"
    p = float(np.mean(flags))
    error = np.sqrt(p * (1 - p) / len(flags))
    return f"{p:.1%} ± {error:.1%} ({sum(flags)} of {len(flags)})"


def summary(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the counts of one check."""
    over, found = [r["over_single"] for r in records], {}
    for n in dict.fromkeys(n for r in records for n in r["learned_on"]):
        worse = [r["learned_on"][n] for r in records if n in r["learned_on"] and r["learned_on"][n]["worse"]]
        found[f"worse, learned on {int(n):,}: promoted"] = share([w["promoted"] for w in worse])
        found[f"worse, learned on {int(n):,}: estimate positive"] = share([w["mean"] > 0 for w in worse])
    return {
        "95 % interval holds the truth": share([r["covers"] for r in records]),
        "promoted above the best single rung": share([o["promoted"] for o in over]),
        "… and truly worse than it": share([o["promoted"] and o["worse"] for o in over]),
        **found,
        "lost against the true best single rung": wording.number(np.mean([r["lost"] for r in records]), "+.2%"),
        "seconds per seed": f"{np.mean([r['seconds'] for r in records]):.1f}",
    }


def planned(words: Sequence[str]) -> tuple[list[Job], int, bool, Path]:
    """Return jobs, processes, whether anew, and the folder of a command line."""
    given = read(words, "benchmark.gate", __doc__ or "", ("checks", "seeds"), FOLDER)
    checks = [c for c in given.settings.get("checks", ",".join(CHECKS)).split(",") if c]
    few = whole("seeds", given.settings["seeds"]) if "seeds" in given.settings else None
    wanted = {check: few or CHECKS.get(check, ("", 1))[1] for check in checks}
    jobs = [
        Job(check, seed, fewer=FEWER if seed <= CHALLENGED else ())
        for seed in range(1, max(wanted.values(), default=0) + 1)
        for check, seeds in wanted.items()
        if seed <= seeds
    ]
    return jobs, given.processes, given.fresh, given.folder


def run(words: Sequence[str], console: Console) -> int:
    """Run what is missing, print the counts and write them; return how many seeds failed."""
    jobs, processes, fresh, folder = planned(words)
    pieces = [Piece(f"{job.check}-{job.seed:03d}", seed_of, job) for job in jobs]
    if fresh:
        for piece in pieces:
            (folder / f"{piece.name}.json").unlink(missing_ok=True)
    failed = worked(pieces, folder, processes, console, None)
    records = list(finished(pieces, folder).values())
    table, found = Table("check", "", "share"), {}
    for check in dict.fromkeys(r["check"] for r in records):
        found[check] = summary([r for r in records if r["check"] == check])
        for name, text in found[check].items():
            table.add_row(check, name, text)
        table.add_section()
    console.print(table)
    if found:
        write_json(folder / "summary.json", found)
    return len(failed)


def main(words: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return ended(lambda: run(words, Console()), "seeds")


if __name__ == "__main__":
    from pipelines.benchmark import gate  # so that workers, who import it by name, find the function

    raise SystemExit(gate.main(sys.argv[1:]))
