"""Tiny worlds for tests: offers whose true demand is known, candidates that nothing had to be learned for."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines import baselines, choose, evaluate, export, graph, tracking
from pipelines.candidates import Candidate, linear
from pipelines.config import Config
from pipelines.demand import Curve
from pipelines.encoder import Encoder
from pipelines.files import write_table
from pipelines.policy import TERMS_OF_SALE, Terms, decide, in_words
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import OffersInfo
from pipelines.window import TRUTH, Window, window_of

LADDER = (0.8, 0.9, 1.0, 1.1, 1.2)
NUMERIC = ("list_price", "age", "visits")
CATEGORICAL = ("country",)
COUNTRIES = ("DE", "FR", "中国", "")
LOG = Curve("log", 0.0, 1.0)
CENTS = Guardrails(minor_unit=0.01)


def info(**changes: Any) -> OffersInfo:
    """Return what the offers of `offers` are."""
    values: dict[str, Any] = {
        "source": "market", "currency": "EUR", "ladder": LADDER, "numeric": NUMERIC, "categorical": CATEGORICAL,
        "propensity_logged": True, "personal": ("age", "country"), "sha256": "d" * 64,
        "rows": {"train": 800, "valid": 400, "test": 800}, "assumptions": ("Costs are guessed.",),
    }  # fmt: skip
    return OffersInfo(**values | changes)


def config(**changes: Any) -> Config:
    """Return a run of the linear candidate alone."""
    values: dict[str, Any] = {
        "source": MarketSource(kind="market", name="market"),
        "guardrails": Guardrails(minor_unit=0.01, exploration=0.1),
        "model": {"linear": linear.Settings()},
        "candidates": ("linear",),
        "candidate": "linear",
        "seed": 3,
    }
    return Config(**values | changes)


def offers(rows: int = 800, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return randomised offers and their true purchase probabilities (offer_id, q_0 …).

    The older half is five times as sensitive to prices as the younger; four rows in five share a shopper.
    """
    rng = np.random.default_rng(seed)
    list_price = np.round(np.exp(rng.normal(3, 0.5, rows)), 2)
    age, country = rng.uniform(0, 1, rows), rng.choice(np.array(COUNTRIES, dtype=object), rows)
    prices = ladder_prices(list_price[:, None], np.array([LADDER]), CENTS)
    slope = np.where(age > 0.5, 6.0, 1.2)[:, None]
    q = 1 / (1 + np.exp(-(-0.4 + 0.4 * (country == "中国")[:, None] - slope * np.log(np.array([LADDER])))))
    rung = rng.integers(0, len(LADDER), rows)
    at = np.arange(rows), rung
    table = pd.DataFrame(
        {
            "offer_id": [f"{seed}-{i}" for i in range(rows)],
            "shopper_id": [f"s{i}" for i in rng.integers(0, max(rows // 5, 2), rows)],
            "item_id": "one",
            "time": pd.Timestamp("2026-03-02", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min"),
            "list_price": list_price,
            "unit_cost": np.round(0.6 * list_price, 2),
            "min_price": np.nan,
            "max_price": np.nan,
            "price": prices[at],
            "multiplier": prices[at] / list_price,
            "rung": rung,
            "propensity": 1 / len(LADDER),
            "bought": (rng.random(rows) < q[at]).astype(np.int64),
            "age": age,
            "visits": np.where(rng.random(rows) < 0.2, np.nan, rng.poisson(3, rows)),
            "country": country,
        }
    )
    truth = pd.DataFrame(q, columns=[f"q_{k}" for k in range(len(LADDER))])
    return table, truth.assign(offer_id=table["offer_id"])


def candidate(table: pd.DataFrame, bend: float = 0.0) -> Candidate:
    """Return a candidate near the truth of `offers`; `bend` spoils its sensitivity by so much."""
    encoder = Encoder.fit(table, NUMERIC, CATEGORICAL)
    a, b = np.zeros(len(encoder.names)), np.zeros(len(encoder.names))
    a[-1], b[-1], b[encoder.names.index("age")] = -0.4, 3.6 + bend, 2.0
    return Candidate(encoder, LOG, linear.Model(a, b))


def window(rows: int = 800, seed: int = 0, *, truth: bool = True, **changes: Any) -> Window:
    """Return a test window of `offers`, valued with its true demand as reference."""
    table, q = offers(rows, seed)
    demand = q.drop(columns="offer_id")
    known = demand.to_numpy(float) if truth else None
    return window_of(table, info(**changes), demand.assign(propensity=table["propensity"]), known)


def sale(rows: int = 1, **given: Any) -> dict[str, np.ndarray]:
    """Return terms of sale, (rows, 1) each, NaN where not given."""
    columns = {n: np.asarray(given.get(n, np.nan), dtype=float).ravel() for n in TERMS_OF_SALE}
    return {n: np.broadcast_to(v, (rows,)).reshape(rows, 1).copy() for n, v in columns.items()}


def quote(alpha: float, beta: float, terms: Terms, **given: Any) -> dict[str, Any]:
    """Return the quote of one context: plain values, and lists over the ladder."""
    quotes = in_words(decide(np.array([[alpha, beta]]), sale(**given), terms))
    return {k: v[0].tolist() if k in graph.LADDER else v[0, 0] for k, v in quotes.items()}


@functools.cache
def session(terms: Terms) -> Any:
    """Return a graph whose inputs `a` and `b` are the coefficients themselves; its word `w` plays no part."""
    import spox.opset.ai.onnx.v21 as op

    proto = graph.compose(("a", "b"), ("w",), lambda i: op.concat([i["a"], i["b"]], axis=1), terms)
    return graph.session(proto.SerializeToString(deterministic=True))


def write_offers(where: Path) -> OffersInfo:
    """Write data/offers/ and data/truth/ of a tiny market below `where`."""
    found = info()
    found.write(where / "data/offers/offers.json")
    for seed, name in enumerate(("train", "valid", "test")):
        table, truth = offers(found.rows[name], seed)
        write_table(where / f"data/offers/{name}.parquet", table)
        if name == "test":
            write_table(where / TRUTH, truth)
    return found


def without_mlflow(patch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Put a list in the place of MLflow, in which what would be logged is found afterwards."""
    logged: list[tuple[Any, ...]] = []
    patch.setattr(tracking, "start", lambda cfg: None)
    patch.setattr(tracking, "candidate_run", lambda *about: contextlib.nullcontext(logged.append(about)))
    patch.setattr(tracking, "log_scorecard", lambda *what: logged.append(what))
    return logged


@functools.cache
def _built_shop() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        without_mlflow(patch)
        write_offers(folder)
        candidate(offers(800, 0)[0]).save(folder / "models/candidates/linear/demand")
        for module in (baselines, export, evaluate, choose):
            module.main(config())
    return folder


def enter_shop(where: Path, patch: pytest.MonkeyPatch) -> Path:
    """Return a folder, now the working one, in which every stage from `baselines` to `choose` has run."""
    folder = where / "shop"
    shutil.copytree(_built_shop(), folder)
    patch.chdir(folder)
    return folder
