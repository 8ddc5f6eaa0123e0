"""The repository as a whole: stages, modules, tests and conf files belong together, and nothing private is in it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.config import load

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def _listed() -> list[str]:
    """Return the files that git tracks or would track."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    return [f for f in found if (ROOT / f).is_file()]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_module_with_a_test(name: str) -> None:
    """Every DVC stage is run by the module of its name, depends on it, and has a test module."""
    assert STAGES[name]["cmd"].split()[:3] == ["python", "-m", f"pipelines.{name}"]
    assert f"pipelines/{name}.py" in STAGES[name]["deps"]
    assert (ROOT / f"tests/test_{name}.py").is_file()


def test_stages_never_import_each_other() -> None:
    """Stages meet through files."""
    for name in STAGES:
        tree = ast.parse((ROOT / f"pipelines/{name}.py").read_text())
        imported = {
            word
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipelines")
            for word in [(node.module or "").split(".")[-1], *(alias.name for alias in node.names)]
        }
        assert set() == imported & (set(STAGES) - {name}), name


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Return every node below `node` but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def _imports(module: Path) -> set[Path]:
    """Return the project's own modules that a module imports, itself included, all the way down.

    What the configuration imports to check itself is left out: DVC tracks the settings that a stage reads.
    """
    found, todo = set(), [module]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        if path.stem == "config":
            continue
        for node in _running(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipelines"):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                path = ROOT / (name.replace(".", "/") + ".py")
                todo += [p for p in (path, path.with_suffix("") / "__init__.py") if p.is_file()]
    return found


# Shared by every stage; their tests guard them, and a change of wording in them must not rebuild everything.
PLUMBING = {"config", "errors", "files", "tables", "sources", "tracking", "__init__", "_progress"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_the_code_it_runs(name: str) -> None:
    """DVC re-runs a stage when a module that decides its result changes."""
    deps = [ROOT / dep for dep in STAGES[name]["deps"]]
    needed = {p for p in _imports(ROOT / f"pipelines/{name}.py") if p.stem not in PLUMBING}
    if re.search(r"load_demand|family_module|\b(learn|learned|regress)\(", (ROOT / f"pipelines/{name}.py").read_text()):
        needed |= set((ROOT / "pipelines/candidates").glob("*.py"))  # families are imported by name
    missing = [str(p.relative_to(ROOT)) for p in needed if not any(p == d or d in p.parents for d in deps)]
    assert missing == []


def test_what_decides_how_offers_are_read_is_tracked() -> None:
    """`prepare` runs again when the shapes or terms of any candidate change, and for no other setting of theirs."""
    tracked = {name: keys for params in STAGES["prepare"]["params"] for name, keys in params.items()}
    models = {f"conf/model/{path.name}" for path in (ROOT / "conf/model").glob("*.yaml")}
    assert {name: ["curve", "terms"] for name in models} == {k: v for k, v in tracked.items() if k in models}


def test_only_evaluation_reads_the_truth() -> None:
    """No stage that makes features or candidates depends on data/truth or on a module that reads it."""
    allowed = {"baselines", "evaluate", "certify"}
    assert allowed == {name for name, stage in STAGES.items() if "data/truth" in stage["deps"]}
    for name in ("clean", "features", "overlap", "prepare", "train", "ensemble", "export", "choose"):
        texts = [p.read_text() for p in _imports(ROOT / f"pipelines/{name}.py")]
        assert not any("data/truth" in text for text in texts), name


@pytest.mark.parametrize("source", sorted(p.stem for p in (ROOT / "conf/source").glob("*.yaml")))
@pytest.mark.parametrize("guardrails", sorted(p.stem for p in (ROOT / "conf/guardrails").glob("*.yaml")))
@pytest.mark.parametrize("experiment", sorted(p.stem for p in (ROOT / "conf/experiment").glob("*.yaml")))
def test_every_conf_file_composes(source: str, guardrails: str, experiment: str) -> None:
    """Every choice in conf/ gives a checked configuration, where an experiment is for that source."""
    if experiment != "none" and source != "market":
        pytest.skip(f"{experiment} is an experiment on the market")
    words = [f"source={source}", f"guardrails={guardrails}", f"experiment={experiment}"]
    cfg = load(words, ROOT / "conf")
    assert source == cfg.source.name
    assert set(cfg.candidates) == set(cfg.model)


def test_conf_files_are_literal() -> None:
    """An interpolation in conf/ would break `dvc exp run -S`."""
    assert [] == [str(p) for p in (ROOT / "conf").rglob("*.yaml") if "${" in p.read_text()]


def test_the_lock_names_no_address_and_hashes_everything() -> None:
    """The lock file has names, versions and hashes only."""
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pinned = re.findall(r"^[A-Za-z0-9_.-]+==\S+", text, flags=re.M)
    assert len(pinned) > 100
    assert text.count("--hash=sha256:") >= len(pinned)


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    """No package registry's host and no absolute home or scratch path is tracked."""
    hosts = "|".join(["py" + "pi", "python" + "hosted", "np" + "mjs", "deb" + "ian"])
    private = re.compile(rf"({hosts})[.]o[r]g|(^|[^a-z.])/(t[m]p|wo[r]k|ro[o]t)/")
    found = []
    for name in _listed():
        path = ROOT / name
        if path.suffix not in {".png", ".parquet"}:
            found += [name for line in path.read_text(errors="ignore").splitlines() if private.search(line)]
    assert found == []


def test_data_and_models_stay_out_of_git() -> None:
    """Only .gitignore files are tracked below data/ and models/."""
    inside = [f for f in _listed() if f.startswith(("data/", "models/")) and not f.endswith(".gitignore")]
    assert inside == []
