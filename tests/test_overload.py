"""Overload: places, turns, deadlines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from live import asking, endpoint
from policies import REQUEST, tiny_policy

from pipelines.serving.overload import Deadline, Gate
from pipelines.serving.problems import Problem
from pipelines.serving.runtime import Policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


def test_beyond_the_queue_there_is_a_fast_503(policy: Policy) -> None:
    """Of 40 requests at once 8 find a place and get their price; the others are told to come again, and then may."""
    app = endpoint(policy, queue=8)

    async def storm() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            answers = await asyncio.gather(*(client.post("/quote", json=REQUEST) for _ in range(40)))
            return [*answers, await client.post("/quote", json=REQUEST)]

    *answers, after = asyncio.run(storm())
    assert {200: 8, 503: 32} == {s: sum(a.status_code == s for a in answers) for s in (200, 503)}
    refused = next(a for a in answers if a.status_code == 503)
    assert ("1", "Busy") == (refused.headers["retry-after"], refused.json()["title"])
    assert (200, 0, 32) == (after.status_code, app.gate.inside, app.gate.refused)


def test_turns_are_taken_in_order_and_survive_a_cancelled_one() -> None:
    """First come, first served; whoever left while waiting holds nobody up."""
    order: list[int] = []

    async def run() -> None:
        gate = Gate(10, 1)

        async def one(number: int) -> None:
            await gate.turn()
            order.append(number)

        tasks = [asyncio.ensure_future(one(n)) for n in range(7)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one(7)

    asyncio.run(run())
    assert [0, 1, 3, 4, 5, 6, 7] == order


def test_a_place_is_given_back_whatever_happens(policy: Policy) -> None:
    """Refused requests and pages leave the gate empty."""
    app = endpoint(policy)
    ask = asking(app)
    for path, body in (("/quote", {}), ("/quotes", {"contexts": [{}]}), ("/quotes", {}), ("/curve", {"u": 1})):
        assert 422 == ask("POST", path, json=body).status_code
    assert (0, 0) == (app.gate.inside, app.gate.pages_inside)


def test_pages_have_few_places() -> None:
    """A page beyond them is refused before its body is read."""
    gate = Gate(10, 1)
    gate.enter_page()
    with pytest.raises(Problem) as refused:
        gate.enter_page()
    assert 503 == refused.value.status


def test_past_the_deadline_the_list_price_is_quoted(policy: Policy) -> None:
    """With no time left the quote is the list price, nothing personal about it, with the reason."""
    ask = asking(endpoint(policy))
    late = ask("POST", "/quote", json=REQUEST, headers={"X-Deadline-Ms": "0"}).json()
    assert (2499, "deadline", None, False, None) == tuple(
        late[n] for n in ("price_minor", "fallback", "propensity", "personalised", "disclosure")
    )
    assert 2250 == ask("POST", "/quote", json=REQUEST, headers={"X-Deadline-Ms": "60000"}).json()["price_minor"]
    page = ask("POST", "/quotes", json={"contexts": [REQUEST] * 2}, headers={"X-Deadline-Ms": "0"}).json()["quotes"]
    assert ["deadline"] * 2 == [q["fallback"] for q in page]
    assert 422 == ask("POST", "/quote", json={"list_price": -1}, headers={"X-Deadline-Ms": "0"}).status_code


@pytest.mark.parametrize("header", [b"", b"-1", b"1.5", b"1e3", b"99999999", "²".encode(), b"1_0"])
def test_a_deadline_is_a_whole_number(header: bytes) -> None:
    """Anything else is refused by the header's name."""
    with pytest.raises(Problem) as refused:
        Deadline(header, 1.0)
    assert (400, "X-Deadline-Ms") == (refused.value.status, refused.value.field)
