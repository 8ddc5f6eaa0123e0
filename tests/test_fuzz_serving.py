"""The fuzz of the endpoint, a small one; and that it sees a price outside the guardrails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from policies import REQUEST

from pipelines.benchmark_serving.fuzz import Findings, fuzzed
from pipelines.benchmark_serving.rails import violated
from pipelines.manifest import Manifest
from pipelines.serving.runtime import Policy

pytest.importorskip("schemathesis")


def test_nothing_breaks_a_running_endpoint(tiny: Path) -> None:
    """Hundreds of requests from the document and of plain bytes: no 5xx, every price within the guardrails."""
    found = fuzzed(tiny, 200)
    assert [] == found.wrong
    assert 150 < sum(found.answers.values()) <= 220
    assert found.prices > 10
    assert {"document", "bytes", "no HTTP"} == {where for where, _ in found.answers}


def _quote(**changes: object) -> dict:
    return {"price": "24.99", "list_price": "24.99", "fallback": None, "repeat": False, **changes}


@pytest.mark.parametrize(
    ("price", "asked", "broken"),
    [
        ("24.99", {}, []),
        ("20.00", {}, []),
        ("19.98", {}, ["largest_cut"]),
        ("27.50", {}, ["largest_rise"]),
        ("20.00", {"unit_cost": 19.5}, ["margin_floor"]),
        ("24.99", {"unit_cost": None}, []),
        ("24.99", {"min_price": 26.0}, ["min_price"]),
        ("24.99", {"max_price": 24.0}, ["max_price"]),
        ("0.00", {}, ["a price"]),
    ],
)
def test_a_price_outside_the_guardrails_is_seen(tiny: Path, price: str, asked: dict, broken: list[str]) -> None:
    """Each rule is told by its name, however the context was sent."""
    manifest = Manifest.read(tiny)
    for sent in ({**REQUEST, **asked}, {"shopper": "s", "context": {**REQUEST, **asked}}):
        assert broken == violated(manifest, sent, _quote(price=price))


def test_a_fallback_is_the_list_price(tiny: Path) -> None:
    """What is quoted in place of a price that nobody may have is the list price, and nothing else."""
    manifest = Manifest.read(tiny)
    assert [] == violated(manifest, REQUEST, _quote(fallback="deadline"))
    assert ["the list price"] == violated(manifest, REQUEST, _quote(price="20.00", fallback="deadline"))


def test_a_fault_is_kept_with_what_caused_it(tiny: Path) -> None:
    """A 500 and a page with one price outside are both wrong, and say what was sent."""
    found = Findings(Manifest.read(tiny))
    found.saw("bytes", "/quote", None, 500, b"oh")
    page = {"quotes": [_quote(), _quote(price="9.99")]}
    found.saw("document", "/quotes", {"contexts": [REQUEST, REQUEST]}, 200, json.dumps(page).encode())
    assert (2, 2) == (found.prices, len([line for line in found.wrong if "500" in line or "largest_cut" in line]))


def test_the_graph_keeps_its_own_rails(tiny: Path) -> None:
    """The rules told here are those of the graph: what it quotes breaks none, at any chance."""
    loaded = Policy.load(tiny)
    for u in (0.0, 0.5, 0.94, 0.999):
        (told,) = loaded.quote([{**REQUEST, "u": u}])
        assert [] == violated(loaded.manifest, REQUEST, _quote(price=f"{told['price']:.2f}"))
