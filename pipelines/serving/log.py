"""A log that never holds up a quote: records are handed over, and a thread writes them in groups.

`acknowledged` means, by the policy `sync` of LogSettings:

- `interval` (the default): the operating system has the record. A kill -9 of this process loses none that was
  acknowledged; a crash of the machine may lose the last `sync_seconds`, after which they are on the disk.
- `each`: the record is on the disk (one fsync for the whole group). A power cut loses none that was acknowledged.

A full or failing disk never fails a quote. What cannot be written is counted and lost, `state().failing` says why, and
writing is tried again every `retry_seconds`, until there is room.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import orjson

from pipelines.errors import InputError
from pipelines.serving import log_segments as segments
from pipelines.serving.groups import Group
from pipelines.serving.log_segments import Segment
from pipelines.serving.log_settings import LogSettings, LogState

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_MOST_UNSEALED = 8  # segments that cannot be sealed; no more are begun before one can
_BEGINNING = 64 * 1024  # bytes that a segment takes before its first record, and some more
_RECOVERY = 60.0  # seconds
_FAILURES = (sqlite3.Error, OSError)
_NO_FOLDER = (PermissionError, NotADirectoryError, FileExistsError, FileNotFoundError)
_logger = logging.getLogger(__name__)


class _NotYetError(OSError):
    """It is not time to try again."""


class Log:
    """One worker's log of one kind of record, in `folder`, beside those of other workers. Safe to use from threads."""

    def __init__(self, folder: Path, kind: str, worker: str = "0", settings: LogSettings | None = None) -> None:
        """Start the writer, and seal what writers that died have left; never fails for want of a disk."""
        if not (worker.isalnum() and worker.isascii()):
            raise InputError(f"worker={worker!r} must be letters and digits: it is part of file names")
        self.folder, self.kind, self.worker = folder, kind, worker
        self.settings = settings or LogSettings()
        self._policies: dict[str, str] = {}
        self._lock = threading.Lock()
        self._wake, self._due, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._group = Group(self.settings.patience)
        self._segment: Segment | None = None
        self._retired: list[Segment] = []
        self._acknowledged = self._lost = self._torn = self._sealed = 0
        self._busy = Group.over(False)  # the group that is being written
        self._failing: str | None = None
        self._retry_at = self._seal_at = 0.0  # when to try again; 0: the last time it went well
        self._recover_at = math.inf  # when to try again to seal what dead writers left
        self._needed = 0  # bytes, where whether they can be written again is looked for without a record
        self._unsynced = False
        self._threads = [
            threading.Thread(target=run, name=f"{kind}-{run.__name__.strip('_')}", daemon=True)
            for run in (self._write_groups, self._keep)
        ]
        for thread in self._threads:
            thread.start()

    def append(self, record: Mapping[str, Any]) -> Group:
        """Hand over a record; `await` the group (or `wait`) to know that it is acknowledged: True, or lost: False.

        Raises InputError, and logs nothing, if it cannot be written as JSON. NaN is written as null.
        """
        return self.append_many((record,))

    def append_many(self, records: Sequence[Mapping[str, Any]]) -> Group:
        """Hand over several records, which are written whole or not at all."""
        if not records:
            return Group.over(True)
        try:
            rows = [orjson.dumps(record, option=_OPTIONS) for record in records]
        except TypeError as error:  # also orjson's own error
            raise InputError(f"a record of {self.kind} cannot be written: {error}") from None
        with self._lock:
            group = self._group
            waiting = len(group.rows)
            if self._stop.is_set() or waiting + len(rows) > self.settings.most_waiting:
                self._lost += len(rows)
                group = Group.over(False)
            else:
                group.rows += rows
        if not waiting:
            self._wake_soon()
        return group

    def _wake_soon(self) -> None:
        """Wake the writer; from an event loop, once the loop has come round, so that a round's records are one group.

        A wake costs the thread of the loop more than a record does; a loop with nothing else to do comes round at once.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain thread
            self._wake.set()
        else:
            loop.call_soon(self._wake.set)

    def introduce(self, digest: str, manifest: Mapping[str, Any]) -> None:
        """Let every segment from now on tell what a policy is that its records name by `digest`."""
        self._policies[digest] = orjson.dumps(manifest, option=_OPTIONS).decode()

    def state(self) -> LogState:
        """Return how the log is doing; cheap."""
        busy, failing = self._busy, self._failing
        waiting = len(self._group.rows) + (0 if busy.done else len(busy.rows))
        if busy.given_up and not busy.done:
            failing = failing or f"the disk has not answered for {self.settings.patience:g} s"
        if waiting >= self.settings.most_waiting:
            failing = failing or f"{waiting} records wait to be written"
        return LogState(self.kind, self._acknowledged, self._lost, waiting, failing, self._torn, self._sealed)

    def rotate(self) -> None:
        """Seal what was written so far as soon as the writer comes to it."""
        if (segment := self._segment) is not None:
            segment.opened = float("-inf")
            self._wake.set()

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits, seal the segment and stop, within about `timeout` seconds."""
        self._stop.set()
        self._wake.set()
        self._due.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.01))
        if waiting := self.state().waiting:
            _logger.error("%d %s were not on the disk when this process had to end: they are lost", waiting, self.kind)

    def _write_groups(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                stopping = self._stop.is_set()
                group = self._group
                if group.rows:
                    self._group = Group(self.settings.patience)
                    self._busy = group
            if group.rows:
                self._write(group)
            elif self._needed and time.monotonic() >= self._retry_at:
                self._probe()
            self._retire(stopping)
            if stopping:
                return

    def _write(self, group: Group) -> None:
        try:
            self._append(group.rows)
        except Exception as error:  # whatever it is, quotes go on
            self._lost += len(group.rows)
            if not isinstance(error, _NotYetError):
                # what a new segment needs, or room, can be looked for without a record; the rest shows with the next
                told = self._segment is None or _is_full(error)
                self._needed = sum(map(len, group.rows)) + _BEGINNING if told else 0
            self._degrade(error)
            kept = False
        else:
            self._acknowledged += len(group.rows)
            if self._failing is not None:
                _logger.warning("%s are logged again; %d were lost in all", self.kind, self._lost)
            self._failing, self._needed, self._unsynced, kept = None, 0, True, True
        group.finish(kept)

    def _append(self, rows: list[bytes]) -> None:
        if self._segment is None:
            if time.monotonic() < self._retry_at or (self._seal_at and len(self._retired) >= _MOST_UNSEALED):
                raise _NotYetError(self._failing or f"{len(self._retired)} segments wait to be sealed")
            self._segment = Segment(self.folder, self.kind, self.worker, self.settings.sync == "each")
        for digest in self._policies.keys() - self._segment.policies:
            self._segment.introduce(digest, self._policies[digest])
        self._segment.append(rows)

    def _degrade(self, error: Exception) -> None:
        """Leave the segment, whose file may be what fails, and say so once."""
        segment, self._segment = self._segment, None
        if segment is not None and segment.empty:
            segment.discard()
        elif segment is not None:
            self._retired.append(segment)
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + self.settings.retry_seconds
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failing is None:
            self._failing = f"{self.folder} cannot be written ({error})"
            todo = ""
            if _is_full(error):
                todo = "; make room there"
            elif isinstance(error, _NO_FOLDER) or "unable to open" in str(error):
                todo = "; see to it that it is a folder which this user may write to"
            _logger.error("%s are not logged: %s. Quotes go on%s", self.kind, self._failing, todo)

    def _probe(self) -> None:
        """See without a record whether what failed would go well now: as many bytes, in a file that goes at once."""
        try:
            self._room(self._needed)
        except OSError:
            self._retry_at = time.monotonic() + self.settings.retry_seconds
        else:
            _logger.warning("%s can be logged again; %d were lost in all", self.kind, self._lost)
            self._failing, self._needed = None, 0

    def _room(self, size: int) -> None:
        """Raise OSError where the folder cannot be made, or does not take so many bytes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=self.folder) as file:
            file.write(bytes(size))
            file.flush()

    def _retire(self, stopping: bool) -> None:
        """Hand a segment that is large or old enough to the keeper, who seals it."""
        segment = self._segment
        if segment is None:
            return
        if stopping or self._is_old(segment) or segment.size >= self.settings.segment_bytes:
            self._segment = None
            self._retired.append(segment)
            self._due.set()

    def _is_old(self, segment: Segment) -> bool:
        return time.monotonic() - segment.opened >= self.settings.segment_seconds

    def _keep(self) -> None:
        """Sync, seal and recover, beside the writer, which never waits for these."""
        self._look()
        self._recover()
        while not self._stop.is_set():
            self._due.wait(self.settings.sync_seconds)
            self._due.clear()
            if self._unsynced and self.settings.sync == "interval":
                self._sync()
            old = (segment := self._segment) is not None and self._is_old(segment)
            if old or (self._needed and time.monotonic() >= self._retry_at):
                self._wake.set()
            if time.monotonic() >= self._recover_at:
                self._recover()
            self._seal()
        self._threads[0].join()
        self._seal_at = 0.0
        self._seal()

    def _recover(self) -> None:
        left = True
        with suppress(*_FAILURES):
            self._torn += segments.recover(self.folder)
            left = bool(segments.left_behind(self.folder))
        self._recover_at = time.monotonic() + _RECOVERY if left else math.inf

    def _look(self) -> None:
        """Say at once, and not with the first quote that is lost, that the folder cannot be written."""
        try:
            self._room(_BEGINNING)
        except OSError as error:
            self._needed = _BEGINNING
            self._fail(error)

    def _sync(self) -> None:
        segment, self._unsynced = self._segment, False
        if segment is not None:
            try:
                segment.sync()
            except OSError as error:
                _logger.error("%s: what was logged may not be on the disk (%s)", segment.path, error)

    def _seal(self) -> None:
        if time.monotonic() < self._seal_at:
            return
        for segment in list(self._retired):
            try:
                self._torn += segment.seal()
            except _FAILURES:  # no room to fold it, or somebody reads it: later
                self._seal_at = time.monotonic() + self.settings.retry_seconds
                continue
            self._retired.remove(segment)
            self._sealed, self._seal_at = self._sealed + 1, 0.0


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "full" in str(error)
