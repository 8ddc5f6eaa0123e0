"""Live features are those of a slow, obvious look through the events taken so far, whatever the order of arrival."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import tables
from pipelines.behaviour.definitions import ENTITIES, KINDS, Feature, FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.measures import Event, step
from pipelines.behaviour.shards import merged
from pipelines.behaviour.state import DUPLICATE, EARLY, LATE, TAKEN, FeatureState
from pipelines.config import load
from pipelines.errors import InputError
from tests import brute_force

HALF = 1_800 * 1_000_000  # half an hour, the unit of these logs
ITEMS: dict[str, dict[str, Any]] = {"i0": {"category": "a", "unit_cost": 4.0}, "i1": {"category": "a"}}
SHOPPERS: dict[str, dict[str, Any]] = {"u0": {"signup": HALF, "country": "DE"}, "u1": {"tier": float("nan")}}
TEXTS = ("cheap tea", "豪华 台灯", "a good lamp but late", None)
ROW = {"channel": "web", "path": "home>item", "page_depth": 2.0, "list_price": 10.0}
FORGET = st.lists(st.integers(2, 12), min_size=len(ENTITIES), max_size=len(ENTITIES))


def feature_set(lateness: int = 5, forget: Sequence[int] = (9, 8, 5, 7, 4)) -> FeatureSet:
    """Return features of every aggregate for every entity and the shipped facts; spans in hours."""
    spans = {entity: f"{span}h" for entity, span in zip(ENTITIES, forget, strict=True)}
    return FeatureSet(defined(), spans, f"{lateness}h")


@functools.cache
def defined() -> dict[str, Feature]:
    """Return the definitions of brute_force.short and the shipped facts."""
    facts = {name: f for name, f in load().features.define.items() if f.aggregate == "fact"}
    return brute_force.short().define | facts


@functools.cache
def single() -> dict[str, Feature]:
    """Return every single feature of `feature_set`, whose spans do not matter here."""
    return feature_set().features


def slow_context(features: FeatureSet, taken: Sequence[Event], view: Event) -> dict[str, float | str]:
    """Return the context the obvious way: for every feature look through all events before the view."""
    forget, last = microseconds(features.forget["session"], ""), dict[tuple[str, str], Event]()
    past = []
    for event in sorted(taken, key=lambda e: (e.instant, e.event_id)):
        visit = (event.shopper_id, event.session_id)
        near = visit in last and event.instant - last[visit].instant <= forget
        item = ITEMS.get(event.item_id or "", {})
        past.append(replace(event, item=item, previous_step=step(last[visit]) if near else None))
        last[visit] = event
    past = [event for event in past if event.instant < view.instant]
    shopper = SHOPPERS.get(view.shopper_id, {})
    told: dict[str, float | str] = {}
    for name, feature in single().items():
        value = brute_force.slow_value(features, feature, view, past, shopper)
        told[name] = ("" if feature.is_word else math.nan) if value is None else value
    return told


def differing(expected: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two contexts, numbers to 1e-6."""
    assert list(expected) == list(found)
    return {
        name: (value, found[name])
        for name, value in expected.items()
        if not (
            value == found[name]
            if isinstance(value, str) or isinstance(found[name], str)
            else math.isclose(value, found[name], rel_tol=1e-6, abs_tol=1e-6)
            or (math.isnan(value) and math.isnan(found[name]))
        )
    }


