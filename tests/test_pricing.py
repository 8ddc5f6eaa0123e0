"""Guardrails hold whatever comes: properties of the pricing code, beside a plain scalar one written for this test."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.policy import Terms
from pipelines.pricing import RULES, Guardrails, admitted_rungs, binding_rule, distinct, draw, ladder_prices
from tests.worlds import quote
from tests.worlds import terms as terms_of

NAN = math.nan
ENDINGS = ((), (0.99,), (0.0, 0.5), (0.95, 0.99), (0.9,))


@dataclass(frozen=True)
class Scene:
    """One context, its demand, and the terms that it is priced under."""

    alpha: float
    beta: float
    list_price: float
    unit_cost: float
    min_price: float
    max_price: float
    terms: Terms

    def quote(self, u: float = NAN) -> dict:
        """Return the quote of the code under test."""
        return quote(
            self.alpha, self.beta, self.terms, list_price=self.list_price, unit_cost=self.unit_cost,
            min_price=self.min_price, max_price=self.max_price, u=u,
        )  # fmt: skip

    def under(self, **changes) -> Scene:
        """Return the same scene under other guardrails."""
        guardrails = dataclasses.replace(self.terms.guardrails, **changes)
        return dataclasses.replace(self, terms=dataclasses.replace(self.terms, guardrails=guardrails))


def maybe(strategy):
    return st.none() | strategy


@st.composite
def scenes(draw, *, cost=True):
    """Return scenes of every kind: cheap and dear, with and without endings, bounds, rung 1."""
    minor = draw(st.sampled_from([None, 0.01, 0.01, 0.05, 1.0]))
    endings = draw(st.sampled_from(ENDINGS)) if minor == 0.01 else ()
    rungs = st.floats(0.3, 2.5).map(lambda m: round(m, 2))
    ladder = draw(st.lists(rungs, min_size=1, max_size=7, unique=True))
    if draw(st.booleans()):
        ladder = [*ladder, 1.0]
    guardrails = Guardrails(
        largest_cut=draw(maybe(st.floats(0, 0.6))),
        largest_rise=draw(maybe(st.floats(0, 0.8))),
        margin_floor=draw(maybe(st.floats(0, 0.5))),
        endings=endings,
        minor_unit=minor,
        exploration=draw(st.sampled_from([0.0, 0.1, 0.5])),
    )
    price = draw(st.floats(0.02, 5000).map(lambda p: round(p, 2)))
    bound = maybe(st.floats(0.4, 1.6)).map(lambda s: NAN if s is None else s * price)
    return Scene(
        alpha=draw(st.floats(-6, 4)),
        beta=draw(st.floats(0.001, 9)),
        list_price=price,
        unit_cost=round(draw(st.floats(0, 1.3)) * price, 2) if cost else NAN,
        min_price=draw(bound),
        max_price=draw(bound),
        terms=terms_of(tuple(sorted(set(ladder))), guardrails),
    )


def scalar_price(list_price: float, m: float, guardrails: Guardrails) -> float:
    """Return the price of a rung, found by trying one ending after the other, from the raw price to the list price."""
    if guardrails.minor_unit is None or m == 1:
        return list_price * m
    units = round(1 / guardrails.minor_unit)
    wanted = {round(e * units) for e in guardrails.endings} or set(range(units))
    raw = list_price * m * units
    n = math.floor(raw)
    if m < 1:
        while n < raw - 1e-6 or n % units not in wanted:
            n += 1
        return min(n / units, list_price)
    n += 1
    while n > raw + 1e-6 or n % units not in wanted:
        n -= 1
    return max(n / units, list_price)


def scalar_ladder(scene: Scene) -> list[tuple[int, float, float]]:
    """Return (rung, price, expected profit) of every rung that stands, in plain Python."""
    terms, found = scene.terms, {}
    for k, m in enumerate(terms.ladder):
        price = scalar_price(scene.list_price, m, terms.guardrails)
        if price not in found or _rank(m) < _rank(terms.ladder[found[price]]):
            found[price] = k
    result = []
    for price, k in found.items():
        result.append((k, price, (price - scene.unit_cost) * scalar_demand(scene, k, price / scene.list_price)))
    return sorted(result)


def scalar_demand(scene: Scene, k: int, ratio: float) -> float:
    """Return the chance of a sale at a rung whose price rounding moved to `ratio`: between two rungs a straight line.

    Knots are the rungs and 1; the line is over the log of the price, and goes to the next knot towards 1 at most.
    """
    m, knots = scene.terms.ladder[k], sorted({*scene.terms.ladder, 1.0})

    def known(x: float) -> float:
        return 1 / (1 + math.exp(-scene.alpha + scene.beta * math.log(x)))

    if scene.terms.guardrails.minor_unit is None or m == 1:
        return known(m)
    beside = knots[knots.index(m) + (1 if m < 1 else -1)]
    share = min(max(math.log(ratio / m) / math.log(beside / m), 0.0), 1.0)
    return known(m) + share * (known(beside) - known(m))


def _rank(m: float) -> tuple[bool, float]:
    return m > 1, abs(math.log(m))


def broken(scene: Scene, price: float) -> str:
    """Return the first rule that forbids a price, or 'none'."""
    g, p = scene.terms.guardrails, scene.list_price
    if g.margin_floor is not None and not price >= scene.unit_cost * ((1 + g.margin_floor) * (1 - 1e-9)):
        return "margin_floor"
    if g.largest_cut is not None and price < p * (1 - g.largest_cut - 1e-9):
        return "largest_cut"
    if g.largest_rise is not None and price > p * (1 + g.largest_rise + 1e-9):
        return "largest_rise"
    if price < scene.min_price:
        return "min_price"
    return "max_price" if price > scene.max_price else "none"


@settings(max_examples=150, deadline=None)
@given(scenes(), st.none() | st.floats(0, 1, exclude_max=True))
def test_no_quote_breaks_a_guardrail(scene: Scene, u: float | None) -> None:
    """Every quoted rung keeps every bound; where none can, it is the list price, with the reason."""
    found = scene.quote(NAN if u is None else u)
    if found["fallback"]:
        assert ("no_admissible_price", scene.list_price) == (found["fallback"], found["price"])
        assert (-1, 1.0) == (found["rung"], found["propensity"])
        assert [] == [p for _, p, _ in scalar_ladder(scene) if broken(scene, p) == "none"]
    else:
        assert "none" == broken(scene, found["price"])
        assert 0 < found["propensity"] <= 1
        assert found["price"] == found["ladder_price"][found["rung"]]


@settings(max_examples=150, deadline=None)
@given(scenes(), st.sampled_from([-0.5, -math.inf, 1.0, 7.0, math.inf]))
def test_a_chance_outside_its_range_breaks_no_guardrail(scene: Scene, u: float) -> None:
    """Even a `u` that is none leads to an admissible rung that had a chance."""
    found = scene.quote(u)
    if not found["fallback"]:
        assert "none" == broken(scene, found["price"])
        assert 0 < found["propensity"] <= 1


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_with_the_true_demand_the_quote_is_the_best_admissible_rung(scene: Scene) -> None:
    """Brute force in plain Python finds no admissible rung with more expected profit, and names the same guardrail."""
    found, rungs = scene.quote(), scalar_ladder(scene)
    able = [(k, p, profit) for k, p, profit in rungs if broken(scene, p) == "none"]
    assert bool(able) == ("" == found["fallback"])
    if able:
        best = max(profit for _, _, profit in able)
        assert best == pytest.approx(found["expected_profit"], rel=1e-9, abs=1e-12)
        assert 1.0 == found["propensity"]
    first, *others = sorted(rungs, key=lambda r: -r[2])
    assume(not others or first[2] - others[0][2] > 1e-9 * max(1.0, abs(first[2])))
    assert broken(scene, first[1]) == found["guardrail"]


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_the_rungs_have_the_prices_of_the_scalar_code(scene: Scene) -> None:
    """Endings and minor units, rung by rung."""
    expected = [scalar_price(scene.list_price, m, scene.terms.guardrails) for m in scene.terms.ladder]
    assert expected == pytest.approx(scene.quote()["ladder_price"], rel=1e-12)


def tighter(draw, scene: Scene) -> Scene:
    """Return the scene with one guardrail drawn tighter."""
    g, share = scene.terms.guardrails, draw(st.floats(0, 1))
    which = draw(st.sampled_from(["largest_cut", "largest_rise", "margin_floor", "min", "max", "rungs"]))
    if which in ("largest_cut", "largest_rise"):
        now = getattr(g, which)
        return scene.under(**{which: share * (0.6 if now is None else now)})
    if which == "margin_floor":
        return scene.under(margin_floor=(g.margin_floor or 0.0) + share * 0.3)
    if which == "min":
        low = max(scene.min_price, share * scene.list_price) if scene.min_price > 0 else share * scene.list_price
        return dataclasses.replace(scene, min_price=low)
    if which == "max":
        high = (0.5 + share) * scene.list_price
        return dataclasses.replace(scene, max_price=min(scene.max_price, high) if scene.max_price > 0 else high)
    kept = draw(st.lists(st.sampled_from(scene.terms.ladder), min_size=1, unique=True))
    ladder = admitted_rungs(scene.terms.ladder, Guardrails(rungs=tuple(kept)))
    return dataclasses.replace(scene, terms=dataclasses.replace(scene.terms, ladder=ladder))


@settings(max_examples=200, deadline=None)
@given(st.data(), scenes())
def test_a_tighter_guardrail_never_raises_expected_profit(data, scene: Scene) -> None:
    """Taking rungs away from the greedy choice cannot help it, where a rung remains."""
    loose, tight = scene.quote(), tighter(data.draw, scene).quote()
    # where rounding gives two rungs one price, the one that stays is valued by its own demand: another, when it is gone
    apart = len(set(loose["ladder_price"])) == len(loose["ladder_price"])
    if apart and not loose["fallback"] and not tight["fallback"]:
        least = loose["expected_profit"] * (1 + math.copysign(1e-9, loose["expected_profit"])) + 1e-12
        assert tight["expected_profit"] <= least
    assert tight["fallback"] or not loose["fallback"]


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(0, 1, exclude_max=True))
def test_an_identical_request_gets_an_identical_quote(scene: Scene, u: float) -> None:
    """The same context and the same chance give the same answer to the last bit."""
    assert repr(scene.quote(u)) == repr(scene.quote(u))


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_endings_move_a_price_towards_the_list_price_and_never_past_it(scene: Scene) -> None:
    """A cut stays between the raw price and the list price, a rise too; each is on an ending or is the list price."""
    g, p = scene.terms.guardrails, scene.list_price
    units = round(1 / g.minor_unit) if g.minor_unit else None
    for m, price in zip(scene.terms.ladder, scene.quote()["ladder_price"], strict=True):
        low, high = sorted((p * m, p))
        assert low * (1 - 1e-9) - 1e-7 <= price <= high * (1 + 1e-9) + 1e-7
        if units and price != p:
            assert round(price * units) == pytest.approx(price * units, abs=1e-6)
            wanted = {round(e * units) for e in g.endings} or set(range(units))
            assert round(price * units) % units in wanted


@settings(max_examples=60, deadline=None)
@given(scenes())
@example(Scene(0.0, 2.0, 0.02, 0.0, NAN, NAN, terms_of((0.9, 1.1), Guardrails(minor_unit=0.01))))
@example(Scene(0.0, 2.0, 0.02, 0.0, NAN, NAN, terms_of((0.9, 1.0, 1.1), Guardrails(minor_unit=0.01))))
def test_of_equal_prices_only_one_rung_stands(scene: Scene) -> None:
    """No price has two propensities: what stands is one rung per price, and each price has one."""
    prices = np.array([scene.quote()["ladder_price"]])
    stands = distinct(prices, scene.terms.ladder)[0]
    assert sorted(set(prices[0])) == sorted(prices[0][stands])


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_chance_reproduces_the_propensities_exactly(scene: Scene) -> None:
    """The chances that lead to a rung are one interval, as long as the rung's propensity; rungs forbidden have none."""
    found = scene.quote()
    shares = np.array(found["ladder_propensity"])
    if found["fallback"]:
        # no rung of the policy was drawn, save that the fallback may be the price of one
        assert [1.0 * (1 == m) for m in scene.terms.ladder] == shares.tolist()
        return
    assert 1 == pytest.approx(shares.sum(), abs=1e-12)
    able = {k for k, p, _ in scalar_ladder(scene) if broken(scene, p) == "none"}
    assert {int(k) for k in np.flatnonzero(shares)} <= able
    assert 1 - scene.terms.guardrails.exploration <= shares[found["rung"]] + 1e-12
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    for k in np.flatnonzero(shares):
        for u in (edges[k], (edges[k] + edges[k + 1]) / 2, np.nextafter(min(edges[k + 1], 1.0), 0)):
            drawn = scene.quote(float(u))
            assert (k, shares[k]) == (drawn["rung"], drawn["propensity"])


