"""The gate: measured facts about a challenger -> checks -> promote, canary, review or reject.

Nothing here reads a file or a model. What a challenger's own model claims to earn is no fact and is not asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipelines.refutation import Placebo, Slope, wrong_signed
from pipelines.value import Gain
from pipelines.wording import misfits, number, rung_named, unknown_chances, usual

PASS = "pass"
VERDICTS = ("promote", "canary", "review", "reject")  # the later is the worse
_WEIGHT_SLACK = 0.02  # of the mean weight: rungs at the edge of an ending are valued at their neighbour
_WEAKEST = 0.5  # elasticity, in size, below which a price effect is not believed


@dataclass(frozen=True)
class Check:
    """One thing that a challenger must show: "pass" or the verdict that it leads to, and a sentence of reason."""

    name: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Limits:
    """What `conf: gate` allows.

    calibration_error: at most, as a share of the purchase rate. effective_sample_size: at least, of the challenger and
    of its difference to the champion. unsupported: at most, of the policy's mass, on rungs hardly shown.
    """

    calibration_error: float
    effective_sample_size: float
    unsupported: float


@dataclass(frozen=True)
class Effect:
    """A measured number with its interval."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, found: dict[str, float], estimate: str = "estimate") -> Effect:
        """Return the effect of a report's {estimate, low, high}; `estimate` names its first key ("mean", …)."""
        return cls(found[estimate], found["low"], found["high"])


@dataclass(frozen=True)
class Facts:
    """What was measured of a challenger on the certify window.

    champion: the policy that it was compared with, by its name or "list_price". prices_already: the challenger is the
    champion, so that it was compared with the list price. gain, personal: its lead over the champion and over the best
    single price, money per offer, bounded at `level`. slope, placebo: of the price and of shuffled ones
    (`refutation`); None where they could not be measured. mean_weight: of the logged offers. calibration_error,
    purchase_rate: probabilities. elasticity: the model's median at the usual price. unsupported: share of the
    policy's mass. challengers: different ones that opened the window, this one included. fallback: multiplier that
    "list_price" quotes, 1 or the best single one. single: the best single multiplier. listed: whether multipliers are
    of list prices; if not, they are prices. misfits: multiplier, mean weight and tolerance of the rungs whose logged
    propensities do not fit. unsummed: whether the log tells propensities of single prices, but not of the rungs
    that these were merged into.
    """

    challenger: str
    champion: str
    prices_already: bool
    other_guardrails: bool
    observational: bool
    agreed: bool
    same_price: float
    offers: int
    purchase_rate: float
    calibration_error: float
    elasticity: float
    slope: Slope | None
    placebo: Placebo | None
    unsupported: float
    effective_sample_size: float
    mean_weight: Effect
    gain: Gain
    personal: Gain
    level: float
    challengers: int
    fallback: float
    single: float
    listed: bool = True
    misfits: tuple[tuple[float, float, float], ...] = ()
    unsummed: bool = False

    @property
    def rival(self) -> str:
        """The policy that the challenger is compared with, in words."""
        if self.champion != "list_price":
            return self.champion
        priced = usual(self.fallback, self.listed)
        return self.best if self.fallback == self.single and priced != "the list price" else priced

    @property
    def best(self) -> str:
        """The best single price, in words."""
        return f"the best single price ({rung_named(self.single, self.listed)})"


def checks(facts: Facts, limits: Limits) -> list[Check]:
    """Return every check of the challenger.

    The champion and the best single price must both be beaten, so that their two tests need no correction among
    themselves (intersection-union test, Berger 1982); that for several challengers is in `facts.level`.
    """
    found = [
        _graph(facts),
        _slope(facts.slope),
        _placebo(facts.placebo),
        _elasticity(facts.elasticity),
        _calibration(facts.calibration_error, limits.calibration_error * facts.purchase_rate),
        _propensities(facts),
        _overlap(facts.mean_weight),
        _support(facts.unsupported, limits.unsupported),
        _evidence(facts, limits.effective_sample_size),
        _guardrails(facts),
        _profit(facts),
        _personal(facts),
    ]
    return found


