"""Whether a policy says the same of a context alone, beside others and on a page, to the last bit.

Then requests that wait at the same moment may be priced together: whichever they were, a quote is the one that its
record gives when it is replayed. No library promises that of its arithmetic, so it is looked at where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.policy import QUOTE

if TYPE_CHECKING:
    from pipelines.manifest import Field
    from pipelines.serving.runtime import Policy

_CONTEXTS = 96  # where a graph was not steady, one context in thirteen showed it
_SIZES = (2, 3, 8, 96)  # of the groups
_MISSING = 0.2  # share of the fields that a context leaves out


def is_steady(policy: Policy) -> bool:
    """Return whether contexts of all kinds have one answer each, whatever they are priced with.

    Takes as long as some two hundred quotes made alone. False too where the graph fails.
    """
    rng = np.random.default_rng(0)
    try:
        rows = [policy.row(drawn(policy, rng)) for _ in range(_CONTEXTS)]
        alone = [_bits(policy.answer(row, QUOTE)) for row in rows]
        return all(
            alone[start : start + size] == [_bits(one) for one in policy.group(rows[start : start + size], QUOTE)]
            for size in _SIZES
            for start in range(0, _CONTEXTS, size)
        )
    except Exception:  # whatever it is, each request finds out for itself
        return False


def drawn(policy: Policy, rng: np.random.Generator) -> dict[str, Any]:
    """Return a context with values that the policy was trained on, and terms of sale of which some forbid prices."""
    manifest, fields = policy.manifest, {f.name: f for f in policy.manifest.inputs}
    if manifest.listed:
        list_price = price = _value(fields["list_price"], rng) or 1.0
    else:  # the rungs are prices
        list_price, price = 1.0, float(rng.choice(manifest.terms.ladder))
    sale = {
        "unit_cost": price * rng.uniform(0.1, 0.8),
        "min_price": price * rng.uniform(0.5, 1.0),
        "max_price": price * rng.uniform(1.0, 1.5),
        "u": rng.random(),
        "personal": int(rng.random() >= _MISSING),
    }
    context = {name: _value(field, rng) for name, field in fields.items() if name != "list_price"} | sale
    kept = {n: v for n, v in context.items() if n in policy.required or rng.random() >= _MISSING}
    return {**kept, "list_price": list_price}


def _value(field: Field, rng: np.random.Generator) -> Any:
    if field.kind == "word":
        words = (*(field.words or ()), "never seen")
        return words[int(rng.integers(len(words)))]
    low = 0.0 if field.low is None else field.low
    high = low + 1.0 if field.high is None else field.high
    return float(rng.uniform(low, high))


def _bits(answer: Sequence[Any]) -> list[Any]:
    return [value.hex() if isinstance(value, float) else value for value in answer]
