"""The benchmark of serving: its clients count what happens, its table judges, and it leaves no process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from policies import tiny_policy

from pipelines.benchmark_serving import __main__ as benchmark
from pipelines.benchmark_serving import asking, closed, overload, parts, rivals, table
from pipelines.benchmark_serving.open_loop import UNSENT, Answers, offered
from pipelines.benchmark_serving.servers import Program, Running, get, running
from pipelines.benchmark_serving.shop import opened, switched_on
from pipelines.errors import InputError
from pipelines.manifest import Manifest

# answers at once, but for every fourth request on a connection: 503
SERVER = """
import asyncio, sys

async def serve(reader, writer):
    count = 0
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            length = head.partition(b"content-length: ")[2].split(b"\\r\\n")[0]
            await reader.readexactly(int(length or 0))
            count += 1
            status = b"503 No" if count % 4 == 0 else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\\r\\ncontent-length: 5\\r\\n\\r\\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("server")
    (folder / "server.py").write_text(SERVER)
    with running(Program((sys.executable, "server.py", "{port}"), folder)) as found:
        yield found


@pytest.mark.parametrize("ours", [True, False])
def test_a_closed_loop_counts_answers_and_failures(
    server: Running, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the answers are 503 and count as failed; wrk and our own client agree on that."""
    if ours:
        monkeypatch.setattr(closed, "client", lambda: closed.OURS)
    elif closed.client() != closed.WRK:
        pytest.skip("wrk is not installed")
    found = closed.loaded(server.port, "/", [b"{}", b"[1]"], connections=4, seconds=1)
    assert found.requests > 100
    assert 0.25 == pytest.approx(found.failed / found.requests, abs=0.02)
    assert found.rate == pytest.approx(0.75 * found.requests / found.seconds, rel=0.05)
    assert 0 < found.p50 <= found.p99 < 1


def test_an_open_loop_sends_what_is_due(server: Running) -> None:
    """So many requests as were asked for, each with its phase and status, whatever the server makes of them."""
    found = asyncio.run(offered(server.port, "/", [b"{}"], [(200.0, 0.5), (1000.0, 0.5)], connections=2))
    assert [100, 500] == np.bincount(found.phase).tolist()
    assert {200, 503} == set(found.status.tolist()) - {UNSENT}
    assert (found.took[found.status != UNSENT] > 0).all()
    assert (np.diff(found.due) > 0).all()


def test_a_broken_connection_is_no_answer(tmp_path: Path) -> None:
    """A server that ends under load leaves requests without an answer, and the client ends."""
    (tmp_path / "server.py").write_text(SERVER.replace("count += 1", "count += 1; (count < 9) or sys.exit()"))
    with running(Program((sys.executable, "server.py", "{port}"), tmp_path)) as server:
        found = asyncio.run(offered(server.port, "/", [b"{}"], [(300.0, 0.5)], connections=1))
    assert 0 < (found.status == 200).sum() < 9
    assert (~np.isin(found.status, (200, 503))).sum() > 100


def test_what_is_started_is_stopped_with_all_that_it_began(tmp_path: Path) -> None:
    """A server's child, even one in a session of its own, is seen, and gone afterwards."""
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'], "
    (tmp_path / "server.py").write_text(f"{child}start_new_session=True)\n{SERVER}")
    with running(Program((sys.executable, "server.py", "{port}"), tmp_path)) as server:
        family = set(server.workers())
        assert 2 == len(family)
        assert server.resident() > 1
    end = time.monotonic() + 10
    while any(_runs(one) for one in family) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(_runs(one) for one in family)


def _runs(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """The last line that it wrote is the reason."""
    with (
        pytest.raises(InputError, match="does not serve: ValueError: no"),
        running(Program((sys.executable, "-c", "raise ValueError('no')"), tmp_path)),
    ):
        pass


def test_requests_are_of_the_policys_own_ranges(policy: Path) -> None:
    """Every context has a list price, a cost and the policy's words; each rival gets the same contexts."""
    manifest = Manifest.read(policy)
    asked = asking.contexts(manifest, 5)
    assert all({"list_price", "unit_cost", "country"} <= set(one) for one in asked)
    assert asked == [orjson.loads(body)["context"] for body in asking.singles(manifest, 5)]
    assert asking.PAGE == len(orjson.loads(asking.pages(manifest)[0])["contexts"])
    assert asking.contexts(manifest) == [orjson.loads(body) for body in rivals.bodies("litserve", manifest)]


def test_the_endpoint_is_measured_with_everything_switched_on(policy: Path, tmp_path: Path) -> None:
    """It signs, logs and counts in the shop that the benchmark opens, under load, and swaps a policy."""
    shop = opened(tmp_path, [policy])
    manifest = Manifest.read(policy)
    with running(shop.endpoint()) as server:
        found = closed.loaded(server.port, "/quote", asking.singles(manifest), seconds=1)
        assert 0 == found.failed < found.requests
        on = switched_on(server, tmp_path, asking.singles(manifest, 1)[0])
        assert {"signed": True, "logged": True, "counted": True} == on
        shop.place(1)
        end = time.monotonic() + 10
        while b'"version":"2"' not in get(server.port, "/ready")[1] and time.monotonic() < end:
            time.sleep(0.05)
        assert b'"version":"2"' in get(server.port, "/ready")[1]


def test_the_bare_server_is_started_as_the_endpoint_is(tmp_path: Path) -> None:
    """What the endpoint is compared with answers on the same server, and ends when it is asked to."""
    with running(Program((sys.executable, "-m", "pipelines.benchmark_serving.hello", "{port}"), tmp_path)) as server:
        assert (200, b'{"hello": "world"}') == get(server.port, "/")


def test_overload_is_told_as_it_was() -> None:
    """Half is refused; p99 is that of the accepted; recovery is the first window in which all is well."""
    due = np.concatenate([np.arange(100) / 100, 1 + np.arange(200) / 200, 2 + np.arange(300) / 100])
    phase = np.repeat([overload.USUAL, overload.OVER, overload.AFTER], [100, 200, 300])
    status = np.where((phase == overload.OVER) & (np.arange(600) % 2 == 0), 503, 200)
    status[300:330] = 503  # still refused for 0.3 s
    took = np.where(phase == overload.USUAL, 0.010, 0.020)
    found = overload.told(Answers(phase, due, np.zeros(600), took, status), end=2.0)
    assert (0.5, 0, 0) == (found["refused"], found["failed"], found["unsent"])
    assert (0.010, 0.020) == (found["normal_p99"], found["p99"])
    assert 0.5 == found["recovery"]
    broken = replace(
        Answers(phase, due, np.zeros(600), took, status), status=np.where(phase == overload.AFTER, 503, status)
    )
    assert overload.told(broken, end=2.0)["recovery"] is None


def _records() -> dict[str, dict]:
    thin = {"rate": 3000.0, "p50": 0.002, "p99": 0.006, "processor": 3e-4, "memory": 100.0, "started": 0.8, "failed": 0}
    on = {"signed": True, "logged": True, "counted": True}
    return {
        "graph": {**thin, "rate": 5000.0, "processor": 2e-4},
        "thin": {**thin, **on},
        "mlflow": {**thin, "rate": 150.0},
        "litserve": {**thin, "rate": 700.0},
        "bentoml": {"error": "bentoml is not installed"},
    }


def test_the_table_judges_by_the_targets() -> None:
    """20 x a slow MLflow is met, 5 x LitServe is not; what was not measured is not judged."""
    found = {(t.part, t.what): t.met for t in table.targets(_records())}
    assert found["mlflow", "at least 20"]
    assert not found["litserve", "at least 5"]
    assert found["thin", "at least 0.5"]
    assert not any(part in ("bentoml", "pages", "swaps") for part, _ in found)
    slow = {**_records(), "thin": {**_records()["thin"], "started": 1.6, "signed": False}}
    assert {"at most 1.5 s", "switched on"} == {t.what for t in table.targets(slow) if t.part == "thin" and not t.met}
    thin = _records()["thin"]
    pages, one = {**thin, "rate": 100.0, "quotes": 200}, {**thin, "rate": 1500.0, "p50": 7e-4}
    asked = {**_records(), "pages": pages, "lone": one, "lone-pages": pages}
    met = {(t.part, t.what): t.met for t in table.targets(asked)}
    assert (False, True) == (met["pages", "at least 10"], met["lone-pages", "at least 10"])  # of 3,000/s, of 1,500/s
    assert met["lone", "at most 1 ms"]
    text = table.as_markdown(_records(), "about")
    assert "MISSED: the endpoint answers 4.3 x as many (at least 5)" in text
    assert "bentoml is not installed" in text


def test_finished_parts_are_not_run_again(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that has figures of this policy is kept; one that failed, and one asked for with --fresh, runs again."""
    ran: list[str] = []

    def failing(_: parts.Bench) -> parts.Row:
        ran.append("mlflow")
        raise InputError("benchmark: no")

    def graph(_: parts.Bench) -> parts.Row:
        ran.append("graph")
        return _records()["graph"]

    monkeypatch.setitem(benchmark.PARTS, "graph", graph)
    monkeypatch.setitem(benchmark.PARTS, "mlflow", failing)
    words = ["parts=graph,mlflow", f"policy={policy}", "--folder", str(tmp_path / "serving")]
    assert 1 == benchmark.main(words) == benchmark.main(words)
    assert ["graph", "mlflow", "mlflow"] == ran
    benchmark.main([*words, "--fresh"])
    assert ["graph", "mlflow"] == ran[3:]
    assert "in process" in (tmp_path / "serving.md").read_text()


def test_an_unknown_part_is_named() -> None:
    """A part that does not exist is refused with the nearest that does."""
    with pytest.raises(InputError, match=r"part thn does not exist \(did you mean 'thin'"):
        benchmark.planned(["parts=thn"])


def test_a_rival_is_installed_only_when_asked(tmp_path: Path) -> None:
    """Without --install the message says what would be put where."""
    with pytest.raises(InputError, match="litserve is not installed; --install puts it into"):
        rivals.python("litserve", tmp_path, install=False)
    assert [] == list(tmp_path.iterdir())
