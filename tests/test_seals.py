"""Signatures that single quotes of one round share: each token stands alone, and so does each failure."""

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
from pipelines.serving.seals import Seals
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
    """Signs all but what is of one item, and then nothing of what is beside it."""

    def __init__(self, never: str) -> None:
        self.never, self.calls = never, list[int]()

    def sign(self, quotes: Sequence[dict[str, Any]]) -> list[str]:
        self.calls.append(len(quotes))
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


def _seal(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[2] + "==")


def test_quotes_of_a_round_share_a_signature(policy: Policy) -> None:
    """Eight at once have one signature, and each token vouches for its own quote; the price is that of one alone."""
    app = endpoint(policy, signer=SEALING, chance=CHANCE)
    quotes = _quotes(app, 8)
    assert ["EdDSA-page"] * 8 == [_kind(quote["signature"]) for quote in quotes]
    assert 1 == len({_seal(quote["signature"])[:64] for quote in quotes})
    for number, quote in enumerate(quotes):
        facts = SEALING.verify(quote["signature"], NOON)
        assert isinstance(facts, dict), facts
        assert (quote["quote_id"], quote["price_minor"], f"i{number}") == tuple(
            facts[name] for name in ("quote_id", "price_minor", "item")
        )
    (alone,) = _quotes(app, 1)
    same = ("price", "propensity", "purchase_probability", "guardrail", "valid_until", "personalised", "policy")
    assert {name: alone[name] for name in same} == {name: quotes[0][name] for name in same}


def test_a_quote_alone_is_a_json_web_token(policy: Policy) -> None:
    """Whoever has no neighbour does not share; nor does anybody where the shop wants JSON Web Tokens."""
    assert ["EdDSA"] == [_kind(quote["signature"]) for quote in _quotes(endpoint(policy, signer=SEALING), 1)]
    apart = _quotes(endpoint(policy, signer=SEALING, together=False), 4)
    assert ["EdDSA"] * 4 == [_kind(quote["signature"]) for quote in apart]
    assert all(isinstance(SEALING.verify(quote["signature"], NOON), dict) for quote in apart)


def test_a_repeat_keeps_its_signature(policy: Policy) -> None:
    """Of a round whose quotes were all shown before nothing is signed, and each has the token that it came with."""
    app = endpoint(policy, signer=SEALING, chance=CHANCE)
    (shown,) = _quotes(app, 1)
    again = _quotes(app, 3, quote=shown["signature"], shopper="s0", item="i0")
    assert [(shown["signature"], True)] * 3 == [(quote["signature"], quote["repeat"]) for quote in again]


def test_one_that_cannot_be_signed_fails_alone(policy: Policy) -> None:
    """Its neighbours are signed by themselves."""
    signer = Choosy("i2")
    answers = asyncio.run(_asked(endpoint(policy, signer=signer), 4))
    assert [200, 200, 500, 200] == [answer.status_code for answer in answers]
    assert ["token of i0", "token of i1", "token of i3"] == [
        answer.json()["signature"] for answer in answers if answer.status_code == 200
    ]
    assert [4, 1, 1, 1, 1] == signer.calls


def test_no_quote_is_given_out_before_it_is_logged(policy: Policy) -> None:
    """A round that is signed waits for its log, all of it, and is then answered with what was logged."""
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


def test_a_round_ends_and_another_begins() -> None:
    """Tokens of two rounds have two signatures; a request that was cancelled holds up nobody."""
    facts = {"quote_id": "q", "price_minor": 1, "currency": "EUR", "item": "i", "shopper": None,
             "policy_digest": "d", "context_hash": "h", "expires": int(NOON) + 9}  # fmt: skip

    async def run() -> list[str]:
        seals, found = Seals(SEALING), list[str]()
        for _ in range(2):
            tokens = [asyncio.ensure_future(_awaited(seals, facts)) for _ in range(3)]
            await asyncio.sleep(0)  # each has handed over its quote
            tokens[0].cancel()
            found += await asyncio.gather(*tokens[1:])
            assert tokens[0].cancelled()
        return found

    tokens = asyncio.run(run())
    assert 4 == len(tokens)
    assert all(isinstance(SEALING.verify(token, NOON), dict) for token in tokens)


async def _awaited(seals: Seals, facts: dict[str, Any]) -> str:
    return await seals.take(facts)
