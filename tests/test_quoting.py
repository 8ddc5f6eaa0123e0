"""Quotes: chance, repeats, records, shadows, fallbacks, disclosure."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import NOON, Ask, asking, endpoint
from policies import CATEGORICAL, NUMERIC, REQUEST, tiny_policy

from pipelines.policy import TERMS_OF_SALE
from pipelines.pricing import Guardrails
from pipelines.serving.asked import Asked
from pipelines.serving.parts import Fixed, Held
from pipelines.serving.runtime import Policy
from pipelines.serving.views import View

WHO = {"shopper": "s1", "item": "i1", "session": "x1"}


class KnownChance:
    """u of a shopper and an item, from a table; pseudonyms in capitals."""

    def __init__(self, **us: float) -> None:
        self.us = us

    def u(self, shopper: str, item: str, now: float) -> float:
        return self.us.get(shopper, 0.5)

    def pseudonym(self, shopper: str) -> str:
        return shopper.upper()


class OpenSigner:
    """Keeps the facts of each token in the open: what is tested here is what is signed, and what is believed."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def sign(self, quotes: Sequence[dict[str, Any]]) -> list[str]:
        self.known |= {f"token-{q['quote_id']}": q for q in quotes}
        return [f"token-{q['quote_id']}" for q in quotes]

    def verify(self, token: str, now: float) -> dict[str, Any] | str:
        facts = self.known.get(token)
        return "forged" if facts is None else "expired" if now >= facts["expires"] else facts


