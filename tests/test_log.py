"""The log beside the quotes: acknowledged is kept, whatever kills the process, and no disk ever fails a quote."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.serving import log_segments
from pipelines.serving.log import Log
from pipelines.serving.log_segments import OPEN, SEALED, Segment, read, recover
from pipelines.serving.log_settings import LogSettings, LogState

QUICK = LogSettings(sync_seconds=0.02, retry_seconds=0.05)
WRITER = """
import asyncio, sys
from pathlib import Path
from pipelines.serving.log import Log
from pipelines.serving.log_settings import LogSettings

settings = LogSettings(sync=sys.argv[3], segment_bytes=200_000, patience=60.0)
log = Log(Path(sys.argv[1]), "decisions", sys.argv[2], settings)

async def client(name):
    n = 0
    while True:
        assert await log.append({"id": f"{name}-{n}", "text": "x" * 300})
        print(f"{name}-{n}", flush=True)  # the acknowledgement: the parent has it before anything else happens
        n += 1

async def main():
    await asyncio.gather(*(client(f"{sys.argv[2]}{k}") for k in range(8)))

asyncio.run(main())
"""


def records(folder: Path) -> list[dict]:
    """Return all records of the segments in a folder; one that is sealed meanwhile is looked for again."""
    while True:
        paths = sorted(p for end in (OPEN, SEALED) for p in folder.glob(f"*{end}"))
        try:
            return [json.loads(line) for path in paths for text in read(path).lines for line in text.split(b"\n")]
        except FileNotFoundError:
            continue


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return whether something comes to hold within some seconds."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


def test_what_is_acknowledged_is_there(tmp_path: Path) -> None:
    """Records are read back as they were handed over, in order, beside the writer and after closing."""
    log = Log(tmp_path, "decisions", "0", QUICK)
    groups = [log.append({"n": n, "price": 19.99, "nothing": float("nan")}) for n in range(100)]
    assert all(group.wait(5) for group in groups)
    expected = [{"n": n, "price": 19.99, "nothing": None} for n in range(100)]
    assert expected == records(tmp_path)
    log.close()
    assert expected == records(tmp_path)
    assert LogState("decisions", 100, 0, 0, None, 0, 1) == log.state()
    assert [SEALED] == [path.suffix for path in tmp_path.iterdir()]


def test_groups_are_whole(tmp_path: Path) -> None:
    """Records handed over together are in one row of the segment."""
    log = Log(tmp_path, "decisions", "0", QUICK)
    assert log.append_many([{"n": n} for n in range(50)]).wait(5)
    log.close()
    (path,) = tmp_path.iterdir()
    assert [50] == [text.count(b"\n") + 1 for text in read(path).lines]


@pytest.mark.parametrize("sync", ["interval", "each"])
def test_kill_9_loses_no_acknowledged_record(tmp_path: Path, sync: str) -> None:
    """Two workers are killed in the midst of appending, three times: every record that was acknowledged is there once,
    and of each client the records are the first ones, without a gap."""
    chance, acknowledged = random.Random(sync), set[str]()
    for turn in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, f"{turn}{w}", sync], stdout=subprocess.PIPE)
            for w in "ab"
        ]
        for writer in writers:
            assert writer.stdout is not None
            acknowledged |= {writer.stdout.readline().decode().strip() for _ in range(20)}
        time.sleep(chance.uniform(0, 0.3))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            told, _ = writer.communicate()
            acknowledged |= {line.decode() for line in told.split(b"\n")[:-1]}
            assert -signal.SIGKILL == writer.returncode
    recover(tmp_path)
    assert [] == list(tmp_path.glob(f"*{OPEN}"))
    found = [record["id"] for record in records(tmp_path)]
    assert len(acknowledged) >= 3 * 2 * 20
    assert set() == acknowledged - set(found)
    assert len(found) == len(set(found))
    counts: dict[str, list[int]] = {}
    for name, number in (text.split("-") for text in found):
        counts.setdefault(name, []).append(int(number))
    assert all(list(range(len(numbers))) == sorted(numbers) for numbers in counts.values())


def test_the_next_writer_seals_what_a_dead_one_left(tmp_path: Path) -> None:
    """A log that is opened anew folds the segments of writers that died, and says how much was torn."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, "a", "interval"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.kill()
    writer.communicate()
    for path in tmp_path.glob(f"*{OPEN}-wal"):
        path.write_bytes(path.read_bytes() + b"half a record")
    log = Log(tmp_path, "decisions", "b", QUICK)
    assert until(lambda: not list(tmp_path.glob(f"*{OPEN}")))
    assert until(lambda: log.state().torn >= len(b"half a record"))
    log.close()


