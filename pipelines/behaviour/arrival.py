"""An event as it arrives: checked, and with every value that some feature takes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.behaviour.definitions import KINDS
from pipelines.behaviour.layout import Reading, Readings
from pipelines.behaviour.measures import Event, known, millionths, step
from pipelines.errors import InputError

if TYPE_CHECKING:
    from pipelines.behaviour.history import History

Happening = tuple[str, str | None, int, str, str | None]  # whose, of which item, when, which kind, which keywords
_FAR = 2**62  # microseconds from 1970 to beyond any time


class Arrived:
    """An event that has arrived: what `measures.Event` tells, its place in time, its values, and who has it.

    key: (instant, event id), the order in which events count. happening: what two ids of the same event have in common,
    as `clean` has it (rules.duplicate_event). values: whole millionths, or words and numbers as they are, in the order
    of layout.Readings. histories: those of the entities that it belongs to.
    """

    __slots__ = (
        "category", "event_id", "happening", "histories", "instant", "item", "item_id", "key", "kind", "previous_step",
        "row", "session_id", "shopper_id", "step", "values",
    )  # fmt: skip

    def __init__(self, event: Event, item: Mapping[str, Any]) -> None:
        """Take what the event and its item tell; values and histories come later."""
        self.instant, self.event_id, self.kind = event.instant, event.event_id, event.kind
        self.shopper_id, self.session_id, self.item_id = event.shopper_id, event.session_id, event.item_id
        self.row, self.item = event.row, item
        self.category = known(item.get("category"))
        self.key = (event.instant, event.event_id)
        keywords = known(event.row.get("keywords"))
        self.happening: Happening = (event.shopper_id, event.item_id, event.instant, event.kind, keywords)
        self.step = step(event)
        self.previous_step: str | None = None
        self.values: list[Any] = []
        self.histories: list[History] = []

    @property
    def event(self) -> Event:
        """Return it as it was given, with its item's facts."""
        names = (self.shopper_id, self.session_id, self.item_id)
        return Event(self.instant, self.event_id, self.kind, *names, self.row, self.item)


class Reader:
    """What is read off events, by kind: made of the readings that the features need."""

    def __init__(self, readings: Readings) -> None:
        """Prepare the readings of every kind, and of them those that depend on the step before."""
        each = {kind: list(enumerate(readings.of[kind])) for kind in KINDS}
        self._all = {kind: tuple(reading for _, reading in each[kind]) for kind in KINDS}
        self._of_step = {kind: tuple((place, r) for place, r in each[kind] if r.of_step) for kind in KINDS}

    def arrived(self, event: Event, item: Mapping[str, Any]) -> Arrived:
        """Return an event of an item ready to be taken; raises InputError naming it if it cannot be read."""
        if event.kind not in KINDS or type(event.instant) is not int or not -_FAR < event.instant < _FAR:
            raise InputError(
                f"event {event.event_id!r}: kind={event.kind!r} must be one of {', '.join(KINDS)}, and "
                f"instant={event.instant!r} whole microseconds since 1970"
            )
        try:
            arrived = Arrived(event, item)
            for name in (arrived.event_id, arrived.shopper_id, arrived.session_id):
                if type(name) is not str:
                    raise TypeError(f"{name!r} is no text, as event_id, shopper_id and session_id must be")
            for other in (arrived.item_id, arrived.category, arrived.happening[-1]):
                if other is not None and type(other) is not str:
                    raise TypeError(f"{other!r} is no text, as item_id, category and keywords must be if known")
            arrived.values = [_value(arrived, reading) for reading in self._all[event.kind]]
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"event {event.event_id!r}: {error}; see docs/schema.md for what each column must be"
            ) from None
        return arrived

    def after(self, arrived: Arrived, previous_step: str | None) -> list[Any]:
        """Set the step before an event, and return its values with that."""
        arrived.previous_step = previous_step
        places = self._of_step[arrived.kind]
        values = arrived.values.copy() if places else arrived.values
        for place, reading in places:
            values[place] = _value(arrived, reading)
        return values


def _value(arrived: Arrived, reading: Reading) -> Any:
    value: Any = reading.of(arrived)
    if value is None:
        return None
    if reading.scaled:
        return millionths(value)
    if reading.is_word:
        if type(value) is not str:
            raise TypeError(f"{reading.name}={value!r} is no text")
        return value
    if not math.isfinite(value):
        raise ValueError(f"{reading.name}={value!r} is not finite")
    return float(value)
