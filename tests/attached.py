"""A small shop with a feature state for tests: two items, two shoppers, and the events that a front end would send."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from live import NOON, endpoint

from pipelines.behaviour import facts
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.exported import DEFINITIONS, FACTS, as_json
from pipelines.config import load
from pipelines.files import write_json
from pipelines.serving.contexts import FromState
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.metrics import Cells
from pipelines.serving.owner import Definitions, Owner
from pipelines.serving.runtime import Policy

ITEMS: dict[str, dict[str, Any]] = {
    "tea": {"category": "garden", "list_price": 24.99, "unit_cost": 11.5},
    "lamp": {"category": "light", "list_price": 80.0, "unit_cost": 30.0, "max_price": 85.0},
}
SHOPPERS: dict[str, dict[str, Any]] = {"ada": {"country": "DE", "tier": "gold"}, "bo": {"country": "中国"}}
HERE = {"shopper": "ada", "session": "s1"}


@functools.cache
def definitions() -> FeatureSet:
    """Return the shipped definitions."""
    return load(conf=Path(__file__).parents[1] / "conf").features


def folder(path: Path, features: FeatureSet | None = None) -> Path:
    """Write the folder that an endpoint is attached to, and return it; its state is empty."""
    path.mkdir(parents=True, exist_ok=True)
    facts.write(path / FACTS, ITEMS.items(), SHOPPERS.items())
    write_json(path / DEFINITIONS, {"currency": "EUR", "features": as_json(features or definitions())})
    return path


def event(event_id: str, seconds: float = -60.0, **columns: Any) -> dict[str, Any]:
    """Return a view of `tea` by `ada`, so many seconds from noon, as JSON has it; columns: what is otherwise."""
    usual = {"kind": "view", "channel": "web", "item_id": "tea", "price": 24.99, "dwell_seconds": 30.0}
    return {"event_id": event_id, "time": NOON + seconds, "shopper_id": "ada", "session_id": "s1", **usual, **columns}


def contexts(path: Path, state: Any = None, patience: float = 5.0) -> FromState:
    """Return the part that computes contexts of a folder; state: who owns it, by default this process."""
    owner = Owner(path) if state is None else state
    return FromState(owner, facts.Facts(path / FACTS), Definitions.read(path), Cells(), patience)


def attached(policy: Policy, path: Path, **settings: Any) -> Endpoint:
    """Return an endpoint on a policy and the state of a folder."""
    return endpoint(policy, contexts=settings.pop("contexts", None) or contexts(path), **settings)
