"""The decision itself: what a quote says, and what it says where it cannot price."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.policy import Belief, Terms, at_prices, decide, elasticities, fallback_price, options
from pipelines.pricing import RULES, Guardrails, cautious
from tests.worlds import LADDER, belief, log_curve, quote, quoted, sale, terms

TERMS = terms((0.8, 0.9, 1.0, 1.1), Guardrails(largest_cut=0.2, minor_unit=0.01, exploration=0.2))


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
    assert [pytest.approx(p) for p in q] == found["demand"]
    assert TERMS.ladder[best] == pytest.approx(found["multiplier"])
    assert ("none", "") == (found["guardrail"], found["fallback"])


def test_the_price_sensitivity_is_the_slope_between_the_neighbours() -> None:
    """It is d log q / d log m, exact for a demand of constant elasticity, at the ends from one side."""
    knots = np.array([0.8, 0.9, 1.0, 1.25])
    np.testing.assert_allclose(np.full((1, 4), -1.7), elasticities(0.3 * knots[None, :] ** -1.7, tuple(knots)))
    bent = np.array([[0.8, 0.4, 0.3, 0.0]])
    found = elasticities(bent, tuple(knots))
    assert pytest.approx(np.log(0.4 / 0.8) / np.log(0.9 / 0.8)) == found[0, 0]
    assert pytest.approx(np.log(0.3 / 0.8) / np.log(1.0 / 0.8)) == found[0, 1]
    assert np.isfinite(found).all()


def test_the_sensitivity_is_read_at_the_rung_that_is_quoted() -> None:
    """Also where the policy quotes fewer rungs than the demand is known at, and on fallback there."""
    knots = (0.8, 0.9, 1.0, 1.1)
    slopes = elasticities(log_curve(knots).probability(np.array([[0.0, 3.0]])), knots)[0]
    few = terms((0.9, 1.1), knots=knots)
    found = quote(0.0, 3.0, few, list_price=10.0, unit_cost=4.0)
    assert slopes[knots.index(few.ladder[found["rung"]])] == found["price_sensitivity"]
    assert slopes[2] == quote(0.0, 3.0, few, list_price=10.0)["price_sensitivity"]


def test_between_knots_demand_is_linear_in_the_log_price() -> None:
    """At a knot its own value, half way to the inward neighbour the mean of both, beyond it the neighbour's."""
    knots, curve = (0.8, 1.0, 1.25), np.array([[0.6, 0.4, 0.2]])
    rounded = terms(knots, Guardrails(minor_unit=0.01))

    def at(m: float, k: int) -> float:
        return float(at_prices(curve, np.array([[m]]), [k], rounded)[0, 0])

    assert [0.6, 0.4, 0.2] == pytest.approx([at(0.8, 0), at(1.0, 1), at(1.25, 2)])
    assert [0.5, 0.3] == pytest.approx([at(math.sqrt(0.8), 0), at(math.sqrt(1.25), 2)])
    assert [0.4, 0.4] == pytest.approx([at(1.1, 0), at(0.9, 2)])
    assert 0.6 == at_prices(curve, np.array([[0.9]]), [0], terms(knots))[0, 0], "nothing is moved without rounding"


def test_a_rounded_price_has_the_demand_of_where_it_went() -> None:
    """8.00 of 10.00 with the ending 99 is 8.99: its demand lies between those of 0.8 and 0.9."""
    ending = terms((0.8, 0.9, 1.0), Guardrails(endings=(0.99,), minor_unit=0.01))
    found = quote(0.0, 3.0, ending, list_price=10.0, unit_cost=4.0)
    assert 8.99 == found["ladder_price"][0]
    cheap, dear, _ = found["demand"]
    share = math.log(0.899 / 0.8) / math.log(0.9 / 0.8)
    assert pytest.approx(cheap + share * (dear - cheap)) == found["ladder_probability"][0]


def test_caution_off_is_no_caution() -> None:
    """At 0 disagreeing members are as good as their mean."""
    curves = [log_curve().probability(np.array([[0.0, b]])) for b in (1.0, 9.0)]
    mean = Belief([0.5 * curves[0] + 0.5 * curves[1]], (1.0,))
    apart, alone = (quoted(b, terms(), list_price=10.0, unit_cost=4.0) for b in (Belief(curves, (0.5, 0.5)), mean))
    for name, value in alone.items():
        assert value == pytest.approx(apart[name]) if not isinstance(value, str) else value == apart[name], name


def test_caution_moves_towards_the_fallback_where_members_disagree() -> None:
    """The best rung in the mean is one on which the members differ; the more caution, the nearer to the list price."""
    curves = [np.array([[0.70, 0.60, 0.50, q, 0.1]]) for q in (0.10, 0.90)]
    rungs = []
    for caution in (0.0, 0.5, 3.0):
        wary = terms(LADDER, Guardrails(caution=caution))
        rungs.append(quoted(Belief(curves, (0.5, 0.5)), wary, list_price=10.0, unit_cost=5.0)["rung"])
    assert [3, 2, 2] == rungs
    agreed = [np.array([[0.70, 0.60, 0.50, 0.5, 0.1]])] * 2
    wary = terms(LADDER, Guardrails(caution=3.0))
    assert 3 == quoted(Belief(agreed, (0.5, 0.5)), wary, list_price=10.0, unit_cost=5.0)["rung"]


def test_cautious_is_the_mean_less_so_many_deviations() -> None:
    """Worked by hand: gains 1 and 3, half each: mean 2, deviation 1."""
    gains = [np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])]
    np.testing.assert_allclose([[1.5, 0.0]], cautious(gains, (0.5, 0.5), 0.5))