def test_rounding_at_the_end_of_the_interval_leads_to_the_greedy_rung() -> None:
    """Where the propensities sum to a bit less than u, nothing runs off the ladder."""
    shares = np.array([[0.1, 0.2, 0.3, 0.4 - 1e-12]])
    rung, share = draw(shares, np.array([[1]]), np.array([[1 - 1e-16]]))
    assert (1, 0.2) == (rung[0, 0], share[0, 0])


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(0, 3), st.none() | st.floats(0, 1, exclude_max=True))
def test_under_discount_only_nobody_pays_more_than_the_list_price(scene: Scene, cost: float, u) -> None:
    """Neither a margin floor nor a cost above the list price raises a price above it."""
    scene = dataclasses.replace(scene, unit_cost=cost * scene.list_price)
    found = scene.under(largest_rise=0.0, margin_floor=0.05).quote(NAN if u is None else u)
    assert found["price"] <= scene.list_price * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(scenes(cost=False))
def test_without_a_unit_cost_the_list_price_is_quoted(scene: Scene) -> None:
    """What has no cost has no profit: the list price, the reason, and no guardrail to blame."""
    found = scene.quote()
    assert ("unit_cost_missing", scene.list_price) == (found["fallback"], found["price"])
    assert math.isnan(found["expected_profit"])
    assert "none" == found["guardrail"]


