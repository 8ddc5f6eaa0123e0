"""export: a trained candidate -> one ONNX policy graph with the guardrails in it, checked against Python.

Usage: python -m pipelines.export candidate=gbm
"""

from __future__ import annotations

from pathlib import Path

from pipelines.candidates import load_candidate
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import read_table
from pipelines.packing import pack, terms_of
from pipelines.tables import OffersInfo


def main(cfg: Config) -> None:
    """Write models/candidates/<name>/policy.onnx and policy.json."""
    if cfg.candidate is None:
        raise InputError("export: which candidate? e.g. python -m pipelines.export candidate=gbm")
    folder, family = Path("models/candidates") / cfg.candidate, cfg.model[cfg.candidate].family
    info = OffersInfo.read(Path("data/offers/offers.json"))
    offers = read_table(Path("data/offers/valid.parquet"))
    candidate = load_candidate(folder / "demand", family)
    manifest = pack(folder, cfg, info, offers, candidate, terms_of(cfg, info, candidate.curve), cfg.candidate, family)
    check = manifest.check
    verdict = "agrees with Python" if check["passed"] else "DISAGREES with Python and cannot be chosen"
    share = f"{check['same_price']:.2%} of {check['contexts']:,} prices"
    print(f"export {cfg.candidate}: {verdict} on {share} -> {folder}/policy.onnx")


if __name__ == "__main__":
    stage(main)
