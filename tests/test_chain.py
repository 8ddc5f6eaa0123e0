"""The whole chain under `experiment: smoke`, as a user runs it, and the commands of the README as they are written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTENDERS = ("linear", "forest", "gbm", "dnn", "ensemble")
# Commands that stay up until they are stopped, and the address at which each answers.
SERVERS = {
    "mlflow ui": "http://127.0.0.1:5000/health",
    "python -m pipelines.serving": "http://127.0.0.1:8000/live",
    "mlflow models serve -m models:/pricing@champion --env-manager local --port 5001": "http://127.0.0.1:5001/ping",
}


def _environment() -> dict[str, str]:
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "true", "TF_CPP_MIN_LOG_LEVEL": "3"}
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    return {**kept, **quiet, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}


def _run(command: str, folder: Path, ok: bool = True) -> str:
    """Return what a shell command printed; fail with it if its exit status is not as expected."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ok == (done.returncode == 0), f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _checkout(folder: Path) -> Path:
    """Return a copy of the files that git would track, with the same environment."""
    for name in _run("git ls-files --cached --others --exclude-standard", ROOT).split():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    _run("git init -q -b main", folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh checkout in which `make repro` has done its work on the smoke market."""
    folder = _checkout(tmp_path_factory.mktemp("chain") / "pricewright")
    _edit(folder / "conf/config.yaml", "experiment: none", "experiment: smoke")
    identity = "-c user.name=test -c user.email=test@example.com"
    _run(f"git add -A && git {identity} commit -qm start", folder)
    _run("dvc repro && python -m pipelines.promote && dvc repro", folder)
    _run(f"git add -A && git {identity} commit -qm run", folder)
    return folder


def _champion(project: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((project / "models/champion.json").read_text())
    return found


def test_every_stage_leaves_its_result(project: Path) -> None:
    """One run gives tables, contenders, scorecards, a choice, a verdict, a report, and a registered challenger."""
    found, choice = _champion(project), json.loads((project / "models/choice.json").read_text())
    assert {"verdict", "pick", "incumbent", "reason", "checks", "facts"} <= set(found)
    assert (choice["pick"], choice["graph_sha256"]) == (found["pick"], found["graph_sha256"])
    assert set(CONTENDERS) == set(choice["balanced_log_loss"])
    assert 1 == len((project / "models/ledger.jsonl").read_text().splitlines())
    report = (project / "models/report.html").read_text()
    assert str(found["pick"]) in report
    assert not re.search(r"(src|href)=.?https?:", report)
    for name in CONTENDERS:
        card = json.loads((project / f"models/scorecards/{name}.json").read_text())
        assert card["agreement"]["passed"], name
        assert (project / f"models/plots/{name}/scorecard.png").stat().st_size > 10_000
    assert (project / "models/registered.json").is_file()


def test_the_scoreboard_has_every_policy(project: Path) -> None:
    """A row per contender and baseline, the verdict, and three commands to go on with."""
    printed = _run("python -m pipelines.scoreboard", project)
    for name in (
        "list price",
        "best single price",
        "prices as logged",
        "imitation",
        "nothing personal",
        *CONTENDERS,
        "Report: models/report.html",
    ):
        assert name in printed
    assert str(_champion(project)["verdict"]) in printed
    assert 3 == len(printed.split("Next:")[1].strip().splitlines())


def test_a_second_run_does_nothing(project: Path) -> None:
    """`dvc repro` finds all stages up to date, also after a promotion, and the tree stays clean."""
    assert "Data and pipelines are up to date" in _run("dvc repro", project)
    assert "" == _run("git status --porcelain", project)


def test_one_candidates_settings_rerun_that_candidate_alone(project: Path) -> None:
    """Editing conf/model/gbm.yaml touches gbm and what follows from it."""
    path = project / "conf/model/gbm.yaml"
    before = path.read_text()
    path.write_text(re.sub(r"max_depth: \d+", "max_depth: 2", before))
    changed = json.loads(_run("dvc status --json", project))
    path.write_text(before)
    assert {"train@gbm"} == set(changed)
    path.write_text(before.replace("terms: ", "terms: 1"))
    changed = json.loads(_run("dvc status --json", project))
    path.write_text(before)
    assert {"prepare", "train@gbm"} == set(changed)


def test_a_guardrail_never_retrains(project: Path) -> None:
    """Editing a guardrail exports and values anew; nothing is learned again."""
    path = project / "conf/guardrails/default.yaml"
    before = path.read_text()
    path.write_text(before.replace("largest_cut: 0.20", "largest_cut: 0.15"))
    changed = set(json.loads(_run("dvc status --json", project)))
    path.write_text(before)
    assert {"baselines", "certify", *(f"export@{name}" for name in CONTENDERS)} <= changed
    assert not any(
        name.startswith(("train", "prepare", "ensemble", "overlap", "features", "ingest")) for name in changed
    )


def test_features_and_candidates_do_not_read_the_truth(project: Path, tmp_path: Path) -> None:
    """With the truth gone, features and training give the very same files."""
    folder = tmp_path / "blind"
    shutil.copytree(project, folder, symlinks=True)
    shutil.rmtree(folder / "data/truth")
    shutil.rmtree(folder / "data/offers")
    shutil.rmtree(folder / "models/overlap")
    shutil.rmtree(folder / "models/prepared")
    for part in ("trial", "demand"):
        shutil.rmtree(folder / "models/candidates/linear" / part)
    _run(
        "for s in features overlap prepare 'train candidate=linear'; do python -m pipelines.$s || exit 1; done", folder
    )
    learned = [f"models/candidates/linear/{part}/about.json" for part in ("trial", "demand")]
    for name in ("data/offers/fit.parquet", "data/offers/offers.json", "models/trained/linear.json", *learned):
        assert (project / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "notebooks").glob("*.ipynb")))
def test_a_notebook_runs(project: Path, name: str) -> None:
    """Every notebook runs from top to bottom on the results of the pipeline."""
    notebook = nbformat.read(project / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(project / "notebooks")}}).execute()


def readme_commands() -> list[str]:
    """Return the blocks of shell commands in the README, in order."""
    return [block.strip() for block in re.findall(r"```bash\n(.*?)```", README, flags=re.S)]


@contextlib.contextmanager
def _serving(command: str, project: Path) -> Iterator[None]:
    """Run a server of the README until its address answers, and stop it afterwards."""
    answers = ["curl", "-sf", SERVERS[command]]
    assert subprocess.run(answers, capture_output=True, check=False).returncode, f"another {command} answers already"
    server = subprocess.Popen(
        ["bash", "-c", command], cwd=project, env=_environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(120):
            if subprocess.run(answers, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.5)
            assert server.poll() is None, f"{command} stopped by itself"
        else:
            raise AssertionError(f"{command} did not answer at {SERVERS[command]}")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_the_readmes_commands_run_as_written(project: Path) -> None:
    """Every command of the README works on the smoke market; both servers quote the same."""
    answers = []
    with contextlib.ExitStack() as up:
        for block in readme_commands():
            if block in SERVERS:
                up.enter_context(_serving(block, project))
            elif block.startswith("curl"):
                answers.append(json.loads(_run(block, project)))
            else:
                _run(block, project)
    endpoint, mlflow = answers
    (told,) = mlflow["predictions"]
    assert told["price"] == float(endpoint["price"]) == endpoint["price_minor"] / 100
    for name in ("propensity", "guardrail", "purchase_probability", "expected_profit", "price_sensitivity"):
        assert told[name] == endpoint[name]
    assert 1 == endpoint["propensity"]
    assert set(SERVERS) <= set(readme_commands())


def test_a_typo_in_the_configuration_is_one_clear_line(project: Path) -> None:
    """A misspelt key stops a stage with the nearest right one, without a traceback."""
    printed = _run("python -m pipelines.train candidate=gbm model.gbm.max_dept=3", project, ok=False)
    assert "model.gbm.max_dept is not a known setting (did you mean 'max_depth'?)" in printed
    assert "Traceback" not in printed


def test_real_orders_are_never_promoted_by_themselves(tmp_path: Path) -> None:
    """The chain runs on the first 60 days of the real orders; prices there were not randomised, so a person decides."""
    real = ROOT / "data/external/online_retail.parquet"
    if not real.is_file():
        pytest.skip(f"{real.relative_to(ROOT)} is not here; the README says where to get it")
    folder = _checkout(tmp_path / "retail")
    shutil.copy2(real, folder / "data/external")
    _edit(folder / "conf/config.yaml", "source: market", "source: online_retail")
    _edit(folder / "conf/config.yaml", "candidates: [linear, forest, gbm, dnn]", "candidates: [linear, gbm]")
    _edit(folder / "conf/config.yaml", "[linear, forest, gbm, dnn, ensemble]", "[linear, gbm]")
    _edit(folder / "conf/source/online_retail.yaml", "days: null", "days: 60")
    _run("dvc repro && python -m pipelines.promote", folder)
    assert _champion(folder)["verdict"] in ("review", "reject")
    assert "list_price" == _champion(folder)["incumbent"]
    printed = _run("python -m pipelines.scoreboard", folder)
    assert "OBSERVATIONAL" in printed
    assert "Champion: list_price." in printed


def test_a_teams_own_table_gets_a_policy(tmp_path: Path) -> None:
    """A small CSV with other column names goes through the whole chain, and the assumptions are on the scoreboard."""
    folder = _checkout(tmp_path / "own")
    rng = np.random.default_rng(5)
    price, loyal = rng.choice([8.0, 9.0, 10.0], 900), rng.choice(["yes", "no"], 900)
    odds = 4 - 0.5 * price - 1.0 * (loyal == "no")
    sold = (rng.random(900) < 1 / (1 + np.exp(-odds))).astype(int)
    table = pd.DataFrame({"asked": price, "sold": sold, "loyal": loyal, "visits": rng.poisson(3, 900)})
    table.to_csv(folder / "data/external/offers.csv", index=False)
    _edit(folder / "conf/config.yaml", "source: market", "source: offers")
    _edit(folder / "conf/config.yaml", "guardrails: default", "guardrails: none")
    _edit(folder / "conf/config.yaml", "candidates: [linear, forest, gbm, dnn]", "candidates: [linear]")
    _edit(folder / "conf/config.yaml", "[linear, forest, gbm, dnn, ensemble]", "[linear]")
    source = folder / "conf/source/offers.yaml"
    text = re.sub(r"(?m)^path: .*$", "path: data/external/offers.csv", source.read_text())
    text = re.sub(r"(?m)^  price: .*$", "  price: asked", text)
    source.write_text(re.sub(r"(?m)^  bought: .*$", "  bought: sold", text))
    _run("dvc repro && python -m pipelines.promote", folder)
    printed = _run("python -m pipelines.scoreboard", folder)
    assert "OBSERVATIONAL" in printed
    assert len(json.loads((folder / "data/offers/offers.json").read_text())["assumptions"]) >= 4
    assert all(text in printed for text in json.loads((folder / "data/offers/offers.json").read_text())["assumptions"])
