"""train: the encoded training window -> one candidate's demand curve, stopped and tuned on the valid window.

Usage: python -m pipelines.train candidate=gbm
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import tracking
from pipelines.candidates import Candidate, History, learn
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import digest_folder, read_table, replacing, write_json
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd

OFFERS = Path("data/offers")


def read_window(name: str, info: OffersInfo) -> pd.DataFrame:
    """Return what a candidate may read of a window: the context's columns, the price shown and the outcome."""
    path = OFFERS / f"{name}.parquet"
    window = read_table(path, [*info.numeric, *info.categorical, "multiplier", "bought"])
    if window.empty:
        raise InputError(f"{path} has no offers: nothing can be learned; widen the source's time or the split")
    return window


def write(folder: Path, candidate: Candidate, history: History, about: dict[str, Any]) -> None:
    """Write the candidate, its learning curves (history.csv) and what it was learned from (about.json), as one."""
    import pandas as pd

    with replacing(folder) as draft:
        candidate.save(draft)
        curves = pd.DataFrame(history)
        curves.insert(0, "step", np.arange(len(curves)))
        curves.to_csv(draft / "history.csv", index=False)
        write_json(draft / "about.json", about)


def main(cfg: Config) -> None:
    """Write models/candidates/<name>/demand/ and log the run to MLflow."""
    if cfg.candidate is None:
        raise InputError("train: which candidate? e.g. python -m pipelines.train candidate=gbm")
    name, settings, info = cfg.candidate, cfg.model[cfg.candidate], OffersInfo.read(OFFERS / "offers.json")
    windows = {window: read_window(window, info) for window in ("train", "valid")}
    rows, folder = {k: len(w) for k, w in windows.items()}, Path("models/candidates") / name / "demand"
    started = time.perf_counter()
    candidate, history = learn(windows["train"], windows["valid"], (info.numeric, info.categorical), settings, cfg.seed)
    seconds, best = time.perf_counter() - started, min(history["valid_log_loss"])
    about = {"data_sha256": info.sha256, "seed": cfg.seed, "settings": asdict(settings), "rows": rows}
    write(folder, candidate, history, {"candidate": name, **about})
    tracking.start(cfg)
    with tracking.candidate_run(cfg, name, info.sha256, digest_folder(folder)):
        tracking.log_learning(history, rows)
    print(f"train {name}: log loss {best:.4f} on the valid window, learned in {seconds:.0f} s -> {folder}")


if __name__ == "__main__":
    stage(main)
