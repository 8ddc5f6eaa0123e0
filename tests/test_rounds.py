"""Single quotes that are priced in one round of the loop: each stands alone, and so does each failure."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import NOON, endpoint
from policies import REQUEST, tiny_policy

from pipelines.serving.adapters import Drawn, Sealing
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.groups import Group
from pipelines.serving.runtime import Policy
from pipelines.serving.signatures import Signer, Verifier

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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        bodies = [{"shopper": f"s{n}", "item": f"i{n}", "context": REQUEST, **beside} for n in range(count)]
        return list(await asyncio.gather(*(client.post("/quote", json=body) for body in bodies)))


def _quotes(app: Endpoint, count: int, **beside: Any) -> list[dict[str, Any]]:
    answers = asyncio.run(_asked(app, count, **beside))
    assert [200] * count == [answer.status_code for answer in answers]
    return [answer.json() for answer in answers]


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
