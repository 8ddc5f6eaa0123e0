"""export: a trained candidate -> one ONNX policy graph with the guardrails in it, checked against Python.

Usage: python -m pipelines.export candidate=gbm
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import read_json, read_table
from pipelines.knowledge import known
from pipelines.packing import pack, priced, terms_of
from pipelines.tables import OffersInfo

OFFERS = Path("data/offers/offers.json")


def described(about: dict[str, Any]) -> str:
    """Return in a sentence what the demand in a folder is, from what `train` or `ensemble` wrote beside it."""
    damping = f"{about['damping']:.0%} of the personal deviation from the pooled curve believed"
    if "weights" in about:
        return f"mean of {', '.join(f'{n} ({w:.0%})' for n, w in about['weights'].items())}; {damping}"
    return f"log-odds q(m) = g(alpha - beta t(m)), shape {about['shape']}; {damping}"


def main(cfg: Config) -> None:
    """Write models/candidates/<name>/policy.onnx and policy.json."""
    if cfg.candidate is None:
        raise InputError("export: which candidate? e.g. python -m pipelines.export candidate=gbm")
    folder, info = Path("models/candidates") / cfg.candidate, priced(OffersInfo.read(OFFERS))
    family = cfg.model[cfg.candidate].family if cfg.candidate in cfg.model else cfg.candidate
    offers, about = read_table(Path("data/offers/select.parquet")), read_json(folder / "demand" / "about.json")
    knowledge = known(folder / "demand", info, cfg.guardrails, Path("models/baselines/impersonal"))
    terms = terms_of(cfg, info)
    check = pack(folder, cfg, info, offers, knowledge, terms, cfg.candidate, family, described(about)).check
    verdict = "agrees with Python" if check["passed"] else "DISAGREES with Python and cannot be chosen"
    share = f"{check['same_price']:.2%} of {check['contexts']:,} prices"
    if cfg.guardrails.caution > 0 and len(knowledge.personal.demand.weights) == 1:
        print(f"export {cfg.candidate}: guardrails.caution has no effect here: one curve cannot disagree with itself")
    print(f"export {cfg.candidate}: {verdict} on {share} -> {folder}/policy.onnx")


if __name__ == "__main__":
    stage(main)
