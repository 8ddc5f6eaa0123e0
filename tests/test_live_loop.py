"""The endpoint as a user starts it, from a promoted policy to offers that the next policy learns from."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from policies import REQUEST, config, shop
from processes import ROOT, children, environment, get, post, started, until

from pipelines import promote
from pipelines.serving.signatures import Facts, Refused, Verifier
from pipelines.serving.trust import public_keys

SHOPPERS = [f"s-{n}" for n in range(12)]
NOT_REPEATED = (
    "purchase_probability", "expected_profit", "price_sensitivity", "propensity", "guardrail", "multiplier", "repeat",
)  # fmt: skip
Quoted = dict[str, Any]


@pytest.fixture(scope="module")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose policy was promoted, and nothing else."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shop("promote")
        promote.main(config(folder / "mlflow.db"), None)
    return folder


@pytest.fixture(scope="module")
def quotes(shop_folder: Path) -> dict[str, Quoted]:
    """What two workers quoted to shoppers before both were killed, and what was told of them."""
    patient = ("--deadline", "60", "--bucket", str(366 * 86_400))  # neither a busy machine nor midnight is the point
    with started(shop_folder, "--workers", "2", *patient) as (process, port):
        first = {name: _quote(port, name) for name in SHOPPERS}
        for name, quote in first.items():
            again = [_quote(port, name) for _ in range(4)]  # by either worker
            assert {quote["price_minor"]} == {q["price_minor"] for q in again}, "chance stays within a bucket"
            assert not any(q["repeat"] for q in again), "what brings no token is a quote of its own"
            repeat = _quote(port, name, {"item_rating": 1.0}, quote=quote["signature"])
            assert (True, quote["quote_id"], quote["price"]) == (
                repeat["repeat"], repeat["quote_id"], repeat["price"]
            )  # fmt: skip
        assert (200, {"taken": 3}) == post(
            port, "/outcomes", {"outcomes": [{"quote_id": first[name]["quote_id"]} for name in SHOPPERS[:3]]}
        )
        page = {"shopper": "p-1", "contexts": [{"item": f"i-{n}", "context": REQUEST} for n in range(200)]}
        status, told = post(port, "/quotes", page)
        first |= {f"page {n}": quote for n, quote in enumerate(told["quotes"])}
        assert told["quotes"][3] == {
            **_quote(port, "p-1", item="i-3", quote=told["quotes"][3]["signature"]),
            **{name: told["quotes"][3][name] for name in NOT_REPEATED},
        }  # fmt: skip
        token = first["page 4"]["signature"]
        status, told = post(port, "/quotes/verify", {"quote": token})
        assert (200, True, first["page 4"]["price_minor"]) == (status, told["valid"], told["quote"]["price_minor"])
        until(lambda: 273 == _sum(get(port, "/metrics")[1], "decisions_logged_total"))
        ready = json.loads(get(port, "/ready")[1])
        assert (True, {}, "2") == (ready["ready"], ready["degraded"], ready["policy"]["version"])
        for worker in children(process):
            os.kill(worker, signal.SIGKILL)
        process.kill()
    return first


def _quote(port: int, shopper: str, context: dict[str, Any] | None = None, item: str = "i-7", **beside: str) -> Quoted:
    body = {"shopper": shopper, "item": item, "context": {**REQUEST, **(context or {})}, **beside}
    status, quote = post(port, "/quote", body)
    assert 200 == status, quote
    return dict(quote)


def _sum(text: str, name: str) -> float:
    """Return what /metrics tells of a series; workers write their gauges once a second."""
    return sum(float(n) for n in re.findall(rf"^pricewright_{name} ([\d.e+]+)$", text, flags=re.M))


def test_quotes_are_of_what_was_promoted(quotes: dict[str, Quoted]) -> None:
    """The endpoint starts from the promoted policy with its version, and chance by shopper moves some prices."""
    assert {("tiny", "2")} == {(q["policy"]["name"], q["policy"]["version"]) for q in quotes.values()}
    assert {True} == {q["personalised"] for q in quotes.values()}
    assert len({q["propensity"] for q in quotes.values()}) > 1, "one in ten explores: 0.9 ** 212 would all not"


def test_a_checkout_verifies_offline(shop_folder: Path, quotes: dict[str, Quoted]) -> None:
    """With the public key's file alone a shown price is believed, whether quoted alone or in a page; no other is."""
    checkout = Verifier(public_keys(shop_folder / "keys/quotes.pub"))
    for quote in quotes.values():
        found = checkout.verify(quote["signature"], time.time())
        assert isinstance(found, Facts)
        assert (quote["price_minor"], quote["quote_id"]) == (found.price_minor, found.quote_id)
        head, facts, seal = quote["signature"].split(".")
        told = json.loads(base64.urlsafe_b64decode(facts + "=="))
        forged = (
            base64.urlsafe_b64encode(json.dumps({**told, "price": told["price"] - 1}).encode()).decode().rstrip("=")
        )
        refused = checkout.verify(f"{head}.{forged}.{seal}", time.time())
        assert isinstance(refused, Refused)
        assert "forged" == refused.reason


def test_what_was_acknowledged_survives_and_is_learned_from(shop_folder: Path, quotes: dict[str, Quoted]) -> None:
    """After kill -9 the next start seals the segments; ingest makes offers of them, repeats apart, sales as told."""
    with started(shop_folder) as (_, port):
        until(lambda: not list((shop_folder / "data/decisions").glob("*.open")) or get(port, "/live")[0] != 200)
    (shop_folder / "conf").symlink_to(ROOT / "conf")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    settings = ["source=decisions", "source.attribution_days=0.5", f"source.as_of='{tomorrow}'"]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.ingest", *settings],
        cwd=shop_folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert "260 offers, 3 bought; left out: repeats 13" in done.stdout
    offers = pd.read_parquet(shop_folder / "data/raw/offers.parquet")
    assert (260, 3) == (len(offers), offers["bought"].sum())
    shown = {q["price_minor"]: q["propensity"] for q in quotes.values()}
    assert {price / 100 for price in shown} == set(offers["price"])
    assert {round(p, 12) for p in shown.values()} == set(offers["propensity"].round(12))
