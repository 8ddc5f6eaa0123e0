"""The benchmark: one run through the stages, its record, its table, and its command line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.benchmark import __main__ as command
from pipelines.benchmark import rivals, table
from pipelines.benchmark.chain import FULL, Task, configured
from pipelines.benchmark.pool import Piece, finished, worked
from pipelines.benchmark.record import record
from pipelines.errors import InputError
from pipelines.files import write_json

ROOT = Path(__file__).parents[1]
FIELDS = {
    "world", "seed", "n", "made", "code", "contenders", "pick", "best", "choose", "as_run", "regret", "keeps",
    "headroom", "single", "verdict", "reason", "promoted", "false_promotion", "gain_over_single", "gain_over_champion",
    "covers", "interval", "truth", "claimed", "checks", "damping", "shape", "weights", "picking_loss", "rivals",
    "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    """The record of a tiny run of the linear candidate alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rivals, "_TRIALS", 1)
        patch.setattr(rivals, "_ROUNDS", 20)
        return record(Task("biggs1", 1, 400, ("linear",)), ROOT)


def test_a_record_has_everything(run: dict[str, Any]) -> None:
    """All fields, as plain JSON."""
    assert set(run) == FIELDS
    assert run == json.loads(json.dumps(run, allow_nan=False))


def test_the_only_contender_is_the_pick(run: dict[str, Any]) -> None:
    """It has no regret, keeps all, and gains something in an easy world; exploring costs a little."""
    assert ("linear", "linear", 0.0, 1.0) == (run["pick"], run["best"], run["regret"], run["keeps"])
    assert run["contenders"]["linear"] == run["choose"]
    assert 0.3 < run["choose"]["capture"] < 1
    assert run["as_run"]["capture"] < run["choose"]["capture"]


def test_the_truth_is_the_one_of_the_certify_contexts(run: dict[str, Any]) -> None:
    """Near the value on fresh contexts, and the interval is judged by it."""
    fresh = 1000 * run["single"] * (1 - run["as_run"]["lost"])
    assert pytest.approx(fresh, rel=0.15) == run["truth"]
    assert run["covers"] == (run["interval"][0] <= run["truth"] <= run["interval"][1])


def test_nothing_is_left_behind(run: dict[str, Any]) -> None:
    """The working folder is the same, and MLflow wrote no database."""
    assert run
    assert not (Path.cwd() / "data/external/offers.parquet").exists()


def test_one_thread_and_only_the_ladder() -> None:
    """Whatever conf/ says."""
    cfg = configured(Task("biggs1", 3), ROOT / "conf")
    assert {1} == {s.threads for s in cfg.model.values() if hasattr(s, "threads")}
    assert (None, None, 0.1) == (cfg.guardrails.largest_cut, cfg.guardrails.margin_floor, cfg.guardrails.exploration)
    assert (3, 0.125, 0.5) == (cfg.seed, cfg.split.select, cfg.split.certify)


@pytest.mark.parametrize("world", FULL)
def test_every_world_can_be_configured(world: str) -> None:
    """Its settings exist."""
    assert configured(Task(world, 1), ROOT / "conf").source.kind == ("offers" if Task(world, 1).made else "market")


def several(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return two seeds of one world, and one where nothing is to be gained."""
    second, null = copy.deepcopy(run), copy.deepcopy(run)
    second["seed"], second["choose"]["capture"] = 2, run["choose"]["capture"] - 0.2
    null["world"] = "null"
    for part in (*null["contenders"].values(), null["choose"], null["as_run"], *null["rivals"].values()):
        part["capture"], part["lost"] = None, 0.004
    return [run, second, null]


def test_the_table_has_a_line_for_each_method(run: dict[str, Any]) -> None:
    """Mean and standard error by hand; profit in place of a share where there is none; dated."""
    text = table.as_markdown(several(run), ("biggs1", "null"), "make benchmark")
    mean = 100 * (run["choose"]["capture"] - 0.1)
    assert f"| **choose** | **{mean:.0f} ± 10** | **−0.4 \\*** |" in text
    assert f"`make benchmark`, {run['made'][:10]}" in text
    for label in (
        "linear",
        "imitation",
        "classifier",
        "best single",
        "econml",
        "interval holds truth",
        "promoted wrongly",
    ):
        assert f"\n| {label} |" in text


def test_what_is_kept_of_the_best_is_a_ratio_of_means(run: dict[str, Any]) -> None:
    """By hand; worlds without anything to gain do not count."""
    all_of_it = run["choose"]["capture"]
    found = table.kept(several(run))
    assert found is not None
    assert pytest.approx(100 * (all_of_it - 0.1) / all_of_it) == found.mean
    assert 2 == found.seeds


def test_a_picture_is_drawn(run: dict[str, Any], tmp_path: Path) -> None:
    """A PNG, where something can be gained."""
    command.picture.draw(tmp_path / "table.png", several(run), ("biggs1", "null"))
    command.picture.draw(tmp_path / "none.png", several(run), ("null",))
    assert b"\x89PNG" == (tmp_path / "table.png").read_bytes()[:4]
    assert not (tmp_path / "none.png").exists()


def test_finished_runs_are_taken_up(run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run again, those of other code are named, and the table is printed and written."""
    write_json(tmp_path / "runs/biggs1-1.json", {**run, "code": "other"})
    console = Console(width=200)
    plan = command.planned(["worlds=biggs1", "seeds=1", "--folder", str(tmp_path)])
    assert 0 == command.run(plan, console, "make benchmark")
    said = capsys.readouterr().out
    assert "1 runs are finished already, 1 of them made by other code" in said
    assert "choose, as run" in said
    assert (tmp_path / "table.md").is_file()
    assert (tmp_path / "table.png").is_file()


def doubled(number: int) -> dict[str, Any]:
    """Return a record, or fail."""
    if number < 0:
        raise InputError("negative")
    return {"number": 2 * number}


def test_a_failure_stops_no_other_piece(tmp_path: Path) -> None:
    """It is reported, its traceback is a file, and what is finished is not done again."""
    pieces = [Piece(str(n), doubled, n) for n in (-1, 4)]
    failed = worked(pieces, tmp_path, 1, Console(quiet=True), lambda r: "")
    assert {"-1"} == set(failed)
    assert "InputError" in (tmp_path / "-1.error.txt").read_text()
    assert {"4": {"number": 8}} == finished(pieces, tmp_path)
    assert {} == worked(pieces[1:], tmp_path, 1, Console(quiet=True), lambda r: "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["worlds=bigs1"], "worlds=bigs1: there is no such world (did you mean 'biggs1'?)"),
        (["seeds=0"], "benchmark: seeds=0 must be a whole number of at least 1"),
        (["sead=3"], "benchmark: sead is not a setting (did you mean 'seeds'?)"),
        (["biggs1"], "benchmark: 'biggs1' is not of the form key=value"),
        (["--proceses", "3"], "benchmark: --proceses is not an option (did you mean '--processes'?)"),
        (["--processes", "x"], "benchmark: --processes=x must be a whole number of at least 1"),
        (["worlds=biggs1", "n=3"], "n=3: a benchmark run needs at least 16 offers to learn from"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, nothing run."""
    assert 1 == command.main(words)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert 1 == said.count("\n")


def test_the_full_run_is_every_world_and_five_seeds() -> None:
    """Without an argument."""
    plan = command.planned([])
    assert 5 * len(FULL) == len(plan.tasks)
    assert set(FULL) == set(plan.worlds)
    assert 2 == plan.processes
