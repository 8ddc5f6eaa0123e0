"""Contexts by ids: the quote is the one that the whole context gets, and a state that is away costs no answer."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import orjson
import pandas as pd
import pytest
from attached import HERE, attached, contexts, definitions, event, folder
from live import NOON, Ask, asking, endpoint
from policies import CATEGORICAL, NUMERIC

from pipelines import context
from pipelines.behaviour import attach
from pipelines.clean import cleaned
from pipelines.config import Clean, EngineSettings
from pipelines.errors import InputError
from pipelines.market import simulate
from pipelines.serving.attached import with_features
from pipelines.serving.metrics import Cells
from pipelines.serving.owner import StateError
from pipelines.serving.parts import Fixed, Held, Parts
from pipelines.serving.runtime import Policy
from pipelines.serving.settings import Settings
from pipelines.sources import MarketSource

IDS = {**HERE, "item": "tea"}
OWN = ("channel", "path", "page_depth")  # what the request knows itself


@pytest.fixture(scope="module")
def policy(tiny: Path) -> Policy:
    return Policy.load(tiny)


@pytest.fixture
def ask(policy: Policy, tmp_path: Path) -> Ask:
    return asking(attached(policy, folder(tmp_path)))


def _view(columns: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the clean table `events` as a front end would send it."""
    told = {name: value for name, value in columns.items() if pd.notna(value)}
    return {**told, "time": columns["time"].isoformat()}


def test_ids_and_whole_contexts_get_the_same_quote(policy: Policy, tmp_path: Path) -> None:
    """Of a simulated shop, half of the log attached and half sent: every field of every quote, by ids and whole.

    The whole contexts come from the batch engine, so live and batch are held to each other on the way.
    """
    source = MarketSource("market", "market", days=6, shoppers=30, items=12, offers=160)
    shop = simulate(source, seed=3)
    tables = cleaned(
        {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}, source, Clean()
    )[0]  # fmt: skip
    log = tables["events"].sort_values(["time", "event_id"]).reset_index(drop=True)
    half = log["time"].iloc[len(log) // 2]
    attach.attach(
        tmp_path, definitions(), "EUR", {**tables, "events": log[log["time"] <= half]}, int(2e15)
    )  # fmt: skip
    batch = context.contexts(definitions(), tables, EngineSettings()).set_index("offer_id")
    clock = [0.0]
    records: list[dict[str, Any]] = []
    state = contexts(tmp_path)
    application = endpoint(policy, contexts=state, log=_Kept(records), clock=lambda: clock[0])
    compared = 0

    async def run() -> None:
        nonlocal compared
        from httpx import ASGITransport, AsyncClient

        async with AsyncClient(transport=ASGITransport(application), base_url="http://shop") as client:
            for row in log[log["time"] > half].to_dict("records"):
                clock[0] = row["time"].timestamp()
                if row["kind"] == "view":
                    whole = _known(batch.loc[row["event_id"]])
                    own = {name: whole[name] for name in OWN if name in whole}
                    ids = {"shopper": row["shopper_id"], "item": row["item_id"], "session": row["session_id"]}
                    told = [
                        (await client.post("/quote", json=body)).json()
                        for body in ({**ids, **own}, {**ids, "context": whole})
                    ]
                    _same_quotes(*told)
                    _same_inputs(*records[-2:])
                    asked = (*ids.values(), round(clock[0] * 1e6), {**own, "list_price": whole["list_price"]})
                    _same_features((await state.state.contexts([asked]))[0], batch.loc[row["event_id"]])
                    compared += 1
                answer = await client.post("/events", json={"events": [_view(row)]})
                assert ["taken"] == answer.json()["events"]

    asyncio.run(run())
    assert compared > 60


def _known(row: pd.Series) -> dict[str, Any]:
    """Return the context of an offer as a caller would send it: the policy's inputs, and nothing that is missing."""
    names = ("list_price", "unit_cost", "min_price", "max_price", *OWN, *NUMERIC, *CATEGORICAL)
    values = {name: row[name] for name in names if name in row.index}
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
        if pd.notna(value) and value != ""
    }


def _same_quotes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name in set(one) - {"quote_id"}:
        if isinstance(one[name], float):
            assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9), name
        else:
            assert other[name] == one[name], name


