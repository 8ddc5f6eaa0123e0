"""How a log is written, and how it is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.errors import InputError


@dataclass(frozen=True)
class LogSettings:
    """How a log is written.

    sync: what `acknowledged` means (see `log`). sync_seconds: how long `interval` leaves a record off the disk.
    segment_bytes, segment_seconds: a segment is sealed, and so can be learned from, when it is so large or so old.
    patience: seconds after which a quote no longer waits for a disk that does not answer. most_waiting: records that
    may wait in memory.
    """

    sync: Literal["interval", "each"] = "interval"
    sync_seconds: float = 0.2
    segment_bytes: int = 64 * 2**20
    segment_seconds: float = 600.0
    retry_seconds: float = 1.0
    patience: float = 1.0
    most_waiting: int = 50_000

    def __post_init__(self) -> None:
        """Refuse a policy that does not exist, and lengths that are none."""
        if self.sync not in ("interval", "each"):
            raise InputError(f"log.sync={self.sync!r} must be 'interval' or 'each'")
        for name in ("sync_seconds", "segment_bytes", "segment_seconds", "retry_seconds", "patience", "most_waiting"):
            if not getattr(self, name) > 0:
                raise InputError(f"log.{name}={getattr(self, name)} must be positive")


@dataclass(frozen=True)
class LogState:
    """How a log is doing, for /metrics and /ready.

    acknowledged, lost: records since the start. waiting: those handed over and not yet written. failing: why records
    are being lost now, or None. torn: bytes of records half-written by writers that died. sealed: segments.
    """

    kind: str
    acknowledged: int
    lost: int
    waiting: int
    failing: str | None
    torn: int
    sealed: int