class ListLog:
    """Keeps records in a list, and acknowledges them a little later."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.acknowledged = 0
        self.bought: list[dict[str, Any]] = []
        self.introduced: list[str] = []
        self.keeps = True

    def introduce(self, manifest: Any, digest: str) -> None:
        self.introduced.append(digest)

    def quoted(self, *records: dict[str, Any]) -> Any:
        assert {record["digest"] for record in records} <= {*self.introduced}
        self.records += [orjson.loads(orjson.dumps(record)) for record in records]  # as the log writes them
        return self._acknowledge()

    async def _acknowledge(self) -> bool:
        await asyncio.sleep(0)
        self.acknowledged = len(self.records)
        return self.keeps

    def outcome(self, *records: dict[str, Any]) -> Any:
        self.bought += records
        return self._acknowledge()

    @property
    def failing(self) -> str | None:
        return "the disk is full" if len(self.records) > 5 else None


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


def _quote(ask: Ask, **body: Any) -> dict[str, Any]:
    answer = ask("POST", "/quote", json={**REQUEST, **body})
    assert 200 == answer.status_code, answer.text
    return answer.json()


def test_chance_is_drawn_by_shopper_and_item(policy: Policy) -> None:
    """With both ids `u` is derived; a `u` that is given stands; without ids the quote is greedy."""
    ask = asking(endpoint(policy, chance=KnownChance(lucky=0.99)))
    lucky = _quote(ask, shopper="lucky", item="i1")
    assert 0.05 == lucky["propensity"]
    assert lucky["price"] == _quote(ask, u=0.99)["price"] == _quote(ask, context={**REQUEST, "u": 0.99})["price"]
    assert 1.0 == _quote(ask, shopper="lucky")["propensity"] == _quote(ask, item="i1")["propensity"]
    assert 0.9 == _quote(ask, shopper="lucky", item="i1", u=0.5)["propensity"]


def test_a_signature_covers_the_quote(policy: Policy) -> None:
    """What is signed is what was told; another context has another hash, the same one the same."""
    signer = OpenSigner()
    ask = asking(endpoint(policy, chance=KnownChance(), signer=signer))
    first, same, other = _quote(ask, **WHO), _quote(ask, **WHO), _quote(ask, **WHO, item_rating=1.0)
    facts = [signer.known[q["signature"]] for q in (first, same, other)]
    assert {
        "quote_id": first["quote_id"], "price_minor": first["price_minor"], "currency": "EUR", "item": "i1",
        "shopper": "S1", "policy_digest": policy.digest, "context_hash": facts[0]["context_hash"],
        "expires": int(NOON) + 900, "personalised": True,
    } == facts[0]  # fmt: skip
    assert facts[0]["context_hash"] == facts[1]["context_hash"] != facts[2]["context_hash"]
    verified = ask("POST", "/quotes/verify", json={"quote": first["signature"]}).json()
    assert {"valid": True, "quote": facts[0]} == verified
    for named, reason in (({"item": "i1", "shopper": "s1"}, None), ({"item": "i2"}, "other_item"),
                          ({"shopper": "S1"}, None), ({"shopper": "s2"}, "other_shopper")):  # fmt: skip
        told = ask("POST", "/quotes/verify", json={"quote": first["signature"], **named}).json()
        assert (reason is None, reason) == (told["valid"], told.get("reason")), named
    assert {"valid": False, "reason": "forged"} == ask("POST", "/quotes/verify", json={"quote": "x"}).json()


def test_a_shown_price_is_given_again(policy: Policy) -> None:
    """A valid token of the same shopper and item brings its price back, as a repeat; any other is no use."""
    now, log = [NOON], ListLog()
    app = endpoint(policy, clock=lambda: now[0], chance=KnownChance(), signer=OpenSigner(), log=log)
    ask = asking(app)
    first = _quote(ask, **WHO)
    changed = {"item_rating": 0.0, "unit_cost": 14.0}
    fresh = _quote(ask, **WHO, **changed)
    assert first["price_minor"] != fresh["price_minor"]
    again = _quote(ask, **WHO, **changed, quote=first["signature"])
    told = ("quote_id", "price", "price_minor", "signature", "valid_until", "multiplier", "personalised", "disclosure")
    late = ask("POST", "/quote", json={**REQUEST, **WHO, "quote": first["signature"]}, headers={"X-Deadline-Ms": "0"})
    for name in told:  # a personal price stays one, though this time nothing was computed
        assert first[name] == again[name] == late.json()[name]
    assert first["personalised"]
    assert first["disclosure"]
    assert (True, None, None) == (again["repeat"], again["propensity"], again["purchase_probability"])
    repeats = [(True, first["quote_id"])] * 2
    assert [(False, None), (False, None), *repeats] == [(r["repeat"], r["repeat_of"]) for r in log.records]
    assert 4 == len({r["quote_id"] for r in log.records})
    assert [0.9, 1.1, None, None] == [r["rung"] for r in log.records]
    for other in ({"shopper": "s2"}, {"item": "i2"}, {"quote": "forged"}, {"personal": 0}):
        assert not _quote(ask, **{**WHO, **changed, "quote": first["signature"], **other})["repeat"]
    now[0] += 900
    assert not _quote(ask, **WHO, **changed, quote=first["signature"])["repeat"]


def test_what_a_record_holds(policy: Policy) -> None:
    """All that off-policy learning needs, every input as it was fed, and the log has it before the caller does."""
    log = ListLog()
    ask = asking(endpoint(policy, chance=KnownChance(lucky=0.99), log=log, live=Fixed(Held(policy, "7"))))
    quote = _quote(ask, shopper="lucky", item="i1", session="x1")
    (record,) = log.records
    assert 1 == log.acknowledged
    assert {*TERMS_OF_SALE, *NUMERIC, *CATEGORICAL} == set(record["inputs"])
    assert (24.99, 11.5, "DE", 0.99) == tuple(record["inputs"][n] for n in ("list_price", "unit_cost", "country", "u"))
    assert record["inputs"]["min_price"] is None
    expected = {
        "quote_id": quote["quote_id"], "time": NOON, "shopper": "LUCKY", "item": "i1", "session": "x1", "rung": 1.0,
        "price": float(quote["price"]), "list_price": 24.99, "unit_cost": 11.5, "propensity": 0.05, "u": 0.99,
        "fallback": None, "policy": "tiny", "version": "7", "digest": policy.digest, "repeat": False, "shadow": None,
        "personalised": True,
    }  # fmt: skip
    assert expected == {name: record[name] for name in expected}


NUMBERS = st.sampled_from((math.nan, 0.0, -0.0, 1.0, 24.99, 1e16, 1e-7))
TEXTS = st.sampled_from(("", "DE", "中国", 'a,"b', "}%s\\"))


@given(st.data(), st.integers(1, 4))
def test_inputs_of_a_page_are_written_as_those_of_one(policy: Policy, data: st.DataObject, rows: int) -> None:
    """Column by column or row by row: the same bytes, so the same hash, also of zeros, gaps and odd words."""
    view, size = View.of(policy, None), {"min_size": rows, "max_size": rows}
    kinds = [*[NUMBERS] * len(policy.numbers), *[TEXTS] * len(policy.words)]
    columns = [data.draw(st.lists(kind, **size) | st.builds(lambda v: [v] * rows, kind)) for kind in kinds]
    each = [*zip(*columns, strict=True)]
    expected = [orjson.dumps(dict(sorted(zip(policy.inputs, row, strict=True)))) for row in each]
    assert expected == view.texts(columns) == [view.text(row) for row in each]


def test_a_log_in_trouble_is_told_and_quotes_go_on(policy: Policy) -> None:
    """/ready stays 200 and says what is degraded."""
    ask = asking(endpoint(policy, log=ListLog()))
    assert {} == ask("GET", "/ready").json()["degraded"]
    assert 200 == ask("POST", "/quotes", json={"contexts": [REQUEST] * 6}).status_code
    ready = ask("GET", "/ready")
    assert (200, {"decision log": "the disk is full"}) == (ready.status_code, ready.json()["degraded"])


def test_outcomes(policy: Policy) -> None:
    """Purchases reach the log as they were sent; what is none names its place."""
    log = ListLog()
    ask = asking(endpoint(policy, log=log))
    sent = {"outcomes": [{"quote_id": "a"}, {"quote_id": "b", "bought": False, "at": 5}]}
    assert {"taken": 2} == ask("POST", "/outcomes", json=sent).json()
    assert [("a", True, NOON, 1.0), ("b", False, 5.0, 1.0)] == [
        (o["quote_id"], o["bought"], o["time"], o["quantity"]) for o in log.bought
    ]
    log.keeps = False
    assert 503 == ask("POST", "/outcomes", json=sent).status_code, "what is not kept is not acknowledged"
    assert 200 == ask("POST", "/quote", json=REQUEST).status_code, "while prices go on"
    for bad, field in (
        ({}, "outcomes"), ({"outcomes": []}, "outcomes"), ({"outcomes": [5]}, "outcomes[0]"),
        ({"outcomes": [{"quote_id": "a"}, {"quote_id": ""}]}, "outcomes[1].quote_id"),
        ({"outcomes": [{"quote_id": "a", "bought": 1}]}, "outcomes[0].bought"),
        ({"outcomes": [{"quote_id": "a", "at": True}]}, "outcomes[0].at"),
        ({"outcomes": [{"quote_id": "a"}, {"quote_id": "a", "at": NOON + 301}]}, "outcomes[1].at"),  # not yet
    ):  # fmt: skip
        answer = ask("POST", "/outcomes", json=bad)
        assert (422, field) == (answer.status_code, answer.json()["field"])


def test_a_shadow_prices_and_is_not_shown(policy: Policy, tmp_path: Path) -> None:
    """The challenger's price is in the record alone; a challenger that breaks changes nothing for the shopper."""
    tiny_policy(tmp_path, "other", beta=0.1)
    shadow, log = Policy.load(tmp_path), ListLog()
    alone = _quote(asking(endpoint(policy)))
    beside = _quote(asking(endpoint(policy, log=log, live=Fixed(Held(policy), Held(shadow)))))
    assert alone["price"] == beside["price"]
    assert {"digest": shadow.digest, "price": shadow.quote([REQUEST])[0]["price"], "propensity": 1.0} == log.records[0][
        "shadow"
    ]
    assert log.records[0]["shadow"]["price"] != float(beside["price"])
    broken = Policy(shadow.manifest, None, shadow.numbers, shadow.words, shadow.required)
    assert alone["price"] == _quote(asking(endpoint(policy, log=log, live=Fixed(Held(policy), Held(broken)))))["price"]
    assert log.records[-1]["shadow"] is None


