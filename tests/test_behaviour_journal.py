"""Live features on disk: no acknowledged event is lost, whenever the process dies; no file but its own is read."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.behaviour import journal, settled
from pipelines.behaviour.journal import DurableState
from pipelines.behaviour.measures import Event
from pipelines.behaviour.settled import read
from pipelines.behaviour.state import DUPLICATE, TAKEN, FeatureState
from pipelines.errors import InputError
from tests.test_behaviour_state import ITEMS, SHOPPERS, answer, bare, differing, feature_set, happenings, questions

HALF = 1_800 * 1_000_000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=happenings(), steps=st.lists(st.sampled_from(["snapshot", "reopen", "both"]), max_size=6))
def test_snapshots_and_restarts_change_nothing(tmp_path: Path, events: list[Event], steps: list[str]) -> None:
    """A state that is written down and read again at any moments goes on like one that never stopped."""
    features = feature_set()
    path = tmp_path / "state.db"
    path.unlink(missing_ok=True)
    whole, durable = FeatureState(features, ITEMS, SHOPPERS), DurableState(path, features, ITEMS, SHOPPERS)
    size = len(events) // (len(steps) + 1) + 1
    for number, start in enumerate(range(0, len(events), size)):
        batch = events[start : start + size]
        assert [whole.add(event) for event in batch] == durable.add_many(batch)
        step = steps[number] if number < len(steps) else ""
        if step in ("snapshot", "both"):
            durable.snapshot()
        if step in ("reopen", "both"):
            durable.close()
            durable = DurableState(path, features, ITEMS, SHOPPERS)
    assert whole.counted == durable.state.counted
    for view in questions(whole):
        assert {} == differing(answer(whole, view), answer(durable.state, view))
    durable.close()


def test_a_snapshot_empties_the_journal_and_forgets(tmp_path: Path) -> None:
    """What is forgotten leaves the file, too, and what is in the snapshot need not be taken again."""
    durable = DurableState(tmp_path / "state.db", feature_set(lateness=1))
    durable.add(bare(100 * HALF, "a", shopper_id="old"))
    durable.add(bare(110 * HALF, "b"))
    durable.snapshot()
    durable.add_many([bare(200 * HALF, "c"), bare(300 * HALF, "d")])
    assert 2 == durable.journaled
    durable.snapshot()
    durable.close()
    again = DurableState(tmp_path / "state.db", feature_set(lateness=1))
    assert (0, 1) == (again.journaled, again.state.sizes()["shopper"])
    assert DUPLICATE == again.add(bare(300 * HALF, "d"))
    again.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as file:
        assert [] == file.execute("SELECT * FROM history WHERE key LIKE '%old%'").fetchall()


@pytest.mark.parametrize("collecting", [True, False])
def test_opening_leaves_the_collector_as_it_was(
    tmp_path: Path, collecting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No garbage is looked for while histories are read; afterwards, and after a failure, it is as before."""
    features = feature_set(lateness=1)
    durable = DurableState(tmp_path / "state.db", features)
    durable.add_many([bare(100 * HALF, "a"), bare(110 * HALF, "b")])
    durable.snapshot()
    durable.close()
    was = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        collected = []
        monkeypatch.setattr(journal, "decoded", lambda *a: (collected.append(gc.isenabled()), settled.decoded(*a))[1])
        DurableState(tmp_path / "state.db", features).close()
        assert collected
        assert not any(collected)
        assert collecting == gc.isenabled()
        with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as file:
            file.execute("INSERT INTO history VALUES ('shopper', '\"s\"', 0, '[')")
            file.commit()
        with pytest.raises(InputError, match="damaged"):
            DurableState(tmp_path / "state.db", features)
        assert collecting == gc.isenabled()
    finally:
        (gc.enable if was else gc.disable)()


def test_numbers_that_json_has_no_word_for_come_back() -> None:
    """Python writes NaN and infinity, and so they are read."""
    for value in ([1.5, "a"], [float("inf"), -float("inf")], 2**63 + 1, -(2**63)):
        assert value == read(json.dumps(value))
    assert float(2**70 + 1) == read(json.dumps(2**70 + 1))
    assert "nan" == str(read(json.dumps(float("nan"))))
    with pytest.raises(ValueError, match="Expecting"):
        read("[")


def test_an_event_keeps_the_facts_its_item_had(tmp_path: Path) -> None:
    """Another category of the item at reopening does not rewrite what was taken before."""
    durable = DurableState(tmp_path / "state.db", feature_set(), {"i0": {"category": "a"}})
    durable.add(bare(100 * HALF))
    durable.close()
    again = DurableState(tmp_path / "state.db", feature_set(), {"i0": {"category": "b"}, "i1": {"category": "a"}})
    asked = bare(101 * HALF, item_id="i1")
    assert 1.0 == answer(again.state, asked)["shopper_category_events"]
    again.close()


def test_no_event_is_taken_if_one_of_them_cannot_be_read(tmp_path: Path) -> None:
    """A batch is taken whole or not at all."""
    durable = DurableState(tmp_path / "state.db", feature_set())
    with pytest.raises(InputError, match="'odd'"):
        durable.add_many([bare(100 * HALF, "good"), bare(100 * HALF, "odd", kind="viewed")])
    with pytest.raises(InputError, match="'odd'"):
        durable.add_many([bare(100 * HALF, "good"), bare(100 * HALF, "odd", row={"device": object()})])
    assert (0, 0) == (durable.state.counted[TAKEN], durable.journaled)
    durable.close()


