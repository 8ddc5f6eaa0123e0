"""The benchmark of features: all methods make the same, logs are repeated as said, and runs are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from pipelines.behaviour import batch
from pipelines.benchmark_features import __main__ as benchmark
from pipelines.benchmark_features import table
from pipelines.benchmark_features.log import repeated, simulated
from pipelines.benchmark_features.measure import measured
from pipelines.benchmark_features.methods import METHODS
from pipelines.errors import InputError
from pipelines.sources import MarketSource

SOURCE = MarketSource("market", "market", days=12, shoppers=60, items=24, offers=1_500)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small log, twice over."""
    folder = tmp_path_factory.mktemp("log")
    simulated(folder / "first", SOURCE, events=2_000)
    repeated(folder / "first", folder / "twice", 2)
    return folder / "twice"


def test_a_log_is_repeated_for_other_shoppers(log: Path) -> None:
    """Twice the log has twice the events and shoppers, under other names, and the same items."""
    events = pd.read_parquet(log / "events")
    first = pd.read_parquet(log.parent / "first/events.parquet")
    assert 2 * len(first) == len(events) == events["event_id"].nunique()
    assert 2 * first["shopper_id"].nunique() == events["shopper_id"].nunique()
    assert set(first["item_id"].dropna()) == set(events["item_id"].dropna())


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("duckdb", "spark")])
def test_every_method_makes_the_same(log: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The query written by hand and pandas give the engine's offers, every column to 1e-6."""
    monkeypatch.chdir(Path(__file__).parents[1])
    METHODS["duckdb"](log, tmp_path / "ours")
    METHODS[method](log, tmp_path / "theirs")
    ours, theirs = batch.frame(tmp_path / "ours"), batch.frame(tmp_path / "theirs")
    assert set(ours) == set(theirs)
    pd.testing.assert_frame_equal(ours, theirs[list(ours)], rtol=1e-6, atol=1e-6, check_dtype=False)


def test_a_program_is_measured() -> None:
    """Memory of a program and of its child is seen, and the last line of one that fails is kept."""
    child = "import time; held = bytearray(60_000_000); time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    found = measured([sys.executable, "-c", parent])
    assert found.error == ""
    assert found.memory > 60_000_000
    assert "ValueError: no" == measured([sys.executable, "-c", "raise ValueError('no')"]).error
    assert "killed by signal 9" == measured([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).error


def test_the_table_compares_with_the_hand_and_with_the_shortest() -> None:
    """Speed is against the hand-written query of the same log, growth against the same method's shortest log.

    Both by the clock and, in brackets, by the seconds of processors.
    """
    one = {"events": 1_000_000, "processor": 1.0, "memory": 2e9, "error": "", "offers": 5}
    records = [
        {**one, "size": 1, "method": "duckdb", "seconds": 10.0},
        {**one, "size": 1, "method": "by_hand", "seconds": 15.0, "processor": 3.0},
        {**one, "size": 10, "method": "duckdb", "seconds": 120.0, "processor": 11.0, "events": 10_000_000},
        {**one, "size": 10, "method": "pandas", "seconds": 9.0, "error": "MemoryError", "offers": 0},
    ]
    told = [dict(zip(table.COLUMNS, row, strict=True)) for row in table.rows(records)]
    assert ["1.50 (3.00)", "1.00 (1.00)", "–", "–"] == [row["speed to by hand"] for row in told]
    assert ["–", "–", "1.20 (1.10)", "–"] == [row["growth"] for row in told]
    assert "MemoryError" == told[3]["seconds"]
    assert "| 10,000,000 | duckdb | 120.0 |" in table.as_markdown(records, "this")


def test_finished_runs_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs what is missing, writes the table, and a second time runs nothing; --fresh runs it again."""
    monkeypatch.chdir(Path(__file__).parents[1])
    ran: list[str] = []

    def took(method: str, *_: object) -> dict[str, object]:
        ran.append(method)
        return {"seconds": 1.0, "processor": 1.0, "memory": 1, "error": "", "events": 5, "offers": 3}

    monkeypatch.setattr(benchmark, "one", took)
    monkeypatch.setattr(benchmark, "log", lambda *_: tmp_path)
    words = ["sizes=1", "methods=duckdb,by_hand", "--folder", str(tmp_path / "features")]
    assert 0 == benchmark.main(words) == benchmark.main(words)
    assert ["duckdb", "by_hand"] == ran
    assert (tmp_path / "features.md").is_file()
    benchmark.main([*words, "--fresh"])
    assert 4 == len(ran)
    assert "by hand" in capsys.readouterr().out


def test_an_unknown_method_is_named() -> None:
    """A method that does not exist is refused with the nearest that does."""
    with pytest.raises(InputError, match=r"method by_hnd does not exist \(did you mean 'by_hand'"):
        benchmark.planned(["methods=by_hnd"])


def test_the_hand_written_query_is_one_query() -> None:
    """The file ends with the query whose rows are written, after steps that make tables."""
    text = (Path(benchmark.__file__).parent / "by_hand.sql").read_text()
    *steps, last = duckdb.extract_statements(text)
    assert {duckdb.StatementType.CREATE} == {step.type for step in steps}
    assert duckdb.StatementType.SELECT == last.type
