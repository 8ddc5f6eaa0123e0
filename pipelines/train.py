"""train: one candidate's demand, learned twice: a trial on the fit window, and, settled, on fit and select together.

The trial is tuned on the select window and judged there; the settled demand is what is exported and may price.
Usage: python -m pipelines.train candidate=gbm
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import tracking
from pipelines.candidates.controls import Controls
from pipelines.candidates.damping import damp
from pipelines.candidates.learning import Learned, learned, readings
from pipelines.candidates.prepared import OFFERS, PREPARED, asked, read_readings, read_window
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import digest_folder, replacing, write_json
from pipelines.logging_policy import judged
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd


def write(folder: Path, found: Learned, fit: pd.DataFrame, select: pd.DataFrame, about: dict[str, Any]) -> float:
    """Write trial/ and demand/, both damped as the select window bears out; return the share of deviation believed."""
    import pandas as pd

    trial, demand = damp(found.trial, found.demand, judged(fit), judged(select))
    for name, one in {"trial": trial, "demand": demand}.items():
        with replacing(folder / name) as draft:
            one.save(draft)
            curves = pd.DataFrame(found.history)
            curves.insert(0, "step", np.arange(len(curves)))
            curves.to_csv(draft / "history.csv", index=False)
            told = {"shape": found.shape, "shape_losses": found.shape_losses, "damping": trial.share}
            write_json(draft / "about.json", {**about, **told, "settled": asdict(found.settled)})
    return trial.share


def main(cfg: Config) -> None:
    """Write models/candidates/<name>/{trial,demand}/ and models/trained/<name>.json, and log the run to MLflow."""
    if cfg.candidate is None:
        raise InputError("train: which candidate? e.g. python -m pipelines.train candidate=gbm")
    name, settings, info = cfg.candidate, cfg.model[cfg.candidate], OffersInfo.read(OFFERS / "offers.json")
    fit, select = (read_window(window, info) for window in ("fit", "select"))
    started, controls = time.perf_counter(), Controls.of(info, fit)
    found = read_readings(name, asked(settings, info, cfg.seed))
    if found is None:  # it is tried out by hand, with settings or offers that `prepare` did not see
        print(f"train {name}: {PREPARED} knows nothing of these settings and offers, so terms and shape are found here")
        found = readings(fit, select, (info.numeric, info.categorical), info.ladder, settings, cfg.seed, controls)
    result = learned(found, fit, select, settings, cfg.seed, controls)
    seconds, best = time.perf_counter() - started, min(result.history["select_log_loss"])
    folder, rows = Path("models/candidates") / name, {"fit": len(fit), "select": len(select)}
    about = {
        "candidate": name,
        "data_sha256": info.sha256,
        "seed": cfg.seed,
        "settings": asdict(settings),
        "rows": rows,
    }
    damping = write(folder, result, fit, select, about)
    digests = {part: digest_folder(folder / part) for part in ("trial", "demand")}
    write_json(Path("models/trained") / f"{name}.json", digests)  # by which `ensemble` sees that something changed
    tracking.start(cfg)
    with tracking.candidate_run(cfg, name, info.sha256, digests["demand"]):
        tracking.log_learning(result.history, rows)
    print(
        f"train {name}: log loss {best:.4f} on the select window ({result.shape}, {damping:.0%} of the personal "
        f"deviation believed), learned in {seconds:.0f} s -> {folder}"
    )


if __name__ == "__main__":
    stage(main)