@settings(max_examples=60, deadline=None)
@given(scenes(), st.floats(0, 0.9))
def test_a_cost_share_stands_in_for_a_missing_cost(scene: Scene, share: float) -> None:
    """With a share declared, a request without a cost is priced like one that brings that share as its cost."""
    terms = dataclasses.replace(scene.terms, cost_share=share)
    given_cost = dataclasses.replace(scene, unit_cost=scene.list_price * share).quote()
    missing = dataclasses.replace(scene, unit_cost=NAN, terms=terms).quote()
    assert repr(given_cost) == repr(missing)


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_an_item_without_bounds_has_none(scene: Scene) -> None:
    """NaN as least and largest price forbids what 0 and a fortune forbid: nothing."""
    free = dataclasses.replace(scene, min_price=NAN, max_price=NAN).quote()
    wide = dataclasses.replace(scene, min_price=0.0, max_price=1e9).quote()
    assert repr(wide) == repr(free)


def test_without_an_admissible_rung_the_reason_is_said() -> None:
    """A least price above the largest rise leaves nothing; the guardrail that forbade the best rung is named."""
    terms = terms_of((0.9, 1.0, 1.1), Guardrails(largest_rise=0.1, minor_unit=0.01))
    found = quote(0.0, 5.0, terms, list_price=10.0, unit_cost=5.0, min_price=12.0)
    assert ("no_admissible_price", 10.0, "min_price") == (found["fallback"], found["price"], found["guardrail"])
    assert 0.5 == found["purchase_probability"]
    assert [0.0, 1.0, 0.0] == found["ladder_propensity"]


