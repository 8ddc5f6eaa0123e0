"""What windows look back on: the instants of an entity's events, and running sums of a value, in order of time."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise

from pipelines.behaviour.layout import SeriesKind

_SHORT = 32  # entries that are not worth cutting


class Series:
    """Instants of events in order, and, where `kind.summed`, the sum of the values up to each, in whole millionths.

    instants: (n,) microseconds. sums: (n,), empty where only counted. What no window reaches any more is cut off, half
    of the series at a time.
    """

    __slots__ = ("instants", "kind", "sums")

    def __init__(self, kind: SeriesKind) -> None:
        """Start empty."""
        self.kind = kind
        self.instants = array("q")
        self.sums = array("d")

    def put(self, instant: int, value: float) -> None:
        """Add an event with its value, at its place in time."""
        instants, sums = self.instants, self.sums
        if not instants or instant >= instants[-1]:
            instants.append(instant)
            if self.kind.summed:
                sums.append(sums[-1] + value if sums else value)
            return
        at = bisect_right(instants, instant)
        instants.insert(at, instant)
        if self.kind.summed:
            sums.insert(at, sums[at - 1] if at else 0.0)
            for later in range(at, len(sums)):
                sums[later] += value

    def drop(self, instant: int, value: float) -> None:
        """Take back one event with this value, which `put` had added."""
        at = bisect_left(self.instants, instant)
        if self.kind.summed:
            sums = self.sums
            while sums[at] - (sums[at - 1] if at else 0.0) != value:
                at += 1
            del sums[at]
            for later in range(at, len(sums)):
                sums[later] -= value
        del self.instants[at]

    def within(self, since: int, until: int) -> float:
        """Return the sum, or the count, of the events with since <= instant < until."""
        instants = self.instants
        end = len(instants) if not instants or instants[-1] < until else bisect_left(instants, until)
        begin = bisect_left(instants, since, 0, end)
        if not self.kind.summed:
            return float(end - begin)
        if begin == end:
            return 0.0
        return self.sums[end - 1] - (self.sums[begin - 1] if begin else 0.0)

    def cut(self, watermark: int) -> None:
        """Forget what no window of a question at `watermark` or later reaches, if that is at least half."""
        middle = len(self.instants) // 2
        if len(self.instants) > _SHORT and self.instants[middle] < watermark - self.kind.window:
            if self.kind.summed:
                base = self.sums[middle - 1]
                self.sums = array("d", [total - base for total in self.sums[middle:]])
            del self.instants[:middle]

    def entries(self, since: int, until: int) -> list[tuple[int, float]]:
        """Return instant and value of the events with since <= instant < until."""
        begin, end = bisect_left(self.instants, since), bisect_left(self.instants, until)
        if not self.kind.summed:
            return [(instant, 1.0) for instant in self.instants[begin:end]]
        before = self.sums[begin - 1] if begin else 0.0
        totals = [before, *self.sums[begin:end]]
        values = [after - first for first, after in pairwise(totals)]
        return list(zip(self.instants[begin:end], values, strict=True))

    @classmethod
    def of(cls, kind: SeriesKind, entries: list[tuple[int, float]]) -> Series:
        """Return the series of these instants and values, which are in order of time."""
        made = cls(kind)
        made.instants = array("q", [instant for instant, _ in entries])
        if kind.summed:
            made.sums = array("d", accumulate(value for _, value in entries))
        return made
