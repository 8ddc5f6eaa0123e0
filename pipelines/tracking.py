"""MLflow in one place: one parent run per data, one child run per candidate, found again by their tags.

Stages are separate processes and any of them may be re-run alone, so a run is looked up by what it is about and
made only where it is missing, for instance after the database was deleted.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by MLflow when it is imported: no usage data leaves the machine.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipelines.candidates import History
    from pipelines.config import Config

# Tags by which a run is found again.
_ROLE, _DATA, _CANDIDATE, _MODEL = "role", "data_sha256", "candidate", "model_sha256"


def start(cfg: Config) -> None:
    """Point MLflow at the configured store and experiment; a new store gets its tables now, once."""
    import mlflow

    reach(cfg)
    mlflow.set_experiment(cfg.tracking.experiment)


def reach(cfg: Config) -> None:
    """Point MLflow at the configured store, which is neither asked nor made."""
    import mlflow

    # bars for a file or two would drown what there is to tell
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.WARNING)  # a new database is nothing to tell a user about
    mlflow.set_tracking_uri(cfg.tracking.uri)


@contextmanager
def candidate_run(cfg: Config, name: str, data_sha256: str, model_sha256: str) -> Iterator[Run]:
    """Make the run of one trained candidate the active one; `model_sha256` is that of its demand/ folder.

    A new run gets settings, seed and git commit at once.
    """
    import mlflow

    parent = _found({_ROLE: "data", _DATA: data_sha256}) or _new_parent(cfg, data_sha256)
    tags = {_ROLE: "candidate", _CANDIDATE: name, _DATA: data_sha256, _MODEL: model_sha256}
    known = _found(tags)
    if known is not None:
        with mlflow.start_run(run_id=known) as run:
            yield run
        return
    tags["git_commit"] = git_commit()
    with mlflow.start_run(run_name=name, parent_run_id=parent, nested=True, tags=tags) as run:
        mlflow.log_params({"seed": cfg.seed, "source": cfg.source.name or cfg.source.kind, **_settings(cfg, name)})
        yield run


def log_learning(history: History, rows: Mapping[str, int]) -> None:
    """Log learning curves by step and the windows' sizes to the active run."""
    from mlflow.entities import Metric

    run = _active()
    began = run.info.start_time  # not now: logged again, the same curve must be the same points
    curves = [
        Metric(name, float(value), began, step) for name, values in history.items() for step, value in enumerate(values)
    ]
    single = {"best_select_log_loss": min(history["select_log_loss"]), **{f"{k}_rows": n for k, n in rows.items()}}
    _log(run, [*curves, *(Metric(name, float(value), began, 0) for name, value in single.items())])


def log_scorecard(card: Mapping[str, Any], plots: Path) -> None:
    """Log every number of a scorecard (nested ones by dotted names) and a folder of plots to the active run."""
    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = {k: v for k, v in flat(card).items() if isinstance(v, (int, float))}
    _log(_active(), [Metric(name, float(value), now, 0) for name, value in numbers.items()])
    mlflow.log_artifacts(str(plots), "plots")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def git_commit() -> str:
    """Return the checked-out commit, or 'unknown' outside a git repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _settings(cfg: Config, name: str) -> dict[str, Any]:
    return flat(asdict(cfg.model[name])) if name in cfg.model else {}  # an ensemble has none of its own


def _found(tags: dict[str, str]) -> str | None:
    """Return the id of the newest live run with all these tags, or None."""
    import mlflow

    words = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = mlflow.search_runs(filter_string=words, max_results=1, output_format="list")
    return str(runs[0].info.run_id) if runs else None


def _new_parent(cfg: Config, data_sha256: str) -> str:
    import mlflow

    source = cfg.source.name or cfg.source.kind
    tags = {_ROLE: "data", _DATA: data_sha256, "source": source}
    with mlflow.start_run(run_name=f"{source} {data_sha256[:8]}", tags=tags) as run:
        return str(run.info.run_id)


def _active() -> Run:
    import mlflow

    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("log inside `with candidate_run(…)`: there is no run to log to")
    return run


def _log(run: Run, metrics: list[Any]) -> None:
    """Log many metrics with few calls; MLflow takes at most 1,000 at once."""
    import mlflow

    for first in range(0, len(metrics), 1000):
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=metrics[first : first + 1000])
