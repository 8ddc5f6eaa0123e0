"""A shadow prices what the champion prices, and never harms it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

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

    broken = Placed(SimpleNamespace(quote=fails), "8", Path(), 0.0)
    assert [None, None] == priced(broken, [REQUEST, REQUEST])