def test_workers_write_beside_each_other(tmp_path: Path) -> None:
    """Several logs of one folder never meet: all records are there, each in a segment of its own worker."""
    logs = [Log(tmp_path, "decisions", f"w{n}", QUICK) for n in range(3)]
    groups = [log.append({"worker": log.worker, "n": n}) for n in range(50) for log in logs]
    assert all(group.wait(5) for group in groups)
    for log in logs:
        log.close()
    for log in logs:
        (path,) = tmp_path.glob(f"*-{log.worker}-*")
        found = [json.loads(line) for text in read(path).lines for line in text.split(b"\n")]
        assert [{"worker": log.worker, "n": n} for n in range(50)] == found


def test_segments_are_sealed_by_size_and_age(tmp_path: Path) -> None:
    """A large segment, and an old one although nothing more comes, is sealed; reading meanwhile finds every record."""
    small = LogSettings(sync_seconds=0.02, segment_bytes=100_000)
    log = Log(tmp_path / "size", "decisions", "0", small)
    for n in range(60):
        assert log.append({"n": n, "text": "x" * 5000}).wait(5)
    assert until(lambda: log.state().sealed >= 3)
    assert set(range(60)) == {record["n"] for record in records(tmp_path / "size")}
    log.close()
    log = Log(tmp_path / "age", "decisions", "0", LogSettings(sync_seconds=0.02, segment_seconds=0.1))
    assert log.append({"n": 0}).wait(5)
    assert until(lambda: [SEALED] == [path.suffix for path in (tmp_path / "age").iterdir()])
    log.close()


def test_policies_are_in_every_segment(tmp_path: Path) -> None:
    """A policy introduced once is told in each segment written since."""
    log = Log(tmp_path, "decisions", "0", QUICK)
    log.introduce("abc", {"name": "tiny"})
    assert log.append({"n": 0}).wait(5)
    log.rotate()
    assert until(lambda: log.state().sealed == 1)
    log.introduce("def", {"name": "next"})
    assert log.append({"n": 1}).wait(5)
    log.close()
    told = sorted(tuple(sorted(read(path).policies)) for path in tmp_path.iterdir())
    assert [("abc",), ("abc", "def")] == told


def test_what_a_round_of_the_loop_logs_is_one_group(tmp_path: Path) -> None:
    """Requests that are priced in one round wait for one write, however long the round takes; the next has its own."""
    log = Log(tmp_path, "decisions", "w", QUICK)

    async def two_rounds() -> list[int]:
        counted = []
        for _ in range(2):
            groups = []
            for n in range(4):
                groups.append(log.append({"n": n}))
                time.sleep(0.005)  # the writer could run meanwhile
            assert await groups[-1]
            counted.append(len(set(map(id, groups))))
        return counted

    assert [1, 1] == asyncio.run(two_rounds())
    assert log.append({"n": 8}).wait()  # a thread's record needs no loop
    log.close()
    assert 9 == len(records(tmp_path))


def test_a_full_disk_degrades_and_recovers(tmp_path: Path) -> None:
    """Under a limit on the size of files, which is met in the midst of writing, quotes are never held up: records are
    lost, counted and told; when there is room again they are logged again. No acknowledged one is missing."""
    program = """
import json, resource, signal, sys, time
from pathlib import Path
from pipelines.serving.log import Log
from pipelines.serving.log_settings import LogSettings

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = Log(Path(sys.argv[1]), "decisions", "0", LogSettings(sync=sys.argv[2], sync_seconds=0.02, retry_seconds=0.05))
kept, lost = [], 0
def write(start, count):
    global lost
    for n in range(start, start + count):
        if log.append({"n": n, "text": "x" * 2000}).wait(5):
            kept.append(n)
        else:
            lost += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
write(0, 200)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))  # not even a new segment fits
time.sleep(0.1)
write(200, 5)
full = log.state()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
time.sleep(0.1)
write(205, 20)
after = log.state()
log.close()
print(json.dumps({"kept": kept, "lost": lost, "failing": [full.failing, after.failing], "counted": after.lost}))
"""
    for sync in ("interval", "each"):
        folder = tmp_path / sync
        words = [sys.executable, "-c", program, folder, sync]
        told = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        assert told["lost"] == told["counted"] > 0
        assert f"{folder} cannot be written" in told["failing"][0]
        assert told["failing"][1] is None
        assert list(range(205, 225)) == told["kept"][-20:]
        recover(folder)
        assert set(told["kept"]) <= {record["n"] for record in records(folder)}


