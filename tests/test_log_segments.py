"""Segments of a log: groups whole or not at all, read beside their writer, sealed for good, mended after a crash."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.serving import log_segments
from pipelines.serving.log_segments import DAMAGED, OPEN, SEALED, TORN, Segment, finish, read, recover


def group(start: int, size: int = 3) -> list[bytes]:
    """Return a group of records whose text has all that could break a line."""
    return [f'{{"n":{n},"text":"a,\\nb],[ 中国"}}'.encode() for n in range(start, start + size)]


def opened(folder: Path, groups: int = 4, synced: bool = False) -> Segment:
    """Return a segment with some groups in it."""
    segment = Segment(folder, "decisions", "0", synced)
    for n in range(groups):
        segment.append(group(3 * n))
    return segment


def left_behind(folder: Path, groups: int = 4) -> Path:
    """Return the files of a segment as a writer leaves them that dies now: copied while it is written."""
    living = opened(folder / "living", groups)
    dead = folder / "dead"
    dead.mkdir()
    for end in ("", "-wal"):
        shutil.copy(living.path.with_name(living.path.name + end), dead)
    living.seal()
    return dead / living.path.name


def lines(path: Path) -> list[bytes]:
    """Return the records of a segment."""
    return [line for text in read(path).lines for line in text.split(b"\n")]


@pytest.mark.parametrize("synced", [True, False])
def test_what_was_appended_is_read(tmp_path: Path, synced: bool) -> None:
    """Beside the writer and after sealing the records are those appended, in order; the sealed file stands alone."""
    segment = opened(tmp_path, synced=synced)
    segment.introduce("abc", '{"name":"tiny"}')
    expected = [line for n in range(4) for line in group(3 * n)]
    assert (expected, {"abc": '{"name":"tiny"}'}, 0) == (
        lines(segment.path), dict(read(segment.path).policies), read(segment.path).damaged
    )  # fmt: skip
    segment.sync()
    assert 0 == segment.seal()
    (sealed,) = tmp_path.iterdir()
    assert SEALED == sealed.suffix
    assert expected == lines(sealed)
    sealed.chmod(0o444)
    assert expected == lines(sealed)


def test_people_can_read_it_with_sql(tmp_path: Path) -> None:
    """The view `record` has one record in a row."""
    opened(tmp_path).seal()
    (sealed,) = tmp_path.iterdir()
    found = sqlite3.connect(sealed).execute("SELECT json_extract(record, '$.n') FROM record").fetchall()
    assert [(n,) for n in range(12)] == found


def test_two_writers_write_beside_each_other(tmp_path: Path) -> None:
    """Two segments of one folder and second are two files."""
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(group(100))
    assert 15 == len(lines(one.path))
    assert 12 == len(lines(other.path))
    assert 0 == one.seal() == other.seal()
    assert 2 == len(list(tmp_path.glob(f"*{SEALED}")))


def test_recovery_leaves_living_writers_alone(tmp_path: Path) -> None:
    """Only the segment whose writer is gone is sealed."""
    living = opened(tmp_path)
    dead = left_behind(tmp_path)
    dead.with_name(dead.name + "-wal").rename(tmp_path / (dead.name + "-wal"))
    dead.rename(tmp_path / dead.name)
    assert 0 == recover(tmp_path)
    assert [living.path] == list(tmp_path.glob(f"*{OPEN}"))
    assert 12 == len(lines(tmp_path / dead.with_suffix(SEALED).name))
    living.append(group(0))
    living.seal()
    assert 0 == recover(tmp_path)


def test_one_that_somebody_reads_is_sealed_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not keep the others from being sealed."""
    monkeypatch.setattr(log_segments, "_PATIENCE", 0.1)
    read, other = (left_behind(tmp_path / name) for name in ("a", "b"))
    for path in (read, other):
        for file in path.parent.glob(f"{path.name}*"):
            file.rename(tmp_path / file.name)
    read, other = tmp_path / read.name, tmp_path / other.name
    with closing(sqlite3.connect(read)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM batch").fetchone()
        recover(tmp_path)
        assert read.exists()
        assert [read] == log_segments.left_behind(tmp_path)  # and its records can be learned from all the same
        assert 12 == len(lines(read))
        assert 12 == len(lines(other.with_suffix(SEALED)))
    recover(tmp_path)
    assert [] == log_segments.left_behind(tmp_path)
    assert 12 == len(lines(read.with_suffix(SEALED)))


@pytest.mark.parametrize("cut", [1, 24, 4000, 4120, 6000])
def test_a_torn_tail_is_set_aside_and_counted(tmp_path: Path, cut: int) -> None:
    """Where a write broke off, the group in it is gone, those before it are whole, the rest is kept beside."""
    path = left_behind(tmp_path)
    log = path.with_name(path.name + "-wal")
    log.write_bytes(log.read_bytes()[:-cut])
    torn = recover(path.parent)
    found = lines(path.with_suffix(SEALED))
    whole = 4 - -(-cut // 4120)  # a group of this size is one frame of the write-ahead log
    assert [line for n in range(whole) for line in group(3 * n)] == found
    kept = path.with_suffix(TORN)
    assert torn == (kept.stat().st_size if kept.exists() else 0)
    assert (torn > 0) == (cut % 4120 != 0)


def test_garbage_at_the_end_is_no_record(tmp_path: Path) -> None:
    """Bytes that no writer finished are counted, and change nothing of what was written before."""
    path = left_behind(tmp_path)
    log = path.with_name(path.name + "-wal")
    log.write_bytes(log.read_bytes() + b"\x07" * 5000)
    assert 5000 == recover(path.parent)
    assert b"\x07" * 5000 == path.with_suffix(TORN).read_bytes()
    assert 12 == len(lines(path.with_suffix(SEALED)))


def test_every_cut_leaves_whole_groups(tmp_path: Path) -> None:
    """Wherever the write-ahead log ends, what is left are the first groups, each whole."""
    path = left_behind(tmp_path)
    log = path.with_name(path.name + "-wal").read_bytes()
    expected = [line for n in range(4) for line in group(3 * n)]
    for length in range(0, len(log), 997):
        folder = tmp_path / f"cut-{length}"
        folder.mkdir()
        shutil.copy(path, folder)
        (folder / (path.name + "-wal")).write_bytes(log[:length])
        recover(folder)
        found = [line for sealed in folder.glob(f"*{SEALED}") for line in lines(sealed)]
        assert expected[: len(found)] == found
        assert 0 == len(found) % 3


def test_flipped_bytes_are_found(tmp_path: Path) -> None:
    """A group whose text changed is set aside and counted; the others are read."""
    opened(tmp_path).seal()
    (sealed,) = tmp_path.iterdir()
    content = sealed.read_bytes()
    sealed.write_bytes(content.replace(b'"n":4', b'"n":9'))
    assert 9 == len(lines(sealed))
    assert 1 == read(sealed).damaged
    sealed.write_bytes(content[: len(content) - 4096])
    assert read(sealed).damaged >= 1


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    """What cannot be opened is kept under another name, and recovery goes on."""
    (tmp_path / f"decisions-1-0-a{OPEN}").write_bytes(b"this is no database at all" * 100)
    (tmp_path / f"decisions-1-0-b{OPEN}").write_bytes(b"")
    opened(tmp_path).seal()
    assert 0 == recover(tmp_path)
    assert 1 == len(list(tmp_path.glob(f"*{DAMAGED}")))
    assert 1 == len(list(tmp_path.glob(f"*{SEALED}")))
    assert [] == list(tmp_path.glob(f"*{OPEN}"))


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file of another program, or of another version, is named."""
    other = tmp_path / "decisions-x.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (a)")
    with pytest.raises(InputError, match="was not written by a decision log: move it away"):
        read(other)
    with sqlite3.connect(other) as db:
        db.execute(f"PRAGMA application_id = {log_segments.APPLICATION}")
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="has format 99, and this version reads 1"):
        read(other)


def test_a_reader_delays_sealing_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads, sealing fails and can be tried again; all records are there afterwards."""
    monkeypatch.setattr(log_segments, "_PATIENCE", 0.05)
    segment = opened(tmp_path)
    reader = sqlite3.connect(segment.path)
    cursor = reader.execute("SELECT number FROM batch")
    cursor.fetchone()
    with pytest.raises(sqlite3.OperationalError):
        segment.seal()
    cursor.close()
    reader.close()
    assert 0 == segment.seal()
    assert 12 == len(lines(next(tmp_path.glob(f"*{SEALED}"))))


def test_finishing_twice_does_no_harm(tmp_path: Path) -> None:
    """A crash between folding and renaming is mended by folding again."""
    path = left_behind(tmp_path)
    finish(path)
    path.with_suffix(SEALED).rename(path)
    recover(path.parent)
    assert 12 == len(lines(path.with_suffix(SEALED)))
