"""ensemble: the candidates' demand curves, averaged with the weights that the select window likes best.

Written like a candidate: trial/ averages the trials, which the select window may judge; demand/ the settled demands.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import tracking
from pipelines.candidates import load_demand
from pipelines.candidates.controls import scored
from pipelines.candidates.damping import damp
from pipelines.candidates.ensemble import Ensemble, stacked
from pipelines.candidates.learning import weighted
from pipelines.config import Config, stage
from pipelines.demand import log_loss, probability
from pipelines.files import digest_folder, read_table, replacing, write_json
from pipelines.logging_policy import FOLDER, judged
from pipelines.tables import OffersInfo

NAME = "ensemble"
OFFERS, CANDIDATES = Path("data/offers"), Path("models/candidates")


def window(name: str, shown: pd.DataFrame) -> pd.DataFrame:
    """Return the offers of a window that curves are held against, with `weight` and `shock`; shown: by `overlap`."""
    part = shown[shown["window"] == name]
    offers = read_table(OFFERS / f"{name}.parquet").assign(shock=part["shock"].to_numpy(float))
    return judged(weighted(offers, part["propensity"].to_numpy(float)))


def main(cfg: Config) -> None:
    """Write models/candidates/ensemble/{trial,demand}/ and log the run to MLflow."""
    info, shown = OffersInfo.read(OFFERS / "offers.json"), read_table(FOLDER / "offers.parquet")
    fit, select = (window(name, shown) for name in ("fit", "select"))
    trials, demands = (
        {name: load_demand(CANDIDATES / name / kind).demand for name in cfg.candidates} for kind in ("trial", "demand")
    )
    rows, rung, bought, weight = np.arange(len(select)), *(select[c].to_numpy() for c in ("rung", "bought", "weight"))
    curves = {name: probability(scored(trial), select)[rows, rung] for name, trial in trials.items()}
    shares = stacked(curves, bought, weight)
    first, settled = (
        Ensemble(tuple(shares), tuple(d[n] for n in shares), tuple(shares.values())) for d in (trials, demands)
    )
    trial, demand = damp(first, settled, fit, select)
    loss = log_loss(bought, probability(scored(trial.demand), select)[rows, rung], weight)
    about = {"candidate": NAME, "data_sha256": info.sha256, "weights": shares, "damping": trial.share}
    for kind, one in {"trial": trial, "demand": demand}.items():
        with replacing(CANDIDATES / NAME / kind) as draft:
            one.save(draft)
            write_json(draft / "about.json", about)
    tracking.start(cfg)
    with tracking.candidate_run(cfg, NAME, info.sha256, digest_folder(CANDIDATES / NAME / "demand")):
        tracking.log_learning({"select_log_loss": [loss]}, {"select": len(select)})
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    print(f"ensemble: log loss {loss:.4f} on the select window; weights {told} -> {CANDIDATES / NAME}")


if __name__ == "__main__":
    stage(main)
