"""The reference of every engine: each feature of each view by looking through the whole past, slow and obvious."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.behaviour.definitions import ENTITIES, TIMES, Feature, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.measures import FACTS, MEASURES, Event, Moment, Value, known, millionths, step
from pipelines.clean import cleaned
from pipelines.config import Clean
from pipelines.pricing import Guardrails, ladder_prices
from pipelines.sources import MarketSource
from pipelines.tables import KINDS

Tables = dict[str, pd.DataFrame]

RUNGS = (0.8, 0.9, 1.0, 1.1)
SOURCE = MarketSource("market", "market", rungs=RUNGS, days=12, shoppers=60, items=24, offers=1_500)
TEXTS = ("cheap tea", "豪华 台灯", "lamp", "a good lamp but late", "质量差 失望", "best discount", "推荐")
PATHS = ("home>item", "home>category>item>reviews", "item", None)


def log(seed: int, count: int = 160, tick: float = 3_000.5) -> Tables:
    """Return a small clean log in which many things happen at the same time, the times being whole `tick`s (s)."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, count, p=[0.45, 0.15, 0.1, 0.2, 0.1])
    item = rng.integers(0, 4, count)
    listed = np.array([10.0, 19.99, 35.5, 80.0])[item]
    rung = rng.integers(0, len(RUNGS), count)
    price = ladder_prices(listed[:, None], np.array([RUNGS]), Guardrails(minor_unit=0.01))[np.arange(count), rung]
    session = rng.integers(0, 9, count)
    priced, views = np.isin(kind, ("view", "cart", "purchase")), kind == "view"
    start = pd.Timestamp("2026-03-01 22:00", tz="UTC")
    events = pd.DataFrame(
        {
            "event_id": [f"e{n:03d}" for n in rng.permutation(count)],
            "time": start + pd.to_timedelta(np.sort(rng.integers(0, 90, count)) * tick, unit="s"),
            "shopper_id": [f"u{s // 3}" for s in session],
            "session_id": [f"s{s}" for s in session],
            "item_id": [None if k == "search" else f"i{i}" for k, i in zip(kind, item, strict=True)],
            "kind": kind,
            "channel": rng.choice(["web", "app"], count),
            "dwell_seconds": np.where(views & (rng.random(count) < 0.9), rng.integers(0, 900, count) / 7, np.nan),
            "page_depth": np.where(views, 3.0, np.nan),
            "path": [PATHS[rng.integers(0, len(PATHS))] if v else None for v in views],
            "keywords": [str(rng.choice(TEXTS)) if k == "search" and rng.random() < 0.9 else None for k in kind],
            "rating": np.where((kind == "review") & (rng.random(count) < 0.8), rng.integers(1, 6, count), np.nan),
            "text": [str(rng.choice(TEXTS)) if k == "review" and rng.random() < 0.8 else None for k in kind],
            "list_price": np.where(priced, listed, np.nan),
            "price": np.where(priced, price, np.nan),
            "propensity": np.where(views, 0.25, np.nan),
            "quantity": np.where((kind == "purchase") & (rng.random(count) < 0.8), rng.integers(1, 4, count), np.nan),
            "currency": "EUR",
        }
    )
    costs = {"list_price": [10.0, 19.99, 35.5, 80.0], "unit_cost": [5.0, 11.0, 20.0, 41.0]}
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(4)], "category": ["a", "a", "b", "c"], **costs})
    shoppers = pd.DataFrame(
        {
            "shopper_id": ["u0", "u1"],  # nothing is known of u2
            "signup": pd.to_datetime(["2026-02-01 00:00", "2026-03-02 12:00"], utc=True),
            "country": ["DE", None],
        }
    )
    raw = {"events": events, "items": items, "shoppers": shoppers}
    return cleaned(raw, SOURCE, Clean())[0]


