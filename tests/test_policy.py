"""The decision itself: what a quote says, and what it says where it cannot price."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipelines.demand import Curve
from pipelines.errors import InputError
from pipelines.policy import Terms, decide, fallback_price, options
from pipelines.pricing import Guardrails
from tests.worlds import LOG, quote, sale

TERMS = Terms((0.8, 0.9, 1.0, 1.1), LOG, Guardrails(largest_cut=0.2, minor_unit=0.01, exploration=0.2))


def test_a_quote_worked_by_hand() -> None:
    """List price 10, cost 4, alpha 0, beta 3: profits 3.97, 2.89 x …; the price, its chance and its slope agree."""
    found = quote(0.0, 3.0, TERMS, list_price=10.0, unit_cost=4.0)
    q = [1 / (1 + m**3) for m in TERMS.ladder]  # logit q = -3 log m, so q = 1 / (1 + m^3)
    profit = [(10 * m - 4) * p for m, p in zip(TERMS.ladder, q, strict=True)]
    best = max(range(4), key=lambda k: profit[k])
    assert profit == pytest.approx(found["ladder_profit"])
    assert (best, TERMS.ladder[best] * 10) == (found["rung"], found["price"])
    assert q[best] == pytest.approx(found["purchase_probability"])
    assert profit[best] == pytest.approx(found["expected_profit"])
    assert -3 * (1 - q[best]) == pytest.approx(found["price_sensitivity"])
    assert TERMS.ladder[best] == pytest.approx(found["multiplier"])
    assert (0.0, 3.0, "none", "") == (found["alpha"], found["beta"], found["guardrail"], found["fallback"])


@pytest.mark.parametrize("curve", [Curve("log", -0.1, 0.2), Curve("linear", 1.0, 0.2)])
def test_the_price_sensitivity_is_the_elasticity(curve: Curve) -> None:
    """It is d log q / d log price, as a difference quotient finds it, on either axis."""
    terms = Terms((0.9,), curve, Guardrails())
    found = quote(0.3, 1.7, terms, list_price=10.0, unit_cost=1.0)
    up, down = (
        quote(0.3, 1.7, Terms((0.9 * s,), curve, Guardrails()), list_price=10.0, unit_cost=1.0)
        for s in (1 + 1e-5, 1 - 1e-5)
    )
    slope = math.log(up["purchase_probability"] / down["purchase_probability"]) / math.log((1 + 1e-5) / (1 - 1e-5))
    assert slope == pytest.approx(found["price_sensitivity"], rel=1e-6)


def test_the_fallback_has_the_endings_of_a_rung() -> None:
    """A fallback of 0.85 is rounded as the rung 0.85 is; the list price never is."""
    terms = Terms((0.5,), LOG, Guardrails(endings=(0.99,), minor_unit=0.01), fallback=0.85)
    assert 8.99 == fallback_price(np.array([[10.0]]), terms)[0, 0]
    assert 10.005 == fallback_price(np.array([[10.005]]), Terms((0.5,), LOG, terms.guardrails))[0, 0]


def test_a_fallback_counts_as_its_rung_in_the_propensities() -> None:
    """Where the fallback is a rung of the policy, all chance lies on it; where it is none, nowhere."""
    for fallback, expected in ((0.9, [0.0, 1.0, 0.0, 0.0]), (0.95, [0.0] * 4)):
        terms = Terms(TERMS.ladder, LOG, TERMS.guardrails, fallback=fallback)
        found = quote(0.0, 3.0, terms, list_price=10.0, unit_cost=4.0, min_price=50.0, u=0.99)
        assert (-1, 1.0, expected) == (found["rung"], found["propensity"], found["ladder_propensity"])
        assert pytest.approx(10 * fallback) == found["price"]


def test_contexts_do_not_mix() -> None:
    """A batch is answered as its rows are one by one."""
    rng = np.random.default_rng(1)
    both = np.column_stack([rng.normal(0, 1, 40), rng.gamma(2, 2, 40)])
    price, cost, u = rng.uniform(1, 50, 40).round(2), rng.uniform(0, 40, 40), rng.random(40)
    batch = decide(both, sale(40, list_price=price, unit_cost=cost, u=u), TERMS)
    for i in range(40):
        one = quote(*both[i], TERMS, list_price=price[i], unit_cost=cost[i], u=u[i])
        assert (batch["price"][i, 0], batch["propensity"][i, 0]) == (one["price"], one["propensity"])


def test_options_keep_what_each_rule_says() -> None:
    """A rung is admissible where it stands and every rule in force admits it; rules that are off are absent."""
    able = options(sale(list_price=0.04, unit_cost=0.0, max_price=0.04), TERMS)
    assert [0.04, 0.04, 0.04, 0.04] == able.prices[0].tolist()
    assert [False, False, True, False] == able.separate[0].tolist()
    assert {"largest_cut", "min_price", "max_price"} == set(able.rules)
    assert [False, False, True, False] == able.admissible[0].tolist()


def test_an_unknown_demand_is_no_reason_to_guess() -> None:
    """Coefficients that are NaN lead to the list price, and the quote says that it is the fallback."""
    found = quote(math.nan, 2.0, TERMS, list_price=10.0, unit_cost=4.0)
    assert (10.0, -1, "no_admissible_price") == (found["price"], found["rung"], found["fallback"])


def test_terms_survive_json() -> None:
    """What the manifest keeps is what the policy decides by."""
    guardrails = Guardrails(rungs=(0.8, 1.0), endings=(0.99,), minor_unit=0.01)
    terms = Terms((0.8, 1.0), Curve("linear", 1.0, 0.2), guardrails, fallback=0.8, cost_share=0.3)
    assert terms == Terms.from_json(json.loads(json.dumps(terms.to_json())))


@pytest.mark.parametrize("values", [{"ladder": ()}, {"ladder": (1.0,), "fallback": 0.0}])
def test_a_policy_with_nothing_to_quote_is_refused(values: dict) -> None:
    """No rung, or a fallback that gives the item away."""
    with pytest.raises(InputError, match="needs rungs and a positive fallback"):
        Terms(curve=LOG, guardrails=Guardrails(), **values)