class _Odd:
    """A session whose graph says what it is told to, for any output."""

    def __init__(self, price: float | None, session: Any) -> None:
        self.price, self.session = price, session
        self._sess = self

    def run(self, outputs: Sequence[str], feed: dict[str, Any], options: Any) -> list[Any]:
        if self.price is None:
            raise RuntimeError("the graph broke")
        return [
            a * 0 + self.price if n == "price" else a
            for n, a in zip(outputs, self.session.run(outputs, feed), strict=True)
        ]


@pytest.mark.parametrize("price", [None, float("nan"), float("inf"), 0.0, -3.0, 1e30])
def test_what_is_no_price_becomes_the_list_price(policy: Policy, price: float | None) -> None:
    """Whatever the graph does, the shopper sees the list price with a reason, and never an error."""
    odd = Policy(policy.manifest, _Odd(price, policy.session), policy.numbers, policy.words, policy.required)
    quote = _quote(asking(endpoint(odd)))
    assert (2499, "24.99", "unpriceable", None, False) == tuple(
        quote[n] for n in ("price_minor", "price", "fallback", "purchase_probability", "personalised")
    )


def test_what_is_personal_is_told(policy: Policy) -> None:
    """A personal field or a drawn chance makes a quote personalised, in the words of the shopper's law."""
    ask = asking(endpoint(policy, chance=KnownChance()))
    plain = {"list_price": 20.0, "item_rating": 4.0}
    for body, personalised in (
        (plain, False),
        ({**plain, "country": "DE"}, True),
        ({**plain, "country": None}, False),
        ({**plain, "session_dwell": 0.0}, True),
        ({**plain, "country": "DE", "personal": 0}, False),
        ({**plain, **WHO}, True),
        ({**plain, **WHO, "personal": 0}, False),
    ):
        quote = ask("POST", "/quote", json=body).json()
        assert personalised == quote["personalised"]
        assert personalised == (quote["disclosure"] is not None)
    york = ask("POST", "/quote", json={**plain, "country": "US", "jurisdiction": "us-ny"}).json()
    assert "THIS PRICE WAS SET BY AN ALGORITHM USING YOUR PERSONAL DATA" == york["disclosure"]


