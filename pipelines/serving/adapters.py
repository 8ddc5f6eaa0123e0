"""Keys and log as the endpoint asks for them (`parts`): each is a few lines over the module that does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from pipelines.serving.chance import pseudonym, u_of
from pipelines.serving.decisions import Decision, DecisionLog, Outcome
from pipelines.serving.signatures import Facts, Signer, Verifier

if TYPE_CHECKING:
    from pipelines.manifest import Manifest


@dataclass(frozen=True)
class Drawn:
    """`parts.Chance`: a keyed hash; bucket: seconds in which it stays the same."""

    key: bytes
    bucket: float

    def u(self, shopper: str, item: str, now: float) -> float:
        """Return the chance of a shopper and an item now."""
        return u_of(self.key, shopper, item, now, self.bucket)

    def pseudonym(self, shopper: str) -> str:
        """Return what logs and signatures call the shopper."""
        return pseudonym(self.key, shopper)


@dataclass(frozen=True)
class Sealing:
    """`parts.Signer`: signs with one key, trusts several."""

    signer: Signer
    verifier: Verifier

    def sign(self, quotes: Sequence[dict[str, Any]]) -> list[str]:
        """Return a token for each quote: one signature for all of them, as it takes longer than everything else."""
        if len(quotes) > 1:
            return self.signer.page(quotes)
        return [self.signer.one(quote) for quote in quotes]

    def verify(self, token: str, now: float) -> dict[str, Any] | str:
        """Return the facts that were signed, or why they are not to be trusted."""
        found = self.verifier.verify(token, now)
        return asdict(found) if isinstance(found, Facts) else found.reason


@dataclass(frozen=True)
class Logged:
    """`parts.Log`: the decision log."""

    log: DecisionLog

    def introduce(self, manifest: Manifest, digest: str) -> None:
        """Learn what the policy is that records call by its digest."""
        self.log.introduce(manifest, digest)

    def quoted(self, *records: dict[str, Any]) -> Awaitable[bool]:
        """Take what was quoted."""
        return self.log.quoted(*cast("tuple[Decision, ...]", records))

    def outcome(self, *records: dict[str, Any]) -> Awaitable[bool]:
        """Take purchases by quote id."""
        return self.log.outcome(*(Outcome(**record) for record in records))

    @property
    def failing(self) -> str | None:
        """Why records are being lost now, or None."""
        return self.log.failing

    def gauges(self) -> dict[str, Callable[[], float]]:
        """Return what /metrics tells of it, by name."""
        told: dict[str, Callable[[], float]] = {"log_failing": lambda: float(self.log.failing is not None)}
        for place, kind in enumerate(("decisions", "outcomes")):
            for name, what in (("logged", "acknowledged"), ("lost", "lost"), ("torn_bytes", "torn")):
                told[f"{kind}_{name}_total"] = _of(self.log, place, what)
            told[f"{kind}_waiting"] = _of(self.log, place, "waiting")
        return told


def _of(log: DecisionLog, place: int, name: str) -> Callable[[], float]:
    return lambda: float(getattr(log.states()[place], name))
