"""The OpenAPI document: that requests and answers are as it says, and that nothing breaks the endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from live import Ask, asking, endpoint
from policies import CATEGORICAL, NUMERIC, REQUEST, tiny_policy

from pipelines.serving.runtime import Policy


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return asking(endpoint(Policy.load(folder)))


@pytest.fixture(scope="module")
def document(ask: Ask) -> dict[str, Any]:
    return ask("GET", "/openapi.json").json()


def _fits(document: dict[str, Any], name: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def test_answers_are_as_described(ask: Ask, document: dict[str, Any]) -> None:
    """Quotes, pages and refusals fit their schemas, and a quote has no field that is not described."""
    quote = ask("POST", "/quote", json=REQUEST).json()
    assert _fits(document, "Quote", quote)
    assert set(document["components"]["schemas"]["Quote"]["properties"]) == set(quote)
    assert _fits(document, "Quote", ask("POST", "/quote", json=REQUEST, headers={"X-Deadline-Ms": "0"}).json())
    assert _fits(document, "Quotes", ask("POST", "/quotes", json={"contexts": [REQUEST]}).json())
    assert _fits(document, "Problem", ask("POST", "/quote", json={}).json())


def test_only_what_is_attached_is_described(document: dict[str, Any]) -> None:
    """Paths that this endpoint does not have are not promised."""
    assert {"/quote", "/quotes", "/curve", "/ready", "/metrics"} <= set(document["paths"])
    assert {"/outcomes", "/events", "/quotes/verify"}.isdisjoint(document["paths"])


_any = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
_bodies = st.fixed_dictionaries(
    {"list_price": st.floats(0.01, 5000.0) | _any},
    optional={
        **dict.fromkeys((*NUMERIC, "unit_cost", "min_price", "max_price"), st.floats(0, 5000.0) | _any),
        **dict.fromkeys((*CATEGORICAL, "shopper", "item", "quote"), st.text(max_size=6) | _any),
        "u": st.floats(0, 0.999) | _any,
        "personal": st.sampled_from([0, 1]) | _any,
        "jurisdiction": st.sampled_from(["eu", "us-ny", "atlantis"]),
        "at": st.floats(0, 1e10) | _any,
    },
)


@settings(max_examples=200, deadline=None)
@given(body=_bodies)
def test_what_fits_is_priced_and_what_does_not_is_refused(ask: Ask, document: dict[str, Any], body: dict) -> None:
    """The document says exactly which requests get a price; pages and singles agree."""
    fits = _fits(document, "Request", body)
    event(f"fits: {fits}")
    answer, page = ask("POST", "/quote", json=body), ask("POST", "/quotes", json={"contexts": [REQUEST, body]})
    assert [200 if fits else 422] * 2 == [answer.status_code, page.status_code]
    assert _fits(document, "Quote" if fits else "Problem", answer.json())


@settings(max_examples=200, deadline=None)
@given(
    path=st.sampled_from(["/quote", "/quotes", "/curve", "/outcomes", "/events", "/quotes/verify"]),
    body=st.binary(max_size=60)
    | st.recursive(
        _any,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["contexts", "context", "list_price", "shopper", "at"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    ).map(lambda v: json.dumps(v).encode()),
    headers=st.dictionaries(
        st.sampled_from(["x-deadline-ms", "authorization", "x-api-key"]), st.text("0123456789abc -", max_size=8)
    ),
)
def test_nothing_breaks_it(ask: Ask, path: str, body: bytes, headers: dict[str, str]) -> None:
    """Whatever bytes come, the answer is a quote or a refusal that says why."""
    answer: httpx.Response = ask("POST", path, content=body, headers=headers)
    assert answer.status_code in (200, 400, 404, 422)
    assert 200 == answer.status_code or {"title", "status", "field", "detail"} == set(answer.json())
