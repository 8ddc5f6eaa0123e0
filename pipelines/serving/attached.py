"""What the feature state adds to an endpoint: contexts by ids, events, and what is told of its health."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.behaviour.exported import FACTS
from pipelines.errors import InputError
from pipelines.serving.owning import SOCKET

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.serving.metrics import Cells
    from pipelines.serving.parts import Parts
    from pipelines.serving.settings import Settings


def with_features(parts: Parts, folder: Path, settings: Settings, cells: Cells) -> Parts:
    """Return the parts with the feature state of `folder`: within this process, or its owner's where there is a parent.

    Raises InputError where it is damaged, in use, or of other definitions than the policy that quotes learned from.
    """
    # here, since an endpoint without a feature state starts the faster for it
    from pipelines.behaviour.facts import Facts
    from pipelines.serving.contexts import FromState
    from pipelines.serving.owner import Definitions, Owner
    from pipelines.serving.wire import Remote

    definitions, facts, live = Definitions.read(folder), Facts(folder / FACTS), parts.live
    state = Owner(folder) if settings.shared is None else Remote(settings.shared / SOCKET)
    made = FromState(state, facts, definitions, cells, settings.patience)

    def misfit() -> str | None:
        return None if live.current is None else made.misfit(live.current.policy.manifest)

    if (why := misfit()) is not None:
        raise InputError(f"{folder}: {why}")
    return replace(
        parts,
        contexts=made,
        worries={**parts.worries, "feature state": lambda: misfit() or made.trouble},
        gauges={**parts.gauges, "feature_state_failing": lambda: float(made.trouble is not None)},
        stop=(*parts.stop, state.close),
    )