def _same_inputs(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Hold what the graph was fed with to each other, field by field."""
    assert set(one["inputs"]) == set(other["inputs"])
    for name, value in one["inputs"].items():
        if isinstance(value, float):
            assert other["inputs"][name] == pytest.approx(value, rel=1e-6, nan_ok=True), name
        else:
            assert other["inputs"][name] == value, name


def _same_features(live: Any, batch: pd.Series) -> None:
    """Hold all features, those that this policy does not take as well, to the batch engine's."""
    for name, value in zip(definitions().features, live, strict=True):
        if isinstance(value, str):
            assert value == batch[name], name
        else:
            assert (math.nan if value is None else value) == pytest.approx(batch[name], rel=1e-6, nan_ok=True), name


class _Kept:
    """A decision log in a list."""

    failing = None

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records

    def introduce(self, manifest: Any, digest: str) -> None:
        """Know it already."""

    async def quoted(self, *records: dict[str, Any]) -> None:
        """Keep them."""
        self.records.extend(orjson.loads(orjson.dumps(record)) for record in records)  # as the log writes them


def test_events_move_the_context(ask: Ask, policy: Policy) -> None:
    """A purchase, a review and a long view are in the next quote, exactly as the context says them."""
    first = ask("POST", "/quote", json=IDS).json()
    sent = [
        event("e1", -86_400.0 * 3, kind="purchase", quantity=1),
        event("e2", -50.0, dwell_seconds=140.0),
        event("e3", -40.0, kind="review", rating=2.0, price=None),
    ]
    assert ["taken"] * 3 == ask("POST", "/events", json={"events": sent}).json()["events"]
    whole = {"list_price": 24.99, "unit_cost": 11.5, "country": "DE", "category": "garden"}
    whole |= {"session_dwell": 140.0, "item_rating": 2.0, "days_since_purchase": 3.0}
    _same_quotes(ask("POST", "/quote", json={"context": whole}).json(), ask("POST", "/quote", json=IDS).json())
    assert first["purchase_probability"] != ask("POST", "/quote", json=IDS).json()["purchase_probability"]


def test_each_event_is_answered(ask: Ask) -> None:
    """Taken, again, too late, too early, of no item that is known, in another currency: one word each, in order."""
    sent = [event("a"), event("a"), event("b", -500.0), event("c", 500.0), event("d", item_id="sofa")]
    answer = ask("POST", "/events", json={"events": [*sent, event("e", currency="USD")]})
    words = ["taken", "duplicate", "late", "early", "unknown_item", "foreign_currency"]
    assert (200, words) == (answer.status_code, answer.json()["events"])


def test_a_wrong_event_is_named_and_none_is_taken(ask: Ask) -> None:
    """The message says which one and which field; sent again without it, the others are news."""
    answer = ask("POST", "/events", json={"events": [event("a"), event("b", kind="glance")]})
    assert (422, "events[1].kind") == (answer.status_code, answer.json()["field"])
    assert ["taken"] == ask("POST", "/events", json={"events": [event("a")]}).json()["events"]


def test_what_the_request_brings_is_taken_as_it_is(ask: Ask) -> None:
    """Own fields win over the state's and the table's, and a whole context is left alone."""
    ask("POST", "/events", json={"events": [event("a")]})
    own = {"list_price": 30.0, "unit_cost": 10.0, "session_dwell": 500.0, "country": None}
    found = ask("POST", "/quote", json={**IDS, **own}).json()
    whole = {**own, "category": "garden", "country": "DE"}
    _same_quotes(ask("POST", "/quote", json={"context": whole}).json(), found)
    alone = ask("POST", "/quote", json={**IDS, "context": {"list_price": 30.0}}).json()
    _same_quotes(ask("POST", "/quote", json={"list_price": 30.0}).json(), alone)


def test_a_curve_by_ids_is_that_of_the_whole_context(ask: Ask) -> None:
    """What stands behind a quote can be looked at in both ways."""
    ask("POST", "/events", json={"events": [event("a", dwell_seconds=140.0)]})
    whole = {"list_price": 24.99, "unit_cost": 11.5, "country": "DE", "category": "garden", "session_dwell": 140.0}
    by_ids, given = (ask("POST", "/curve", json=body).json() for body in (IDS, {"context": whole}))
    assert given == by_ids


def test_requests_and_events_are_as_described(ask: Ask) -> None:
    """The document takes ids for a context, knows what an event is, and what is answered."""
    document = ask("GET", "/openapi.json").json()

    def fits(name: str, value: Any) -> bool:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        return jsonschema.Draft202012Validator(schema).is_valid(value)

    assert {"/events", "/ws"} <= set(document["paths"])
    for body in (IDS, {**IDS, "list_price": 30.0}, {"shopper": "ada"}, {**IDS, "item": None}):
        assert (200 if fits("Request", body) else 422) == ask("POST", "/quote", json=body).status_code
    changes: tuple[dict[str, Any], ...] = (
        {}, {"kind": "search", "item_id": None, "price": None}, {"kind": "review", "price": None, "rating": 4},
        {"price": None}, {"item_id": None}, {"kind": "glance"}, {"channel": None}, {"rating": 9}, {"shopper_id": ""},
        {"time": "2026-03-02T11:13:20Z"}, {"time": None}, {"path": 5}, {"currency": "USD"}, {"currency": 1},
    )  # fmt: skip
    for number, change in enumerate(changes):
        events = {"events": [event(f"e{number}") | change]}
        answer = ask("POST", "/events", json=events)
        assert (200 if fits("Events", events) else 422) == answer.status_code, change
        assert fits("Taken" if answer.status_code == 200 else "Problem", answer.json())
    message = {**HERE, "id": 1, "screen": ["tea", {"item": "lamp", **HERE}], "events": [event("z")]}
    assert fits("Message", message)


def test_a_page_of_ids_shares_shopper_and_session(ask: Ask) -> None:
    """A list page names its items only; the refusal of one names its place among contexts that came whole."""
    page = {**HERE, "contexts": [{"item": "tea"}, {"context": {"list_price": 5.0}}, {"item": "lamp"}]}
    prices = [quote["list_price"] for quote in ask("POST", "/quotes", json=page).json()["quotes"]]
    assert ["24.99", "5.00", "80.00"] == prices
    page["contexts"].append({"item": "sofa"})
    answer = ask("POST", "/quotes", json=page)
    assert (422, "contexts[3].item") == (answer.status_code, answer.json()["field"])
    page["contexts"][-1]["list_price"] = 300.0
    assert "300.00" == ask("POST", "/quotes", json=page).json()["quotes"][-1]["list_price"]


def test_a_time_too_far_back_is_refused(ask: Ask) -> None:
    """What happened then is no longer told apart, and the caller named that time."""
    ask("POST", "/events", json={"events": [event("a", -1.0)]})
    assert 200 == ask("POST", "/quote", json={**IDS, "at": NOON - 30}).status_code
    answer = ask("POST", "/quote", json={**IDS, "at": NOON - 300})
    assert (422, "at") == (answer.status_code, answer.json()["field"])


class _Away:
    """A state that does not answer: at once, or only after a while."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds

    async def contexts(self, asked: Any) -> Any:
        """Answer nothing, or too late."""
        if self.seconds is None:
            raise StateError("its process does not answer")
        await asyncio.sleep(self.seconds)

    async def events(self, events: Any, now: int) -> Any:
        """Likewise."""
        return await self.contexts(events)


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_a_state_that_does_not_answer_costs_no_price(policy: Policy, tmp_path: Path, seconds: float | None) -> None:
    """The list price is quoted with its reason, nothing personal, no propensity; and /ready and /metrics say so."""
    state = contexts(folder(tmp_path), _Away(seconds), patience=0.05)
    worries = {"feature state": lambda: state.trouble}
    ask = asking(endpoint(policy, contexts=state, worries=worries))
    assert 503 == ask("POST", "/curve", json=IDS).status_code
    quote = ask("POST", "/quote", json=IDS).json()
    assert ("24.99", "no_context", None, False) == tuple(
        quote[name] for name in ("price", "fallback", "propensity", "personalised")
    )
    whole = ask("POST", "/quote", json={"context": {"list_price": 24.99}}).json()
    assert whole["fallback"] is None
    ready = ask("GET", "/ready")
    assert (200, ["feature state"]) == (ready.status_code, list(ready.json()["degraded"]))


def test_the_deadline_of_the_request_is_the_shorter_one(policy: Policy, tmp_path: Path) -> None:
    """Where the request itself is too late, that is the reason."""
    ask = asking(endpoint(policy, contexts=contexts(folder(tmp_path), _Away(30.0), patience=20.0)))
    quote = ask("POST", "/quote", json=IDS, headers={"X-Deadline-Ms": "30"}).json()
    assert ("24.99", "deadline") == (quote["price"], quote["fallback"])


@pytest.mark.parametrize("missing", ["shopper", "session"])
def test_an_id_that_is_missing_is_named(policy: Policy, tmp_path: Path, missing: str) -> None:
    """A list price would do as well, but who sends ids wants their context; with one, the request stands alone."""
    ask = asking(attached(policy, folder(tmp_path)))
    answer = ask("POST", "/quote", json={**IDS, missing: None})
    assert (422, missing) == (answer.status_code, answer.json()["field"])
    assert 200 == ask("POST", "/quote", json={**IDS, missing: None, "list_price": 20}).status_code
    page = ask("POST", "/quotes", json={"contexts": [IDS, {**IDS, missing: None}]})
    assert (422, f"contexts[1].{missing}") == (page.status_code, page.json()["field"])


def test_a_wrong_price_is_the_requests_fault(policy: Policy, tmp_path: Path) -> None:
    """It is refused by its name; the state is well, and nobody else reads what was sent."""
    state = contexts(folder(tmp_path))
    ask = asking(endpoint(policy, contexts=state, worries={"feature state": lambda: state.trouble}))
    for field in ("list_price", "unit_cost"):
        answer = ask("POST", "/quote", json={**IDS, field: "a secret"})
        assert (422, field) == (answer.status_code, answer.json()["field"])
    assert {} == ask("GET", "/ready").json()["degraded"]


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_events_that_cannot_be_kept_are_not_acknowledged(
    policy: Policy, tmp_path: Path, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told to send them again, also by a state that hangs."""
    monkeypatch.setattr("pipelines.serving.contexts._TO_KEEP", 0.05)
    ask = asking(endpoint(policy, contexts=contexts(folder(tmp_path), _Away(seconds))))
    answer = ask("POST", "/events", json={"events": [event("a")]})
    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])


