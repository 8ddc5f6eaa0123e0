"""Two live states, each of some shoppers, made into the one that a single state of all of them would be."""

from __future__ import annotations

from pipelines.behaviour.layout import digest
from pipelines.behaviour.settled import combined, settled
from pipelines.behaviour.state import FeatureState
from pipelines.errors import InputError


def merged(one: FeatureState, other: FeatureState) -> FeatureState:
    """Return a new state with the events of both; items add up, shoppers must be in one of them only.

    Both must have got to the same place of the log: what is later refused as late is judged by the newest event of the
    two. Exact but for three things. A decayed sum may differ in its last digits. An item's history that one shard alone
    has forgotten, while events of the other would have kept it alive, stays forgotten. An event that one shard has
    refused as late or taken though the other's newest event would have made it late is not judged again.
    """
    if digest(one.features) != digest(other.features):
        raise InputError("the two states are of different features or lateness: rebuild one of them from its log")
    if one.newest < other.newest:
        one, other = other, one
    made = FeatureState(one.features, {**other.items, **one.items}, {**other.shoppers, **one.shoppers})
    made.newest, made.watermark = one.newest, one.watermark
    for entity in made.layouts:
        for key in one.histories[entity].keys() | other.histories[entity].keys():
            known = [state.histories[entity][key] for state in (one, other) if key in state.histories[entity]]
            if len(known) == 2 and entity != "item":
                raise InputError(f"both states know the {entity} {key!r}: deal a log out by shopper_id before merging")
            parts = [part for history in known if (part := settled(history, made.watermark)) is not None]
            if parts:
                made.restore(entity, key, combined(*parts) if len(parts) == 2 else parts[0])
    waiting = [event for state in (one, other) for event in state.unsettled if event.instant >= made.watermark]
    for event in sorted(waiting, key=lambda arrived: arrived.key):
        made.take(made.arrived(event.event, event.item))
    made.counted = one.counted + other.counted
    return made
