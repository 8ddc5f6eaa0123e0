"""The parts that an endpoint is made of, as what it asks of each: everything beside the graph may be absent.

`compose.py` is the one place that makes them. An absent part is told as it is (`signature` null, no log), never faked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipelines.manifest import Manifest
    from pipelines.serving.asked import Asked
    from pipelines.serving.runtime import Policy
    from pipelines.serving.views import View

Facts = dict[str, Any]


class Placed(Protocol):
    """A policy and its version in the registry, None where it did not come from there."""

    @property
    def policy(self) -> Policy:
        """The policy."""

    @property
    def version(self) -> str | None:
        """Its version."""


class Live(Protocol):
    """Who prices now. A request takes `current` once and keeps it to its end, whatever is swapped meanwhile."""

    @property
    def current(self) -> Placed | None:
        """What is shown; None before there is anything."""

    @property
    def shadow(self) -> Placed | None:
        """A challenger that prices the same requests without being shown."""


class Chance(Protocol):
    """A keyed hash of who, what and when, in the place of dice."""

    def u(self, shopper: str, item: str, now: float) -> float:
        """Return u in [0, 1): the same for a shopper and an item within a time bucket."""

    def pseudonym(self, shopper: str) -> str:
        """Return what logs and signatures call the shopper."""


class Signer(Protocol):
    """Signs quotes, so that a checkout can honour a shown price and refuse a forged one. Facts: `quotes.signed`."""

    def sign(self, quotes: Sequence[Facts]) -> list[str]:
        """Return a token for each; a page of quotes comes at once, so that it may be signed at once."""

    def verify(self, token: str, now: float) -> Facts | str:
        """Return the facts that were signed, or the reason why they are not to be trusted."""


class Log(Protocol):
    """The decision log. Records: `quotes.record`; outcomes: `recording.outcomes`."""

    def introduce(self, manifest: Manifest, digest: str) -> None:
        """Learn what the policy is that records call by its digest; it comes before its first record."""

    def quoted(self, *records: Facts) -> Awaitable[Any]:
        """Take what was quoted; what is returned is awaited before the quotes are given out."""

    def outcome(self, *records: Facts) -> Awaitable[bool]:
        """Take purchases by quote id; what is returned is awaited, and tells whether they are kept."""

    @property
    def failing(self) -> str | None:
        """Why records are being lost now, or None."""


class Contexts(Protocol):
    """The feature state: contexts of shoppers and items by their ids."""

    async def fill(self, wanted: Sequence[Asked], view: View, now: float) -> None:
        """Complete contexts that came as ids, or set `instead`. Raises RequestError, whose `row` says which."""

    async def events(self, given: Sequence[Mapping[str, Any]], now: float) -> list[str]:
        """Take events; return for each whether it was taken, or why not. Raises RequestError, Problem 503."""


@dataclass(frozen=True)
class Held:
    """A policy and its version."""

    policy: Policy
    version: str | None = None


@dataclass(frozen=True)
class Fixed:
    """A policy that stays: what an endpoint on one folder quotes by."""

    current: Held
    shadow: Held | None = None


@dataclass(frozen=True)
class Parts:
    """What an endpoint is made of.

    checks: name -> a function that returns why the endpoint must not be ready, or None (the golden self-test is one).
    worries: the same for what degrades it and keeps it ready. gauges: numbers for /metrics, by name.
    start, stop: run once before the first and after the last request.
    """

    live: Live
    chance: Chance | None = None
    signer: Signer | None = None
    log: Log | None = None
    contexts: Contexts | None = None
    checks: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    worries: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    gauges: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    start: tuple[Callable[[], Awaitable[None]], ...] = ()
    stop: tuple[Callable[[], Awaitable[None]], ...] = ()
