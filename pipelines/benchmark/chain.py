"""The whole method on one world: every stage as a user runs it, in a folder of its own, without MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from pipelines import (
    baselines,
    certify,
    choose,
    clean,
    ensemble,
    evaluate,
    export,
    features,
    ingest,
    overlap,
    prepare,
    tracking,
    train,
)
from pipelines.benchmark.offers import Offers, table
from pipelines.benchmark.worlds import WORLDS, World, world
from pipelines.config import ENSEMBLE, Config, load
from pipelines.errors import InputError, nearest
from pipelines.files import read_table, write_table
from pipelines.tables import OffersInfo
from pipelines.window import OFFERS, TRUTH, truth_of

MARKETS = {  # worlds of the project's own shop: what differs from conf/source/market.yaml
    "market": ("source.logging=randomised",),
    "market-confounded": ("source.logging=confounded",),
    "null": ("source.logging=randomised", "source.demand=alike"),
}
FULL = ("market", "market-confounded", "null", "biggs1", "biggs4", "biggs6", "dube-misra")
EXPLORATION = 0.1
FRESH = 60_000  # contexts on which policies are scored
_MARKET = 50_000  # offers to learn from, and as many to certify on


@dataclass(frozen=True)
class Task:
    """One run: a world and a seed. n: offers to learn from, as many to certify on; None = the world's usual number.

    candidates: those that contend; none = those of conf/config.yaml, with their mean.
    """

    world: str
    seed: int
    n: int | None = None
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a world that does not exist, and sizes that are none."""
        known = [*MARKETS, *WORLDS]
        if self.world not in known:
            raise InputError(f"worlds={self.world}: there is no such world{nearest(self.world, known)}")
        if self.n is not None and self.n < 16:
            raise InputError(f"n={self.n}: a benchmark run needs at least 16 offers to learn from")

    @property
    def name(self) -> str:
        """World and seed, as files are named."""
        return f"{self.world}-{self.seed}"

    @property
    def made(self) -> World | None:
        """The world with its coefficients; None for the shop, which is simulated by a stage."""
        return None if self.world in MARKETS else world(self.world, self.seed)

    @property
    def size(self) -> int:
        """Offers to learn from."""
        made = self.made
        return self.n or (made.n if made else _MARKET)


@dataclass
class Ran:
    """What a run left behind in the working folder: its configuration, offers, and seconds by stage."""

    cfg: Config
    learn: Offers
    fresh: Offers
    seconds: dict[str, float] = field(default_factory=dict)


def overrides(task: Task) -> list[str]:
    """Return the settings of a run that differ from conf/: the source, the windows, and no guardrail but the ladder."""
    common = [
        f"seed={task.seed}", "experiment=none", "guardrails=none", f"guardrails.exploration={EXPLORATION}",
        "split.select=0.125", "split.certify=0.5",
    ]  # fmt: skip
    if task.candidates:
        listed = ",".join(task.candidates)
        several = f",{ENSEMBLE}" if len(task.candidates) > 1 else ""
        common += [f"candidates=[{listed}]", f"contenders=[{listed}{several}]"]
    if task.world in MARKETS:
        return [*common, "source=market", f"source.offers={2 * task.size}", *MARKETS[task.world]]
    return [*common, "source=offers", *(f"source.columns.{n}={n}" for n in ("price", "bought", "propensity", "time"))]


def configured(task: Task, conf: Path) -> Config:
    """Return the configuration of a run: one thread, and no TensorBoard."""
    cfg = load(overrides(task), conf)
    plain = {"threads": 1, "logs": None}
    model = {
        name: dataclasses.replace(
            settings, **{k: v for k, v in plain.items() if k in {f.name for f in dataclasses.fields(settings)}}
        )
        for name, settings in cfg.model.items()
    }
    return dataclasses.replace(cfg, model=model)