def test_other_definitions_are_refused(policy: Policy, tmp_path: Path) -> None:
    """An endpoint does not start on a state that computes something else under the same names."""
    features = definitions()
    shorter = replace(features.define["session_dwell"], of=("cart",))
    folder(tmp_path, replace(features, define={**features.define, "session_dwell": shorter}))
    learned = replace(policy, manifest=replace(policy.manifest, definitions=attach.exported.as_json(features)))
    parts = Parts(live=Fixed(Held(learned)))
    with pytest.raises(InputError, match=r"session_dwell.of: \('cart',\) instead of \('view',\).*make repro"):
        with_features(parts, tmp_path, Settings(), Cells())


def test_a_policy_that_does_not_fit_any_more_gets_no_context(policy: Policy, tmp_path: Path) -> None:
    """After a swap to a policy of other features the list price is quoted by ids, and the reason is told."""
    folder(tmp_path)
    live = _Swapped(Held(policy))
    made = with_features(Parts(live=live), tmp_path, Settings(), Cells())
    ask = asking(endpoint(policy, live=live, contexts=made.contexts, worries=made.worries))
    assert ask("POST", "/quote", json=IDS).json()["fallback"] is None
    longer = replace(definitions(), forget={**definitions().forget, "session": "2d"})
    learned = replace(policy.manifest, graph_sha256="e" * 64, definitions=attach.exported.as_json(longer))
    live.current = Held(replace(policy, manifest=learned))
    assert "no_context" == ask("POST", "/quote", json=IDS).json()["fallback"]
    assert "forget.session is 1d instead of 2d" in ask("GET", "/ready").json()["degraded"]["feature state"]


class _Swapped:
    """What is live, and can be set."""

    shadow = None

    def __init__(self, current: Held) -> None:
        self.current = current


def test_metrics_count_events_and_contexts(policy: Policy, tmp_path: Path) -> None:
    """What became of events and contexts is counted by word."""
    state = contexts(folder(tmp_path))
    ask = asking(endpoint(policy, contexts=state))
    ask("POST", "/events", json={"events": [event("a"), event("a"), event("b", item_id="sofa")]})
    ask("POST", "/quotes", json={**HERE, "contexts": [{"item": "tea"}, {"item": "lamp"}]})
    counted = {labels[0][1]: value for _, (_, labels), value in state.cells.read() if labels}
    assert {"taken": 1.0, "duplicate": 1.0, "unknown_item": 1.0, "computed": 2.0} == counted
