"""The gate: every check refuses the fixture it is there for and passes what is just good enough; the worst decides."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from pipelines import gate
from pipelines.gate import PASS, VERDICTS, Check, Effect, Facts, Limits
from pipelines.refutation import Placebo, Slope
from pipelines.value import Gain

LIMITS = Limits(calibration_error=0.1, effective_sample_size=300.0, unsupported=0.05)


def gain(mean: float = 0.005, error: float = 0.001, needed: float = 500.0, size: float = 400.0) -> Gain:
    """Return a lead per offer with a bound two errors below."""
    return Gain(mean, error, mean - 2 * error, 1000, needed, size)


def slope(z: float) -> Slope:
    """Return a slope of this many standard errors."""
    return Slope(z / 10, 0.1, z)


CALM = Placebo(z=(0.1, -1.2, 2.1), beyond=1 / 3, largest=2.1, chance=0.2)
ALARMED = Placebo(z=(5.0, -6.0, 4.1), beyond=1.0, largest=6.0, chance=1e-6)
SAME = Gain(0.0, 0.0, 0.0, 1000, math.inf, 0.0)
GOOD = Facts(
    challenger="gbm", champion="list_price", prices_already=False, other_guardrails=False, observational=False,
    agreed=True, same_price=1.0, offers=1000, purchase_rate=0.2, calibration_error=0.01, elasticity=-2.0,
    slope=slope(-9.0), placebo=CALM, unsupported=0.01, effective_sample_size=400.0,
    mean_weight=Effect(1.01, 0.97, 1.05), gain=gain(), personal=gain(0.004), level=0.95, challengers=1,
    fallback=1.0, single=0.9,
)  # fmt: skip
NAMES = (
    "graph", "slope", "placebo", "elasticity", "calibration", "propensities", "overlap", "support", "evidence",
    "guardrails", "profit", "personal",
)  # fmt: skip


def verdicts(**changes) -> dict[str, str]:
    """Return check -> verdict of the good facts with changes."""
    return {c.name: c.verdict for c in gate.checks(replace(GOOD, **changes), LIMITS)}


def reasons(**changes) -> dict[str, str]:
    """Return check -> reason of the good facts with changes."""
    return {c.name: c.reason for c in gate.checks(replace(GOOD, **changes), LIMITS)}


def outcome(**changes) -> tuple[str, str]:
    """Return the verdict and its sentence on the good facts with changes."""
    facts = replace(GOOD, **changes)
    found = gate.checks(facts, LIMITS)
    return gate.verdict(found), gate.sentence(facts, found)


def test_a_good_challenger_is_promoted() -> None:
    """The facts that every refusal below differs from in one thing."""
    assert dict.fromkeys(NAMES, PASS) == verdicts()
    assert "promote" == outcome()[0]


@pytest.mark.parametrize(
    ("check", "verdict", "changes"),
    [
        ("graph", "reject", {"agreed": False, "same_price": 0.98}),
        ("slope", "reject", {"slope": slope(1.7)}),
        ("slope", "review", {"slope": slope(-1.6)}),
        ("slope", "review", {"slope": slope(1.6)}),
        ("slope", "review", {"slope": slope(math.nan)}),
        ("slope", "review", {"slope": None}),
        ("placebo", "review", {"placebo": ALARMED}),
        ("placebo", "review", {"placebo": None}),
        ("elasticity", "review", {"elasticity": -0.01}),
        ("elasticity", "review", {"elasticity": 0.4}),
        ("elasticity", "review", {"elasticity": math.nan}),
        ("calibration", "review", {"calibration_error": 0.021}),
        ("calibration", "review", {"calibration_error": math.nan}),
        ("propensities", "review", {"misfits": ((0.9, 0.22, 0.11),)}),
        ("overlap", "review", {"mean_weight": Effect(0.49, 0.45, 0.53)}),
        ("overlap", "review", {"mean_weight": Effect(1.2, 1.1, 1.3)}),
        ("support", "canary", {"unsupported": 0.051}),
        ("support", "canary", {"unsupported": math.nan}),
        ("evidence", "canary", {"effective_sample_size": 299.0}),
        ("evidence", "canary", {"effective_sample_size": 0.0}),
        ("evidence", "canary", {"gain": gain(size=299.0)}),
        ("guardrails", "review", {"other_guardrails": True}),
        ("profit", "canary", {"gain": gain(0.001)}),
        ("profit", "reject", {"gain": gain(0.0)}),
        ("profit", "reject", {"gain": gain(-0.005)}),
        ("profit", "reject", {"gain": gain(math.nan)}),
        ("profit", "reject", {"gain": SAME}),
        ("personal", "canary", {"personal": gain(0.001)}),
        ("personal", "reject", {"personal": gain(-0.001)}),
    ],
)
def test_a_check_refuses_what_it_is_there_for(check: str, verdict: str, changes: dict) -> None:
    """One thing is wrong, one check says so, and the whole verdict is its."""
    assert dict.fromkeys(NAMES, PASS) | {check: verdict} == verdicts(**changes)
    assert verdict == outcome(**changes)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": slope(-1.7)},
        {"placebo": replace(CALM, chance=0.0011)},
        {"elasticity": -0.51},
        {"calibration_error": 0.0199},
        {"mean_weight": Effect(0.8, 0.5, 1.1)},
        {"mean_weight": Effect(1.019, 1.01, 1.03)},
        {"unsupported": 0.05},
        {"effective_sample_size": 300.0},
        {"gain": gain(size=300.0)},
        {"gain": gain(0.00201)},
        {"personal": gain(0.00201)},
        {"personal": SAME},
    ],
)
def test_a_check_passes_what_is_just_good_enough(changes: dict) -> None:
    """On the right side of each bound everything passes; one price for all claims no personal gain, and owes none."""
    assert dict.fromkeys(NAMES, PASS) == verdicts(**changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"gain": gain(-0.005)}, {"gain": gain(0.001)}, {"effective_sample_size": 3.0}, {"unsupported": 0.5}],
)
def test_prices_that_were_not_randomised_need_a_person(changes: dict) -> None:
    """Observational values prove neither a gain nor its absence."""
    found = verdicts(observational=True, **changes)
    assert {"review"} == {found[name] for name in ("propensities", "profit", "personal")}
    assert "review" == outcome(observational=True, **changes)[0]


def test_a_wrong_signed_slope_is_refused_even_where_a_person_would_be_asked() -> None:
    """No reading of an observational log makes demand rise with the price; the reason says what to do."""
    verdict, why = outcome(observational=True, slope=slope(4.0))
    assert "reject" == verdict
    assert "demand seems to rise with the price" in why
    assert "randomise prices" in why


def test_a_champion_under_other_guardrails_fails_nobody() -> None:
    """What it earned with prices that are no longer allowed is no measure; that is a matter for a person."""
    assert ("review", "review") == (
        verdicts(other_guardrails=True, gain=gain(-0.005))["profit"],
        outcome(other_guardrails=True, gain=gain(-0.005))[0],
    )
    assert "canary" == verdicts(other_guardrails=True, gain=gain(0.001))["profit"]


def test_the_bound_decides_not_the_estimate() -> None:
    """The same estimate with a bound made at the stricter level of several challengers is not shown any more."""
    strict = replace(gain(0.0025), lower=-0.0001)
    assert (PASS, "canary") == (verdicts(gain=gain(0.0025))["profit"], verdicts(gain=strict)["profit"])
    told = reasons(gain=strict, level=0.99, challengers=5)["profit"]
    assert "lower bound −0.1 (one-sided 0.99, 5 challengers having opened this window)" in told


def test_canary_says_how_many_more_offers() -> None:
    """In two digits: of the gain, those of this pair; of the effective sample size, in proportion."""
    assert (
        "promising, but not shown; such a gain would show with about 6,800 more offers"
        in (reasons(gain=gain(0.001, needed=7849.0))["profit"])
    )
    assert "about 1,000 more offers" in reasons(effective_sample_size=150.0)["evidence"]
    assert "of this policy's own" in reasons(effective_sample_size=150.0)["evidence"]
    assert "of comparing it with the list price" in reasons(gain=gain(size=100.0))["evidence"]
    assert "no price that was ever shown" in reasons(effective_sample_size=0.0)["evidence"]


@pytest.mark.parametrize(
    ("champion", "fallback", "expected"),
    [
        ("list_price", 1.0, "against the list price,"),
        ("list_price", 0.8, "against the usual price (0.8 times the list price),"),
        ("list_price", 0.9, "against the best single price (0.9 times the list price),"),
        ("old one", 0.8, "against old one,"),
    ],
)
def test_the_rival_is_named_for_what_it_is(champion: str, fallback: float, expected: str) -> None:
    """Where the list price is not on the ladder, the policy of that name quotes another."""
    assert expected in reasons(champion=champion, fallback=fallback)["profit"]
    assert "against the best single price (0.9 times the list price)" in reasons()["personal"]


def test_without_list_prices_a_price_is_a_price() -> None:
    """A multiplier is not told as so many times a list price that does not exist, not even 1."""
    told = "\n".join(reasons(listed=False, fallback=1.0, single=59.0, misfits=((39.0, 0.22, 0.11),)).values())
    assert "list price" not in told
    assert "against the best single price (59)" in told
    assert "against the usual price (1)" in told
    assert "0.22 at 39 (1 ± 0.11 is chance)" in told


def test_the_tolerance_of_a_mean_weight_is_the_one_that_decides() -> None:
    """A wide interval lets 1.30 pass, and the sentence says how wide; a narrow one does not."""
    assert "is 1.30; 1 ± 0.40 is expected" in reasons(mean_weight=Effect(1.3, 0.9, 1.7))["overlap"]
    assert "is 1.30; 1 ± 0.10 is expected: the policy" in reasons(mean_weight=Effect(1.3, 1.2, 1.4))["overlap"]
    assert "is 1.01; 1 ± 0.02 is expected" in reasons(mean_weight=Effect(1.01, 1.0, 1.02))["overlap"]


def test_an_effect_is_read_from_a_report() -> None:
    """By the name that its estimate has there."""
    assert Effect(1.0, 0.5, 1.5) == Effect.of({"mean": 1.0, "low": 0.5, "high": 1.5, "more": 9.0}, "mean")


def test_a_log_that_tells_propensities_is_not_said_to_tell_none() -> None:
    """Those of single prices that were merged into rungs are no propensities of the rungs, and that is what is said."""
    assert "does not say how every price was chosen" in reasons(observational=True)["propensities"]
    told = reasons(observational=True, unsummed=True)["propensities"]
    assert "tells propensities of single prices" in told
    assert "does not say" not in told


def test_every_reason_has_minus_signs() -> None:
    """No hyphen stands for one, neither of a slope, nor of an elasticity, nor of a gain."""
    lost = gain(-0.159)
    told = " ".join(reasons(gain=lost, personal=lost, elasticity=-0.1, slope=slope(-3.0)).values())
    for shown in ("−159.0", "−161.0", "−0.10", "−0.30", "z = −3.0"):
        assert shown in told
    assert not re.search(r"-\d", told)


def test_the_same_prices_gain_nothing() -> None:
    """A lead of exactly nought, without error, is no lack of evidence."""
    found = reasons(gain=SAME)
    assert "the same prices as the list price" in found["profit"]
    assert PASS == verdicts(gain=SAME)["evidence"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([PASS, PASS], "promote"),
        ([PASS, "canary", PASS], "canary"),
        (["review", "canary"], "review"),
        (["canary", "reject", "review"], "reject"),
    ],
)
def test_the_worst_verdict_decides(found: list[str], expected: str) -> None:
    """Reject before review before canary before promote."""
    assert expected == gate.verdict([Check("a", v, "") for v in found])
    assert ("promote", "canary", "review", "reject") == VERDICTS


@pytest.mark.parametrize(
    ("changes", "begins", "holds"),
    [
        ({}, "gbm may replace the list price: +5.0 per 1,000 offers", "above zero"),
        ({"gain": gain(0.001)}, "the list price stays; gbm may be tried on a part of the quotes", "profit: +1.0"),
        ({"placebo": ALARMED}, "the list price stays; gbm needs a person's decision: placebo:", "3 of 3 tests"),
        ({"gain": gain(-0.001)}, "the list price stays; gbm may not replace it: profit:", "no gain was seen"),
        (
            {"gain": gain(-0.001), "fallback": 0.9},
            "the best single price (0.9",
            "may not replace it: profit: −1.0 per 1,000",
        ),
        ({"prices_already": True}, "gbm prices already; +5.0 per 1,000 offers", "above zero"),
        ({"prices_already": True, "gain": gain(-0.001)}, "gbm prices already; look at it again: profit:", "−1.0"),
    ],
)
def test_the_sentence_says_who_stays_and_why(changes: dict, begins: str, holds: str) -> None:
    """It holds the reasons of the worst verdict and no others."""
    told = outcome(**changes)[1]
    assert told.startswith(begins)
    assert holds in told
    assert ("calibration:" in told) == ("calibration_error" in changes)


def test_the_sentence_does_not_repeat_itself() -> None:
    """The rival is named once; two checks with the same reason give it once, under both names."""
    same = {"fallback": 0.9, "gain": gain(-0.001), "personal": gain(-0.001)}
    told = outcome(**same)[1]
    assert 1 == told.count("best single price")
    assert "profit, personal: −1.0 per 1,000 offers, lower bound" in told
    assert 1 == told.count("no gain was seen")
    assert 1 == outcome()[1].count("the list price")


def test_the_lead_over_the_best_single_price_needs_evidence_too() -> None:
    """A bound that rests on three offers proves nothing, however many compare it with the champion."""
    assert "canary" == verdicts(personal=gain(size=3.0))["evidence"]