def short() -> FeatureSet:
    """Return a feature of every aggregate for every entity, whose windows, half-lives and memory end within the log."""
    define: dict[str, Feature] = {}
    for entity in ENTITIES:
        for name, told in {
            "events": {"aggregate": "count"},
            "views_2h": {"aggregate": "count", "of": ("view",), "window": "2h"},
            "money": {"aggregate": "sum", "of": ("purchase",), "value": "money"},
            "paid_3h": {"aggregate": "sum", "of": ("purchase", "cart"), "value": "price", "window": "3h"},
            "ones": {"aggregate": "sum", "of": ("search", "cart"), "value": "one"},
            "mean_rating": {"aggregate": "mean", "of": ("review",), "value": "rating"},
            "mean_dwell_4h": {"aggregate": "mean", "value": "dwell", "window": "4h"},
            "after_search": {"aggregate": "sum", "value": "after_search"},
            "items": {"aggregate": "distinct", "of": ("view", "cart"), "value": "item"},
            "sessions": {"aggregate": "distinct", "value": "session"},
            "steps_again": {"aggregate": "repeats", "value": "previous_step"},
            "query": {"aggregate": "last", "of": ("search",), "value": "query"},
            "previous": {"aggregate": "last", "value": "previous_step"},
            "category": {"aggregate": "last", "of": ("view", "cart"), "value": "category"},
            "last_price": {"aggregate": "last", "of": ("view", "purchase"), "value": "price"},
            "since_purchase": {"aggregate": "time_since", "of": ("purchase",), "unit": "hour"},
            "since_any": {"aggregate": "time_since", "unit": "second"},
            "age": {"aggregate": "age", "unit": "minute"},
            "age_of_search": {"aggregate": "age", "of": ("search", "review"), "unit": "minute"},
            "rate": {"aggregate": "rate", "of": ("purchase",), "per": ("view", "cart"), "prior": (0, 0)},
            "rate_5h": {"aggregate": "rate", "of": ("cart",), "per": ("view",), "prior": (1, 4), "window": "5h"},
            "recent": {"aggregate": "decayed", "half_life": "40m"},
            "recent_dwell": {"aggregate": "decayed", "of": ("view",), "value": "dwell", "half_life": "9s"},
            "topics": {"aggregate": "mean", "of": ("search",), "value": "search_topic", "parts": 2},
            "said": {"aggregate": "mean", "value": "review_topic", "parts": 4},
        }.items():
            define[f"{entity}_{name}"] = Feature(entity=entity, meaning=name, **told)  # type: ignore[arg-type]
    spans = {"shopper": "7h", "item": "3h", "session": "5h", "shopper_item": "20h", "shopper_category": "9h"}
    return FeatureSet(define, spans, name="short")


def events_of(tables: Tables, features: FeatureSet) -> list[Event]:
    """Return the events of clean tables in the order of time, then of their names, each with its step before.

    A step from before the session was forgotten is none.
    """
    kept = microseconds(features.forget["session"], "")
    items = {row["item_id"]: row for row in tables["items"].to_dict("records")}
    before: dict[tuple[str, str], tuple[int, str]] = {}
    found = []
    table = tables["events"].assign(instant=_instants(tables["events"]["time"]))
    for row in table.sort_values(["instant", "event_id"]).to_dict("records"):
        visit, item = (row["shopper_id"], row["session_id"]), known(row["item_id"])
        instant, last = before.get(visit, (0, ""))
        said = last if last and row["instant"] - instant <= kept else None
        event = Event(row["instant"], row["event_id"], row["kind"], *visit, item, row, items.get(item, {}), said)
        before[visit] = event.instant, step(event)
        found.append(event)
    return found


def slow_features(features: FeatureSet, tables: Tables) -> pd.DataFrame:
    """Return every feature of every view, by offer_id: numbers with NaN, words with '' where they are missing."""
    events = events_of(tables, features)
    people = tables["shoppers"].assign(signup=_instants(tables["shoppers"]["signup"]))
    shoppers = {row["shopper_id"]: row for row in people.to_dict("records")}
    rows = {}
    for view in events:
        if view.kind == "view":
            past = [event for event in events if event.instant < view.instant]
            shopper = shoppers.get(view.shopper_id, {})
            rows[view.event_id] = {
                name: _shown(feature, slow_value(features, feature, view, past, shopper))
                for name, feature in features.features.items()
            }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(features.features))