def test_a_rung_that_such_contexts_were_never_shown_is_not_quoted() -> None:
    """The best rung has a share below the guardrail's: the next is quoted, and the guardrail says why."""
    rails, curves = Guardrails(support=0.05), [log_curve().probability(np.array([[3.0, 1.0]]))]
    free = quoted(Belief(curves, (1.0,)), terms(LADDER, rails), list_price=10.0, unit_cost=5.0)
    assert (4, "none") == (free["rung"], free["guardrail"])
    shown = np.array([[0.30, 0.30, 0.20, 0.16, 0.04]])
    found = quoted(Belief(curves, (1.0,), shown), terms(LADDER, rails), list_price=10.0, unit_cost=5.0)
    assert (3, "support") == (found["rung"], found["guardrail"])
    assert 0.0 == found["ladder_propensity"][4]
    few = terms((0.8, 1.2), rails, knots=LADDER)
    assert 0 == quoted(Belief(curves, (1.0,), shown), few, list_price=10.0, unit_cost=5.0)["rung"]
    never = np.zeros((1, 5))
    nothing = quoted(Belief(curves, (1.0,), never), terms(LADDER, rails), list_price=10.0, unit_cost=5.0)
    assert ("no_admissible_price", 10.0, "support") == (nothing["fallback"], nothing["price"], nothing["guardrail"])


def test_chance_plays_no_part_for_who_wants_no_personal_price() -> None:
    """Chance is drawn by shopper: with personal = 0 the greedy rung is quoted, whatever u; with 1 or none it counts."""
    for u in (0.0, 0.5, 0.999):
        found = quote(0.0, 3.0, TERMS, list_price=10.0, unit_cost=4.0, u=u, personal=0.0)
        assert (3, 1.0) == (found["rung"], found["propensity"])
    for personal in (1.0, math.nan):
        found = quote(0.0, 3.0, TERMS, list_price=10.0, unit_cost=4.0, u=0.0, personal=personal)
        assert (2, 0.1) == (found["rung"], found["propensity"])


def test_the_fallback_has_the_endings_of_a_rung() -> None:
    """A fallback of 0.85 is rounded as the rung 0.85 is; the list price never is."""
    ending = terms((0.5,), Guardrails(endings=(0.99,), minor_unit=0.01), fallback=0.85)
    assert 8.99 == fallback_price(np.array([[10.0]]), ending)[0, 0]
    assert 10.005 == fallback_price(np.array([[10.005]]), terms((0.5,), ending.guardrails))[0, 0]


def test_a_fallback_counts_as_its_rung_in_the_propensities() -> None:
    """Where the fallback is a rung of the policy, all chance lies on it; where it is none, nowhere."""
    for fallback, expected in ((0.9, [0.0, 1.0, 0.0, 0.0]), (0.95, [0.0] * 4)):
        last = terms(TERMS.ladder, TERMS.guardrails, fallback=fallback)
        found = quote(0.0, 3.0, last, list_price=10.0, unit_cost=4.0, min_price=50.0, u=0.99)
        assert (-1, 1.0, expected) == (found["rung"], found["propensity"], found["ladder_propensity"])
        assert pytest.approx(10 * fallback) == found["price"]


def test_contexts_do_not_mix() -> None:
    """A batch is answered as its rows are one by one."""
    rng = np.random.default_rng(1)
    both = np.column_stack([rng.normal(0, 1, 40), rng.gamma(2, 2, 40)])
    price, cost, u = rng.uniform(1, 50, 40).round(2), rng.uniform(0, 40, 40), rng.random(40)
    batch = decide(belief(*both.T, TERMS.knots), sale(40, list_price=price, unit_cost=cost, u=u), TERMS)
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
    """A demand that is NaN leads to the list price, and the quote says that it is the fallback."""
    found = quote(math.nan, 2.0, TERMS, list_price=10.0, unit_cost=4.0)
    assert (10.0, -1, "no_admissible_price") == (found["price"], found["rung"], found["fallback"])


def test_terms_survive_json() -> None:
    """What the manifest keeps is what the policy decides by."""
    guardrails = Guardrails(rungs=(0.8, 1.0), endings=(0.99,), minor_unit=0.01, support=0.02, caution=0.5)
    kept = terms((0.8, 1.0), guardrails, knots=LADDER, fallback=0.8, cost_share=0.3)
    assert kept == Terms.from_json(json.loads(json.dumps(kept.to_json())))


@pytest.mark.parametrize("values", [{"ladder": ()}, {"ladder": (1.0,), "fallback": 0.0}])
def test_a_policy_with_nothing_to_quote_is_refused(values: dict) -> None:
    """No rung, or a fallback that gives the item away."""
    with pytest.raises(InputError, match="needs rungs and a positive fallback"):
        Terms(knots=LADDER, guardrails=Guardrails(), **values)


@pytest.mark.parametrize("values", [{"ladder": (0.85,)}, {"ladder": (0.8,), "fallback": 0.85}])
def test_a_price_at_which_no_demand_is_known_is_refused(values: dict) -> None:
    """Neither a rung nor the fallback may lie off the knots; the message names it."""
    with pytest.raises(InputError, match=r"nothing is known of the demand at \[0\.85\]"):
        Terms(knots=LADDER, guardrails=Guardrails(), **values)


def test_support_is_a_rule_like_the_others() -> None:
    """It is in force only where it is set and what was shown is known."""
    assert "support" == RULES[-1]
    shown = np.full((1, 4), 0.25)
    asked = terms(TERMS.ladder, Guardrails(support=0.05))
    assert "support" in options(sale(list_price=1.0, unit_cost=0.0), asked, shown).rules
    assert "support" not in options(sale(list_price=1.0, unit_cost=0.0), asked).rules
    assert "support" not in options(sale(list_price=1.0, unit_cost=0.0), TERMS, shown).rules
