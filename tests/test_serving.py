"""Both servers: what the thin endpoint answers and refuses, and that MLflow answers the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import Ask, asking, endpoint
from policies import REQUEST, config, shop, tiny_policy

from pipelines import promote
from pipelines.serving import __main__ as command
from pipelines.serving.limits import Limits
from pipelines.serving.runtime import Policy

ROOT = Path(__file__).parent.parent
CONTEXTS: list[dict[str, Any]] = [
    REQUEST,
    {"list_price": 20},
    {**REQUEST, "item_rating": None, "country": None},
    {**REQUEST, "country": "Atlantis", "category": "🛒"},
    {**REQUEST, "country": "中国", "category": "家居"},
    {**REQUEST, "u": 0.99},
    {**REQUEST, "u": 0.01, "max_price": 21.0, "unknown": "field"},
    {"list_price": 10.0, "unit_cost": 30.0},
]


SHARED = (
    "multiplier", "purchase_probability", "expected_profit", "price_sensitivity", "guardrail", "fallback", "propensity",
    "currency",
)  # fmt: skip


@pytest.fixture(scope="module")
def policy(tiny: Path) -> Policy:
    return Policy.load(tiny)


@pytest.fixture
def ask(policy: Policy) -> Ask:
    """Send one request to the application itself: method, path, content."""
    return asking(endpoint(policy))


def test_quote_tells_what_the_graph_says(ask: Ask, policy: Policy) -> None:
    """POST /quote holds the graph's own answers, with money in minor units and as decimal strings."""
    answer = ask("POST", "/quote", json=REQUEST)
    quote, told = answer.json(), policy.quote([REQUEST])[0]
    for name in (
        "multiplier",
        "purchase_probability",
        "expected_profit",
        "price_sensitivity",
        "guardrail",
        "propensity",
    ):
        assert told[name] == quote[name]
    assert (200, "22.50", 2250, "24.99", 2499) == (
        answer.status_code, quote["price"], quote["price_minor"], quote["list_price"], quote["list_price_minor"]
    )  # fmt: skip
    assert {"name": "tiny", "version": None, "digest": policy.digest} == quote["policy"]
    assert ("EUR", None, None, False) == tuple(quote[n] for n in ("currency", "fallback", "signature", "repeat"))
    assert "no-store" == answer.headers["cache-control"]


def test_a_context_given_whole_is_the_context_at_top_level(ask: Ask) -> None:
    """Both forms of a request give the same price and the same numbers."""
    thin, whole = (ask("POST", "/quote", json=body).json() for body in (REQUEST, {"context": REQUEST, "item": "i"}))
    for name in ("price", "purchase_probability", "propensity", "valid_until", "personalised"):
        assert thin[name] == whole[name]
    assert thin["quote_id"] != whole["quote_id"]


def test_a_page_is_priced_as_its_requests_alone(ask: Ask) -> None:
    """POST /quotes gives, in order, the quotes that each request would have got alone."""
    page = ask("POST", "/quotes", json={"contexts": CONTEXTS}).json()["quotes"]
    alone = [ask("POST", "/quote", json=context).json() for context in CONTEXTS]
    assert [q["price_minor"] for q in alone] == [q["price_minor"] for q in page]
    assert [q["guardrail"] for q in alone] == [q["guardrail"] for q in page]
    assert [q["purchase_probability"] for q in alone] == pytest.approx([q["purchase_probability"] for q in page])


def test_a_bad_context_of_a_page_is_named_by_its_place(ask: Ask) -> None:
    """The refusal of a page says which context, and which field of it."""
    for body, field in (
        ({"contexts": [REQUEST, {**REQUEST, "u": 2}]}, "contexts[1].u"),
        ({"contexts": [REQUEST, REQUEST, {**REQUEST, "item_rating": "4"}]}, "contexts[2].item_rating"),
        ({"contexts": [REQUEST, [1]]}, "contexts[1]"),
        ({"contexts": [REQUEST, {"context": 3}]}, "contexts[1].context"),
        ({"contexts": [{**REQUEST, "shopper": 5}]}, "contexts[0].shopper"),
        ({"contexts": [REQUEST], "shopper": 5}, "shopper"),
        ({"contexts": [REQUEST, {**REQUEST, "jurisdiction": "mars"}]}, "contexts[1].jurisdiction"),
        ({"contexts": []}, "contexts"),
        ({"contexts": [REQUEST] * 1001}, "contexts"),
        ({"contexts": REQUEST}, "contexts"),
        ({}, "contexts"),
        ([REQUEST], None),
    ):
        answer = ask("POST", "/quotes", json=body)
        assert (422, field) == (answer.status_code, answer.json()["field"])


def test_live_and_policy(ask: Ask, policy: Policy) -> None:
    """GET /live names the policy; GET /policy is its manifest."""
    assert {"live": True, "policy": "tiny", "digest": policy.digest} == ask("GET", "/live").json()
    assert policy.manifest.graph_sha256 == ask("GET", "/policy").json()["graph_sha256"]
    assert 200 == ask("HEAD", "/live").status_code