def test_an_edge_rung_is_inside_its_guardrail() -> None:
    """8 percent off 12.34, and 10 percent on, meet a bound of as much, though binary fractions cannot say so."""
    terms = terms_of((0.92, 1.0, 1.1), Guardrails(largest_cut=0.08, largest_rise=0.1, margin_floor=0.1))
    for list_price in (12.34, 8.0, 19.99, 0.07):
        cheap = quote(-1.0, 30.0, terms, list_price=list_price, unit_cost=list_price * 0.92 / 1.1)
        assert (0, "none") == (cheap["rung"], cheap["guardrail"])
        dear = quote(3.0, 0.01, terms, list_price=list_price, unit_cost=0.0)
        assert (2, "none") == (dear["rung"], dear["guardrail"])


def test_prices_end_in_ninety_nine() -> None:
    """Worked by hand: 20.00 x 0.8 = 16.00 -> 16.99; x 0.9 = 18.00 -> 18.99; x 1.1 = 22.00 -> 21.99; 1 stays."""
    found = ladder_prices(
        np.array([[20.0]]), np.array([[0.8, 0.9, 1.0, 1.1]]), Guardrails(endings=(0.99,), minor_unit=0.01)
    )
    assert [16.99, 18.99, 20.0, 21.99] == found[0].tolist()