def verdict(found: list[Check]) -> str:
    """Return the worst of the checks; promote if all pass."""
    return max((VERDICTS[0] if c.verdict == PASS else c.verdict for c in found), key=VERDICTS.index)


def sentence(facts: Facts, found: list[Check]) -> str:
    """Return the verdict's reason, in one sentence."""
    outcome, profit = verdict(found), next(c.reason for c in found if c.name == "profit")
    worst = "; ".join(f"{names}: {reason}" for names, reason in reasons(found))
    if facts.prices_already:
        return f"{facts.challenger} prices already; " + (profit if not worst else f"look at it again: {worst}")
    # the rival is named once
    profit, worst = (text.replace(f" against {facts.rival}", "", 1) for text in (profit, worst))
    if outcome == "promote":
        return f"{facts.challenger} may replace {facts.rival}: {profit}"
    middle = {
        "canary": "may be tried on a part of the quotes until more is known",
        "review": "needs a person's decision",
        "reject": "may not replace it",
    }
    return f"{facts.rival} stays; {facts.challenger} {middle[outcome]}: {worst}"


def reasons(found: list[Check]) -> list[tuple[str, str]]:
    """Return the reasons of a verdict that is not promote, each once, after the names of the checks that give it."""
    outcome = verdict(found)
    told: dict[str, list[str]] = {}
    for check in found:
        if check.verdict == outcome:
            told.setdefault(check.reason, []).append(check.name)
    return [(", ".join(names), reason) for reason, names in told.items()]


def _graph(facts: Facts) -> Check:
    text = f"graph and Python choose the same price on {facts.same_price:.2%} of contexts"
    return Check("graph", PASS if facts.agreed else "reject", text)


def _slope(slope: Slope | None) -> Check:
    if slope is None:
        return Check("slope", "review", "the effect of the price could not be measured: too few prices or purchases")
    moved, z = number(slope.estimate, "+.2f"), number(slope.z, "+.1f")
    text = f"the log-odds of buying move with the price by {moved} (z = {z})"
    if wrong_signed(slope):
        why = (
            "nobody buys a thing because it is dearer, so something else moved price and demand together; give what "
            "the price was set by as a feature or an instrument, or randomise prices"
        )
        return Check("slope", "reject", f"{text}: demand seems to rise with the price; {why}")
    if wrong_signed(replace(slope, z=-slope.z)):
        return Check("slope", PASS, text)
    return Check("slope", "review", f"{text}: the data do not show that the price matters")


def _placebo(placebo: Placebo | None) -> Check:
    if placebo is None:
        return Check("placebo", "review", "the effect of shuffled prices could not be measured")
    tests, seen = len(placebo.z), round(placebo.beyond * len(placebo.z))
    text = f"with the prices shuffled at random, so that they can have no effect, {seen} of {tests} tests still saw one"
    if placebo.shows_effect:
        why = f"more than chance makes (largest |z| {placebo.largest:.1f}), so the margins of error here are too small"
        return Check("placebo", "review", f"{text}: {why}; name the column that groups rows, such as the shopper")
    return Check("placebo", PASS, f"{text}: no more than chance makes")


def _elasticity(elasticity: float) -> Check:
    text = f"the median elasticity at the usual price is {number(elasticity, '.2f')}"
    if elasticity < -_WEAKEST:
        return Check("elasticity", PASS, text)
    return Check("elasticity", "review", f"{text}: so weak that every rise would pay; does the data show it at all?")


def _calibration(error: float, allowed: float) -> Check:
    text = f"predicted probabilities are off by {error:.4f} on average, {allowed:.4f} is allowed"
    return Check("calibration", PASS if error <= allowed else "review", text)


def _propensities(facts: Facts) -> Check:
    if facts.observational:
        text = f"{unknown_chances(facts.unsummed)}; all values are observational and prove nothing"
        return Check("propensities", "review", text)
    if facts.misfits:
        told = misfits(facts.misfits, facts.listed)
        text = (
            "the logged propensities do not fit the prices shown, so no value is right: the mean weight of a price "
            "must be 1, and is"
        )
        return Check("propensities", "review", f"{text} {told}")
    return Check("propensities", PASS, "the log says with which probability every price was shown")