@st.composite
def happenings(draw: st.DrawFn, most: int = 40) -> list[Event]:
    """Return events in order of arrival: many at the same time, some late, some too late, some more than once."""
    events: list[Event] = []
    now = 1_000 * HALF
    for number in range(draw(st.integers(1, most))):
        now += draw(st.sampled_from([0, 0, 1, 1, 2, 5, 17])) * HALF
        if events and draw(st.integers(0, 9)) == 0:
            events.append(draw(st.sampled_from(events)))
            continue
        back = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 10, 11])) * HALF
        kind = draw(st.sampled_from(KINDS))
        row = {
            "price": draw(st.sampled_from([None, 9.99, 20.0])),
            "quantity": draw(st.sampled_from([None, 2.0])),
            "rating": draw(st.sampled_from([None, 1.0, 5.0])),
            "dwell_seconds": draw(st.sampled_from([None, 3.3])),
            "keywords": draw(st.sampled_from(TEXTS)),
            "path": draw(st.sampled_from([None, "home>item", "home>item>reviews"])),
        }
        item = None if kind == "search" else draw(st.sampled_from(["i0", "i1", "unheard of"]))
        name = f"e{draw(st.integers(0, 9))}{number}"  # so that ids are in another order than arrival
        shopper, session = draw(st.sampled_from(["u0", "u1"])), draw(st.sampled_from(["s0", "s1"]))
        events.append(Event(now - back, name, kind, shopper, session, item, row))
    return events


def taken_of(state: FeatureState, events: Sequence[Event]) -> list[Event]:
    """Feed events to a state, check each verdict and the counts, and return those taken."""
    newest, taken, happened = -1, dict[str, Event](), set[tuple[object, ...]]()
    counted = {TAKEN: 0, DUPLICATE: 0, LATE: 0, EARLY: 0}
    for event in events:
        late = newest - event.instant > state.lateness
        what = (event.shopper_id, event.item_id, event.instant, event.kind, event.row.get("keywords"))
        again = event.event_id in taken or what in happened
        expected = LATE if late else DUPLICATE if again else TAKEN
        assert expected == state.add(event)
        counted[expected] += 1
        if expected == TAKEN:
            taken[event.event_id] = event
            happened.add(what)
            newest = max(newest, event.instant)
    assert counted == state.counted
    return list(taken.values())


def questions(state: FeatureState) -> list[Event]:
    """Return views to ask the context of: from the watermark on to long after the newest event."""
    instants = [state.watermark + ahead * HALF for ahead in (0, 1, 5, 10, 11)] + [state.newest + 1]
    names = [("u0", "s0", "i0"), ("u0", "s1", "i1"), ("u1", "s0", "unheard of")]
    asked = [(instant, names[n % 3]) for n, instant in enumerate(instants)]
    return [Event(instant, "", "view", *who, ROW, ITEMS.get(who[2], {})) for instant, who in asked]


def answer(state: FeatureState, view: Event) -> dict[str, float | str]:
    """Return what a state says of a view."""
    return state.context(view.shopper_id, view.item_id, view.session_id, view.instant, view.row)


@settings(max_examples=80, deadline=None)
@given(events=happenings(), forget=FORGET, lateness=st.sampled_from([1, 5]))
def test_every_feature_equals_a_look_through_what_arrived(
    events: list[Event], forget: list[int], lateness: int
) -> None:
    """Whatever arrives, in whatever order, the context is that of a slow look through the events taken so far."""
    features = feature_set(lateness, forget)
    state = FeatureState(features, ITEMS, SHOPPERS)
    taken = taken_of(state, events)
    for view in questions(state):
        assert {} == differing(slow_context(features, taken, view), answer(state, view))


def bare(instant: int, event_id: str = "e", **more: Any) -> Event:
    """Return a view, of which what a test does not say does not matter."""
    given_ = {"kind": "view", "shopper_id": "u0", "session_id": "s0", "item_id": "i0", **more}
    return Event(instant, event_id, **given_)


def test_an_event_that_is_too_late_changes_nothing_and_is_counted() -> None:
    """One microsecond decides between an event that is taken and one that is too late."""
    state = FeatureState(feature_set(lateness=1))
    state.add(bare(100 * HALF, "new"))
    assert TAKEN == state.add(bare(98 * HALF, "just"))
    before = answer(state, bare(101 * HALF))
    assert LATE == state.add(bare(98 * HALF - 1, "too late"))
    assert before == answer(state, bare(101 * HALF))
    assert {TAKEN: 2, DUPLICATE: 0, LATE: 1, EARLY: 0} == state.counted


