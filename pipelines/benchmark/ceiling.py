"""ceiling: what could be captured on the simulated shop's offers by somebody who knew the form of its demand.

Usage: python -m pipelines.benchmark.ceiling [worlds=market,market-confounded] [seeds=3] [--processes 2] [--fresh]
       [--folder logs/benchmark/ceiling]

The simulator's own formula (market/truth.py), its weights unknown, is fitted to the very offers that the method learns
from, by maximum likelihood. What no candidate can know is given: which of the columns matter, their bends and products,
the probit tails, the kink of those who wait for a sale. What is missing from there to 100 is noise of so many offers;
fitted on the true probabilities instead, it is what the shop's hidden traits leave.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from pipelines import clean, features, ingest
from pipelines.benchmark.arguments import ended, read, whole
from pipelines.benchmark.chain import MARKETS, Task, alone, configured, of_windows
from pipelines.benchmark.offers import Floats, Offers, values
from pipelines.benchmark.pool import Piece, finished, worked
from pipelines.errors import InputError
from pipelines.market.shop import CATEGORIES

FOLDER = Path("logs/benchmark/ceiling")
_WAITING, _SALE, _READY = 0.10, (-0.11, 0.05), 0.6  # as in market/truth.py: known, for they are hardly to be learned
_RIDGE = 4.0  # of the weights of what makes a hunter; 1 and 16 give the same within half a point
_START = (-1.0, 1.0, 3.0)  # of level, slope and what hunting adds
_STEPS = 400


@dataclass(frozen=True)
class Job:
    """One world and seed; root: the folder that holds conf/."""

    world: str
    seed: int
    root: Path

    def __post_init__(self) -> None:
        """Refuse a world whose formula this is not."""
        if self.world not in MARKETS or self.world == "null":
            raise InputError(f"worlds={self.world}: only market and market-confounded have this formula")


def wishes(contexts: pd.DataFrame) -> Floats:
    """Return what moves the wish for an item, (N, 11), the last column 1; what is hidden is left out."""
    at = _columns(contexts)
    reads, searched = _ends(contexts, "reviews"), contexts["path"].astype(str).str.contains("search").to_numpy(float)
    rated = _or(at("item_rating"), 3.5) - 3.5
    share = np.minimum(at("category_views_by_shopper") / np.maximum(at("shopper_views"), 1), 0.6)
    depth = np.exp(-(((at("page_depth") - 8) / 5) ** 2))
    social, weekend = contexts["channel"].to_numpy(object) == "social", at("weekday") >= 5
    parts = (
        share, rated, rated * reads, searched, social, np.tanh(at("item_views_by_shopper")),
        np.tanh(at("session_carts")), depth, at("session_views") > 5, weekend, np.ones(len(contexts)),
    )  # fmt: skip
    return np.column_stack([np.asarray(p, float) for p in parts])


def hunts(contexts: pd.DataFrame) -> Floats:
    """Return what makes a shopper hunt for low prices, (N, 42), the last column 1; what is hidden is left out."""
    at = _columns(contexts)
    tier, category, device = (contexts[c].to_numpy(object) for c in ("tier", "category", "device"))
    social = contexts["channel"].to_numpy(object) == "social"
    discounts, dear = _or(at("discount_share"), 0.5), np.log(at("list_price") / 35)
    bargain, premium = np.tanh(at("search_bargain")), np.tanh(at("search_premium"))
    evening = np.exp(-(((at("hour") - 20.5) / 2.5) ** 2))  # the hour is told in whole hours
    comparing = (1 - np.exp(-at("session_dwell") / 150)) * (at("item_views_by_shopper") > 0)
    liked = (_or(at("item_rating"), 3.5) >= 3.9) * _ends(contexts, "reviews")
    parts = (
        *((tier == t) & (category == c) for t in ("basic", "silver", "gold") for c in CATEGORIES),
        *(one for d in ("ios", "android") for one in (device == d, (device == d) & social)), social,
        bargain, bargain * discounts, discounts - 0.5, premium, premium * (dear > 0), dear, comparing,
        at("bought_before") > 0, evening, evening * (at("weekday") >= 5),
        _or(at("days_since_purchase"), 30) < 4, liked, np.ones(len(contexts)),
    )  # fmt: skip
    return np.column_stack([np.asarray(p, float) for p in parts])


def _columns(contexts: pd.DataFrame) -> Callable[[str], Floats]:
    return lambda name: contexts[name].to_numpy(float)


def _or(numbers: Floats, missing: float) -> Floats:
    return np.where(np.isnan(numbers), missing, numbers)


def _ends(contexts: pd.DataFrame, page: str) -> Floats:
    return np.asarray(contexts["path"].astype(str).str.endswith(page), dtype=np.float64)


def curves(weights: Any, wish: Any, hunt: Any, log_price: Any) -> Any:
    """Return q (N, K) as a tensor; log_price: (N, 1) or (1, K). weights: of wish and hunt, then slope and its rise."""
    import tensorflow as tf

    def tail(x: Any) -> Any:
        return 0.5 * tf.math.erfc(-x / np.sqrt(2))

    many = wish.shape[1]
    level = tf.linalg.matvec(wish, weights[:many])[:, None]
    hunters = tail(tf.linalg.matvec(hunt, weights[many:-2]))[:, None]
    steady = tail(level - (weights[-2] + weights[-1] * hunters) * log_price)
    waiting = hunters * tail(level + _READY) * tail((_SALE[0] - log_price) / _SALE[1])
    return (1 - _WAITING) * steady + _WAITING * waiting


def fitted(wish: Floats, hunt: Floats, log_price: Floats, bought: Floats) -> Floats:
    """Return the likeliest weights for outcomes, or probabilities, `bought` (N, K) at prices (N, 1) or (1, K)."""
    import tensorflow as tf

    x, h, p, y = (tf.constant(v, tf.float64) for v in (wish, hunt, log_price, bought))
    start = np.zeros(wish.shape[1] + hunt.shape[1] + 2)
    start[[wish.shape[1] - 1, -2, -1]] = _START

    @tf.function  # type: ignore[untyped-decorator]
    def loss(weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            q = tf.clip_by_value(curves(weights, x, h, p), 1e-9, 1 - 1e-9)
            surprise = -tf.reduce_sum(y * tf.math.log(q) + (1 - y) * tf.math.log(1 - q)) / y.shape[1]
            lost = surprise + _RIDGE / 2 * tf.reduce_sum(weights[x.shape[1] : -3] ** 2)
        return lost, tape.gradient(lost, weights)

    def step(weights: Floats) -> tuple[float, Floats]:
        lost, gradient = loss(tf.constant(weights, tf.float64))
        return float(lost), np.asarray(gradient)

    found: Floats = minimize(step, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return found


def captured(weights: Floats, offers: Offers) -> float:
    """Return the share of the possible gain that the best rungs under fitted weights capture."""
    logs = np.log(offers.ladder)[None, :]
    q = np.asarray(curves(weights, wishes(offers.contexts), hunts(offers.contexts), logs))
    return values((q * offers.unit_profit).argmax(axis=1), offers.truth, offers.unit_profit).capture


def work(job: Job) -> dict[str, Any]:
    """Return what knowing the form captures on one world and seed."""
    cfg = configured(Task(job.world, job.seed), job.root / "conf")
    with tempfile.TemporaryDirectory(prefix="pricewright-") as scratch, alone(Path(scratch)):
        for stage in (ingest, clean, features):
            stage.main(cfg)
        learn, certify = of_windows("fit", "select"), of_windows("certify")
    wish, hunt = wishes(learn.contexts), hunts(learn.contexts)
    shown = np.log(learn.ladder[learn.rung])[:, None]
    told = fitted(wish, hunt, shown, learn.bought[:, None].astype(float))
    known = fitted(wish, hunt, np.log(learn.ladder)[None, :], learn.truth)
    found = {"offers": len(learn.rung), "outcomes": captured(told, certify), "truth": captured(known, certify)}
    return {**asdict(job), "root": "", **found}


def run(words: Sequence[str], console: Console) -> int:
    """Run what is missing and print the table; return how many seeds failed."""
    given = read(words, "benchmark.ceiling", __doc__ or "", ("worlds", "seeds"), FOLDER)
    worlds = [w for w in given.settings.get("worlds", "market,market-confounded").split(",") if w]
    seeds = range(1, whole("seeds", given.settings.get("seeds", "3")) + 1)
    pieces = [Piece(f"{w}-{s}", work, Job(w, s, Path.cwd())) for w in worlds for s in seeds]
    if given.fresh:
        for piece in pieces:
            (given.folder / f"{piece.name}.json").unlink(missing_ok=True)
    failed = worked(pieces, given.folder, given.processes, console)
    records = list(finished(pieces, given.folder).values())
    table = Table("world", "seeds", "offers", "the form fitted on outcomes", "… on the truth")
    for name in dict.fromkeys(r["world"] for r in records):
        mine = [r for r in records if r["world"] == name]
        shares = (f"{100 * np.mean([r[k] for r in mine]):.1f} %" for k in ("outcomes", "truth"))
        table.add_row(name, str(len(mine)), f"{mine[0]['offers']:,}", *shares)
    console.print(table)
    return len(failed)


if __name__ == "__main__":
    from pipelines.benchmark import ceiling  # so that workers, who import it by name, find the function

    raise SystemExit(ended(lambda: ceiling.run(sys.argv[1:], Console()), "seeds"))