def _overlap(weight: Effect) -> Check:
    error = weight.estimate - weight.low if weight.estimate > 1 else weight.high - weight.estimate
    tolerance = max(error, _WEIGHT_SLACK)
    text = f"the mean weight of the logged offers is {weight.estimate:.2f}; 1 ± {tolerance:.2f} is expected"
    if abs(weight.estimate - 1) <= tolerance:
        return Check("overlap", PASS, text)
    why = "the policy quotes prices that such shoppers were not shown, or the propensities are wrong"
    return Check("overlap", "review", f"{text}: {why}, so its value rests on a model alone")


def _support(share: float, allowed: float) -> Check:
    text = f"{share:.1%} of quotes are prices that such shoppers were hardly ever shown, {allowed:.1%} is allowed"
    return Check("support", PASS if share <= allowed else "canary", text)


def _evidence(facts: Facts, least: float) -> Check:
    sizes = {"of this policy's own": facts.effective_sample_size}
    # two policies that quote alike differ on no offer, and need no evidence of a difference
    if not _alike(facts.personal):
        sizes[f"of comparing it with {facts.best}"] = facts.personal.effective_sample_size
    if not _alike(facts.gain):
        sizes[f"of comparing it with {facts.rival}"] = facts.gain.effective_sample_size
    what, size = min(sizes.items(), key=lambda item: item[1])
    text = f"the log is worth {size:,.0f} offers {what}, {least:,.0f} are needed"
    if size >= least:
        return Check("evidence", PASS, text)
    more = facts.offers * (least / size - 1) if size > 0 else math.inf
    advice = f"about {_about(more)} more offers" if math.isfinite(more) else "it quotes no price that was ever shown"
    # guessed propensities prove no lack of evidence either
    return Check("evidence", "review" if facts.observational else "canary", f"{text}: {advice}")


def _guardrails(facts: Facts) -> Check:
    if not facts.other_guardrails:
        return Check("guardrails", PASS, f"{facts.rival} prices under the guardrails of conf/guardrails/ too")
    text = f"{facts.rival} prices live under other guardrails than conf/guardrails/ now has, and was valued with them"
    return Check("guardrails", "review", f"{text}; accept the challenger, or delete its folder to quote the list price")


def _profit(facts: Facts) -> Check:
    if _alike(facts.gain):
        return Check("profit", "reject", f"it quotes the same prices as {facts.rival}, so nothing is to be gained")
    found, text = _shown(facts.gain, facts.rival, facts)
    if found == "reject" and facts.other_guardrails:
        return Check("profit", "review", f"{text}; but {facts.rival} earned it under other guardrails")
    return Check("profit", found, text)


def _personal(facts: Facts) -> Check:
    against = facts.best
    if _alike(facts.personal):
        return Check("personal", PASS, f"it quotes {against} to everybody, and claims nothing beyond it")
    found, text = _shown(facts.personal, against, facts)
    return Check("personal", found, text)


def _shown(gain: Gain, against: str, facts: Facts) -> tuple[str, str]:
    """Return the verdict on a lead over `against`, and its reason."""
    looks = f", {facts.challengers} challengers having opened this window" if facts.challengers > 1 else ""
    bound = f"lower bound {number(1000 * gain.lower, '+.1f')} (one-sided {facts.level:.4g}{looks})"
    text = f"{number(1000 * gain.mean, '+.1f')} per 1,000 offers against {against}, {bound}"
    if facts.observational:
        return "review", f"{text}, but observational, so that even its sign may be wrong: a person must decide"
    if gain.lower > 0:
        return PASS, f"{text}: above zero"
    if not gain.mean > 0:
        return "reject", f"{text}: no gain was seen"
    more = f"such a gain would show with about {_about(gain.needed - gain.offers)} more offers in this window"
    return "canary", f"{text}: promising, but not shown; {more}"


def _alike(gain: Gain) -> bool:
    return gain.mean == 0 and gain.standard_error == 0


def _about(number: float) -> str:
    """Return a number of offers to two digits: more would pretend to be known."""
    number = max(number, 1.0)
    digits = 1 - math.floor(math.log10(number))
    return f"{math.ceil(round(number, digits)):,}"
