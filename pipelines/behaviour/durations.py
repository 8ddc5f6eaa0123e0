"""Spans of time as people write them (7d, 12h, 30m, 60s), in whole microseconds."""

from __future__ import annotations

import re

from pipelines.errors import InputError

SECOND = 1_000_000
UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND}


def microseconds(text: str, where: str) -> int:
    """Return the microseconds that `text` stands for; raises InputError, naming the key `where`, if it is no span.

    >>> microseconds("90s", "features.lateness")
    90000000
    """
    found = re.fullmatch(r"(\d+)([smhd])", str(text).strip())
    if found is None or int(found[1]) == 0:
        raise InputError(f"conf: {where}={text!r} must be a whole number above 0 with its unit: 60s, 30m, 12h or 7d")
    return int(found[1]) * UNITS[found[2]]