def test_one_price_for_all_is_not_personal(tmp_path: Path) -> None:
    """A policy with a single rung personalises nothing, whatever it is told."""
    tiny_policy(tmp_path, ladder=(1.0,))
    assert not _quote(asking(endpoint(Policy.load(tmp_path))))["personalised"]


def test_other_money(tmp_path: Path) -> None:
    """Yen have no decimals; without a minor unit in the guardrails prices are brought to the currency's."""
    tiny_policy(tmp_path, currency="JPY", guardrails=Guardrails())
    quote = asking(endpoint(Policy.load(tmp_path)))("POST", "/quote", json={"list_price": 1234}).json()
    assert ("1234", 1234) == (quote["list_price"], quote["list_price_minor"])
    assert str(quote["price_minor"]) == quote["price"]
    assert quote["price_minor"] == -(-1234 * quote["multiplier"] // 1)


def test_without_list_prices(tmp_path: Path) -> None:
    """A policy whose rungs are prices quotes them."""
    tiny_policy(tmp_path, listed=False, guardrails=Guardrails())
    ask = asking(endpoint(Policy.load(tmp_path)))
    quote = ask("POST", "/quote", json={}).json()
    assert quote["price_minor"] in (80, 90, 100, 110, 120)
    assert "1.00" == quote["list_price"]
    assert "1.00" == ask("POST", "/quote", json={}, headers={"X-Deadline-Ms": "0"}).json()["price"]


def test_the_curve_behind_a_quote(policy: Policy) -> None:
    """POST /curve tells the same price as POST /quote, all rungs with what forbids them, and logs nothing."""
    log = ListLog()
    ask = asking(endpoint(policy, log=log))
    asked = {**REQUEST, "max_price": 23.0}
    told, quote = ask("POST", "/curve", json=asked).json(), ask("POST", "/quote", json=asked).json()
    assert 1 == len(log.records)
    assert {n: v for n, v in quote.items() if n in told["quote"]} == told["quote"]
    assert [[], [], ["max_price"], ["max_price"], ["largest_rise", "max_price"]] == [
        rung["forbidden_by"] for rung in told["ladder"]
    ]
    chances = [rung["propensity"] for rung in told["ladder"]]
    assert pytest.approx(1.0) == sum(chances)
    best = max((r for r in told["ladder"] if not r["forbidden_by"]), key=lambda r: r["profit"])
    assert float(quote["price"]) == best["price"]
    demand = [point["probability"] for point in told["demand"]]
    assert sorted(demand, reverse=True) == demand


def test_contexts_of_the_feature_state(policy: Policy) -> None:
    """With ids alone the context is computed, and the quote is the one of the same context given whole."""

    class State:
        async def fill(self, wanted: Sequence[Asked], view: View, now: float) -> None:
            for one in wanted:
                if one.shopper == "slow":
                    await asyncio.sleep(60)
                one.context = {**REQUEST, **one.context}

        async def events(self, given: Sequence[Any], now: float) -> list[str]:
            return ["taken"] * len(given)

    ask = asking(endpoint(policy, contexts=State()))
    ids = ask("POST", "/quote", json={**WHO, "list_price": 24.99}).json()
    assert _quote(asking(endpoint(policy)))["price"] == ids["price"]
    page = ask("POST", "/quotes", json={**WHO, "contexts": [{"item": "a"}, {"context": {"list_price": 20}}]}).json()
    assert [2499, 2000] == [q["list_price_minor"] for q in page["quotes"]]
    slow = ask("POST", "/quote", json={**WHO, "shopper": "slow", "list_price": 9}, headers={"X-Deadline-Ms": "5"})
    assert ("9.00", "deadline") == (slow.json()["price"], slow.json()["fallback"])
    assert {"events": ["taken"]} == ask("POST", "/events", json={"events": [{"kind": "view"}]}).json()


def test_absent_parts_say_so(policy: Policy) -> None:
    """Without a signer, a log or a state, what needs them is 404 and says why."""
    ask = asking(endpoint(policy))
    for path, body in (("/quotes/verify", {"quote": "x"}), ("/outcomes", {}), ("/events", {})):
        answer = ask("POST", path, json=body)
        assert (404, "Not here") == (answer.status_code, answer.json()["title"])


def test_ready_waits_for_its_checks(policy: Policy) -> None:
    """A failing check makes it 503 with the reason, and so does draining."""
    why: list[str | None] = ["golden quote 3 differs"]
    app = endpoint(policy, checks={"self-test": lambda: why[0]}, worries={"swap": lambda: "version 8 was refused"})
    ask = asking(app)
    answer = ask("GET", "/ready")
    assert (503, {"self-test": "golden quote 3 differs"}) == (answer.status_code, answer.json()["failed"])
    why[0] = None
    answer = ask("GET", "/ready")
    assert (200, {"swap": "version 8 was refused"}) == (answer.status_code, answer.json()["degraded"])
    app.draining = True
    assert 503 == ask("GET", "/ready").status_code