def ran(task: Task, conf: Path) -> Ran:
    """Run every stage from `ingest` to `certify` in the working folder, which should be empty."""
    cfg, made = configured(task, conf), task.made
    seconds: dict[str, float] = {}

    def timed(name: str, main: Callable[[Config], None], candidate: str | None = None) -> None:
        started = time.perf_counter()
        main(dataclasses.replace(cfg, candidate=candidate))
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    drawn = None
    if made is not None:
        drawn = {stream: made.draw(task.size, made.rng(stream)) for stream in ("learn", "certify")}
        write_table(Path("data/external/offers.parquet"), both(drawn["learn"], drawn["certify"]))
    for name, main in {"ingest": ingest.main, "clean": clean.main, "features": features.main}.items():
        timed(name, main)
    if drawn is not None:
        reveal(drawn, OffersInfo.read(OFFERS / "offers.json"))
    timed("overlap", overlap.main)
    timed("baselines", baselines.main)
    timed("prepare", prepare.main)
    for candidate in cfg.candidates:
        timed(f"train {candidate}", train.main, candidate)
    if ENSEMBLE in cfg.contenders:
        timed("ensemble", ensemble.main)
    for name, each in {"export": export.main, "evaluate": evaluate.main}.items():
        for candidate in cfg.contenders:
            timed(name, each, candidate)
    timed("choose", choose.main)
    timed("certify", certify.main)
    if made is None or drawn is None:
        return Ran(cfg, of_windows("fit", "select"), of_windows("certify"), seconds)
    return Ran(cfg, drawn["learn"], made.draw(FRESH, made.rng("fresh")), seconds)


def both(learn: Offers, certify: Offers) -> pd.DataFrame:
    """Return a user's table of the offers to learn from and, later, those to certify on."""
    parts = [table(learn), table(certify)]
    parts[1]["time"] += parts[0]["time"].iloc[-1] - parts[0]["time"].iloc[0] + pd.Timedelta(minutes=1)
    return pd.concat(parts, ignore_index=True)


def reveal(drawn: dict[str, Offers], info: OffersInfo) -> None:
    """Write the true demand beside the offers, as the simulated shop does: for scorecards, never to learn from."""
    at = [int(abs(drawn["learn"].ladder - rung).argmin()) for rung in info.ladder]
    truth = pd.concat([pd.DataFrame(d.truth[:, at]) for d in drawn.values()], ignore_index=True)
    truth.columns = pd.Index([f"q_{k}" for k in range(len(at))])
    truth.insert(0, "offer_id", [f"row-{i:07d}" for i in range(1, len(truth) + 1)])
    write_table(TRUTH, truth)


def of_windows(*names: str) -> Offers:
    """Return the offers of windows of the simulated shop, with their truth."""
    info = OffersInfo.read(OFFERS / "offers.json")
    found = pd.concat([read_table(OFFERS / f"{name}.parquet") for name in names], ignore_index=True)
    truth = truth_of(found, info)
    if truth is None:
        raise InputError(f"{TRUTH} is missing: a benchmark world must know its demand")
    numbers: dict[str, Any] = {n: found[n].to_numpy(float) for n in ("list_price", "unit_cost", "propensity")}
    whole: dict[str, Any] = {n: found[n].to_numpy("int64") for n in ("rung", "bought")}
    contexts = pd.DataFrame(found[list(dict.fromkeys((*info.numeric, *info.categorical)))])
    return Offers(contexts=contexts, ladder=np.array(info.ladder), truth=truth, **numbers, **whole)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in `folder`; nothing is logged to MLflow meanwhile."""
    before = Path.cwd()
    nothing: dict[str, Any] = {
        "start": _nothing,
        "candidate_run": _nowhere,
        "log_learning": _nothing,
        "log_scorecard": _nothing,
    }
    os.chdir(folder)
    try:
        with mock.patch.multiple(tracking, **nothing):
            yield
    finally:
        os.chdir(before)


def _nothing(*_: Any, **__: Any) -> None:
    """Log nothing."""


@contextlib.contextmanager
def _nowhere(*_: Any, **__: Any) -> Iterator[None]:
    yield
