"""The live history of one entity: what its events add up to, and how to go back before the most recent ones.

Every event leaves the list of quantities as it was (`Entry.before`) for as long as an earlier one may still arrive. So
a late event is put in its place by going back and on again, and a question about a moment between two events has its
answer ready. Sets of distinct values are shared by these lists; each entry notes what it added to them.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from pipelines.behaviour.arrival import Arrived
from pipelines.behaviour.layout import LATEST, START, STEP, Layout
from pipelines.behaviour.series import Series

_MANY = 16  # entries that are cut by half, not one by one
State = list[Any]


class Entry:
    """An event in one history: the quantities before it, and what it added to sets of distinct values."""

    __slots__ = ("added", "arrived", "before")

    def __init__(self, arrived: Arrived, before: State | None) -> None:
        """Note the event and what was before it."""
        self.arrived, self.before = arrived, before
        self.added: list[tuple[set[Any], Any]] | None = None


class History:
    """What one entity did: its quantities now (`state`), its recent entries in order of time, and its series."""

    __slots__ = ("changed", "entries", "layout", "series", "state")

    def __init__(self, layout: Layout) -> None:
        """Start without an event."""
        self.layout = layout
        self.changed = True  # since it was last written down
        self.state: State | None = None
        self.entries: list[Entry] | None = None
        self.series: list[Series | None] | None = None

    def place(self, key: tuple[int, str]) -> int:
        """Return the place among the entries at which an event of this key belongs."""
        entries = self.entries
        if not entries or entries[-1].arrived.key < key:
            return len(entries or ())
        return bisect_left(entries, key, key=lambda entry: entry.arrived.key)

    def before(self, place: int) -> State | None:
        """Return the quantities before the entry at `place`, or now, if there is none."""
        return self.entries[place].before if self.entries and place < len(self.entries) else self.state

    def at(self, instant: int) -> State | None:
        """Return the quantities of all events before `instant`; None if there were none, or they are forgotten."""
        state = self.state
        if state is not None and state[LATEST] >= instant and self.entries:
            state = self.before(bisect_left(self.entries, instant, key=lambda entry: entry.arrived.instant))
        return None if state is None or instant - state[LATEST] > self.layout.forget else state

    def take(self, arrived: Arrived) -> None:
        """Put an event in its place."""
        if self.layout.kinds:
            self._put_in_series(arrived, arrived.values)
        if not self.entries or self.entries[-1].arrived.key < arrived.key:
            self._append(arrived)
        else:
            for one in (arrived, *self._back_to(self.place(arrived.key))):
                self._append(one)

    def swap(self, arrived: Arrived, values: list[Any]) -> None:
        """Replace what the series have of an event by what other values of it give."""
        if self.layout.kinds:
            self._take_from_series(arrived)
            self._put_in_series(arrived, values)

    def again(self, arrived: Arrived) -> None:
        """Add up anew from an event on whose values have changed."""
        for one in self._back_to(self.place(arrived.key)):
            self._append(one)

    def settle(self, watermark: int) -> None:
        """Let go of entries before `watermark`, before which nothing can arrive or be asked any more."""
        entries = self.entries
        if entries:
            if entries[-1].arrived.instant < watermark:
                self.entries = None
            elif len(entries) > _MANY:
                if entries[len(entries) // 2].arrived.instant < watermark:
                    del entries[: len(entries) // 2]
            else:
                while entries[0].arrived.instant < watermark:
                    del entries[0]
        for series in self.series or ():
            if series is not None:
                series.cut(watermark)

    def _back_to(self, place: int) -> list[Arrived]:
        """Undo the entries from `place` on, and return their events in order."""
        if not self.entries or place == len(self.entries):
            return []
        undone = self.entries[place:]
        del self.entries[place:]
        for entry in undone:
            for values, value in entry.added or ():
                values.discard(value)
        self.state = undone[0].before
        return [entry.arrived for entry in undone]

    def _append(self, arrived: Arrived) -> None:
        entry = Entry(arrived, self.state)
        self.state = _after(self.layout, self.state, entry)
        if self.entries is None:
            self.entries = []
        self.entries.append(entry)
        self.changed = True

    def _put_in_series(self, arrived: Arrived, values: list[Any]) -> None:
        for number, place in self.layout.updates[arrived.kind].series:
            value = values[place]
            if value is None:
                continue
            if self.series is None:
                self.series = [None] * len(self.layout.kinds)
            series = self.series[number]
            if series is None:
                series = self.series[number] = Series(self.layout.kinds[number])
            series.put(arrived.instant, value)

    def _take_from_series(self, arrived: Arrived) -> None:
        for number, place in self.layout.updates[arrived.kind].series:
            series = self.series[number] if self.series else None
            if series is not None and arrived.values[place] is not None:
                series.drop(arrived.instant, arrived.values[place])


def decayed(total: float, since: int | None, until: int, half_life: int) -> float:
    """Return what is left at `until` of a sum that was `total` at `since`: total · 2^(-(until - since) / half_life)."""
    return 0.0 if since is None else total * 2.0 ** ((since - until) / half_life)


def _after(layout: Layout, before: State | None, entry: Entry) -> State:
    """Return the quantities after an event that is later than all before; what `entry` adds to sets is noted there."""
    arrived = entry.arrived
    instant, values = arrived.instant, arrived.values
    if before is None or instant - before[LATEST] > layout.forget:
        state = layout.fresh.copy()
        state[START] = instant
    else:
        state = before.copy()
    state[LATEST] = instant
    state[STEP] = arrived.step
    updates = layout.updates[arrived.kind]
    for slot in updates.counts:
        state[slot] += 1.0
    for slot, place in updates.sums:
        if values[place] is not None:
            state[slot] += values[place]
    for slot, place in updates.knowns:
        if values[place] is not None:
            state[slot] += 1.0
    for slot in updates.latests:
        state[slot] = instant
    for slot in updates.earliests:
        if state[slot] is None:
            state[slot] = instant
    for slot, place in updates.lasts:
        if values[place] is not None:
            state[slot], state[slot + 1] = values[place], arrived.key
    for slot, half_life, place in updates.decays:
        if values[place] is not None:
            state[slot] = decayed(state[slot], state[slot + 1], instant, half_life) + values[place]
            state[slot + 1] = instant
    for slot, place in updates.distincts:
        if values[place] is not None:
            _add_distinct(state, slot, values[place], entry)
    return state


def _add_distinct(state: State, slot: int, value: Any, entry: Entry) -> None:
    known = state[slot + 1]
    if known is None:
        known = state[slot + 1] = set()
    elif value in known:
        return
    known.add(value)
    state[slot] += 1.0
    if entry.added is None:
        entry.added = []
    entry.added.append((known, value))
