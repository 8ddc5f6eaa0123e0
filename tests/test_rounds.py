"""Single quotes that are priced together, in one round: each stands alone, and so does each failure."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import NOON, endpoint
from policies import REQUEST, tiny_policy

from pipelines.serving.adapters import Drawn, Logged, Sealing
from pipelines.serving.asked import Asked
from pipelines.serving.decisions import DecisionLog
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.groups import Group
from pipelines.serving.overload import Deadline
from pipelines.serving.runtime import Policy
from pipelines.serving.signatures import Signer, Verifier
from pipelines.serving.views import View

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SEALING = Sealing(Signer(KEY), Verifier([KEY.public_key()]))
CHANCE = Drawn(bytes(32), 86_400)


class Log:
    """Acknowledges records when it is told to."""

    def __init__(self) -> None:
        self.group, self.records = Group(60.0), list[dict[str, Any]]()

    def introduce(self, manifest: Any, digest: str) -> None:
        pass

    def quoted(self, *records: dict[str, Any]) -> Group:
        self.records += [orjson.loads(orjson.dumps(record)) for record in records]
        return self.group

    failing = None


class Choosy:
    """Signs all but what is of one item."""

    def __init__(self, never: str) -> None:
        self.never = never

    def sign(self, quotes: Sequence[dict[str, Any]]) -> list[str]:
        if any(quote["item"] == self.never for quote in quotes):
            raise ValueError("not that one")
        return [f"token of {quote['item']}" for quote in quotes]

    def verify(self, token: str, now: float) -> str:
        return "forged"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


async def _asked(app: Endpoint, count: int, **beside: Any) -> list[httpx.Response]:
    """Return the answers to requests that are sent at once, of items 0, 1, …"""
    bodies = [{"shopper": f"s{n}", "item": f"i{n}", "context": REQUEST, **beside} for n in range(count)]
    return await _sent(app, "/quote", *bodies)


def _quotes(app: Endpoint, count: int, **beside: Any) -> list[dict[str, Any]]:
    answers = asyncio.run(_asked(app, count, **beside))
    assert [200] * count == [answer.status_code for answer in answers]
    return [answer.json() for answer in answers]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many requests each call of a graph was for; one whose list price is 13 no graph can price."""
    made, group = list[int](), Policy.group

    def counted(self: Policy, rows: Sequence[Sequence[Any]], outputs: Sequence[str]) -> Any:
        made.append(len(rows))
        if any(13.0 in row for row in rows):
            raise RuntimeError("thirteen")
        return group(self, rows, outputs)

    monkeypatch.setattr(Policy, "group", counted)
    return made


