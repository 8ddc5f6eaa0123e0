"""WebSockets: events in, re-priced quotes out; who may connect, what is too much, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attached import HERE, attached, event, folder
from live import NOON, asking, endpoint
from policies import REQUEST, tiny_policy

from pipelines.serving.access import Access, add
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.limits import Limits
from pipelines.serving.runtime import Policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    made = tmp_path_factory.mktemp("policy")
    tiny_policy(made)
    return Policy.load(made)


class Client:
    """A client without a network: what it sends, and what the application sends back."""

    def __init__(self, application: Endpoint, headers: dict[str, str] | None = None, path: str = "/ws") -> None:
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        sent = {"host": "shop", **(headers or {})}
        scope = {
            "type": "websocket", "path": path, "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._in.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(application(scope, self._in.get, self._take))

    async def _take(self, message: Any) -> None:
        if message["type"] != "websocket.close":  # which is written behind what is not read
            await self.reads.wait()
        self.got.put_nowait(message)

    def send(self, message: Any) -> None:
        """Send a message: an object, or a text as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._in.put_nowait({"type": "websocket.receive", "text": text})

    async def next(self) -> Any:
        """Return what the application sends next."""
        return await asyncio.wait_for(self.got.get(), 10)

    async def ask(self, message: Any) -> Any:
        """Send a message and return its answer."""
        self.send(message)
        return json.loads((await self.next())["text"])

    async def hang_up(self) -> None:
        """Leave."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self.task


def _run(application: Endpoint, work: Callable[[Client], Awaitable[Any]], **more: Any) -> Any:
    async def run() -> Any:
        client = Client(application, **more)
        assert "websocket.accept" == (await client.next())["type"]
        return await work(client)

    return asyncio.run(run())


def test_an_event_reprices_what_is_on_screen(policy: Policy, tmp_path: Path) -> None:
    """The answer to an event has the quotes just after it; they are those that POST /quotes gives then."""
    application = attached(policy, folder(tmp_path))

    async def work(client: Client) -> tuple[Any, Any]:
        first = await client.ask({"id": 1, **HERE, "screen": ["tea", {"item": "lamp", "list_price": 90}]})
        view = event("a", 0.0, dwell_seconds=500.0)
        del view["shopper_id"], view["session_id"]  # they are known by now
        second = await client.ask({"id": "b", "events": [view]})
        await client.hang_up()
        return first, second

    first, second = _run(application, work)
    assert ([1, "b"], ["taken"]) == ([first["id"], second["id"]], second["events"])
    assert ["24.99", "90.00"] == [quote["list_price"] for quote in first["quotes"]]
    before, after = (told["quotes"][0]["purchase_probability"] for told in (first, second))
    assert before < after  # a long look makes a purchase likelier
    page = {**HERE, "at": 1_772_450_001, "contexts": [{"item": "tea"}, {"item": "lamp", "list_price": 90}]}
    quotes = asking(application)("POST", "/quotes", json=page).json()["quotes"]
    assert [quote["price"] for quote in quotes] == [quote["price"] for quote in second["quotes"]]
    assert after == quotes[0]["purchase_probability"]


def test_whole_contexts_need_no_feature_state(policy: Policy) -> None:
    """A screen may hold contexts; what holds for all of its items is said once, and events have nowhere to go."""

    async def work(client: Client) -> None:
        shown = await client.ask(
            {"screen": [{"list_price": 10}, {"list_price": 20, "country": "FR"}], "context": REQUEST}
        )
        assert ["10.00", "20.00"] == [quote["list_price"] for quote in shown["quotes"]]
        assert shown["quotes"][0]["personalised"]
        assert [] == (await client.ask({"screen": None}))["quotes"]
        assert 404 == (await client.ask({"events": [event("a")]}))["problem"]["status"]

    _run(endpoint(policy), work)


class NotedChance:
    """Whose chance was drawn, and when."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, float]] = []

    def u(self, shopper: str, item: str, now: float) -> float:
        self.drawn.append((shopper, now))
        return 0.99

    def pseudonym(self, shopper: str) -> str:
        return shopper


