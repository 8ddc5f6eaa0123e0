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

from pipelines import baselines, certify, choose, evaluate, export, graph, overlap, tracking, train
from pipelines.candidates import Candidate, linear
from pipelines.candidates.controls import Controls
from pipelines.candidates.learning import Learned
from pipelines.candidates.prepared import read_window
from pipelines.config import Config
from pipelines.demand import Curve, Demand, Encode
from pipelines.encoder import Encoder
from pipelines.files import digest_folder, write_json, write_table
from pipelines.knowledge import Knowledge, View
from pipelines.policy import TERMS_OF_SALE, Belief, Terms, decide, in_words
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import OffersInfo
from pipelines.window import TRUTH, Window, window_of

LADDER = (0.8, 0.9, 1.0, 1.1, 1.2)
NUMERIC = ("list_price", "age", "visits")
CATEGORICAL = ("country",)
COUNTRIES = ("DE", "FR", "中国", "")
CENTS = Guardrails(minor_unit=0.01)
NO_RAILS = Guardrails()


def log_curve(knots: tuple[float, ...] = LADDER) -> Curve:
    """Return the plainest curve, logit q = alpha - beta * log m."""
    return Curve("logit", "log", tuple(knots), tuple(float(v) for v in np.log(np.array(knots))))


LOG = log_curve()


def terms(
    ladder: tuple[float, ...] = LADDER,
    guardrails: Guardrails = NO_RAILS,
    *,
    knots: tuple[float, ...] | None = None,
    fallback: float = 1.0,
    cost_share: float | None = None,
) -> Terms:
    """Return terms of a policy; without `knots` the demand is known at its rungs and at its fallback."""
    known = tuple(sorted({*ladder, fallback})) if knots is None else knots
    known = (*known, 2 * known[0]) if len(known) == 1 else known  # a curve has two points at least
    return Terms(tuple(ladder), known, guardrails, fallback, cost_share)


def belief(alpha: Any, beta: Any, knots: tuple[float, ...] = LADDER) -> Belief:
    """Return the belief of one member in the curves logit q = alpha - beta * log m of N contexts, (N,) each."""
    both = np.column_stack([np.atleast_1d(alpha), np.atleast_1d(beta)]).astype(float)
    return Belief([log_curve(knots).probability(both)], (1.0,))