def test_one_event_under_two_ids_counts_once() -> None:
    """As in batch, where `clean` sets it aside; another kind, item, shopper, instant or other keywords is another."""
    state = FeatureState(feature_set())
    assert TAKEN == state.add(bare(100 * HALF, "a", session_id="s0"))
    assert DUPLICATE == state.add(bare(100 * HALF, "b", session_id="s1"))
    others: list[dict[str, Any]] = [{"kind": "cart"}, {"item_id": "i1"}, {"shopper_id": "u1"}]
    others += [{"kind": "search", "item_id": None, "row": {"keywords": word}} for word in ("tea", "lamp")]
    assert {TAKEN} == {state.add(bare(100 * HALF, f"c{k}", **told)) for k, told in enumerate(others)}
    assert TAKEN == state.add(bare(100 * HALF + 1, "d"))
    assert {TAKEN: 7, DUPLICATE: 1, LATE: 0, EARLY: 0} == state.counted


def test_an_event_from_the_future_is_refused_if_the_clock_is_told() -> None:
    """One wrong clock does not make all that follows late."""
    state = FeatureState(feature_set(lateness=1))
    assert EARLY == state.add(bare(200 * HALF, "ahead"), now=100 * HALF)
    assert TAKEN == state.add(bare(102 * HALF, "near"), now=100 * HALF)
    assert TAKEN == state.add(bare(100 * HALF, "now"), now=100 * HALF)


def test_a_late_event_corrects_the_step_before_its_follower() -> None:
    """A search that arrives after the view which followed it makes that a view after a search, for every entity."""
    state = FeatureState(feature_set())
    state.add(bare(100 * HALF, "a"))
    state.add(bare(102 * HALF, "b"))
    view = bare(103 * HALF)
    assert 0.0 == answer(state, view)["item_after_search"]
    state.add(bare(101 * HALF, "c", kind="search", item_id=None))
    assert (1.0, "search") == (answer(state, view)["item_after_search"], answer(state, view)["session_previous"])


def test_a_question_before_the_watermark_is_refused() -> None:
    """What can no longer be told apart is not answered wrongly."""
    state = FeatureState(feature_set(lateness=1))
    state.add(bare(100 * HALF))
    answer(state, bare(98 * HALF))
    with pytest.raises(InputError, match="lateness"):
        answer(state, bare(98 * HALF - 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "viewed"},
        {"instant": 1.5},
        {"instant": 2**70},
        {"shopper_id": 7},
        {"item_id": ["i0"]},
        {"row": {"price": float("inf")}},
        {"row": {"price": "9.99"}},
        {"row": {"keywords": ["tea"]}},
        {"item": {"category": 3}},
    ],
)
def test_an_event_that_cannot_be_read_is_refused_whole(wrong: dict[str, Any]) -> None:
    """A malformed event names itself and leaves no trace."""
    state = FeatureState(feature_set())
    state.add(bare(100 * HALF, "good"))
    before = (state.sizes(), answer(state, bare(102 * HALF)))
    more = dict(wrong)
    with pytest.raises(InputError, match="'odd'"):
        state.add(bare(more.pop("instant", 101 * HALF), "odd", **more))
    assert before == (state.sizes(), answer(state, bare(102 * HALF)))


@pytest.mark.parametrize("row", [{"page_depth": "three"}, {"list_price": 0.0}, {"page_depth": []}])
def test_a_fact_that_is_no_number_is_named(row: dict[str, Any]) -> None:
    """A malformed request says which fact is wrong."""
    with pytest.raises(InputError, match=r"page_depth|cost_share"):
        FeatureState(feature_set(), ITEMS).context("u0", "i0", "s0", HALF, row)


