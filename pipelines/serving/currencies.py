"""Money as shops and laws write it: whole minor units, and decimal strings with the digits that ISO 4217 gives."""

from __future__ import annotations

import math

# ISO 4217, list one: currencies whose minor unit is not a hundredth.
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS, _TEN_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND", "CLF UYW"
_DIGITS = {
    name: count for count, names in ((0, _WHOLE), (3, _THOUSANDTHS), (4, _TEN_THOUSANDTHS)) for name in names.split()
}
_SLACK = 1e-6  # of a minor unit: 20.0 x 1.1 is 22.000000000000004


def digits(currency: str) -> int:
    """Return how many decimals an amount in `currency` has."""
    return _DIGITS.get(currency, 2)


def written(minor: int, decimals: int) -> str:
    """Return an amount in minor units as a decimal string.

    >>> written(2000, 2), written(5, 2), written(1500, 0), written(-7, 3)
    ('20.00', '0.05', '1500', '-0.007')
    """
    if decimals == 0:
        return str(minor)
    if minor < 0:
        return "-" + written(-minor, decimals)
    text = str(minor)
    if len(text) <= decimals:
        text = text.zfill(decimals + 1)
    return f"{text[:-decimals]}.{text[-decimals:]}"


def minor_units(price: float, scale: int, towards: float, least: float = math.nan, most: float = math.nan) -> int:
    """Return `price` in whole minor units, `scale` of them to the unit.

    A price between two minor units is moved `towards` the list price, as endings are, unless that leaves the item's
    own bounds `least` and `most` (NaN: none) and the other direction does not. Nothing is free: it is at least one.
    """
    exact = price * scale
    near = round(exact)
    if -_SLACK <= exact - near <= _SLACK or abs(exact - near) <= _SLACK * abs(exact) * 1e-9:
        return near or 1
    up, down = math.ceil(exact), math.floor(exact)
    # a list price between two minor units is told as the lower one; what lies between them as well goes no further
    first, second = (up, down) if price < towards and up - towards * scale <= _SLACK else (down, up)
    lowest, highest = least * scale, most * scale

    def outside(minor: int) -> bool:  # never true of NaN
        return minor > highest or minor < lowest

    return (second if outside(first) and not outside(second) else first) or 1