def test_a_folder_that_cannot_be_made_fails_no_quote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the folder is a file the log says so at once, counts, and is well once the way is free, asked or not."""
    place = tmp_path / "log"
    place.write_text("in the way")
    log = Log(place, "decisions", "0", QUICK)
    assert until(lambda: "which this user may write to" in caplog.text)
    assert not log.append({"n": 0}).wait(5)
    assert 1 == log.state().lost
    assert f"{place} cannot be written" in (log.state().failing or "")
    place.unlink()
    assert until(lambda: log.state().failing is None)
    assert log.append({"n": 1}).wait(5)
    log.close()
    assert [{"n": 1}] == records(place)


def test_what_looks_whether_a_folder_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A log without a record has no segment."""
    place = tmp_path / "log"
    place.write_text("in the way")
    log = Log(place, "decisions", "0", QUICK)
    assert until(lambda: log.state().failing is not None)
    place.unlink()
    assert until(lambda: log.state().failing is None)
    log.close()
    assert [] == list(place.iterdir())


def test_a_log_is_not_well_because_a_segment_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where records themselves fail, only one that is kept says that all is well again."""

    def failing(segment: Segment, rows: list[bytes]) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "append", failing)
        log = Log(tmp_path, "decisions", "0", QUICK)
        for n in range(20):  # some while it is not time yet to try again
            assert not log.append({"n": n}).wait(5)
        assert not until(lambda: log.state().failing is None, seconds=10 * QUICK.retry_seconds)
    assert until(lambda: log.append({"n": 1}).wait(5))
    assert log.state().failing is None
    log.close()


def test_room_is_looked_for_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a full disk a log is well again once as many bytes as failed have room, and not before."""
    room, asked = [0], []

    def full(segment: Segment, rows: list[bytes]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def looked(log: Log, size: int) -> None:
        asked.append(size)
        if size > room[0]:
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Segment, "append", full)
    log = Log(tmp_path, "decisions", "0", QUICK)
    assert not log.append({"text": "x" * 500_000}).wait(5)
    monkeypatch.setattr(Log, "_room", looked)
    assert until(lambda: len(asked) > 2)
    assert log.state().failing is not None
    assert min(asked) > 500_000
    room[0] = 1_000_000
    assert until(lambda: log.state().failing is None)
    log.close()


def test_a_disk_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than `patience`; meanwhile the state says why, and it clears when the disk comes back."""
    append = Segment.append

    def slow(segment: Segment, rows: list[bytes]) -> None:
        time.sleep(0.3)
        append(segment, rows)

    log = Log(tmp_path, "decisions", "0", LogSettings(patience=0.05))
    assert log.append({"n": 0}).wait(5)
    monkeypatch.setattr(log_segments.Segment, "append", slow)

    async def ask() -> bool:
        return await log.append({"n": 1})

    assert not asyncio.run(ask())
    assert "the disk has not answered for 0.05 s" == log.state().failing
    assert until(lambda: log.state().failing is None)
    log.close()


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than may wait are lost at once, and counted."""
    monkeypatch.setattr(log_segments.Segment, "append", lambda *_: time.sleep(0.3))
    log = Log(tmp_path, "decisions", "0", LogSettings(most_waiting=10))
    first = log.append({"n": 0})
    assert until(lambda: log.state().waiting == 1 and not log._group.rows)
    groups = [log.append({"n": n}) for n in range(15)]
    assert [False] * 5 == [group.wait(5) for group in groups[10:]]
    assert 5 == log.state().lost
    assert first.wait(5)
    log.close()


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    """A value that JSON has no word for is named, and the log goes on; after closing nothing is taken."""
    log = Log(tmp_path, "decisions", "0", QUICK)
    with pytest.raises(InputError, match="a record of decisions cannot be written: Type is not JSON serializable"):
        log.append({"n": object()})
    assert log.append({"n": 1}).wait(5)
    log.close()
    assert not log.append({"n": 2}).wait(1)
    assert [{"n": 1}] == records(tmp_path)


def test_nothing_heavy_is_imported() -> None:
    """Keys, chance, signatures and the log load without any library of the training side."""
    blocked = ("tensorflow", "xgboost", "sklearn", "pandas", "pyarrow", "dvc", "hydra", "omegaconf", "mlflow", "duckdb")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from pipelines.serving import chance, decisions, keys, signatures
"""
    assert b"" == subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"sync": "never"}, "log.sync='never' must be"), ({"patience": 0.0}, "log.patience=0.0 must be positive")],
)
def test_settings_refuse_nonsense(wrong: dict, message: str) -> None:
    """A policy that does not exist and a length that is none name themselves."""
    with pytest.raises(InputError, match=message):
        LogSettings(**wrong)


def test_a_worker_is_named_plainly(tmp_path: Path) -> None:
    """A name that cannot be part of a file's name is refused."""
    with pytest.raises(InputError, match=r"worker='../x' must be letters and digits"):
        Log(tmp_path, "decisions", "../x")
    assert [] == list(tmp_path.iterdir())
