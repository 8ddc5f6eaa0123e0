"""Facts in a file: what was written is found, what is written anew is seen, and nothing foreign is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.behaviour.facts import Facts, write
from pipelines.errors import InputError

ITEMS = {"i1": {"category": "tea", "unit_cost": 4.0, "min_price": float("nan"), "title": None}, "茶": {"category": "b"}}


def test_rows_are_found_by_id(tmp_path: Path) -> None:
    """A row comes back without what was missing in it; an unknown id has none, and none is made up for it."""
    write(tmp_path / "facts.db", ITEMS.items(), {"u1": {"signup": 1_760_000_000_000_000}}.items())
    facts = Facts(tmp_path / "facts.db")
    assert {"category": "tea", "unit_cost": 4.0} == facts.items["i1"]
    assert {"category": "b"} == facts.items.get("茶")
    assert {"signup": 1_760_000_000_000_000} == facts.shoppers.get("u1")
    assert facts.items.get("u1") is None
    assert "nobody" not in facts.shoppers
    assert (["i1", "茶"], 1) == (list(facts.items), len(facts.shoppers))


def test_what_is_written_anew_is_seen(tmp_path: Path) -> None:
    """A running process reads the file that took the place of its own, also for an id that it did not know before."""
    path = tmp_path / "facts.db"
    write(path, ITEMS.items(), ())
    facts = Facts(path)
    assert facts.items.get("new") is None
    write(path, [("new", {"list_price": 3.0}), ("i1", {"category": "coffee"})], ())
    assert facts.refresh()
    assert {"list_price": 3.0} == facts.items.get("new")
    assert {"category": "coffee"} == facts.items.get("i1")
    assert not facts.refresh()


def test_a_broken_file_does_not_take_the_place_of_a_good_one(tmp_path: Path) -> None:
    """Whoever reads goes on with what there was."""
    path = tmp_path / "facts.db"
    write(path, ITEMS.items(), ())
    facts = Facts(path)
    path.unlink()
    assert not facts.refresh()
    path.write_bytes(b"no database " * 1_000)
    assert not facts.refresh()
    assert {"category": "b"} == facts.items.get("茶")


@pytest.mark.parametrize(("content", "words"), [(None, "is missing: .*attach"), (b"no", "attach"), (b"", "attach")])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A missing, damaged or empty file says which command writes it."""
    path = tmp_path / "facts.db"
    if content is not None:
        path.write_bytes(content * 2_000)
    with pytest.raises(InputError, match=words):
        Facts(path)
