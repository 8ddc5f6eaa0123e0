"""Tiny policies for tests: three numbers and two words decide a demand curve, and nothing was learned."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines import graph
from pipelines.config import Config, Tracking
from pipelines.files import digest, write_json
from pipelines.manifest import GRAPH, Field, Manifest
from pipelines.policy import TERMS_OF_SALE, Belief, Terms
from pipelines.pricing import Guardrails
from pipelines.sources import MarketSource
from tests.worlds import log_curve

NUMERIC = ("days_since_purchase", "session_dwell", "item_rating")
CATEGORICAL = ("country", "category")
LADDER = (0.8, 0.9, 1.0, 1.1, 1.2)
CAUTIOUS = Guardrails(largest_cut=0.2, largest_rise=0.1, margin_floor=0.05, minor_unit=0.01, exploration=0.1)
REQUEST = {
    "list_price": 24.99,
    "unit_cost": 11.5,
    "days_since_purchase": 12.0,
    "session_dwell": 140.0,
    "item_rating": 4.2,
    "country": "DE",
    "category": "garden",
}


def tiny_policy(
    folder: Path,
    name: str = "tiny",
    *,
    model: str = "pricing",
    source: str = "market",
    ladder: tuple[float, ...] = LADDER,
    guardrails: Guardrails = CAUTIOUS,
    cost_share: float | None = 0.4,
    alpha: float = -1.0,
    beta: float = 3.0,
    currency: str = "EUR",
    listed: bool = True,
) -> Manifest:
    """Write policy.onnx and policy.json into `folder`; beta grows with item_rating and for the country 中国."""
    terms = Terms(ladder, tuple(sorted({*ladder, *LADDER})), guardrails, cost_share=cost_share)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH).write_bytes(_graph(terms, alpha, beta))
    manifest = Manifest(
        name=name,
        family="tiny",
        model=model,
        source=source,
        currency=currency,
        inputs=_fields(),
        outputs={"price": "price to charge"},
        terms=terms,
        demand="logit q(m) = alpha - beta * log(m)",
        assumptions=("No costs were given: unit cost is 40 % of the list price.",),
        data_sha256="d" * 64,
        git_commit="unknown",
        graph_sha256=digest(folder / GRAPH),
        check={"passed": True},
        listed=listed,
    )
    manifest.write(folder)
    return manifest


@cache
def _graph(terms: Terms, alpha: float, beta: float) -> bytes:
    proto = graph.compose(NUMERIC, CATEGORICAL, lambda inputs: _belief(inputs, alpha, beta, terms), terms)
    return proto.SerializeToString(deterministic=True)


def _fields() -> tuple[Field, ...]:
    numbers = (*TERMS_OF_SALE, *NUMERIC)
    return (
        *(Field(n, "number", "", n == "list_price", n in NUMERIC[:2]) for n in numbers),
        *(Field(n, "word", "", False, n == "country") for n in CATEGORICAL),
    )


def _belief(inputs: dict, alpha: float, beta: float, terms: Terms) -> Belief:
    import ndonnx as ndx
    import spox.opset.ai.onnx.ml.v4 as ml

    def number(name: str, fill: float, most: float):
        raw = ndx.asarray(inputs[name])
        return ndx.minimum(ndx.maximum(ndx.where(ndx.isnan(raw), fill, raw), 0.0), most)

    china = ndx.asarray(
        ml.label_encoder(inputs["country"], keys_strings=["中国"], values_floats=[1.0], default_float=0.0)
    )
    garden = ndx.asarray(
        ml.label_encoder(inputs["category"], keys_strings=["garden"], values_floats=[0.5], default_float=0.0)
    )
    slope = beta + 0.5 * number("item_rating", 3.0, 5.0) + ndx.astype(china, ndx.float64)
    level = alpha + 0.002 * number("session_dwell", 60.0, 600.0) + ndx.astype(garden, ndx.float64)
    level = level - 0.001 * number("days_since_purchase", 30.0, 365.0)
    return Belief([log_curve(terms.knots).probability(ndx.concat([level, slope], axis=1))], (1.0,))


def shop(verdict: str = "promote", model: str = "pricing", source: str = "market") -> Manifest:
    """Write models/ of a finished `choose` into the current folder: challenger `tiny`, list price, verdict."""
    tiny_policy(Path("models/baselines/list_price"), "list_price", model=model, source=source, ladder=(1.0,))
    write_json(Path("models/scorecards/baselines.json"), {"policies": {"list_price": {"log_loss": 0.7}}})
    return challenge(verdict, model=model, source=source)


def challenge(verdict: str, name: str = "tiny", **settings: Any) -> Manifest:
    """Write models/policy.*, its scorecard and models/champion.json, as `choose` would."""
    manifest = tiny_policy(Path("models"), name, **settings)
    digest_ = manifest.graph_sha256
    card = {"name": name, "graph_sha256": digest_, "log_loss": 0.6321, "price_sensitivity": {"p50": -2.5}}
    write_json(Path(f"models/scorecards/{name}.json"), card)
    told = {
        "verdict": verdict,
        "pick": name,
        "incumbent": "list_price",
        "reason": f"{name} was judged",
        "checks": [{"name": "profit", "verdict": verdict, "reason": "+9.1 per 1,000 offers"}],
        "metrics": {},
        "graph_sha256": digest_,
    }
    write_json(Path("models/champion.json"), told)
    return manifest


def config(database: Path, source: str = "market") -> Config:
    """Return settings whose registry is a new, empty `database`."""
    database.write_bytes(_empty_database())
    return Config(
        source=MarketSource(kind="market", name=source),
        guardrails=CAUTIOUS,
        model={},
        candidates=("tiny",),
        seed=7,
        tracking=Tracking(uri=f"sqlite:///{database}"),
    )


@cache
def _empty_database() -> bytes:
    """Return MLflow's empty database; making its schema takes seconds, copying it none."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with TemporaryDirectory() as folder:
        SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/mlruns")
        return (Path(folder) / "mlflow.db").read_bytes()
