"""The page and the docs: that they need nothing from elsewhere, and in headless Chromium that they work."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from browser import CHROMIUM, opened
from live import asking, endpoint
from policies import tiny_policy

from pipelines.serving import access
from pipelines.serving.access import Access
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.pages import FILES
from pipelines.serving.runtime import Policy

seen = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(folder)
    return Policy.load(folder)


def _served(application: Endpoint) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def url(policy: Policy) -> Iterator[str]:
    yield from _served(endpoint(policy))


def _moved(field: str, value: float) -> str:
    """Return the script that moves a field's slider and tells what its box shows then."""
    slider = f"document.getElementById('f-{field}').previousElementSibling"
    moved = f"{slider}.value = {value}, {slider}.dispatchEvent(new Event('input'))"
    return f"({moved}, document.getElementById('f-{field}').value)"


def _typed(box: str, text: str, event: str) -> str:
    """Return the script that types into a box."""
    found = f"document.getElementById('{box}')"
    return f"({found}.value = '{text}', {found}.dispatchEvent(new Event('{event}')))"


def test_nothing_comes_from_elsewhere(policy: Policy) -> None:
    """The files name no other host, what they link to is there, and the browser is told to allow nothing else."""
    ask = asking(endpoint(policy))
    for path, (content, media) in FILES.items():
        answer = ask("GET", path)
        assert (200, media.decode()) == (answer.status_code, answer.headers["content-type"])
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        text = content.decode()
        assert {"http://www.w3.org/2000/svg"} >= set(re.findall(r"https?://[^\s\"']+", text))
        for linked in re.findall(r'(?:href|src)="(/[^"]*)"', text):
            assert 200 == ask("GET", linked).status_code


@seen
def test_a_person_moves_sliders(url: str, tmp_path: Path) -> None:
    """The page shows price, curves and guardrails; a slider moved shows another price; what is wrong is said."""
    with opened(url, tmp_path) as tab:
        tab.until("document.body.dataset.answered")
        assert "40.40 EUR" == tab.run("document.getElementById('price').textContent")
        assert 5 == tab.run("document.querySelectorAll('#demand circle').length")
        assert 1 == tab.run("document.querySelectorAll('#profit circle.chosen').length")
        assert 1 == tab.run("document.querySelectorAll('#profit circle.out').length")
        assert "largest rise" in tab.run("document.querySelector('#rungs tr.out').textContent")
        assert "90" == tab.run(_moved("list_price", 90))
        tab.until("document.getElementById('price').textContent === '72.00 EUR'")
        assert "80" == tab.run(_moved("unit_cost", 80))
        tab.until("document.getElementById('price').textContent !== '72.00 EUR'")
        assert 3 == tab.run("document.querySelectorAll('#demand circle.out').length")
        tab.run(_typed("f-list_price", "-1", "input"))
        problem = "document.getElementById('problem')"
        assert "list_price" in tab.until(f"!{problem}.hidden && {problem}.textContent")
        assert [] == [t for t in tab.troubles if "422" not in t]


@seen
def test_it_opens_with_a_price_where_costs_are_needed(tmp_path: Path) -> None:
    """Without a cost nothing could be priced: it begins with one, and says what is missing once that is taken away."""
    tiny_policy(tmp_path / "policy", cost_share=None)
    for url in _served(endpoint(Policy.load(tmp_path / "policy"))):
        with opened(url, tmp_path / "profile") as tab:
            tab.until("document.body.dataset.answered")
            assert 1 == tab.run("document.querySelectorAll('#profit circle.chosen').length")
            tab.run(_typed("f-unit_cost", "", "input"))
            rungs = "document.querySelector('#rungs').textContent"
            assert "margin floor" not in tab.until(f"{rungs}.includes('unit cost missing') && {rungs}")


@seen
def test_narrow_screens(url: str, tmp_path: Path) -> None:
    """On a narrow screen nothing is cut off sideways."""
    with opened(url, tmp_path, 500, 900) as tab:
        tab.until("document.body.dataset.answered")
        assert tab.run("document.documentElement.scrollWidth <= window.innerWidth")


@seen
def test_docs(url: str, tmp_path: Path) -> None:
    """The docs page lists every path, and every field of a context."""
    with opened(url + "/docs", tmp_path) as tab:
        tab.until("document.body.dataset.answered")
        shown = tab.run("document.body.textContent")
        assert all(word in shown for word in ("/quotes", "/curve", "/ws", "X-Deadline-Ms", "days_since_purchase"))
        assert all(word in shown for word in ("takes Message", "gives Answer", "array of string (up to 256) | Request"))
        assert [] == tab.troubles


@seen
def test_a_key_is_asked_for(policy: Policy, tmp_path: Path) -> None:
    """Where keys are needed the page asks for one, and works with it."""
    key = access.add(tmp_path / "keys.json", "me", ("quote",))
    for url in _served(endpoint(policy, access=Access.read(tmp_path / "keys.json"))):
        with opened(url, tmp_path / "profile") as tab:
            tab.until("!document.getElementById('keyline').hidden")
            tab.run(_typed("key", key, "change"))
            tab.until("document.body.dataset.answered")
            assert "40.40 EUR" == tab.run("document.getElementById('price').textContent")
