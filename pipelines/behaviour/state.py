"""Live features: takes events one by one as they arrive, and answers the context of (shopper, item, session) now.

The answer at an instant is what the batch engines give for a view at that instant in a log of the events taken so far.
An event may arrive up to `FeatureSet.lateness` after a newer one; before the *watermark*, the newest instant minus the
lateness, nothing changes any more. A duplicate is what `clean` calls one: an id that was taken, or another id for the
same kind of event of the same shopper and item, at the same instant, with the same keywords. Both are remembered as
long as the event is not before the watermark: what comes again later than that is refused as late, so nothing is
counted twice, unless an id is used again with a newer instant.
Nothing here imports more than the standard library.

Memory is bounded: a history is dropped once its entity had no event for `FeatureSet.forget`, a window's series is cut,
and what is kept for late events goes with the watermark. Two things still grow with what one entity does: a set of
distinct values as long as its entity is not forgotten, and a series with the events that its window holds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, MutableMapping
from heapq import heappop, heappush
from typing import Any

from pipelines.behaviour.answers import Answer, answers
from pipelines.behaviour.arrival import Arrived, Happening, Reader
from pipelines.behaviour.definitions import FeatureSet
from pipelines.behaviour.durations import microseconds
from pipelines.behaviour.history import History
from pipelines.behaviour.layout import LATEST, STEP, layouts
from pipelines.behaviour.measures import Event, Moment, known
from pipelines.errors import InputError

TAKEN, DUPLICATE, LATE, EARLY = "taken", "duplicate", "late", "early"
_BEGINNING = -(2**62)  # before every instant
_SWEEP = 8  # histories looked at, for whether they are forgotten, with each event
_NOTHING: Mapping[str, Any] = {}
Key = str | tuple[str, str]


class FeatureState:
    """The histories of all shoppers, items and sessions, in memory, for one process and one thread.

    counted: how many events were taken, refused as duplicate, as late, and as early. newest: the newest instant taken,
    and watermark: that minus the lateness, in microseconds.
    """

    def __init__(
        self,
        features: FeatureSet,
        items: Mapping[str, Mapping[str, Any]] | None = None,
        shoppers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Start without a history; items, shoppers: the rows of tables ITEMS and SHOPPERS by id, instants in µs."""
        self.features = features
        self.items: MutableMapping[str, Mapping[str, Any]] = dict(items or {})
        self.shoppers: MutableMapping[str, Mapping[str, Any]] = dict(shoppers or {})
        self.layouts, readings = layouts(features)
        self.lateness = microseconds(features.lateness, "features.lateness")
        self.newest = self.watermark = _BEGINNING
        self.counted: Counter[str] = Counter(dict.fromkeys((TAKEN, DUPLICATE, LATE, EARLY), 0))
        self.histories: dict[str, dict[Key, History]] = {entity: {} for entity in self.layouts}
        self.unsettled: deque[Arrived] = deque()
        self._answers = answers(features, self.layouts)
        self._reader = Reader(readings)
        self._entities = tuple(self.layouts)
        self._ids: dict[str, int] = {}
        self._happened: set[Happening] = set()
        self._due: list[tuple[int, int, Key]] = []  # when a history may be forgotten, place of its entity, key

    def put_item(self, item_id: str, row: Mapping[str, Any]) -> None:
        """Set what is known of an item, for the events and offers from now on."""
        self.items[item_id] = row

    def put_shopper(self, shopper_id: str, row: Mapping[str, Any]) -> None:
        """Set what is known of a shopper, for the offers from now on."""
        self.shoppers[shopper_id] = row

    def add(self, event: Event, now: int | None = None) -> str:
        """Take an event and return TAKEN, or refuse it: DUPLICATE, LATE, or EARLY. A refused one changes no feature.

        now: the clock of the caller, in µs; an event more than the lateness ahead of it is EARLY, since one wrong clock
        would else make all that follows late. event.item is taken of `items` if empty; previous_step is found here.
        Raises InputError naming the event where it cannot be read.
        """
        return self.take(self.arrived(event), now)

    def arrived(self, event: Event, item: Mapping[str, Any] | None = None) -> Arrived:
        """Return an event with its item's facts, ready to be taken; raises InputError if it cannot be."""
        if item is None:
            known_id = event.item_id if type(event.item_id) is str else ""
            item = event.item or self.items.get(known_id, _NOTHING)
        return self._reader.arrived(event, item)

    def take(self, arrived: Arrived, now: int | None = None) -> str:
        """Take an event that `arrived` has made ready; returns what `add` does."""
        refused = self._refused(arrived, now)
        if refused:
            self.counted[refused] += 1
            return refused
        follower = self._look_back(arrived)
        if arrived.instant > self.newest:
            self.newest = arrived.instant
            self.watermark = arrived.instant - self.lateness
        self._ids[arrived.event_id] = arrived.instant
        self._happened.add(arrived.happening)
        for entity, key in _entities(arrived.shopper_id, arrived.session_id, arrived.item_id, arrived.category):
            history = self.histories[entity].get(key)
            if history is None:
                history = self._new(entity, key, arrived.instant)
            history.take(arrived)
            arrived.histories.append(history)
        if follower is not None:
            self._follow(follower, arrived)
        self.unsettled.append(arrived)
        self.counted[TAKEN] += 1
        self._settle()
        self._sweep()
        return TAKEN

    def context(
        self,
        shopper_id: str | None,
        item_id: str | None,
        session_id: str | None,
        instant: int,
        row: Mapping[str, Any] = _NOTHING,
        item: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return every feature of an offer at `instant` (µs), by name: numbers as float, NaN if missing, words as str.

        row: what is known of the offer itself: channel, path, page_depth, list_price. Ids that are unknown or None have
        no history. item: its facts, where they are not those of `items`. Raises InputError for an instant before the
        watermark, whose events are no longer told apart.
        """
        if instant < self.watermark:
            raise InputError(
                f"instant={instant} is {(self.newest - instant) / 1e6:.3f} s before the newest event, more than "
                f"features.lateness={self.features.lateness}: ask with the present time, or raise features.lateness"
            )
        if item is None:
            item = self.items.get(item_id or "", _NOTHING)
        out = self._answers.empty.copy()
        asked = _entities(shopper_id or "", session_id or "", item_id, known(item.get("category")))
        for entity, key in asked:
            history = self.histories[entity].get(key)
            if history is not None:
                state = history.at(instant)
                if state is not None:
                    self._answers.reads[entity].fill(out, state, history.series, instant)
        self._answers.fill_facts(out, Moment(instant, row, item, self.shoppers.get(shopper_id or "", _NOTHING)))
        return out

    def sizes(self) -> dict[str, int]:
        """Return how much is kept: histories by entity, events not settled, entries of series, distinct values, ids."""
        every = [history for table in self.histories.values() for history in table.values()]
        sets = [slot for history in every for slot in history.state or () if isinstance(slot, set)]
        series = [one for history in every for one in history.series or () if one is not None]
        return {
            **{entity: len(table) for entity, table in self.histories.items()},
            "unsettled": len(self.unsettled),
            "in_series": sum(len(one.instants) for one in series),
            "distinct": sum(map(len, sets)),
            "ids": len(self._ids),
            "happened": len(self._happened),
        }

    def restore(self, entity: str, key: Key, history: History) -> None:
        """Put a settled history in, which journal.py or shards.py has read."""
        self.histories[entity][key] = history
        self._expect(entity, key, history)

    def _refused(self, arrived: Arrived, now: int | None) -> str:
        if arrived.instant < self.watermark:
            return LATE
        seen = self._ids.get(arrived.event_id)
        if (seen is not None and seen >= self.watermark) or arrived.happening in self._happened:
            return DUPLICATE
        return EARLY if now is not None and arrived.instant > now + self.lateness else ""

    def _look_back(self, arrived: Arrived) -> Arrived | None:
        """Find the step before an event, and return the event of the session that so far came after that step."""
        session = self.histories["session"].get((arrived.shopper_id, arrived.session_id))
        if session is None:
            return None
        place = session.place(arrived.key)
        before = session.before(place)
        if before is not None and arrived.instant - before[LATEST] <= session.layout.forget:
            arrived.values = self._reader.after(arrived, before[STEP])
        return session.entries[place].arrived if session.entries and place < len(session.entries) else None

    def _follow(self, follower: Arrived, late: Arrived) -> None:
        """Correct the event before which a late one of the session came: its previous step is another."""
        near = follower.instant - late.instant <= self.layouts["session"].forget
        values = self._reader.after(follower, late.step if near else None)
        if values != follower.values:
            for history in follower.histories:
                history.swap(follower, values)
            follower.values = values
            for history in follower.histories:
                history.again(follower)

    def _new(self, entity: str, key: Key, instant: int) -> History:
        history = self.histories[entity][key] = History(self.layouts[entity])
        heappush(self._due, (instant + history.layout.forget, self._entities.index(entity), key))
        return history

    def _expect(self, entity: str, key: Key, history: History) -> None:
        if history.state is not None:
            heappush(self._due, (history.state[LATEST] + history.layout.forget, self._entities.index(entity), key))

    def _settle(self) -> None:
        """Let go of what was kept for events that can no longer arrive."""
        while self.unsettled[0].instant < self.watermark:
            settled = self.unsettled.popleft()
            for history in settled.histories:
                history.settle(self.watermark)
            self._happened.discard(settled.happening)
            if self._ids.get(settled.event_id, self.watermark) < self.watermark:
                del self._ids[settled.event_id]

    def _sweep(self) -> None:
        """Drop histories that are forgotten, a few at a time."""
        for _ in range(_SWEEP):
            if not self._due or self._due[0][0] >= self.watermark:
                return
            _, place, key = heappop(self._due)
            table = self.histories[self._entities[place]]
            state = table[key].state
            if state is not None and self.watermark - state[LATEST] > table[key].layout.forget:
                del table[key]
            else:
                self._expect(self._entities[place], key, table[key])


def _entities(shopper_id: str, session_id: str, item_id: str | None, category: str | None) -> list[tuple[str, Key]]:
    found: list[tuple[str, Key]] = [("shopper", shopper_id), ("session", (shopper_id, session_id))]
    if item_id is not None:
        found += [("item", item_id), ("shopper_item", (shopper_id, item_id))]
        if category is not None:
            found.append(("shopper_category", (shopper_id, category)))
    return found
