"""The ledger: who opened a certify window, counted once each, whatever crashes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines import ledger
from pipelines.errors import InputError
from pipelines.ledger import Opening, opened, openings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models" / "ledger.jsonl"


def test_each_challenger_counts_once(path: Path) -> None:
    """The same graph again is no new look, writes no line, and is judged with the count of now."""
    assert 1 == opened(path, "w", "g1", "linear")
    assert 2 == opened(path, "w", "g2", "gbm")
    before = path.read_bytes()
    assert 2 == opened(path, "w", "g1", "linear")
    assert before == path.read_bytes()
    assert 3 == opened(path, "w", "g3", "gbm")


def test_windows_are_counted_apart(path: Path) -> None:
    """A new window starts at one, and does not lengthen the count of the old one."""
    opened(path, "old", "g1", "linear")
    assert 1 == opened(path, "new", "g1", "linear")
    assert 2 == opened(path, "old", "g2", "gbm")
    assert (Opening("old", "g1", "linear"), Opening("new", "g1", "linear"), Opening("old", "g2", "gbm")) == openings(
        path
    )


def test_lines_are_only_ever_added(path: Path) -> None:
    """What was written stays as it was, byte for byte; one line of JSON each, in any script."""
    opened(path, "w", "g1", "线性\nmodel")
    first = path.read_bytes()
    opened(path, "w", "g2", "gbm")
    assert first == path.read_bytes()[: len(first)]
    assert [{"window_sha256": "w", "graph_sha256": "g1", "name": "线性\nmodel"}] == [
        json.loads(line) for line in first.decode().splitlines()
    ]


def test_no_ledger_is_an_empty_one(path: Path) -> None:
    """Before the first certification nothing was opened, and asking makes no file."""
    assert () == openings(path)
    assert not path.exists()


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_torn_last_line_is_told_and_ignored(path: Path, capsys: pytest.CaptureFixture[str], kept: int) -> None:
    """A crash while writing leaves a piece of a line: its window was never read; the next line is whole again."""
    opened(path, "w", "g1", "linear")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b"g1", b"g2")[:kept])
    assert 1 == len(openings(path))
    assert "is torn" in capsys.readouterr().err
    assert 2 == opened(path, "w", "g3", "gbm")
    capsys.readouterr()
    assert ["g1", "g3"] == [o.graph_sha256 for o in openings(path)]
    assert "" == capsys.readouterr().err


def test_a_last_line_without_its_end_still_counts(path: Path) -> None:
    """An editor may have cut the line's end: the opening is known, and the next one gets a line of its own."""
    opened(path, "w", "g1", "linear")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert 2 == opened(path, "w", "g2", "gbm")
    assert ["g1", "g2"] == [o.graph_sha256 for o in openings(path)]


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[]",
        b'{"window_sha256": "w"}',
        b"\xff\xfe",
        b'{"window_sha256": 1, "graph_sha256": 2, "name": 3}',
    ],
)
def test_a_damaged_line_is_refused(path: Path, line: bytes) -> None:
    """A look that cannot be read would not be counted, so nothing is certified; the line is named."""
    opened(path, "w", "g1", "linear")
    path.write_bytes(line + b"\n" + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"ledger\.jsonl, line 1 is damaged"):
        opened(path, "w", "g2", "gbm")
    assert before == path.read_bytes()


def test_processes_do_not_overlook_each_other(path: Path) -> None:
    """Eight at once: eight lines, and every count from one to eight was given once."""
    code = "import sys; from pathlib import Path; from pipelines.ledger import opened; "
    code += "print(opened(Path(sys.argv[1]), 'w', sys.argv[2], 'x'))"
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"g{k}"], stdout=subprocess.PIPE, text=True)
        for k in range(8)
    ]
    assert list(range(1, 9)) == sorted(int(run.communicate()[0]) for run in runs)
    assert 8 == len(openings(path))


def test_whoever_is_slow_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second challenger that comes while the first is still writing counts it."""
    append = ledger._append

    def slow(*given) -> None:
        time.sleep(0.05)
        append(*given)

    monkeypatch.setattr(ledger, "_append", slow)
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda k: opened(path, "w", f"g{k}", "x"), range(4))
    assert [1, 2, 3, 4] == sorted(counts)


@pytest.mark.parametrize(("count", "expected"), [(1, 0.95), (2, 0.975), (5, 0.99)])
def test_the_level_shares_the_error_among_challengers(count: int, expected: float) -> None:
    """Bonferroni: 5 % for one, 1 % each for five."""
    assert pytest.approx(expected) == ledger.level(0.95, count)


def test_a_level_for_nobody_is_refused() -> None:
    """Whoever asks has opened the window."""
    with pytest.raises(InputError, match="at least one"):
        ledger.level(0.95, 0)
