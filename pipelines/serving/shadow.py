"""What a challenger would have quoted: priced beside the champion, logged, and shown to nobody.

Whatever goes wrong in it must not touch what a shopper is quoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError

if TYPE_CHECKING:
    from pipelines.serving.parts import Placed

_FEW = 64  # requests that are tried one by one where the graph fails for them together; a page is not


def priced(shadow: Placed | None, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """Return digest, price and propensity of the shadow for each request; None where it has none for it.

    Never raises. Requests as in `runtime.Policy.quote`, with the same `u` as the champion's, so that the two differ by
    what they believe alone. One that the shadow cannot price does not cost the others theirs.
    """
    if shadow is None:
        return [None] * len(rows)
    try:
        return [_told(quote) for quote in shadow.policy.quote(rows)]
    except Exception as error:
        if len(rows) == 1 or (len(rows) > _FEW and not isinstance(error, InputError)):  # it would fail for each row
            return [None] * len(rows)
        return [alone for row in rows for alone in priced(shadow, [row])]


def _told(quote: Mapping[str, Any]) -> dict[str, Any]:
    return {name: quote[name] for name in ("digest", "price", "propensity")}
