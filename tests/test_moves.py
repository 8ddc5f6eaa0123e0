"""The history of who priced: it only grows, and tells what to roll back to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import moves
from pipelines.errors import InputError
from pipelines.moves import Move, note, previous, withdrawn


def move(version: str, before: str | None, kind: str = "promote", graph: str | None = None) -> Move:
    graph = graph or f"graph of {version}"
    return Move("2026-11-25T10:00:00.000+00:00", "ann", "pricing", kind, before, version, "gbm", graph, "it earns more")


def test_lines_are_only_added(tmp_path: Path) -> None:
    """Every move is one line, in order, by registered model; earlier lines stay as they are."""
    path = tmp_path / "models/history.jsonl"
    assert () == moves.moves(path, "pricing")
    note(path, move("1", None))
    before = path.read_bytes()
    note(path, move("2", "1"))
    note(path, replace(move("7", "6"), model="pricing-offers"))
    assert path.read_bytes().startswith(before)
    assert (move("1", None), move("2", "1")) == moves.moves(path, "pricing")
    assert {"at", "who", "from", "to", "why"} <= set(json.loads(before))


def test_a_torn_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a crash left of a line is no move, and does not spoil the next one."""
    path = tmp_path / "history.jsonl"
    note(path, move("1", None))
    with path.open("ab") as file:
        file.write(b'{"at": "2026')
    assert (move("1", None),) == moves.moves(path, "pricing")
    note(path, move("2", "1"))
    assert "torn" in capsys.readouterr().err
    assert (move("1", None), move("2", "1")) == moves.moves(path, "pricing")


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", '{"at": 1}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    """Nothing is guessed: the message says which line, and what depends on it."""
    path = tmp_path / "history.jsonl"
    note(path, move("1", None))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"history.jsonl, line 2 is damaged"):
        moves.moves(path, "pricing")


@pytest.mark.parametrize("wrong", [{"kind": "guess"}, {"who": " "}, {"why": ""}])
def test_a_move_has_an_author_and_a_reason(wrong: dict[str, str]) -> None:
    """A line without them would be worth nothing later."""
    with pytest.raises(InputError):
        replace(move("1", None), **wrong)


def test_who(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may be given; else it is the user and the machine."""
    monkeypatch.delenv(moves.VARIABLE, raising=False)
    assert "@" in moves.who()
    monkeypatch.setenv(moves.VARIABLE, "release robot")
    assert "release robot" == moves.who()


def test_rollbacks_go_further_back() -> None:
    """After 1, 2, 3 the first leads to 2, the second to 1, and a third nowhere."""
    known = (move("1", None), move("2", "1"), move("3", "2"))
    assert ("2", "graph of 2") == previous(known, "3")
    known = (*known, move("2", "3", "rollback"))
    assert ("1", "graph of 1") == previous(known, "2")
    known = (*known, move("1", "2", "rollback"))
    assert previous(known, "1") is None
    assert ("1", "graph of 1") == previous((*known, move("3", "1", "to")), "3")


def test_what_a_rollback_starts_from() -> None:
    """Without history nobody knows; a move noted twice counts once; an alias moved by hand is taken back alone."""
    assert previous((), "1") is None
    assert ("4", None) == previous((move("5", "4"),), "5")
    assert ("1", "graph of 1") == previous((move("1", None), move("2", "1"), move("2", "1")), "2")
    assert ("2", "graph of 2") == previous((move("1", None), move("2", "1")), "9")


def test_a_registry_made_anew_has_other_numbers() -> None:
    """The same graph under another number is the same champion, and no step of its own."""
    known = (move("1", None), move("5", "1"), move("2", None, "restore", "graph of 5"))
    assert ("1", "graph of 1") == previous(known, "2")


def test_what_a_person_took_back() -> None:
    """A graph that was rolled back, or left with --to, is withdrawn until it comes back; one that lost is not."""
    known = (move("1", None), move("2", "1"))
    assert withdrawn(known, "graph of 2") is None
    back = move("1", "2", "rollback")
    assert back == withdrawn((*known, back), "graph of 2")
    assert withdrawn((*known, back, move("2", "1")), "graph of 2") is None
    assert withdrawn((*known, move("3", "2")), "graph of 2") is None
    assert withdrawn((*known, back), "graph of 1") is None