def test_the_next_shopper_has_a_chance_of_their_own(policy: Policy) -> None:
    """What is shown stays on a socket, but not what was drawn for whoever was there before, nor in another bucket."""
    now, chance = [NOON], NotedChance()

    async def work(client: Client) -> list[Any]:
        told = [await client.ask({"shopper": "ann", "screen": [{"item": "tea", "context": REQUEST}]})]
        told.append(await client.ask({"shopper": "ben"}))
        now[0] += 86_400
        return [*told, await client.ask({"id": 3})]

    told = _run(endpoint(policy, lambda: now[0], chance=chance), work)
    assert [("ann", NOON), ("ben", NOON), ("ben", NOON + 86_400)] == chance.drawn
    assert [(True, 0.05)] * 3 == [(t["quotes"][0]["personalised"], t["quotes"][0]["propensity"]) for t in told]


def test_a_client_does_not_choose_what_is_counted(policy: Policy) -> None:
    """Codes of its own are one series; an origin that is none is refused, not a fault."""
    application = endpoint(policy)

    async def ended(code: int) -> None:
        client = Client(application)
        await client.next()
        client._in.put_nowait({"type": "websocket.disconnect", "code": code})
        await client.task

    async def work(client: Client) -> None:
        for code in (1001, 3000, 4999):
            await ended(code)
        odd = Client(application, headers={"origin": "http://["})
        assert 403 == (await odd.next())["status"]

    _run(application, work)
    text = asking(application)("GET", "/metrics").text
    assert 'sockets_closed_total{code="1001"} 1.0' in text
    assert 'sockets_closed_total{code="other"} 2.0' in text


@pytest.mark.parametrize(
    ("message", "status", "field"),
    [
        ("no json", 400, None), ("[1]", 422, None), ({"id": {}}, 422, "id"), ({"screen": "tea"}, 422, "screen"),
        ({"screen": ["tea"] * 4}, 422, "screen"), ({"context": [1], "screen": ["tea"]}, 422, "context"),
        ({"screen": ["tea", 5]}, 422, "contexts[1]"), ({"screen": ["sofa"]}, 422, "contexts[0].item"),
        ({"shopper": 7, "screen": ["tea"]}, 422, "shopper"), ({"events": []}, 422, "events"),
        ({"events": [event("a", kind="glance")]}, 422, "events[0].kind"), ({"screen": ["x" * 5_000]}, 413, None),
        ('{"screen": ' + "[" * 20 + "]" * 20 + "}", 400, None),
    ],
)  # fmt: skip
def test_a_wrong_message_is_answered_and_forgotten(
    policy: Policy, tmp_path: Path, message: Any, status: int, field: str | None
) -> None:
    """The problem names the field, and the next message finds what held before."""
    application = attached(policy, folder(tmp_path), limits=Limits(screen=3, message=2_000))

    async def work(client: Client) -> None:
        await client.ask({**HERE, "screen": ["tea"]})
        problem = (await client.ask(message))["problem"]
        assert (status, field) == (problem["status"], problem["field"])
        assert ["24.99"] == [quote["list_price"] for quote in (await client.ask({}))["quotes"]]

    _run(application, work)


def test_bytes_are_no_message(policy: Policy) -> None:
    """They get a problem, not an end."""

    async def work(client: Client) -> None:
        client._in.put_nowait({"type": "websocket.receive", "bytes": b"{}"})
        assert 400 == json.loads((await client.next())["text"])["problem"]["status"]

    _run(endpoint(policy), work)


def test_a_slow_consumer_is_dropped_and_others_are_not(policy: Policy) -> None:
    """Who does not read is closed with 1013 after a while; another is answered all the time, and it is counted."""
    application = endpoint(policy, limits=Limits(slow=0.1))

    async def run() -> Any:
        slow, quick = Client(application), Client(application)
        for client in (slow, quick):
            assert "websocket.accept" == (await client.next())["type"]
        slow.reads.clear()
        slow.send({"screen": [REQUEST]})
        for _ in range(20):
            assert 1 == len((await quick.ask({"screen": [REQUEST]}))["quotes"])
        closed = await slow.next()
        await slow.task
        assert 1 == len((await quick.ask({"screen": [REQUEST]}))["quotes"])
        assert 1 == application.sockets.open
        return closed

    closed = asyncio.run(run())
    assert ("websocket.close", 1013) == (closed["type"], closed["code"])
    text = asking(application)("GET", "/metrics").text
    assert 'pricewright_sockets_closed_total{code="1013"} 1.0' in text
    assert 'pricewright_requests_total{route="/ws",status="200"} 2' in text


