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
from pipelines.candidates.learning import Learned, learn, weighted
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import digest_folder, read_table, replacing, write_json
from pipelines.logging_policy import FOLDER, judged
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd

OFFERS = Path("data/offers")
_ABOUT_OFFERS = ("offer_id", "multiplier", "rung", "list_price", "unit_cost", "bought")


def read_window(name: str, info: OffersInfo) -> pd.DataFrame:
    """Return what a candidate may read of a window: context, offer, outcome, and how its price came about."""
    path = OFFERS / f"{name}.parquet"
    flags = ("randomised",) if info.anchored else ()
    window = read_table(path, list(dict.fromkeys((*info.numeric, *info.categorical, *_ABOUT_OFFERS, *flags))))
    if window.empty:
        raise InputError(f"{path} has no offers: nothing can be learned; widen the source's time or the split")
    shown = read_table(FOLDER / "offers.parquet").query("window == @name")
    if not np.array_equal(shown["offer_id"].to_numpy(object), window["offer_id"].to_numpy(object)):
        raise InputError(f"{FOLDER / 'offers.parquet'} speaks of other offers than {path}: run `dvc repro`")
    columns = ["propensity", "usual", "shock"]
    return weighted(window.assign(**{c: shown[c].to_numpy(float) for c in columns}))


def write(folder: Path, learned: Learned, fit: pd.DataFrame, select: pd.DataFrame, about: dict[str, Any]) -> float:
    """Write trial/ and demand/, both damped as the select window bears out; return the share of deviation believed."""
    import pandas as pd

    trial, demand = damp(learned.trial, learned.demand, judged(fit), judged(select))
    for name, one in {"trial": trial, "demand": demand}.items():
        with replacing(folder / name) as draft:
            one.save(draft)
            curves = pd.DataFrame(learned.history)
            curves.insert(0, "step", np.arange(len(curves)))
            curves.to_csv(draft / "history.csv", index=False)
            told = {"shape": learned.shape, "shape_losses": learned.shape_losses, "damping": trial.share}
            write_json(draft / "about.json", {**about, **told, "settled": asdict(learned.settled)})
    return trial.share


def main(cfg: Config) -> None:
    """Write models/candidates/<name>/{trial,demand}/ and models/trained/<name>.json, and log the run to MLflow."""
    if cfg.candidate is None:
        raise InputError("train: which candidate? e.g. python -m pipelines.train candidate=gbm")
    name, settings, info = cfg.candidate, cfg.model[cfg.candidate], OffersInfo.read(OFFERS / "offers.json")
    fit, select = (read_window(window, info) for window in ("fit", "select"))
    started, columns = time.perf_counter(), (info.numeric, info.categorical)
    learned = learn(fit, select, columns, info.ladder, settings, cfg.seed, Controls.of(info, fit))
    seconds, best = time.perf_counter() - started, min(learned.history["select_log_loss"])
    folder, rows = Path("models/candidates") / name, {"fit": len(fit), "select": len(select)}
    about = {
        "candidate": name,
        "data_sha256": info.sha256,
        "seed": cfg.seed,
        "settings": asdict(settings),
        "rows": rows,
    }
    damping = write(folder, learned, fit, select, about)
    digests = {part: digest_folder(folder / part) for part in ("trial", "demand")}
    write_json(Path("models/trained") / f"{name}.json", digests)  # by which `ensemble` sees that something changed
    tracking.start(cfg)
    with tracking.candidate_run(cfg, name, info.sha256, digests["demand"]):
        tracking.log_learning(learned.history, rows)
    print(
        f"train {name}: log loss {best:.4f} on the select window ({learned.shape}, {damping:.0%} of the personal "
        f"deviation believed), learned in {seconds:.0f} s -> {folder}"
    )


if __name__ == "__main__":
    stage(main)
