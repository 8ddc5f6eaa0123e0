"""The decision log: every quote with all that off-policy learning needs, and the purchases that followed.

Each worker writes segments of its own into one folder (`log_segments`, `log`); `python -m pipelines.ingest
source=decisions` turns them into offers, and so the next policy learns from live prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from pipelines.errors import InputError
from pipelines.serving.fields import is_number
from pipelines.serving.groups import Group
from pipelines.serving.log import Log
from pipelines.serving.log_segments import DECISIONS, OUTCOMES
from pipelines.serving.log_settings import LogSettings, LogState

if TYPE_CHECKING:
    from pipelines.manifest import Manifest

FOLDER = Path("data/decisions")
_LATEST = 4_102_444_800  # 2100, seconds since 1970
_LONGEST = 256  # characters of a quote id, as of any id in a request


class Shadow(TypedDict):
    """What a challenger would have quoted for the same request."""

    digest: str
    price: float
    propensity: float


class Decision(TypedDict):
    """One quote that was shown, as it is logged. A plain mapping, for making it must cost nothing.

    time: seconds since 1970. shopper: the pseudonym. inputs: every input of the graph as it was fed, terms of sale and
    `u` included; NaN is a missing number. rung: the multiplier that was *meant*, terms.ladder[rung] (terms.fallback
    where that is -1), not price / list price, which rounding moved. propensity: that of this price, as the graph says;
    None where the graph did not choose it. fallback: its own word, or the endpoint's (`deadline`, …). digest: the
    policy's, as it was introduced. repeat_of: the quote whose price this one repeats; then it is no offer of its own.
    """

    quote_id: str
    time: float
    shopper: str | None
    item: str | None
    session: str | None
    inputs: Mapping[str, float | str | None]
    rung: float | None
    price: float
    list_price: float
    propensity: float | None
    fallback: str | None
    policy: str
    version: str | None
    digest: str
    repeat: bool
    repeat_of: NotRequired[str | None]
    personalised: bool
    shadow: NotRequired[Shadow | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a quote: bought, or (bought=False) a purchase that was cancelled. time: seconds since 1970."""

    quote_id: str
    time: float
    bought: bool = True
    quantity: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no quote's id, no time, no truth value, or no number of pieces."""
        if not isinstance(self.quote_id, str) or not 0 < len(self.quote_id) <= _LONGEST:
            raise InputError(f"quote_id={str(self.quote_id)[:40]!r} must be the id of a quote")
        if not is_number(self.time) or not 0 < self.time < _LATEST:
            raise InputError(f"time={self.time!r} must be seconds since 1970")
        if not isinstance(self.bought, bool):
            raise InputError(f"bought={self.bought!r} must be true or false")
        if not is_number(self.quantity) or not 0 < self.quantity < math.inf:
            raise InputError(f"quantity={self.quantity!r} must be a positive number")


class DecisionLog:
    """One worker's log of decisions and of outcomes."""

    def __init__(self, folder: Path = FOLDER, worker: str = "0", settings: LogSettings | None = None) -> None:
        self.decisions = Log(folder, DECISIONS, worker, settings)
        self.outcomes = Log(folder, OUTCOMES, worker, settings)

    def introduce(self, manifest: Manifest, digest: str) -> None:
        """Say what the policy is that decisions name by `digest`; before its first decision, and at every swap."""
        self.decisions.introduce(digest, asdict(manifest))

    def quoted(self, *decisions: Decision) -> Group:
        """Hand over decisions; `await` the group before the quotes are answered: True once acknowledged."""
        return self.decisions.append_many(decisions)

    def outcome(self, *outcomes: Outcome) -> Group:
        """Hand over outcomes; telling the same one twice does no harm."""
        return self.outcomes.append_many([asdict(outcome) for outcome in outcomes])

    @property
    def failing(self) -> str | None:
        """Why records are being lost now, or None."""
        return next((state.failing for state in self.states() if state.failing), None)

    def states(self) -> tuple[LogState, LogState]:
        """Return how the two logs are doing."""
        return self.decisions.state(), self.outcomes.state()

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits, seal, stop."""
        self.decisions.close(timeout)
        self.outcomes.close(timeout)
