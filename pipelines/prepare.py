"""prepare: how offers are read by whoever learns from them, found once for all candidates that choose from the same.

That is the encoder, the terms beside the context and the shape of the demand curve (`candidates.learning.Readings`),
which take longer to find than most candidates to learn.
Usage: python -m pipelines.prepare
"""

from __future__ import annotations

import time

from pipelines.candidates._progress import steps
from pipelines.candidates.controls import Controls
from pipelines.candidates.learning import readings
from pipelines.candidates.prepared import OFFERS, PREPARED, asked, read_window, write_readings
from pipelines.config import Config, stage
from pipelines.files import replacing
from pipelines.tables import OffersInfo


def main(cfg: Config) -> None:
    """Write models/prepared/<candidate>.json for every candidate."""
    info, started = OffersInfo.read(OFFERS / "offers.json"), time.perf_counter()
    fit, select = (read_window(window, info) for window in ("fit", "select"))
    columns, controls = (info.numeric, info.categorical), Controls.of(info, fit)
    alike: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for name in cfg.candidates:
        alike.setdefault((cfg.model[name].curve, cfg.model[name].terms), []).append(name)
    told = []
    with replacing(PREPARED) as draft, steps(len(alike), "", doing="prepare") as advance:
        for names in alike.values():
            settings = cfg.model[names[0]]
            wants = asked(settings, info, cfg.seed)
            found = readings(fit, select, columns, info.ladder, settings, cfg.seed, controls)
            for name in names:
                write_readings(draft, name, wants, found)
            told.append(f"{found.shape} with {len(found.settled.terms.kind)} terms")
            advance()
    print(f"prepare: {', '.join(told)}, found in {time.perf_counter() - started:.0f} s -> {PREPARED}")


if __name__ == "__main__":
    stage(main)