def info(**changes: Any) -> OffersInfo:
    """Return what the offers of `offers` are."""
    values: dict[str, Any] = {
        "source": "market", "currency": "EUR", "ladder": LADDER, "numeric": NUMERIC, "categorical": CATEGORICAL,
        "propensity_logged": True, "personal": ("age", "country"), "sha256": "d" * 64,
        "rows": {"fit": 800, "select": 400, "certify": 800}, "assumptions": ("Costs are guessed.",),
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
    return Candidate(encoder, LOG, linear.Model(a, b), "linear", Controls())


def knowledge(demand: Demand) -> Knowledge:
    """Return what a policy knows that has one demand, whoever asks, and does not ask what was shown."""
    return Knowledge(View(demand))


def window(rows: int = 800, seed: int = 0, *, truth: bool = True, **changes: Any) -> Window:
    """Return a certify window of `offers`, valued with its true demand as reference."""
    table, q = offers(rows, seed)
    demand = q.drop(columns="offer_id")
    known = demand.to_numpy(float) if truth else None
    return window_of(table, info(**changes), demand.to_numpy(float), table["propensity"].to_numpy(float), known)


def sale(rows: int = 1, **given: Any) -> dict[str, np.ndarray]:
    """Return terms of sale, (rows, 1) each, NaN where not given."""
    columns = {n: np.asarray(given.get(n, np.nan), dtype=float).ravel() for n in TERMS_OF_SALE}
    return {n: np.broadcast_to(v, (rows,)).reshape(rows, 1).copy() for n, v in columns.items()}


def quote(alpha: float, beta: float, terms: Terms, **given: Any) -> dict[str, Any]:
    """Return the quote of one context whose curve is that of `belief`: plain values, and lists over the ladder."""
    return quoted(belief(alpha, beta, terms.knots), terms, **given)


def quoted(believed: Belief, terms: Terms, **given: Any) -> dict[str, Any]:
    """Return the quote of one context: plain values, and lists over the ladder or the knots."""
    quotes = in_words(decide(believed, sale(**given), terms))
    return {k: v[0].tolist() if k in (*graph.LADDER, *graph.KNOTS) else v[0, 0] for k, v in quotes.items()}


@functools.cache
def session(terms: Terms) -> Any:
    """Return a graph whose inputs `a` and `b` are the coefficients of `belief`; its word `w` plays no part."""
    import ndonnx as ndx

    def believe(inputs: dict[str, Any]) -> Belief:
        both = ndx.concat([ndx.asarray(inputs["a"]), ndx.asarray(inputs["b"])], axis=1)
        return Belief([log_curve(terms.knots).probability(both)], (1.0,))

    proto = graph.compose(("a", "b"), ("w",), believe, terms)
    return graph.session(proto.SerializeToString(deterministic=True))


def in_graph(demand: Demand, table: pd.DataFrame) -> list[np.ndarray]:
    """Return what the graph of a demand gives for the rows of a table: each member's curve, (N, K)."""
    import ndonnx as ndx
    import onnxruntime
    import spox

    words = [w.name for w in demand.encoder.words]
    names = [*(n.name for n in demand.encoder.numbers), *words]
    inputs = {n: spox.argument(spox.Tensor(np.str_ if n in words else np.float64, ("N", 1))) for n in names}
    encode: Encode = functools.cache(lambda encoder: encoder.graph(inputs))
    members = {f"q{i}": ndx.astype(q, ndx.float64).unwrap_spox() for i, q in enumerate(demand.graph(inputs, encode))}
    proto = spox.build(inputs, members, drop_unused_inputs=True)
    made = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    taken = {i.name for i in made.get_inputs()}
    feed = {n: table[[n]].to_numpy(object if n in words else float) for n in names if n in taken}
    return [np.asarray(q) for q in made.run(None, feed)]


def write_offers(where: Path) -> OffersInfo:
    """Write data/offers/ and data/truth/ of a tiny market below `where`."""
    found, truths = info(), []
    found.write(where / "data/offers/offers.json")
    for seed, name in enumerate(("fit", "select", "certify")):
        table, truth = offers(found.rows[name], seed)
        write_table(where / f"data/offers/{name}.parquet", table)
        truths.append(truth)
    write_table(where / TRUTH, pd.concat(truths, ignore_index=True))
    return found


def write_candidate(where: Path, one: Candidate, name: str = "linear") -> None:
    """Write a candidate as `train` would into models/ of the folder that is the working one, where `overlap` ran."""
    losses = {"logit-log": 0.6}
    learned = Learned(one, one, {"select_log_loss": [0.6]}, linear.Settings(l2=(4.0,)), "logit-log", losses)
    folder, found = where / "models/candidates" / name, info()
    about = {"candidate": name, "data_sha256": found.sha256, "seed": 3, "settings": {}, "rows": found.rows}
    windows = [read_window(name, found) for name in ("fit", "select")]
    train.write(folder, learned, windows[0], windows[1], about)
    digests = {part: digest_folder(folder / part) for part in ("trial", "demand")}
    write_json(where / f"models/trained/{name}.json", digests)


def without_mlflow(patch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Put a list in the place of MLflow, in which what would be logged is found afterwards."""
    logged: list[tuple[Any, ...]] = []
    patch.setattr(tracking, "start", lambda cfg: None)
    patch.setattr(tracking, "candidate_run", lambda *about: contextlib.nullcontext(logged.append(about)))
    patch.setattr(tracking, "log_learning", lambda *what: logged.append(what))
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
        for module in (overlap, baselines):
            module.main(config())
        write_candidate(folder, candidate(offers(800, 0)[0]))
        for module in (export, evaluate, choose, certify):
            module.main(config())
    return folder


def enter_shop(where: Path, patch: pytest.MonkeyPatch) -> Path:
    """Return a folder, now the working one, in which every stage from `overlap` to `certify` has run."""
    folder = where / "shop"
    shutil.copytree(_built_shop(), folder)
    patch.chdir(folder)
    return folder
