"""One signature for the single quotes that are priced in one round of the event loop.

A signature takes as long as a fifth of the graph. Requests that wait together are priced one right after the other, so
they share one, as the quotes of a page do: each token stands alone (`signatures`). A quote that nobody waits beside is
signed by itself, at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.serving.parts import Facts, Signer

_log = logging.getLogger("pricewright")


class Token:
    """The token that a quote will have once its round is over; to be awaited. Raises what kept it from being signed."""

    __slots__ = ("_found", "_over", "facts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._found: str | Exception | None = None
        self._over: asyncio.Future[None] | None = None

    def __await__(self) -> Generator[Any, None, str]:
        if self._found is None:
            self._over = asyncio.get_running_loop().create_future()
            yield from self._over
        if not isinstance(self._found, str):
            raise self._found or RuntimeError("a round ended without signing a quote")
        return self._found

    def tell(self, found: str | Exception) -> None:
        """Tell whoever waits."""
        self._found = found
        if self._over is not None and not self._over.done():  # else its request was cancelled
            self._over.set_result(None)


class Seals:
    """What signs the single quotes of one worker, round by round."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._round: list[Token] = []

    def take(self, facts: Facts) -> Token:
        """Take what is to be signed of a quote of this round."""
        if not self._round:
            asyncio.get_running_loop().call_soon(self._end)
        self._round.append(token := Token(facts))
        return token

    def _end(self) -> None:
        tokens, self._round = self._round, []
        for token, found in zip(tokens, _signed(self._signer, [t.facts for t in tokens]), strict=True):
            token.tell(found)


def _signed(signer: Signer, facts: list[Facts]) -> Sequence[str | Exception]:
    """Return the token of each quote; where they cannot be signed together, each that can be by itself."""
    try:
        return signer.sign(facts)
    except Exception as error:
        if len(facts) == 1:
            return [error]
        _log.exception("%d quotes could not be signed together; each is signed by itself", len(facts))
        return [_signed(signer, [one])[0] for one in facts]
