"""Money in minor units and as decimal strings."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.currencies import digits, minor_units, written


@pytest.mark.parametrize(("currency", "count"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("USD", 2)])
def test_digits(currency: str, count: int) -> None:
    """Decimals are those of ISO 4217."""
    assert count == digits(currency)


@given(minor=st.integers(-(10**15), 10**15), decimals=st.integers(0, 4))
def test_written_is_exact(minor: int, decimals: int) -> None:
    """The decimal string is the minor units, digit by digit."""
    text = written(minor, decimals)
    assert Decimal(minor).scaleb(-decimals) == Decimal(text)
    assert decimals == len(text.partition(".")[2])


@given(minor=st.integers(1, 10**11), scale=st.sampled_from([1, 100, 1000]))
def test_a_price_on_the_grid_stays(minor: int, scale: int) -> None:
    """What floating point did to a whole number of minor units is undone."""
    assert minor == minor_units(minor / scale, scale, 1.0)
    assert minor == minor_units(math.nextafter(minor / scale, math.inf), scale, 1.0)


@pytest.mark.parametrize(
    ("price", "towards", "least", "most", "expected"),
    [
        (19.994, 24.99, math.nan, math.nan, 2000),
        (27.486, 24.99, math.nan, math.nan, 2748),
        (19.994, 24.99, math.nan, 19.995, 1999),
        (27.486, 24.99, 27.485, math.nan, 2749),
        (0.001, 0.0005, math.nan, math.nan, 1),
        (22.000000000000004, 20.0, math.nan, math.nan, 2200),
        (math.nextafter(10.005, 0), 10.005, math.nan, math.nan, 1000),
        (10.005, 10.005, math.nan, 5.0, 1000),
    ],
)
def test_between_minor_units(price: float, towards: float, least: float, most: float, expected: int) -> None:
    """A price between two moves towards the list price, never past it, unless only the other is within the bounds."""
    assert expected == minor_units(price, 100, towards, least, most)
