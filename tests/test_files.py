"""Writing that leaves nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipelines.errors import InputError
from pipelines.files import digest, digest_folder, read_json, read_table, replacing, scratch, write_json, write_table


def crash(path: Path, begin: Callable[[Path], object]) -> None:
    """Begin to replace `path`, and fail."""
    with replacing(path) as draft:
        begin(draft)
        raise RuntimeError("half way")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content takes the place of the old, and no draft stays behind."""
    path = tmp_path / "deep/er/a.txt"
    for text in ("old", "new"):
        with replacing(path) as draft:
            draft.write_text(text)
    assert "new" == path.read_text()
    assert [path] == list(path.parent.iterdir())


def test_a_crash_leaves_the_old_file(tmp_path: Path) -> None:
    """Where the block raises, the old file stands as it was and the draft is gone."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        crash(path, lambda draft: draft.write_text("ne"))
    assert "old" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    """Files of the old folder that the new one lacks are gone; a crash keeps all of the old ones."""
    path = tmp_path / "plots"
    for name in ("old.csv", "new.csv"):
        with replacing(path) as draft:
            draft.mkdir()
            (draft / name).write_text(name)
    assert ["new.csv"] == [p.name for p in path.iterdir()]
    with pytest.raises(RuntimeError, match="half way"):
        crash(path, Path.mkdir)
    assert ["new.csv"] == [p.name for p in path.iterdir()]
    assert [path] == list(tmp_path.iterdir())


def test_the_leftovers_of_a_killed_run_do_no_harm(tmp_path: Path) -> None:
    """A draft that a killed process left is cleared before the next one is written."""
    (tmp_path / ".plots.part").mkdir()
    (tmp_path / ".plots.part/stale.csv").write_text("stale")
    with replacing(tmp_path / "plots") as draft:
        draft.mkdir()
    assert [] == list((tmp_path / "plots").iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_word_for_nan(tmp_path: Path, value: float) -> None:
    """NaN and infinity are refused, and the old file stays."""
    path = tmp_path / "a.json"
    write_json(path, {"ok": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"bad": [value]})
    assert {"ok": 1} == read_json(path)


def test_json_is_readable_text(tmp_path: Path) -> None:
    """Chinese stays Chinese, and the file ends in a newline."""
    path = tmp_path / "a.json"
    write_json(path, {"word": "便宜"})
    assert "便宜" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert {"word": "便宜"} == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("read", [read_json, read_table])
def test_a_missing_file_says_what_makes_it(tmp_path: Path, read) -> None:
    """The message names the file and the command."""
    with pytest.raises(InputError, match=r"gone\.x is missing: run `dvc repro`"):
        read(tmp_path / "gone.x")


def test_a_table_comes_back(tmp_path: Path) -> None:
    """What was written is read, wholly or by column."""
    table = pd.DataFrame({"a": [1.5, None], "b": ["x", "中"]})
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(table, read_table(tmp_path / "t.parquet"))
    assert ["b"] == list(read_table(tmp_path / "t.parquet", ["b"]).columns)


def test_digests_know_every_change(tmp_path: Path) -> None:
    """A file's digest is its SHA-256; a folder's changes with contents and names, and not with order of writing."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        (tmp_path / "one" / name).write_text(name)
    for name in ("b", "a"):
        (tmp_path / "two" / name).write_text(name)
    assert "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" == digest(tmp_path / "one/a")
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")
    before = digest_folder(tmp_path / "one")
    (tmp_path / "one/a").rename(tmp_path / "one/c")
    assert before != digest_folder(tmp_path / "one")


def test_a_scratch_folder_is_empty_and_gone_at_the_end(tmp_path: Path) -> None:
    """Whatever a killed run left in it, and whether or not the block succeeds."""
    left = tmp_path / "data/.work/deep"
    left.mkdir(parents=True)
    (left / "half.parquet").touch()
    with scratch(tmp_path / "data/.work") as folder:
        assert [] == list(folder.iterdir())
        (folder / "draft").touch()
    assert [] == list((tmp_path / "data").iterdir())
    with pytest.raises(ZeroDivisionError), scratch(tmp_path / "data/.work"):
        raise ZeroDivisionError
    assert [] == list((tmp_path / "data").iterdir())


def test_a_scratch_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    """A second one is told to wait, and takes nothing away."""
    with scratch(tmp_path / ".work") as folder:
        (folder / "draft").write_text("mine")
        with pytest.raises(InputError, match="is in use: another run"), scratch(tmp_path / ".work"):
            pass
        assert "mine" == (folder / "draft").read_text()
    assert not folder.exists()
