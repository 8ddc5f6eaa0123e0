"""The endpoint put together from its settings: keys, log, what /ready and /metrics tell of its parts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import asking
from policies import REQUEST, tiny_policy

from pipelines import signing
from pipelines.errors import InputError
from pipelines.serving import compose, keys
from pipelines.serving.choosing import INCUMBENT, LIST_PRICE
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.log_segments import recover
from pipelines.serving.pointer import LIVE, Pointer
from pipelines.serving.settings import Settings

SETTINGS = Settings(policy=Path("mine"))
BESIDE = {"shopper": "s-1", "item": "i-1"}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one signed policy."""
    monkeypatch.chdir(tmp_path)
    tiny_policy(Path("mine"))
    signing.seal(Path("mine"), signing.signing_key())


def _run(application: Endpoint, *requests: tuple[str, str, object]) -> list[httpx.Response]:
    """Return the answers to requests between a start and an end, as a server has them."""

    async def run() -> list[httpx.Response]:
        told: asyncio.Queue[dict] = asyncio.Queue()
        up, down = asyncio.Event(), asyncio.Event()

        async def send(message: dict) -> None:
            (up if "startup" in message["type"] else down).set()

        living = asyncio.create_task(application({"type": "lifespan"}, told.get, send))
        await told.put({"type": "lifespan.startup"})
        await up.wait()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://shop") as client:
            answers = [await client.request(method, path, json=body) for method, path, body in requests]
        await told.put({"type": "lifespan.shutdown"})
        await down.wait()
        await living
        return answers

    return asyncio.run(run())


def test_a_first_start_makes_keys_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Each key is made once, with one warning; the second start is silent and quotes alike."""
    prices = []
    for warnings in (2, 0):
        ready, quote = _run(compose.endpoint(SETTINGS), ("GET", "/ready", None), ("POST", "/quote", REQUEST | BESIDE))
        assert {"ready": True, "failed": {}, "degraded": {}}.items() <= ready.json().items()
        prices.append((quote.json()["price"], quote.json()["propensity"]))
        printed = capsys.readouterr().err
        assert warnings == printed.count("so a development key was made: before customers see quotes")
    assert 1 == len({*prices})
    assert 0o600 == Path("keys/quotes.key").stat().st_mode & 0o777


def test_quotes_and_outcomes_are_on_the_disk_when_it_ends() -> None:
    """What was quoted and bought lies sealed in the log after a graceful end."""
    application = compose.endpoint(SETTINGS)
    (quote,) = _run(application, ("POST", "/quote", REQUEST | BESIDE))
    sent = {"outcomes": [{"quote_id": quote.json()["quote_id"]}]}
    taken, metrics = _run(compose.endpoint(SETTINGS), ("POST", "/outcomes", sent), ("GET", "/metrics", None))
    assert {"taken": 1} == taken.json()
    for line in ("outcomes_logged_total 1.0", "decisions_lost_total 0.0", "log_failing 0.0", "policy_refused 0.0"):
        assert f"pricewright_{line}" in metrics.text
    found = sorted(path.name.split("-")[0] for path in Path("data/decisions").glob("*.sqlite"))
    assert ["decisions", "outcomes"] == found
    assert 0 == recover(Path("data/decisions"))


def test_what_is_switched_off_is_told_as_absent() -> None:
    """Without a quote key and a log: null signatures, no log, and 404 where they would be used."""
    ask = asking(compose.endpoint(replace(SETTINGS, quote_key=None, log=None)))
    assert ask("POST", "/quote", json=REQUEST).json()["signature"] is None
    assert 404 == ask("POST", "/outcomes", json={"outcomes": []}).status_code
    assert 404 == ask("POST", "/quotes/verify", json={"quote": "x"}).status_code
    assert not Path("data").exists()
    assert not Path("keys/quotes.key").exists()


def test_the_public_file_must_hold_the_key() -> None:
    """A checkout verifies by the file beside the key: one of another key is refused, and one of both trusts both."""
    path, old = Path("keys/quotes.key"), Ed25519PrivateKey.generate()
    with pytest.warns(keys.DevelopmentKeyWarning):
        key = keys.signing_key(path)
    path.with_suffix(".pub").write_bytes(keys.pem(old.public_key()))
    with pytest.raises(InputError, match=r"keys/quotes.pub does not hold the public key of keys/quotes.key"):
        compose.sealing(path)
    path.with_suffix(".pub").write_bytes(keys.pem(key.public_key()) + keys.pem(old.public_key()))
    path.write_bytes(keys.pem(old))
    facts = {"quote_id": "q", "price_minor": 1, "currency": "EUR", "item": None, "shopper": None, "policy_digest": "d",
             "context_hash": "h", "expires": 9, "personalised": True}  # fmt: skip
    tokens = compose.sealing(path).sign([facts]) + compose.sealing(path).sign([facts, facts])
    path.write_bytes(keys.pem(key))
    assert [facts] * 3 == [compose.sealing(path).verify(token, 0.0) for token in tokens]
    assert "expired" == compose.sealing(path).verify(tokens[0], 9.0)


def test_ready_tells_what_was_refused_and_what_is_unsigned() -> None:
    """A refused deployment and the unsigned list price leave the endpoint ready, and are named as what degrades it."""
    tiny_policy(LIST_PRICE, "list_price", ladder=(1.0,))
    application = compose.endpoint(Settings())
    (ready,) = _run(application, ("GET", "/ready", None))
    assert (200, ["signature"]) == (ready.status_code, list(ready.json()["degraded"]))
    tiny_policy(INCUMBENT / "pricing", "promoted", beta=4.0)
    signing.seal(INCUMBENT / "pricing", signing.signing_key())
    tiny_policy(LIVE / "3-x", "deployed", beta=5.0)
    digest = json.loads((LIVE / "3-x/policy.json").read_text())["graph_sha256"]
    Pointer("3-x", "3", "pricing", digest).write(LIVE / "current.json")
    ready, metrics = _run(compose.endpoint(Settings()), ("GET", "/ready", None), ("GET", "/metrics", None))
    assert (200, "promoted") == (ready.status_code, ready.json()["policy"]["name"])
    assert ready.json()["degraded"]["policy"].startswith("unsigned: models/live/3-x holds no policy.sig")
    assert "pricewright_policies_refused_total 1.0" in metrics.text
    assert "pricewright_policy_refused 1.0" in metrics.text


def test_a_full_disk_degrades() -> None:
    """Where the log cannot be written quotes go on, outcomes are not acknowledged, and both pages say so."""
    Path("data").write_text("in the way")
    quote, outcome, ready, metrics = _run(
        compose.endpoint(SETTINGS),
        ("POST", "/quote", REQUEST | BESIDE),
        ("POST", "/outcomes", {"outcomes": [{"quote_id": "q"}]}),
        ("GET", "/ready", None),
        ("GET", "/metrics", None),
    )
    assert (200, 503, 200) == (quote.status_code, outcome.status_code, ready.status_code)
    assert "data/decisions cannot be written" in ready.json()["degraded"]["decision log"]
    assert "pricewright_decisions_lost_total 1.0" in metrics.text
    assert "pricewright_log_failing 1.0" in metrics.text