def test_the_end_is_1012_for_all_and_refuses_new_ones(policy: Policy) -> None:
    """Idle sockets are closed at once, one that waits for an answer after it; then nobody gets in."""
    application = endpoint(policy)

    async def run() -> list[Any]:
        idle, busy = Client(application), Client(application)
        for client in (idle, busy):
            await client.next()
        busy.send({"id": 7, "screen": [REQUEST]})
        await asyncio.sleep(0)
        application.sockets.end()
        busy.send({"id": 8})  # too late
        late = Client(application)
        told = [await client.next() for client in (idle, busy, busy, late)]
        await asyncio.gather(idle.task, busy.task, late.task)
        assert busy.got.empty()
        return told

    idle, answer, closed, late = asyncio.run(run())
    assert (7, 1) == (json.loads(answer["text"])["id"], len(json.loads(answer["text"])["quotes"]))
    assert [1012, 1012] == [idle["code"], closed["code"]]
    assert 503 == late["status"]
    assert 0 == application.sockets.open


def test_who_may_connect(policy: Policy, tmp_path: Path) -> None:
    """Keys are asked for as everywhere; pages of other sites are refused; there are only so many places."""
    keys = tmp_path / "keys.json"
    prices, events = add(keys, "page", ("quote",)), add(keys, "shop", ("quote", "outcomes"))
    other = add(keys, "till", ("outcomes",))
    state = folder(tmp_path / "live")
    application = attached(policy, state, access=Access.read(keys), limits=Limits(sockets=2))
    application.sockets.origins = frozenset({"https://shop.example"})

    async def run() -> None:
        async def status(path: str = "/ws", **headers: str) -> Any:
            return (await Client(application, headers, path).next()).get("status", 101)

        key = {"x-api-key": events}
        assert [401, 401, 403] == [
            await status(), await status(**{"x-api-key": "no"}), await status(**{"x-api-key": other})
        ]  # fmt: skip
        assert 403 == await status(origin="https://evil.example", **key)
        assert 404 == await status("/quote", **key)
        may = Client(application, {**key, "origin": "https://shop.example"})
        may_not = Client(application, {"x-api-key": prices, "origin": "http://shop"})
        assert ["websocket.accept"] * 2 == [(await c.next())["type"] for c in (may, may_not)]
        assert 503 == await status(**key)
        message = {**HERE, "screen": ["tea"], "events": [event("a")]}
        assert 403 == (await may_not.ask(message))["problem"]["status"]
        assert ["taken"] == (await may.ask(message))["events"]
        await may.hang_up()
        assert 101 == await status(**key)

    asyncio.run(run())


def test_a_client_that_goes_leaves_nothing(policy: Policy) -> None:
    """Neither a task nor a place, whether it says so or is found gone while something is sent to it."""
    application = endpoint(policy)

    async def run() -> None:
        polite, rude = Client(application), Client(application)
        for client in (polite, rude):
            await client.next()
        assert 2 == application.sockets.open
        await polite.hang_up()

        async def gone(message: Any) -> None:
            raise OSError("gone")

        rude._take = gone  # type: ignore[method-assign]
        await rude.hang_up()
        assert (0, 1) == (application.sockets.open, len(asyncio.all_tasks()))

    asyncio.run(run())


def test_without_an_upgrade_it_says_what_it_wants(policy: Policy) -> None:
    """A plain GET is told to connect otherwise."""
    answer = asking(endpoint(policy))("GET", "/ws")
    assert (426, "websocket") == (answer.status_code, answer.headers["upgrade"])