@pytest.mark.parametrize(
    ("body", "status", "field", "told"),
    [
        (b'{"list_price": "24.99"}', 422, "list_price", "is the text '24.99'"),
        (b'{"country": "DE"}', 422, "list_price", "is missing"),
        (b'{"list_price": 20, "item": 7}', 422, "item", "is a number; expected a text"),
        (b'{"list_price": 20, "at": -1}', 422, "at", "is not a time"),
        (b'{"list_price": 20, "jurisdiction": "mars"}', 422, "jurisdiction", "is none of ['eu'"),
        (b'{"context": 5}', 422, "context", "is a number"),
        (b"[20]", 422, None, "object of named fields, not a list"),
        (b"null", 422, None, "not null"),
        (b"", 400, None, "not JSON"),
        (b'{"list_price": NaN}', 400, None, "not JSON"),
        (b'{"list_price": 1e999}', 400, None, "infinity"),
        (b'{"list_price": 20, "country": "\\ud800"}', 400, None, "surrogate"),
        (b'{"list_price": 20', 400, None, "not JSON"),
        (b'{"list_price": \xff}', 400, None, "not JSON"),
        (b"[" * 30_000, 400, None, "not JSON"),
        (b'{"list_price": 20, "x": ' + b"[" * 9 + b"]" * 9 + b"}", 400, None, "deeper than 8 levels"),
        (b'{"list_price": ' + b"9" * 5_000 + b"}", 400, None, "not JSON"),
        (b" " * (Limits().body + 1), 413, None, "larger than 65536 bytes"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_bad_bodies(ask: Ask, body: bytes, status: int, field: str | None, told: str) -> None:
    """What cannot be priced is refused as a JSON problem that names the field, and never breaks the server."""
    answer = ask("POST", "/quote", content=body)
    problem = answer.json()
    assert (status, field) == (answer.status_code, problem["field"])
    assert told in problem["detail"]
    assert {"title", "status", "field", "detail"} == set(problem)
    assert "application/problem+json" == answer.headers["content-type"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/quote", 405), ("GET", "/nowhere", 404)])
def test_wrong_door(ask: Ask, method: str, path: str, status: int) -> None:
    """A wrong path or method is a JSON problem too."""
    answer = ask(method, path)
    assert (status, None) == (answer.status_code, answer.json()["field"])


def test_what_keeps_the_endpoint_from_starting(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing policy and a taken port are told in one line each, with status 1."""
    monkeypatch.chdir(tmp_path)
    tiny_policy(tmp_path / "policy")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, told in (
            (["--policy", "nowhere"], "error: nowhere/policy.onnx is missing: run `make repro` first"),
            (["--policy", "policy"], "error: keys/policy.pub is missing"),
            (["--policy", "policy", "--unsigned", "--port", port], f"error: cannot listen on 127.0.0.1:{port}"),
        ):
            with pytest.raises(SystemExit) as stopped:
                command.main(arguments)
            assert 1 == stopped.value.code
            *_, last = capsys.readouterr().err.splitlines()
            assert last.startswith(told)


def test_both_servers_give_the_same_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promoted policy behind the endpoint and behind `mlflow models serve`, both started for real."""
    monkeypatch.chdir(tmp_path)
    shop("promote")
    cfg = config(tmp_path / "mlflow.db")
    promote.main(cfg, None)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": cfg.tracking.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "OMP_NUM_THREADS": "1",
    }
    thin = [sys.executable, "-m", "pipelines.serving", "--policy", str(promote.INCUMBENT / "pricing")]
    full = ["mlflow", "models", "serve", "-m", "models:/pricing@champion", "--env-manager", "local"]
    with (
        _server(thin, tmp_path, environment | {"PYTHONPATH": str(ROOT)}, "/live") as thin_endpoint,
        _server(full, elsewhere, environment, "/ping") as mlflow_server,
    ):
        _, batch = mlflow_server("/invocations", {"dataframe_records": CONTEXTS})
        for context, beside in zip(CONTEXTS, batch["predictions"], strict=True):
            status, quote = thin_endpoint("/quote", context)
            assert 200 == status
            (alone,) = mlflow_server("/invocations", {"dataframe_records": [context]})[1]["predictions"]
            assert alone["price"] == beside["price"] == float(quote["price"]) == quote["price_minor"] / 100
            assert [alone[name] for name in SHARED] == [quote[name] for name in SHARED]
            assert (alone["policy"], alone["digest"]) == (quote["policy"]["name"], quote["policy"]["digest"])
        for bad, field in (({"list_price": -1}, "list_price"), ({"list_price": 9.0, "country": 5}, "country")):
            status, problem = thin_endpoint("/quote", bad)
            assert (422, field) == (status, problem["field"])
            status, problem = mlflow_server("/invocations", {"dataframe_records": [bad]})
            assert 400 == status
            assert f"{field}: is " in problem["message"]


@contextmanager
def _server(
    command_line: list[str], folder: Path, environment: dict[str, str], ready: str
) -> Iterator[Callable[[str, Any], tuple[int, Any]]]:
    """Start a server on a free port; give what posts JSON to it and returns status and JSON; stop it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command_line, "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(process, base + ready)
        yield lambda path, content: _post(base + path, content)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # MLflow's server is a child of its command
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(600):
        assert process.poll() is None, f"{process.args} ended with status {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


def _post(url: str, content: Any) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
