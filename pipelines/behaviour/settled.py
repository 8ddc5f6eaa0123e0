"""A history as it stood at one instant, apart from all later events: what is written down and what shards share."""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import Any

import orjson

from pipelines.behaviour.history import History, decayed
from pipelines.behaviour.layout import LATEST, START, STEP, Layout
from pipelines.behaviour.series import Series

_BEGINNING = -(2**62)


def settled(history: History, instant: int) -> History | None:
    """Return a copy of a history as it was before `instant`, which is not before the watermark; None if empty."""
    entries = history.entries or []
    place = bisect_left(entries, instant, key=lambda entry: entry.arrived.instant)
    before = history.before(place)
    if before is None or instant - before[LATEST] > history.layout.forget:
        return None
    made = History(history.layout)
    later = [added for entry in entries[place:] for added in entry.added or ()]
    made.state = [
        slot - {value for values, value in later if values is slot} if isinstance(slot, set) else slot
        for slot in before
    ]
    if history.series is not None:
        cut = [(one, one and one.entries(_BEGINNING, instant)) for one in history.series]
        made.series = [Series.of(one.kind, kept) if one and kept else None for one, kept in cut]
    return made


def encoded(history: History) -> str:
    """Return a settled history as JSON."""
    state = [_plain(slot) for slot in history.state or ()]
    series = [one and one.entries(_BEGINNING, -_BEGINNING) for one in history.series or ()]
    return json.dumps([state, series], separators=(",", ":"))


def read(text: str) -> Any:
    """Return what JSON says that `json` wrote: by orjson, a few times as fast, which does not know NaN and infinity.

    Integers of more than 64 bits come back as floats, as whatever computes with them here would take them.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def decoded(layout: Layout, text: str) -> History:
    """Return the history that `encoded` wrote; raises ValueError, TypeError or KeyError if it is none."""
    state, series = read(text)
    made = History(layout)
    if len(state) != len(layout.fresh) or (series and len(series) != len(layout.kinds)):
        raise ValueError("its length is wrong")
    made.changed = False
    made.state = [_slot(value) if type(value) is dict else value for value in state]
    if series:
        kinds = zip(layout.kinds, series, strict=True)
        made.series = [Series.of(kind, [(a, b) for a, b in kept]) if kept else None for kind, kept in kinds]
    return made


def combined(one: History, other: History) -> History:
    """Return the history of one entity of which two settled histories each know a part.

    Exact, as long as neither part alone had a pause longer than forget which the other would have bridged.
    """
    if one.state is None or other.state is None:
        return one if other.state is None else other
    if one.state[LATEST] > other.state[LATEST]:
        one, other = other, one
    layout, a, b = one.layout, one.state or [], other.state or []
    if b[START] - a[LATEST] > layout.forget:
        return other
    made = History(layout)
    made.state = _sum(layout, a, b)
    if one.series is not None or other.series is not None:
        none: list[Series | None] = [None] * len(layout.kinds)
        pairs = zip(one.series or none, other.series or none, strict=True)
        made.series = [_interleaved(x, y) for x, y in pairs]
    return made


def _sum(layout: Layout, a: list[Any], b: list[Any]) -> list[Any]:
    """Return the quantities of two parts together; `b` has the later event."""
    state = layout.fresh.copy()
    state[LATEST], state[START], state[STEP] = b[LATEST], min(a[START], b[START]), b[STEP]
    for made, slot in layout.slots.items():
        x, y = a[slot], b[slot]
        if made.role in ("known", "sum"):
            state[slot] = x + y
        elif made.role == "distinct":
            state[slot + 1] = (a[slot + 1] or set()) | (b[slot + 1] or set())
            state[slot] = float(len(state[slot + 1]))
        elif made.role == "last":
            chosen = max((p for p in (a, b) if p[slot] is not None), key=lambda p: tuple(p[slot + 1]), default=a)
            state[slot], state[slot + 1] = chosen[slot], chosen[slot + 1]
        elif made.role == "decayed":
            at = max((p[slot + 1] for p in (a, b) if p[slot + 1] is not None), default=None)
            if at is not None:
                state[slot] = sum(decayed(p[slot], p[slot + 1], at, made.half_life or 1) for p in (a, b))
            state[slot + 1] = at
        else:
            known = [value for value in (x, y) if value is not None]
            state[slot] = (max if made.role == "latest" else min)(known) if known else None
    return state


def _interleaved(one: Series | None, other: Series | None) -> Series | None:
    if one is None or other is None:
        return one or other
    return Series.of(one.kind, sorted(one.entries(_BEGINNING, -_BEGINNING) + other.entries(_BEGINNING, -_BEGINNING)))


def _plain(slot: Any) -> Any:
    if isinstance(slot, set):
        return {"values": sorted(slot, key=str)}
    return {"key": list(slot)} if isinstance(slot, tuple) else slot


def _slot(value: dict[str, Any]) -> Any:
    return set(value["values"]) if "values" in value else tuple(value["key"])
