"""What the feature state adds to an endpoint, put together from its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.behaviour.exported import FACTS
from pipelines.errors import InputError
from pipelines.serving.owning import SOCKET

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.serving.contexts import FromState
    from pipelines.serving.metrics import Cells
    from pipelines.serving.parts import Live


@dataclass(frozen=True)
class Attached:
    """Contexts by ids, and what becomes of the state when the endpoint ends."""

    contexts: FromState
    stop: Callable[[], Awaitable[None]]


def attached(folder: Path, shared: Path | None, patience: float, cells: Cells, live: Live) -> Attached:
    """Return the feature state of `folder` for one worker: its own, or that of the owner whose socket is in `shared`.

    Raises InputError where it is damaged, in use, or of other definitions than the policy that quotes learned from.
    """
    from pipelines.behaviour.facts import Facts
    from pipelines.serving.contexts import FromState
    from pipelines.serving.owner import Definitions, Owner
    from pipelines.serving.wire import Remote

    definitions, facts = Definitions.read(folder), Facts(folder / FACTS)
    state = Owner(folder) if shared is None else Remote(shared / SOCKET)
    made = FromState(state, facts, definitions, cells, patience)
    if live.current is not None and (why := made.misfit(live.current.policy.manifest)) is not None:
        raise InputError(f"{folder}: {why}")
    return Attached(made, state.close)


def worry(made: FromState, live: Live) -> str | None:
    """Return why contexts are not computed now, or None."""
    misfit = None if live.current is None else made.misfit(live.current.policy.manifest)
    return misfit or made.trouble
