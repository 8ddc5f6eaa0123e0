"""The live path in process: requests, refusals, and that nothing heavy is imported."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import attached
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from policies import CATEGORICAL, CAUTIOUS, LADDER, NUMERIC, REQUEST, tiny_policy
from processes import environment

from pipelines import graph
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST
from pipelines.policy import TERMS_OF_SALE
from pipelines.pricing import Guardrails
from pipelines.serving.fields import RequestError
from pipelines.serving.runtime import Policy


@pytest.fixture(scope="module")
def policy(tiny: Path) -> Policy:
    return Policy.load(tiny)


def test_quote_is_what_the_graph_says(policy: Policy, tiny: Path) -> None:
    """A quote holds the graph's own answers, with currency, policy and digest beside them."""
    (quote,) = policy.quote([REQUEST])
    told = graph.run(graph.session(tiny / GRAPH), {name: [value] for name, value in REQUEST.items()})
    for name in ("price", "multiplier", "purchase_probability", "expected_profit", "price_sensitivity"):
        assert told[name][0] == quote[name]
    assert ("EUR", 24.99, "tiny", policy.digest) == tuple(
        quote[name] for name in ("currency", "list_price", "policy", "digest")
    )
    assert 22.5 == quote["price"]
    assert quote["fallback"] is None


def test_columns_do_not_depend_on_how_requests_are_spelled(policy: Policy) -> None:
    """Requests with the same fields in the same order, in another order, or without some: fed alike."""
    odd = {"nonsense": 1, "item_rating": None, "country": None}
    alike = [REQUEST | odd, {**REQUEST, **odd, "list_price": 9}]
    turned = [alike[0], dict(reversed(alike[1].items()))]
    shorter = [alike[0], {name: value for name, value in alike[1].items() if value is not None}]
    expected = [*map(list, zip(*map(policy.row, alike), strict=True))]
    for rows in (alike, turned, shorter):
        np.testing.assert_equal(policy.columns(rows), expected)
    for rows in ([{}, {}], [REQUEST, {}], [{"list_price": None}] * 2):
        with pytest.raises(RequestError, match="list_price"):
            policy.columns(rows)


def test_missing_null_and_unknown_fields(policy: Policy) -> None:
    """A field left out, a null one and an unknown one beside it give the same quote."""
    bare = policy.quote([{"list_price": 20}])
    nulls = dict.fromkeys((*NUMERIC, *CATEGORICAL, *TERMS_OF_SALE))
    assert bare == policy.quote([{**nulls, "list_price": 20.0, "colour": ["red"]}])


def test_words_decide(policy: Policy) -> None:
    """A Chinese word reaches the graph as it is; an unseen word is priced as no word."""
    known, unseen, none = policy.quote([{"list_price": 20.0, "country": c} for c in ("中国", "Atlantis", None)])
    assert known["price_sensitivity"] < unseen["price_sensitivity"]
    assert none == unseen


def test_u_explores_with_its_propensity(policy: Policy) -> None:
    """The same u gives the same quote; a high one a neighbouring rung with its propensity."""
    greedy, low, high = policy.quote([{**REQUEST, "u": u} for u in (None, 0.5, 0.99)])
    assert 1.0 == greedy["propensity"]
    assert low["price"] == greedy["price"]
    assert 0.05 == high["propensity"]
    assert high["price"] != greedy["price"]
    assert [high] == policy.quote([{**REQUEST, "u": 0.99}])


def test_a_shopper_who_opts_out_meets_no_chance(policy: Policy) -> None:
    """With personal = 0 the quote is the greedy one whatever `u`; left out or 1, `u` decides."""
    asked = {**REQUEST, "u": 0.99}
    greedy, off, on = policy.quote([REQUEST, {**asked, "personal": 0}, {**asked, "personal": 1}])
    assert greedy == off
    assert [on] == policy.quote([asked])
    assert on["price"] != off["price"]