def _kind(token: str) -> str:
    return str(orjson.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"])


def test_quotes_of_a_round_stand_alone(policy: Policy) -> None:
    """Each of eight at once has a JSON Web Token for its own quote; the price is that of one alone."""
    app = endpoint(policy, signer=SEALING, chance=CHANCE)
    quotes = _quotes(app, 8)
    for number, quote in enumerate(quotes):
        assert "EdDSA" == _kind(quote["signature"])
        facts = SEALING.verify(quote["signature"], NOON)
        assert isinstance(facts, dict), facts
        assert (quote["quote_id"], quote["price_minor"], f"i{number}") == tuple(
            facts[name] for name in ("quote_id", "price_minor", "item")
        )
    (alone,) = _quotes(app, 1)
    same = ("price", "propensity", "purchase_probability", "guardrail", "valid_until", "personalised", "policy")
    assert {name: alone[name] for name in same} == {name: quotes[0][name] for name in same}


def test_repeats_of_a_round_keep_their_signature(policy: Policy) -> None:
    """Each has the token that it came with."""
    app = endpoint(policy, signer=SEALING, chance=CHANCE)
    (shown,) = _quotes(app, 1)
    again = _quotes(app, 3, quote=shown["signature"], shopper="s0", item="i0")
    assert [(shown["signature"], True)] * 3 == [(quote["signature"], quote["repeat"]) for quote in again]


def test_one_that_cannot_be_signed_fails_alone(policy: Policy) -> None:
    """Its neighbours of the round are quoted."""
    signer = Choosy("i2")
    answers = asyncio.run(_asked(endpoint(policy, signer=signer), 4))
    assert [200, 200, 500, 200] == [answer.status_code for answer in answers]
    assert ["token of i0", "token of i1", "token of i3"] == [
        answer.json()["signature"] for answer in answers if answer.status_code == 200
    ]


def test_no_quote_is_given_out_before_it_is_logged(policy: Policy) -> None:
    """A round waits for its log, all of it, and is then answered with what was logged."""
    log = Log()

    async def run() -> list[httpx.Response]:
        asking = asyncio.ensure_future(_asked(endpoint(policy, signer=SEALING, log=log), 4))
        done, _ = await asyncio.wait({asking}, timeout=0.3)
        assert not done
        assert 4 == len(log.records)
        log.group.finish(True)
        return await asking

    told = [answer.json() for answer in asyncio.run(run())]
    assert [record["quote_id"] for record in log.records] == [quote["quote_id"] for quote in told]
    assert all(isinstance(SEALING.verify(quote["signature"], NOON), dict) for quote in told)


def test_a_round_is_one_call_of_the_graph(policy: Policy, calls: list[int]) -> None:
    """Those that came while a round was priced are the next one."""
    app = endpoint(policy, signer=SEALING, chance=CHANCE)
    assert policy.steady  # which asks the graph as well
    calls.clear()
    _quotes(app, 8)
    assert [8] == calls
    _quotes(app, 1)
    assert [8, 1] == calls


def test_a_policy_that_is_not_steady_prices_one_by_one(policy: Policy, calls: list[int]) -> None:
    """Its rounds share nothing but the log, and neither do its pages."""
    log, unsteady = Log(), replace(policy)
    vars(unsteady)["steady"] = False
    app = endpoint(unsteady, log=log)
    calls.clear()
    log.group.finish(True)
    _quotes(app, 3)
    assert ([1, 1, 1], 3) == (calls, len(log.records))
    (page,) = asyncio.run(_sent(app, "/quotes", {"contexts": [REQUEST, REQUEST | {"list_price": 13.0}]}))
    assert [None, "unpriceable"] == [quote["fallback"] for quote in page.json()["quotes"]]
    assert [1, 1] == calls[3:]


def test_what_no_graph_can_price_costs_the_others_nothing(policy: Policy, calls: list[int]) -> None:
    """It gets its list price, and its neighbours of the round their own."""
    app = endpoint(policy)
    assert policy.steady
    calls.clear()
    told = [answer.json() for answer in asyncio.run(_mixed(app, {}, {"list_price": 13.0}, {}))]
    assert [3, 1, 1, 1] == calls
    assert [None, "unpriceable", None] == [quote["fallback"] for quote in told]
    assert ("13.00", told[0]["price"]) == (told[1]["price"], told[2]["price"])


def test_a_wrong_request_does_not_join(policy: Policy, calls: list[int]) -> None:
    """It is refused before, and the others of the round are priced without it."""
    app = endpoint(policy)
    assert policy.steady
    calls.clear()
    answers = asyncio.run(_mixed(app, {}, {"list_price": -1}, {"u": "one"}, {}))
    assert ([200, 422, 422, 200], [2]) == ([answer.status_code for answer in answers], calls)


def test_a_deadline_is_ones_own(policy: Policy, calls: list[int]) -> None:
    """Who has no time left gets the list price, and the graph is asked for the others alone."""
    app = endpoint(policy)
    assert policy.steady
    calls.clear()

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            deadlines = ("1000", "0", "1000", "0")
            return await asyncio.gather(
                *(client.post("/quote", json=REQUEST, headers={"X-Deadline-Ms": d}) for d in deadlines)
            )

    told = [answer.json()["fallback"] for answer in asyncio.run(run())]
    assert ([None, "deadline", None, "deadline"], [2]) == (told, calls)


def test_a_round_in_which_the_policy_was_swapped(policy: Policy, tmp_path: Path) -> None:
    """Each is priced by the policy that it began with."""
    tiny_policy(tmp_path, "other", alpha=-2.0)
    other = Policy.load(tmp_path)
    app = endpoint(policy)

    async def run() -> list[dict[str, Any]]:
        quoted = []
        for number in range(6):
            one = (policy, other)[number % 2]
            quoted.append(app.rounds.join(Asked(dict(REQUEST)), View.of(one, None), Deadline(None, 60.0)))
        return [await quote for quote in quoted]

    quotes = asyncio.run(run())
    names = [orjson.loads(orjson.dumps(quote["policy"]))["name"] for quote in quotes]
    assert ["tiny", "other"] * 3 == names
    for quote, one in zip(quotes, (policy, other) * 3, strict=True):
        assert one.quote([REQUEST])[0]["purchase_probability"] == quote["purchase_probability"]


def test_who_leaves_a_round_holds_nobody_up(policy: Policy) -> None:
    """Its quote is made and logged, and the others get theirs; the next round begins."""
    log = Log()
    app = endpoint(policy, log=log)

    async def run() -> list[dict[str, Any]]:
        view = app.quoter.view()
        quoted = [app.rounds.join(Asked(dict(REQUEST)), view, Deadline(None, 60.0)) for _ in range(3)]
        await asyncio.sleep(0.01)
        quoted[1].cancel()
        log.group.finish(True)
        return [await quoted[0], await quoted[2], await app.rounds.join(Asked(dict(REQUEST)), view, Deadline(None, 9))]

    quotes = asyncio.run(run())
    assert (3, 4) == (len({quote["quote_id"] for quote in quotes}), len(log.records))


def test_a_log_that_hangs_holds_up_its_own_round(policy: Policy) -> None:
    """Who comes later is priced, logged and answered; the round before is answered once its log is heard of."""
    log = Log()
    app, hanging = endpoint(policy, log=log), log.group

    async def run() -> list[dict[str, Any]]:
        view = app.quoter.view()
        first = app.rounds.join(Asked(dict(REQUEST)), view, Deadline(None, 60.0))
        await asyncio.sleep(0.01)
        log.group = Group.over(False)  # the disk is given up
        second = await app.rounds.join(Asked(dict(REQUEST)), view, Deadline(None, 60.0))
        assert not first.done()
        hanging.finish(True)
        return [await first, second]

    quotes = asyncio.run(run())
    assert [record["quote_id"] for record in log.records] == [quote["quote_id"] for quote in quotes]
    assert [None, None] == [quote["fallback"] for quote in quotes]


def test_a_log_that_hangs_moves_no_deadline(policy: Policy) -> None:
    """Who names a deadline gets the price by then, also of a page; who names none waits for the log."""
    log = Log()
    app = endpoint(policy, log=log)

    async def run() -> tuple[list[httpx.Response], httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            patient = asyncio.ensure_future(client.post("/quote", json=REQUEST))
            hurried = [
                asyncio.ensure_future(client.post(path, json=body, headers={"X-Deadline-Ms": "80"}))
                for path, body in (("/quote", REQUEST), ("/quotes", {"contexts": [REQUEST] * 3}))
            ]
            done, waiting = await asyncio.wait({patient, *hurried}, timeout=1.0)
            assert ({*hurried}, {patient}) == (done, waiting)
            log.group.finish(True)
            return [one.result() for one in hurried], await patient

    (alone, page), patient = asyncio.run(run())
    assert [None] * 5 == [q["fallback"] for q in (alone.json(), patient.json(), *page.json()["quotes"])]
    assert 5 == len(log.records)


def test_nobody_is_left_waiting(policy: Policy) -> None:
    """Where a round is cut off, as at the end of a server in a hurry, those who wait are told so."""
    app = endpoint(policy, log=Log())

    async def run() -> None:
        quote = app.rounds.join(Asked(dict(REQUEST)), app.quoter.view(), Deadline(None, 60.0))
        await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await quote

    asyncio.run(run())


def test_what_one_loop_left_does_not_go_on_in_the_next(policy: Policy) -> None:
    """Who still waited when a loop ended is gone; a round of the next loop has an instant of its own."""
    log, clock = Log(), [NOON]
    app = endpoint(policy, clock=lambda: clock[0], log=log)

    async def join() -> asyncio.Future[dict[str, Any]]:
        return app.rounds.join(Asked(dict(REQUEST)), app.quoter.view(), Deadline(None, 60.0))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(join())  # and its round has not begun
    loop.close()
    log.group.finish(True)
    clock[0] += 60

    async def again() -> dict[str, Any]:
        return await (await join())

    quote = asyncio.run(again())
    assert [(quote["quote_id"], NOON + 60)] == [(record["quote_id"], record["time"]) for record in log.records]


def test_a_round_in_which_one_fails_is_logged_once_and_together(policy: Policy) -> None:
    """Whoever can be quoted is, in one group of the log."""
    log = Log()
    groups: list[int] = []
    quoted = log.quoted
    log.quoted = lambda *records: (groups.append(len(records)), quoted(*records))[1]  # type: ignore[method-assign,func-returns-value]
    log.group.finish(True)
    answers = asyncio.run(_asked(endpoint(policy, signer=Choosy("i2"), log=log), 4))
    assert ([200, 200, 500, 200], [3]) == ([answer.status_code for answer in answers], groups)
    assert ["i0", "i1", "i3"] == [record["item"] for record in log.records]


def test_a_round_in_which_everybody_fails_leaves_the_log_alone(policy: Policy, tmp_path: Path) -> None:
    """And the next quote is given out once its own record is safe."""
    log = Logged(DecisionLog(tmp_path))
    app = endpoint(policy, signer=Choosy("i0"), log=log)
    kept = []

    async def run() -> list[int]:
        first = await _sent(app, "/quote", {"item": "i0", "context": REQUEST})
        for _ in range(20):  # longer than a log that was asked to keep nothing would have waited
            await asyncio.sleep(0.06)
        quoted = log.quoted
        log_quoted = lambda *records: kept.append(quoted(*records)) or kept[-1]  # noqa: E731
        object.__setattr__(log, "quoted", log_quoted)
        second = await _sent(app, "/quote", {"item": "i1", "context": REQUEST})
        return [answer.status_code for answer in (*first, *second)]

    try:
        assert [500, 200] == asyncio.run(run())
        assert [(True, True)] == [(group.done, group.kept) for group in kept]
    finally:
        log.log.close()


async def _sent(app: Endpoint, path: str, *bodies: dict[str, Any]) -> list[httpx.Response]:
    """Return the answers to requests that are sent at once."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        return list(await asyncio.gather(*(client.post(path, json=body) for body in bodies)))


async def _mixed(app: Endpoint, *changes: dict[str, Any]) -> list[httpx.Response]:
    """Return the answers to requests that are sent at once, each with changes of its own."""
    return await _sent(app, "/quote", *(REQUEST | change for change in changes))
