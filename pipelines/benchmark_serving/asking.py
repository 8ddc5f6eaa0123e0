"""What the load asks for: contexts of a policy's own ranges, as single requests and as pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from pipelines.manifest import Field, Manifest

FIELDS = 25  # raw inputs of a context
DIFFERENT = 64  # contexts that take turns
PAGE = 200  # contexts of a page
_OF_THE_ENDPOINT = ("u", "min_price", "max_price", "unit_cost")


def contexts(manifest: Manifest, count: int = DIFFERENT, seed: int = 0) -> list[dict[str, Any]]:
    """Return contexts of FIELDS raw inputs, or all that the policy has: words, then numbers, of its own ranges."""
    rng = np.random.default_rng(seed)
    needed = [f for f in manifest.inputs if f.required or f.name == "list_price" or f.kind == "word"]
    rest = [f for f in manifest.inputs if f not in needed and f.name not in _OF_THE_ENDPOINT]
    fields = [*needed, *rest][: max(len(needed), FIELDS - 1)]
    found = []
    for _ in range(count):
        one = {f.name: _drawn(f, rng) for f in fields}
        if manifest.listed:
            one["unit_cost"] = round(0.5 * one["list_price"], 2)
        else:
            one["list_price"] = 1
        found.append(one)
    return found


def singles(manifest: Manifest, count: int = DIFFERENT) -> list[bytes]:
    """Return requests for one quote each, of as many shoppers and items."""
    return [
        orjson.dumps({"shopper": f"shopper-{at}", "item": f"item-{at}", "session": f"session-{at}", "context": one})
        for at, one in enumerate(contexts(manifest, count))
    ]


def pages(manifest: Manifest, count: int = 4, length: int = PAGE) -> list[bytes]:
    """Return requests for the quotes of item list pages, one shopper each."""
    return [
        orjson.dumps(
            {
                "shopper": f"shopper-{page}",
                "contexts": [
                    {"item": f"item-{at}", "context": one} for at, one in enumerate(contexts(manifest, length, page))
                ],
            }
        )
        for page in range(count)
    ]


def _drawn(field: Field, rng: np.random.Generator) -> Any:
    if field.kind == "word":
        words = field.words or ("",)
        return str(words[int(rng.integers(len(words)))])
    if field.name == "personal":
        return 1
    low, high = field.low or 0.0, field.high or 2.0
    return round(float(rng.uniform(low, high)), 2) or 1.0