def test_fallback_names_its_reason(tmp_path: Path) -> None:
    """Without any admissible rung, or without a cost to keep the margin over, the list price and why."""
    tiny_policy(tmp_path, cost_share=None)
    policy = Policy.load(tmp_path)
    no_cost, no_rung = policy.quote([{"list_price": 10.0}, {"list_price": 10.0, "unit_cost": 30.0}])
    assert (10.0, "unit_cost_missing", None) == (no_cost["price"], no_cost["fallback"], no_cost["expected_profit"])
    assert (10.0, "no_admissible_price") == (no_rung["price"], no_rung["fallback"])


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"list_price": None}, "list_price", "is missing"),
        ({"list_price": 0}, "list_price", "is 0; expected a positive number"),
        ({"list_price": -3.5}, "list_price", "is -3.5"),
        ({"list_price": "24.99"}, "list_price", "is the text '24.99'"),
        ({"list_price": True}, "list_price", "is the truth value True"),
        ({"list_price": 10**400}, "list_price", "is beyond all bounds"),
        ({"list_price": 10**5000}, "list_price", "is beyond all bounds"),
        ({"list_price": 1e300}, "list_price", "is 1e+300"),
        ({"unit_cost": -1}, "unit_cost", "is -1"),
        ({"u": 1}, "u", "is 1; expected a number from 0 to below 1"),
        ({"u": -0.1}, "u", "is -0.1"),
        ({"personal": 2}, "personal", "is 2; expected 0 (no personal price) or 1"),
        ({"personal": 0.5}, "personal", "is 0.5"),
        ({"personal": False}, "personal", "is the truth value False; expected 0"),
        ({"item_rating": math.nan}, "item_rating", "is nan"),
        ({"item_rating": -math.inf}, "item_rating", "is -inf"),
        ({"item_rating": [4]}, "item_rating", "is a list"),
        ({"country": 49}, "country", "is the number 49; expected a text"),
        ({"country": {"code": "DE"}}, "country", "is an object"),
        ({"country": "\ud800"}, "country", "surrogate"),
    ],
)
def test_refusals_name_the_field(policy: Policy, fields: dict, field: str, told: str) -> None:
    """A wrong type or an impossible value is refused with the field, what came and what is expected."""
    with pytest.raises(RequestError) as refused:
        policy.quote([{**REQUEST, **fields}])
    assert field == refused.value.field
    assert told in refused.value.detail


