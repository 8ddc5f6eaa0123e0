"""A shadow prices what the champion prices, and never harms it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from policies import REQUEST, tiny_policy

from pipelines.serving.runtime import Policy
from pipelines.serving.shadow import priced
from pipelines.serving.swap import Placed


@pytest.fixture(scope="module")
def shadow(tmp_path_factory: pytest.TempPathFactory) -> Placed:
    folder = tmp_path_factory.mktemp("shadow")
    tiny_policy(folder)
    return Placed(Policy.load(folder), "7", folder, 0.0)


def test_what_is_logged_of_a_shadow(shadow: Placed) -> None:
    """Digest, price and propensity of each request, with its own chance; nothing without a shadow."""
    greedy, drawn = priced(shadow, [REQUEST, {**REQUEST, "u": 0.99}])
    assert {"digest": shadow.policy.digest, "price": 22.5, "propensity": 1.0} == greedy
    assert 0.05 == drawn["propensity"]
    assert [None, None] == priced(None, [REQUEST, REQUEST])
    assert [] == priced(shadow, [])


def test_what_a_shadow_cannot_price(shadow: Placed) -> None:
    """One bad request costs the others nothing; a runtime that fails costs the shadow alone."""
    good, bad = priced(shadow, [REQUEST, {"list_price": "much"}])
    assert (22.5, None) == (good["price"], bad)

    def fails(_: object) -> None:
        raise RuntimeError("broken")

    broken = Placed(SimpleNamespace(quote=fails, steady=True), "8", Path(), 0.0)
    assert [None, None] == priced(broken, [REQUEST, REQUEST])


def test_a_graph_that_fails_for_one_of_a_round(shadow: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of the round keep theirs; a page, which is long, loses its shadow as a whole."""
    group = Policy.group

    def fails(self: Policy, rows: Any, outputs: Any) -> Any:
        if any(13.0 in row for row in rows):
            raise RuntimeError("thirteen")
        return group(self, rows, outputs)

    monkeypatch.setattr(Policy, "group", fails)
    monkeypatch.setattr(Policy, "answers", lambda self, columns, outputs: 1 / 0)
    told = priced(shadow, [REQUEST, REQUEST | {"list_price": 13.0}, REQUEST])
    assert [22.5, None, 22.5] == [one and one["price"] for one in told]
    assert [None] * 65 == priced(shadow, [REQUEST] * 65)
