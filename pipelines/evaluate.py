"""evaluate: a candidate's policy graph on the test window -> its scorecard and plots.

Usage: python -m pipelines.evaluate candidate=gbm
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines import charts, graph, scorecard, tracking
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import digest_folder, read_json, read_table, replacing, write_json
from pipelines.manifest import GRAPH, Manifest
from pipelines.tables import OffersInfo
from pipelines.window import OFFERS, read_window, targets


def main(cfg: Config) -> None:
    """Write models/scorecards/<name>.json and models/plots/<name>/, and log both to the candidate's MLflow run."""
    if cfg.candidate is None:
        raise InputError("evaluate: which candidate? e.g. python -m pipelines.evaluate candidate=gbm")
    folder, plots = Path("models/candidates") / cfg.candidate, Path("models/plots") / cfg.candidate
    manifest, session = Manifest.read(folder), graph.session(folder / GRAPH)
    window, valid = read_window(OffersInfo.read(OFFERS / "offers.json")), read_table(OFFERS / "valid.parquet")
    listed, _ = targets(graph.session(Path("models/baselines/list_price") / GRAPH), window)
    bounds = read_json(Path("models/scorecards/baselines.json"))["bounds"]
    card = scorecard.of_graph(manifest, session, window, listed, bounds, cfg.gate.confidence)
    on_valid, _ = scorecard.shown_probability(session, manifest, valid)
    card["valid_log_loss"] = scorecard.balanced_log_loss(valid["bought"].to_numpy(np.int64), on_valid, valid)
    with replacing(plots) as draft:
        charts.draw(draft, manifest, session, window)
    write_json(Path("models/scorecards") / f"{cfg.candidate}.json", card)
    tracking.start(cfg)
    with tracking.candidate_run(cfg, cfg.candidate, manifest.data_sha256, digest_folder(folder / "demand")):
        tracking.log_scorecard(card, plots)
    print(f"evaluate {cfg.candidate}: log loss {card['log_loss']:.4f}, {card['profit_per_1000']:,.0f} per 1,000 offers")


if __name__ == "__main__":
    stage(main)
