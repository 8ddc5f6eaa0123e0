"""How the report speaks: verdicts, policies, guardrails and estimators in plain words, and numbers for reading."""

from __future__ import annotations

from collections.abc import Sequence

VERDICTS = {
    "promote": ("May price", "It was shown to earn more than what prices now."),
    "canary": ("Try it on a part of the quotes", "It looks better than what prices now, but this is not shown yet."),
    "review": ("A person must decide", "Something that no number settles has to be looked at first."),
    "reject": ("Keep the present prices", "It was not seen to be better than what prices now."),
}
CHECKS = {
    "graph": "the live policy against the tested model",
    "slope": "whether dearer offers sell less",
    "placebo": "a test with shuffled prices",
    "elasticity": "how much demand answers to the price",
    "calibration": "predicted against real sales",
    "propensities": "how past prices were chosen",
    "overlap": "whether all kinds of shoppers were shown its prices",
    "support": "prices that such shoppers were hardly shown",
    "evidence": "whether there are enough offers to judge by",
    "guardrails": "the guardrails of both policies",
    "profit": "earnings against what prices now",
    "personal": "earnings against one price for all",
}
BASELINES = {
    "list_price": "the list price for everybody",
    "single": "best single price for everybody",
    "logged": "prices as they were",
    "imitation": "imitation of past prices",
    "no_personal": "one price per item and time",
}
GUARDRAILS = {
    "margin_floor": "the least margin",
    "largest_cut": "the largest cut",
    "largest_rise": "the largest rise",
    "min_price": "the item's least price",
    "max_price": "the item's highest price",
    "support": "no price that such shoppers were hardly ever shown",
    "none": "none: the best price was allowed",
}
ESTIMATORS = {
    "doubly_robust": "doubly robust: decides",
    "clipped": "… with large weights clipped",
    "switch": "… with the model where weights are large",
    "inverse_propensity": "past outcomes alone, weighted",
    "self_normalised": "… self-normalised",
    "direct": "the reference model alone",
}


def usual(fallback: float, listed: bool = True) -> str:
    """Return what the price is called that prices are held against: a multiplier of the list price, 1 being that.

    listed: whether there are list prices; without them multipliers are prices.
    """
    return "the list price" if listed and fallback == 1 else f"the usual price ({rung_named(fallback, listed)})"


def rung_named(multiplier: float, listed: bool = True) -> str:
    """Return a rung in words: "0.9 times the list price", or where there are no list prices the price itself."""
    return f"{multiplier:g} times the list price" if listed else f"{multiplier:g}"


def unknown_chances(unsummed: bool) -> str:
    """Return what is not known of how prices were chosen, where propensities had to be estimated.

    unsummed: whether the log tells those of single prices, which were merged into rungs.
    """
    if not unsummed:
        return "the log does not say how every price was chosen"
    return "the log tells propensities of single prices, but these were merged into rungs, whose own it does not tell"


def misfits(rows: Sequence[tuple[float, float, float]], listed: bool = True) -> str:
    """Return (multiplier, mean weight, tolerance) of rungs whose mean weight should be 1, at most three."""
    told = [f"{mean:.2f} at {rung_named(m, listed)} (1 ± {tolerance:.2f} is chance)" for m, mean, tolerance in rows[:3]]
    return "; ".join(told) + (f"; and wrong at {len(rows) - 3} more" if len(rows) > 3 else "")


def price_axis(listed: bool = True) -> str:
    """Return what the numbers of rungs are."""
    return "price / list price" if listed else "price"


def number(value: float, form: str) -> str:
    """Return a number in a format of Python's, such as "+,.1f", with a minus sign and no hyphen: every text's way."""
    return format(value, form).replace("-", "−")


def money(value: float | None) -> str:
    """Return an amount for reading: whole from 100 on, else with one decimal; a dash where there is none."""
    if value is None:
        return "–"
    return number(value, ",.0f") if abs(value) >= 100 else number(value, "z.1f").removesuffix(".0")


def signed(value: float | None) -> str:
    """Return an amount with its sign."""
    text = money(value)
    return text if text in ("0", "–") or text.startswith("−") else f"+{text}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in percent."""
    return "–" if value is None else f"{number(100 * value, f'.{digits}f')} %"


def moved(value: float) -> str:
    """Return a price change in percent, or in words where there is none."""
    return "as usual" if abs(value) < 5e-4 else f"{number(100 * value, '+.0f')} %"


def changed(value: float) -> str:
    """Return a mean price change in percent, with its sign."""
    return f"{number(100 * value, '+z.1f')} %"