def test_no_event_is_taken_if_the_disk_refuses(tmp_path: Path) -> None:
    """A full disk is an error, after which the state in memory and on disk are as before."""
    durable = DurableState(tmp_path / "state.db", feature_set())
    durable.add(bare(100 * HALF, "a"))
    pages = durable._one("PRAGMA page_count")
    durable._file.execute(f"PRAGMA max_page_count = {pages}")
    many = [bare(101 * HALF + n, f"b{n}", row={"keywords": "x" * 500}) for n in range(100)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        durable.add_many(many)
    assert (1, 1) == (durable.state.counted[TAKEN], durable.journaled)
    durable.close()
    again = DurableState(tmp_path / "state.db", feature_set())
    assert [TAKEN] * 100 == again.add_many(many)
    again.close()


def test_other_features_are_refused(tmp_path: Path) -> None:
    """A state of other definitions is not read as if it were of these."""
    DurableState(tmp_path / "state.db", feature_set()).close()
    with pytest.raises(InputError, match=r"other features.*rebuild"):
        DurableState(tmp_path / "state.db", feature_set(lateness=4))


def test_other_words_for_the_same_features_are_not(tmp_path: Path) -> None:
    """A new meaning or name changes no history, so the state stays good."""
    features = feature_set()
    DurableState(tmp_path / "state.db", features).close()
    renamed = {f"{name}_": replace(feature, meaning="other") for name, feature in features.define.items()}
    DurableState(tmp_path / "state.db", replace(features, define=renamed)).close()


@pytest.mark.parametrize("damage", ["text", "other", "torn", "history"])
def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, damage: str) -> None:
    """What is not whole is never half read; the message says to rebuild from the log."""
    path = tmp_path / "state.db"
    if damage == "text":
        path.write_text("no database " * 1_000)
    elif damage == "other":
        _write(path, "CREATE TABLE mine (a)")
    else:
        durable = DurableState(path, feature_set(lateness=1))
        durable.add_many([bare(n * HALF, f"e{n}", shopper_id=f"u{n}") for n in range(100, 160)])
        durable.snapshot()
        durable.close()
        if damage == "torn":
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2] + b"\x07" * 3_000 + whole[len(whole) // 2 + 3_000 :])
        else:
            _write(path, "UPDATE history SET kept = '[[1], []]'")
    before = path.read_bytes()
    with pytest.raises(InputError, match="rebuild the state from the event log"):
        DurableState(path, feature_set(lateness=1))
    assert before == path.read_bytes()


def _write(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(InputError, match=r"nowhere/state\.db: unable to open .*; make its folder"):
        DurableState(tmp_path / "nowhere" / "state.db", feature_set())


def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    """Two owners would each miss the other's events."""
    first = DurableState(tmp_path / "state.db", feature_set())
    with pytest.raises(InputError, match="one process"):
        DurableState(tmp_path / "state.db", feature_set())
    first.close()


WRITER = """
import sys
from pathlib import Path
from pipelines.behaviour.journal import DurableState
from pipelines.behaviour.definitions import Feature, FeatureSet, ENTITIES
from pipelines.behaviour.measures import Event

define = {f"{e}_views": Feature(entity=e, aggregate="count", meaning="x") for e in ENTITIES}
features = FeatureSet(define, dict.fromkeys(ENTITIES, "400d"), "60s")
durable = DurableState(Path(sys.argv[1]), features)
begin, end = durable.state.counted["taken"], int(sys.argv[2])
print("open", begin, flush=True)
for start in range(begin, end, 7):
    batch = [
        Event(n * 1_000_000, f"e{n}", "view", f"u{n % 5}", f"s{n // 50}", f"i{n % 3}") for n in range(start, start + 7)
    ]
    durable.add_many(batch)
    print(start + 7, flush=True)  # acknowledged
    if start // 7 % 5 == 4:
        durable.snapshot()
print("done", flush=True)
if end == 0:
    print(*(durable.state.context("u0", "i0", "s0", durable.state.newest + 1)[name] for name in define))
"""


def test_a_killed_process_loses_no_acknowledged_event(tmp_path: Path) -> None:
    """However often the process is killed in the midst of writing, all that it said it had taken is there again."""
    path, acknowledged, chance = tmp_path / "state.db", 0, random.Random(7)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), "1000000"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        opened = int(process.stdout.readline().split()[1])
        assert acknowledged <= opened <= acknowledged + 7  # the last batch may be on disk without its answer
        lines = [process.stdout.readline() for _ in range(chance.randrange(3, 30))]
        time.sleep(chance.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
        acknowledged = int([*lines, *process.stdout.read().splitlines()][-1])
        process.wait()
    assert acknowledged > 100
    finished = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), "0"], capture_output=True, text=True, check=True
    )
    total = int(finished.stdout.split()[1])
    views = [float(n) for n in finished.stdout.splitlines()[-1].split()]
    assert [len(range(0, total, 5)), len(range(0, total, 3))] == views[:2]