def slow_value(
    features: FeatureSet, feature: Feature, view: Event, past: list[Event], shopper: dict[str, Any]
) -> Value:
    """Return one feature of one view; `past` are all events before it."""
    if feature.aggregate == "fact":
        return FACTS[str(feature.value)].of(Moment(view.instant, view.row, view.item, shopper))
    mine = remembered(features, feature.entity, view, past)
    if feature.window is not None:
        mine = [e for e in mine if view.instant - microseconds(feature.window, "") <= e.instant]
    seen = _only(feature.of, mine)
    read = MEASURES[feature.value or "one"].of
    values = [value for event in seen if (value := read(event)) is not None]
    unit = TIMES[feature.unit]
    match feature.aggregate:
        case "count":
            return float(len(seen))
        case "sum":
            return _sum(values)
        case "mean":
            return _sum(values) / len(values) if values else None
        case "distinct":
            return float(len(set(values)))
        case "repeats":
            return float(len(values) - len(set(values)))
        case "last":
            return values[-1] if values else None
        case "time_since":
            return (view.instant - seen[-1].instant) / unit if seen else None
        case "age":
            return (view.instant - seen[0].instant) / unit if seen else None
        case "rate":
            base = len(_only(feature.per, mine)) + feature.prior[1]
            return (len(seen) + feature.prior[0]) / base if base else None
        case _:
            life = microseconds(str(feature.half_life), "")
            ages = [(view.instant - event.instant) / life for event in seen if read(event) is not None]
            return float(sum(_sum([value]) * 2.0**-age for value, age in zip(values, ages, strict=True)))


def remembered(features: FeatureSet, entity: str, view: Event, past: list[Event]) -> list[Event]:
    """Return the events of the view's entity since its last gap that is longer than features.forget."""
    keys = _keys(entity, view)
    mine = [] if None in keys else [event for event in past if _keys(entity, event) == keys]
    gap, next_instant, kept = microseconds(features.forget[entity], ""), view.instant, []
    for event in reversed(mine):
        if next_instant - event.instant > gap:
            break
        kept.append(event)
        next_instant = event.instant
    return kept[::-1]


def differences(expected: pd.DataFrame, found: pd.DataFrame) -> list[tuple[str, str, Value, Value]]:
    """Return where `found` (indexed by offer_id) is not `expected`: offer, feature, both; numbers to 1e-6."""
    rest = sorted(set(expected.index) ^ set(found.index))
    wrong: list[tuple[str, str, Value, Value]] = [(offer, "is in one only", None, None) for offer in rest]
    for name in expected.columns:
        right, left = expected[name], found[name].reindex(expected.index)
        if pd.api.types.is_numeric_dtype(right):
            a, b = right.to_numpy(float), left.to_numpy(float)
            same = (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= 1e-6 * np.maximum(1, np.abs(a)))
        else:
            same = (right == left).to_numpy(bool)
        wrong += [(str(n), name, right[n], left[n]) for n in right.index[~same]]
    return wrong


def _keys(entity: str, event: Event) -> tuple[Any, ...]:
    facts = {**vars_of(event), "category": known(event.item.get("category"))}
    return tuple(facts[key] for key in ENTITIES[entity])


def vars_of(event: Event) -> dict[str, Any]:
    """Return who and what an event is of."""
    return {"shopper_id": event.shopper_id, "item_id": event.item_id, "session_id": event.session_id}


def _only(kinds: Sequence[str], events: Iterable[Event]) -> list[Event]:
    return [event for event in events if not kinds or event.kind in kinds]


def _sum(values: Iterable[Value]) -> float:
    return sum(millionths(float(value)) for value in values if value is not None) / 1e6


def _shown(feature: Feature, value: Value) -> Value:
    missing: Value = "" if feature.is_word else np.nan
    return missing if value is None else value


def _instants(times: pd.Series[Any]) -> pd.Series[Any]:
    """Return whole microseconds since 1970, None where a time is missing."""
    whole = times.dt.as_unit("us").astype("int64").astype(object)
    return whole.where(times.notna(), None)
