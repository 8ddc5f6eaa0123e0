"""Both servers: what the thin endpoint answers and refuses, and that MLflow answers the same."""

from __future__ import annotations

import asyncio
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

import httpx
import pytest
from policies import REQUEST, config, shop, tiny_policy

from pipelines import promote
from pipelines.serving import __main__ as command
from pipelines.serving.endpoint import LARGEST_BODY, app
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


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(policy: Policy) -> Ask:
    """Send one request to the application itself, without a network: method, path, content."""

    async def sent(method: str, path: str, **content: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app(policy)), base_url="http://shop") as client:
            return await client.request(method, path, **content)

    return lambda *words, **content: asyncio.run(sent(*words, **content))


def test_quote(ask: Ask, policy: Policy) -> None:
    """POST /quote answers with the policy's own quote."""
    answer = ask("POST", "/quote", json=REQUEST)
    assert (200, policy.quote([REQUEST])[0]) == (answer.status_code, answer.json())


def test_live_and_policy(ask: Ask, policy: Policy) -> None:
    """GET /live names the policy; GET /policy is its manifest."""
    assert {"live": True, "policy": "tiny", "digest": policy.digest} == ask("GET", "/live").json()
    assert policy.manifest.graph_sha256 == ask("GET", "/policy").json()["graph_sha256"]


@pytest.mark.parametrize(
    ("body", "status", "field", "told"),
    [
        (b'{"list_price": "24.99"}', 422, "list_price", "is the text '24.99'"),
        (b'{"country": "DE"}', 422, "list_price", "is missing"),
        (b'{"list_price": NaN}', 422, "list_price", "is nan"),
        (b'{"list_price": 1e999}', 422, "list_price", "is inf"),
        (b'{"list_price": 20, "country": "\\ud800"}', 422, "country", "surrogate"),
        (b"[20]", 422, None, "object of named fields, not a list"),
        (b"null", 422, None, "not null"),
        (b"", 400, None, "not JSON"),
        (b'{"list_price": 20', 400, None, "not JSON"),
        (b'{"list_price": \xff}', 400, None, "not JSON"),
        (b"[" * 30_000, 400, None, "not JSON"),
        (b'{"list_price": ' + b"9" * 5_000 + b"}", 400, None, "not JSON"),
        (b" " * (LARGEST_BODY + 1), 413, None, "larger than 65536 bytes"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_bad_bodies(ask: Ask, body: bytes, status: int, field: str | None, told: str) -> None:
    """What cannot be priced is refused as a JSON problem that names the field, and never breaks the server."""
    answer = ask("POST", "/quote", content=body)
    problem = answer.json()
    assert (status, field) == (answer.status_code, problem["field"])
    assert told in problem["detail"]
    assert {"title", "field", "detail"} == set(problem)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/quote", 405), ("GET", "/nowhere", 404)])
def test_wrong_door(ask: Ask, method: str, path: str, status: int) -> None:
    """A wrong path or method is a JSON problem too."""
    answer = ask(method, path)
    assert (status, None) == (answer.status_code, answer.json()["field"])


def test_without_an_incumbent_the_list_price_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default folder is the incumbent's, else the list-price policy's, with a note."""
    monkeypatch.chdir(tmp_path)
    assert command.INCUMBENT / "pricing" == command.folder(None)
    command.LIST_PRICE.mkdir(parents=True)
    (command.LIST_PRICE / "policy.json").write_text('{"model": "pricing-offers"}')
    assert command.LIST_PRICE == command.folder(None)
    assert "nothing was promoted yet" in capsys.readouterr().out
    (command.INCUMBENT / "pricing").mkdir(parents=True)
    assert command.LIST_PRICE == command.folder(None), "another source's policy"
    (command.INCUMBENT / "pricing-offers").mkdir(parents=True)
    assert command.INCUMBENT / "pricing-offers" == command.folder(None)
    assert Path("elsewhere") == command.folder(Path("elsewhere"))


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
            (["--policy", "policy", "--port", port], f"error: cannot listen on 127.0.0.1:{port}"),
        ):
            with pytest.raises(SystemExit) as stopped:
                command.main(arguments)
            assert 1 == stopped.value.code
            printed = capsys.readouterr().err
            assert printed.startswith(told)
            assert 1 == printed.count("\n")


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
    thin = [sys.executable, "-m", "pipelines.serving", "--policy", str(tmp_path / promote.INCUMBENT / "pricing")]
    full = ["mlflow", "models", "serve", "-m", "models:/pricing@champion", "--env-manager", "local"]
    with (
        _server(thin, ROOT, environment, "/live") as endpoint,
        _server(full, elsewhere, environment, "/ping") as mlflow_server,
    ):
        for context in CONTEXTS:
            status, quote = endpoint("/quote", context)
            assert 200 == status
            assert (200, {"predictions": [quote]}) == mlflow_server("/invocations", {"dataframe_records": [context]})
        _, batch = mlflow_server("/invocations", {"dataframe_records": CONTEXTS})
        assert [endpoint("/quote", c)[1]["price"] for c in CONTEXTS] == [q["price"] for q in batch["predictions"]]
        for bad, field in (({"list_price": -1}, "list_price"), ({"list_price": 9.0, "country": 5}, "country")):
            status, problem = endpoint("/quote", bad)
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
    with (folder / "server.log").open("w") if folder != ROOT else Path(os.devnull).open("w") as log:
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