def test_memory_is_bounded() -> None:
    """Ten times the time, with ever new shoppers, items and sessions, takes no more memory."""
    state = FeatureState(feature_set(lateness=1), ITEMS)
    largest: list[dict[str, int]] = []
    for number in range(4_400):
        names = {"shopper_id": f"u{number // 9}", "session_id": f"s{number // 3}", "item_id": f"i{number // 5}"}
        state.add(bare(number * HALF // 4, f"e{number}", kind=KINDS[number % 5], row={"price": 1.0}, **names))
        if number in (399, 4_399):
            largest.append(state.sizes())
    early, late = largest
    assert {} == {name: (early[name], size) for name, size in late.items() if size > 1.1 * early[name] + 2}
    assert 0 < late["in_series"] < 400


@settings(max_examples=40, deadline=None)
@given(events=happenings(), lateness=st.sampled_from([1, 5]))
def test_two_shards_merge_into_what_one_state_has(events: list[Event], lateness: int) -> None:
    """States of one half of the shoppers each make the state of all, also for what arrives after the merge."""
    features = feature_set(lateness, (9, 400, 5, 7, 4))
    whole = FeatureState(features, ITEMS, SHOPPERS)
    parts = {name: FeatureState(features, ITEMS, SHOPPERS) for name in ("u0", "u1")}
    half = len(events) // 2
    taken = taken_of(whole, events[:half])
    for event in taken:
        parts[event.shopper_id].add(event)
    both = merged(parts["u0"], parts["u1"])
    assert [whole.newest, whole.counted[TAKEN]] == [both.newest, both.counted[TAKEN]]
    for event in events[half:]:
        assert whole.add(event) == both.add(event)
    for view in questions(whole):
        assert {} == differing(answer(whole, view), answer(both, view))
    assert {**whole.sizes(), "in_series": 0} == {**both.sizes(), "in_series": 0}


@pytest.mark.parametrize(("instant", "expected"), [(100, 1.0), (102, 2.0)])
def test_the_last_value_of_an_item_is_that_of_the_latest_event_of_all_shards(instant: int, expected: float) -> None:
    """Which shard saw the item last does not matter, only which event had a value last."""
    features = feature_set(1, (400,) * 5)
    one, other = FeatureState(features), FeatureState(features)
    one.add(bare(101 * HALF, "a", row={"price": 1.0}))
    one.add(bare(104 * HALF, "b", kind="review"))
    other.add(bare(instant * HALF, "c", shopper_id="u1", row={"price": 2.0}))
    other.add(bare(110 * HALF, "d", shopper_id="u1", item_id="i1"))
    assert expected == answer(merged(one, other), bare(111 * HALF))["item_last_price"]
    assert expected == answer(merged(other, one), bare(111 * HALF))["item_last_price"]


def test_what_one_shard_remembers_only_because_it_saw_nothing_later_is_forgotten() -> None:
    """An item's events before a pause longer than forget do not come back through another shard."""
    features = feature_set(1, (9, 8, 5, 7, 4))
    one, other = FeatureState(features), FeatureState(features)
    one.add(bare(100 * HALF, "a"))
    other.add(bare(117 * HALF, "b", shopper_id="u1"))
    other.add(bare(121 * HALF, "c", shopper_id="u1", item_id="i1"))
    assert 1.0 == answer(merged(one, other), bare(122 * HALF))["item_events"]


def test_shards_that_share_a_shopper_or_differ_in_features_do_not_merge() -> None:
    """What merging could not get right is refused with what to do."""
    one, other = FeatureState(feature_set()), FeatureState(feature_set())
    one.add(bare(100 * HALF, "a"))
    other.add(bare(100 * HALF, "b"))
    with pytest.raises(InputError, match="shopper_id"):
        merged(one, other)
    with pytest.raises(InputError, match="different features"):
        merged(one, FeatureState(feature_set(lateness=6)))


def test_live_features_load_nothing_heavy() -> None:
    """The endpoint that keeps the state starts without pandas, pandera, Hydra and the like."""
    heavy = {"pandas", "pandera", "hydra", "omegaconf", "numpy", "duckdb", "pyarrow", "mlflow", "sklearn"}
    code = "import sys, pipelines.behaviour.journal, pipelines.behaviour.shards; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set() == heavy & set(loaded)


def test_the_kinds_of_events_are_those_of_the_tables() -> None:
    """Definitions, which may not load the tables' schemas, know the same kinds of events."""
    assert tables.KINDS == KINDS