def test_a_rung_that_was_never_shown_is_refused() -> None:
    """Nothing is known of the demand there; the message names rung and ladder. Shown ones keep the source's order."""
    with pytest.raises(InputError, match=r"\[0\.7\] were never shown.*\[0\.8, 1\.0, 1\.2\]"):
        admitted_rungs((0.8, 1.0, 1.2), Guardrails(rungs=(0.7, 1.0)))
    assert (0.8, 1.2) == admitted_rungs((0.8, 1.0, 1.2), Guardrails(rungs=(1.2, 0.8)))
    assert (0.8, 1.0, 1.2) == admitted_rungs((0.8, 1.0, 1.2), Guardrails())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"largest_cut": 1.0}, "largest_cut=1.0"),
        ({"largest_cut": -0.1}, "largest_cut=-0.1"),
        ({"largest_rise": -0.1}, "largest_rise=-0.1"),
        ({"margin_floor": -1.0}, "margin_floor=-1.0"),
        ({"rungs": ()}, r"rungs=\[\]"),
        ({"rungs": (0.0, 1.0)}, r"rungs=\[0.0, 1.0\]"),
        ({"exploration": 0.6}, "exploration=0.6"),
        ({"minor_unit": 0.0}, "minor_unit=0.0"),
        ({"minor_unit": 0.03}, "minor_unit=0.03"),
        ({"endings": (0.99,)}, "needs guardrails.minor_unit"),
        ({"endings": (1.99,), "minor_unit": 0.01}, r"endings=\[1.99\]"),
        ({"endings": (0.99,), "minor_unit": 0.05}, r"endings=\[0.99\]"),
        ({"largest_cut": NAN}, "largest_cut=nan"),
        ({"largest_rise": NAN}, "largest_rise=nan"),
        ({"margin_floor": NAN}, "margin_floor=nan"),
        ({"support": 0.0}, "support=0.0"),
        ({"support": 1.0}, "support=1.0"),
        ({"caution": -0.1}, "caution=-0.1"),
        ({"caution": NAN}, "caution=nan"),
    ],
)
def test_guardrails_that_contradict_themselves_are_refused(values: dict, named: str) -> None:
    """The message names the key and the value."""
    with pytest.raises(InputError, match=f"guardrails.{named}|{named}"):
        Guardrails(**values)


def test_the_first_rule_in_order_that_forbids_a_rung_binds_it() -> None:
    """Rules that are off never bind, and where none forbids it is their number."""
    rules = {"min_price": np.array([[False, False, True]]), "margin_floor": np.array([[False, True, True]])}
    expected = [RULES.index("margin_floor"), RULES.index("min_price"), len(RULES)]
    assert [expected] == binding_rule(rules).tolist()