@pytest.fixture(scope="module")
def unlisted(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy whose rungs are prices."""
    folder = tmp_path_factory.mktemp("unlisted")
    tiny_policy(folder, listed=False, guardrails=Guardrails())
    return Policy.load(folder)


def test_without_list_prices_none_is_asked_for(unlisted: Policy) -> None:
    """Left out, null and 1 are the same, and the price is a rung."""
    first, *others = unlisted.quote([{}, {"list_price": None}, {"list_price": 1}, {"list_price": 1.0}])
    assert [first] * 3 == others
    assert first["price"] in LADDER
    assert 1.0 == first["list_price"]


@pytest.mark.parametrize("value", [59, 0.9, 1.0000001, 100])
def test_without_list_prices_none_is_taken(unlisted: Policy, value: float) -> None:
    """A list price would multiply the price: it is refused by its name, with what to do."""
    with pytest.raises(RequestError, match="leave list_price out, or send 1") as refused:
        unlisted.quote([{"list_price": value}])
    assert "list_price" == refused.value.field


_odd = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=1)
)
_money = st.floats(0.01, 5000.0) | st.integers(1, 5000)
_requests = st.fixed_dictionaries(
    {"list_price": _money | _money | _money | _odd},
    optional={
        **dict.fromkeys(("unit_cost", "min_price", "max_price"), _money | _odd),
        "u": st.floats(0, 1) | _odd,
        "personal": st.sampled_from([0, 1, 0.0, 1.0]) | _odd,
        **{name: st.floats(allow_nan=False, allow_infinity=False) | _odd for name in NUMERIC},
        **{name: st.text(max_size=8) | _odd for name in CATEGORICAL},
    },
)


@settings(max_examples=300, deadline=None)
@given(request=_requests)
def test_either_within_the_guardrails_or_refused(policy: Policy, request: dict) -> None:
    """Whatever comes, the answer is a quote that JSON can tell and the guardrails admit, or a refusal."""
    try:
        (quote,) = policy.quote([request])
    except RequestError as refused:
        event(f"refused: {refused.field}")
        return
    json.dumps(quote, allow_nan=False)
    price, list_price = quote["price"], float(request["list_price"])
    if quote["fallback"]:
        assert list_price == price
        return
    cost = request.get("unit_cost")
    assert price >= (0.4 * list_price if cost is None else cost) * (1 + CAUTIOUS.margin_floor) * (1 - 1e-6)
    assert list_price * (1 - CAUTIOUS.largest_cut) * (1 - 1e-6) <= price
    assert list_price * (1 + CAUTIOUS.largest_rise) * (1 + 1e-6) >= price
    assert price >= (request.get("min_price") or 0.0)
    assert price <= (math.inf if request.get("max_price") is None else request["max_price"])
    assert 0 < quote["propensity"] <= 1


def test_a_request_is_an_object(policy: Policy) -> None:
    """A list in the place of named fields is refused."""
    with pytest.raises(RequestError, match="object of named fields, not a list"):
        policy.quote([[24.99]])  # type: ignore[list-item]


def test_a_tampered_graph_is_refused(tmp_path: Path) -> None:
    """One changed byte of the graph, or another policy's graph, never runs."""
    tiny_policy(tmp_path)
    content = bytearray((tmp_path / GRAPH).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / GRAPH).write_bytes(content)
    with pytest.raises(InputError, match="is not the graph of"):
        Policy.load(tmp_path)


def test_a_graph_that_is_none(tmp_path: Path) -> None:
    """Bytes that match the manifest's digest and are no graph are refused in one line."""
    manifest = tiny_policy(tmp_path)
    (tmp_path / GRAPH).write_bytes(b"no graph")
    _redigest(tmp_path, manifest.graph_sha256)
    with pytest.raises(InputError, match="does not load"):
        Policy.load(tmp_path)


def test_inputs_that_the_manifest_does_not_declare(tmp_path: Path) -> None:
    """A manifest that leaves out one of the graph's inputs is refused, naming it."""
    tiny_policy(tmp_path)
    values = json.loads((tmp_path / MANIFEST).read_text())
    values["inputs"] = [f for f in values["inputs"] if f["name"] != "category"]
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(InputError, match="category"):
        Policy.load(tmp_path)


def test_weights_beside_the_graph_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph whose weights lie in another file is refused: the digest would not cover them."""
    import onnx

    manifest = tiny_policy(tmp_path / "policy")
    proto = onnx.load(tmp_path / "policy" / GRAPH)
    weight = onnx.numpy_helper.from_array(np.ones(64, np.float32), "w")
    proto.graph.initializer.append(weight)
    proto.graph.node.append(onnx.helper.make_node("Neg", ["w"], ["minus_w"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("minus_w", onnx.TensorProto.FLOAT, [64]))
    onnx.save(
        proto, tmp_path / "policy" / GRAPH, save_as_external_data=True, location="weights.bin", size_threshold=128
    )
    _redigest(tmp_path / "policy", manifest.graph_sha256)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not load"):
        Policy.load(tmp_path / "policy")


def test_a_missing_policy_says_what_makes_it(tmp_path: Path) -> None:
    """An empty folder is told with the command that fills it."""
    with pytest.raises(InputError, match="make repro"):
        Policy.load(tmp_path)


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """The endpoint quotes in a process in which importing any training library fails."""
    tiny_policy(tmp_path)
    attached.folder(tmp_path / "live")
    script = """
import sys
BLOCKED = {"tensorflow", "keras", "xgboost", "sklearn", "pandas", "dvc", "hydra", "omegaconf", "mlflow", "onnx",
           "ndonnx", "spox", "scipy", "pandera", "duckdb", "pickle5", "cloudpickle", "joblib"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from pipelines.serving import __main__, compose
from pipelines.serving.settings import Settings
from pipelines.serving.runtime import Policy
policy = Policy.load(Path("."))
from pipelines.serving import owning, slow_clients
compose.endpoint(Settings(policy=Path("."), unsigned=True, features=Path("live")))
print(policy.quote([{"list_price": 20.0}])[0]["price"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert ("16.0", 3) == (done.stdout.strip(), done.stderr.count("warning: ")), done.stderr


def _redigest(folder: Path, old: str) -> None:
    from pipelines.files import digest

    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(old, digest(folder / GRAPH)))
