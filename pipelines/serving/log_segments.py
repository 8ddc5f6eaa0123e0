"""The segments of a log: SQLite files, each appended to by one writer, read beside it, and sealed for good.

While it is written a segment is called `….open` and all of it is in its write-ahead log, whose frames have checksums:
after a crash SQLite keeps every group of records that was written whole. `finish` folds that into one plain file,
`….sqlite`, which nothing changes any more. A lock file says whether a writer still lives.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from pipelines.errors import InputError
from pipelines.files import sync_folder

DECISIONS, OUTCOMES = "decisions", "outcomes"  # the kinds of log, and how the names of their segments begin
OPEN, SEALED, LOCK, TORN, DAMAGED = ".open", ".sqlite", ".lock", ".torn", ".damaged"
FORMAT = 1
APPLICATION = 0x50774C67  # "PwLg", in the header of the file
_PAGE, _WAL_HEADER, _FRAME_HEADER = 4096, 32, 24  # bytes
_PATIENCE = 5.0  # seconds to wait for another reader's lock
# One row is one group of records, as a JSON array; the view is for people: SELECT * FROM record.
_TABLES = (
    "CREATE TABLE batch (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, records TEXT NOT NULL)",
    "CREATE TABLE policy (digest TEXT PRIMARY KEY, manifest TEXT NOT NULL) WITHOUT ROWID",
    "CREATE VIEW record AS SELECT json_each.value AS record FROM batch, json_each(batch.records)",
)
_BETWEEN = ",\n"  # of two records; no record holds a line break, for JSON escapes it


class Segment:
    """A segment that is being written. Every method may raise sqlite3.Error or OSError: then nothing was appended.

    synced: an append returns when it is on the disk (fsync), else when the operating system has it, and `sync` is for
    the disk. Appending and syncing may be done by two threads.
    """

    def __init__(self, folder: Path, kind: str, worker: str, synced: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{kind}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{worker}-{secrets.token_hex(4)}"
        self.path = folder / (name + OPEN)
        self.opened = time.monotonic()
        self.policies: set[str] = set()
        self.empty = True
        self._lock = _locked(self.path)
        try:
            self._db = _connected(self.path)
            self._db.execute(f"PRAGMA page_size = {_PAGE}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA wal_autocheckpoint = 0")  # all at once, when it is sealed, and not while appending
            self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._log = os.open(_beside(self.path, "-wal"), os.O_RDONLY)
            os.fsync(self._log)
            sync_folder(folder)
        except BaseException:
            self.discard()
            raise

    def append(self, records: Sequence[bytes]) -> None:
        """Append one group of JSON objects: all of them, or none."""
        text = _BETWEEN.encode().join(records)
        self._db.execute(
            "INSERT INTO batch (checksum, records) VALUES (?, ?)", (crc32(text), "[" + text.decode() + "]")
        )
        self.empty = False

    def introduce(self, digest: str, manifest: str) -> None:
        """Keep the manifest of a policy that records speak of."""
        self._db.execute("INSERT OR IGNORE INTO policy VALUES (?, ?)", (digest, manifest))
        self.policies.add(digest)

    def sync(self) -> None:
        """Bring to the disk what was appended so far."""
        os.fdatasync(self._log)

    @property
    def size(self) -> int:
        """Bytes that the segment takes."""
        return os.fstat(self._log).st_size

    def seal(self) -> int:
        """Make it a sealed file; return the bytes that were torn off. Fails, and may be tried again, on a full disk."""
        with suppress(sqlite3.Error):
            self._db.close()  # what it does not manage, `finish` does
        torn = finish(self.path)
        self._release()
        return torn

    def discard(self) -> None:
        """Take away a segment without a record, or what there is of one that could not be made."""
        with suppress(AttributeError, sqlite3.Error):
            self._db.close()
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                _beside(self.path, end).unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self._log)
        with suppress(OSError):
            self.path.with_suffix(LOCK).unlink(missing_ok=True)
        os.close(self._lock)


@dataclass(frozen=True)
class Content:
    """What a segment holds: JSON lines, the manifests of the policies they speak of, and how many groups are lost.

    damaged: groups that cannot be read; where the file breaks off, all beyond count as one.
    """

    lines: list[bytes]
    policies: Mapping[str, str]
    damaged: int


def read(path: Path) -> Content:
    """Return what a segment holds, sealed or still being written; raises FileNotFoundError if it was just sealed."""
    lines: list[bytes] = []
    policies: dict[str, str] = {}
    damaged = 0
    if not path.exists():
        raise FileNotFoundError(path)
    with closing(_connected(path, "ro")) as db:
        try:
            _refuse_foreign(db, path)
            policies.update(db.execute("SELECT digest, manifest FROM policy"))
            for checksum, records in db.execute("SELECT checksum, records FROM batch ORDER BY number"):
                text = records.encode()[1:-1] if isinstance(records, str) else b""
                if text and crc32(text) == checksum:
                    lines.append(text.replace(_BETWEEN.encode(), b"\n"))
                else:
                    damaged += 1
        except (sqlite3.DatabaseError, UnicodeError):
            if not path.exists():  # sealed this moment, under its other name
                raise FileNotFoundError(path) from None
            damaged += 1
    return Content(lines, policies, damaged)


def finish(path: Path) -> int:
    """Fold a segment whose writer has stopped into one sealed file; return the bytes torn off its end.

    These are kept beside it (`.torn`). A file that is no database, or none any more, is set aside (`.damaged`).
    """
    torn = 0
    try:
        with closing(_connected(path)) as db:
            _, whole, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            torn = _set_aside(path, max(whole, 0))
            if db.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                raise sqlite3.OperationalError("somebody still reads it")
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                path.unlink()  # the writer died before its first record
                return torn
        path.rename(path.with_suffix(SEALED))
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        path.rename(path.with_suffix(DAMAGED))
    sync_folder(path.parent)
    return torn


def recover(folder: Path) -> int:
    """Seal the segments that dead writers left; return the bytes that were torn off their ends.

    One that cannot be sealed now, since somebody reads it or there is no room, is left for the next time.
    """
    torn = 0
    for path in sorted(folder.glob(f"*{OPEN}")):
        with suppress(OSError, sqlite3.OperationalError), _held(path):
            if path.exists():
                torn += finish(path)
            path.with_suffix(LOCK).unlink(missing_ok=True)
    return torn


def left_behind(folder: Path) -> list[Path]:
    """Return the segments that dead writers left and that could not be sealed yet; they can be read as they are."""
    found = []
    for path in sorted(folder.glob(f"*{OPEN}")):
        try:
            with _held(path):
                found.append(path)
        except BlockingIOError:  # its writer lives
            continue
        except OSError:  # nobody can tell here, as in a folder that may only be read
            found.append(path)
    return found


def _set_aside(path: Path, whole: int) -> int:
    """Copy what follows the first `whole` frames of the write-ahead log into `.torn`; return its bytes."""
    log = _beside(path, "-wal")
    end = _WAL_HEADER + whole * (_FRAME_HEADER + _PAGE) if whole else 0
    if not log.exists() or log.stat().st_size <= end:
        return 0
    with log.open("rb") as file:
        file.seek(end)
        tail = file.read()
    path.with_suffix(TORN).write_bytes(tail)
    return len(tail)


def _connected(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, _PATIENCE, isolation_level=None, check_same_thread=False, uri=True)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    made_by = db.execute("PRAGMA application_id").fetchone()[0]
    form = db.execute("PRAGMA user_version").fetchone()[0]
    if made_by != APPLICATION:
        raise InputError(f"{path} was not written by a decision log: move it away")
    if form != FORMAT:
        raise InputError(
            f"{path} has format {form}, and this version reads {FORMAT}: read it with the version it is of"
        )


def _locked(path: Path) -> int:
    """Return the descriptor of the lock of a segment, held; raises BlockingIOError where its writer lives."""
    lock = os.open(path.with_suffix(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock)
        raise
    return lock


@contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = _locked(path)
    try:
        yield
    finally:
        os.close(lock)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
