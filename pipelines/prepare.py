"""prepare: how offers are read by whoever learns from them, found once for all candidates that choose from the same.

That is the encoder, the terms beside the context and the shape of the demand curve (`candidates.learning.Readings`),
which take longer to find than most candidates to learn.
Usage: python -m pipelines.prepare
"""

from __future__ import annotations

import time

from pipelines.candidates._progress import steps
from pipelines.candidates.controls import Controls
from pipelines.candidates.learning import Readings, readings
from pipelines.candidates.prepared import OFFERS, PREPARED, asked, read_window, write_readings
from pipelines.config import Config, stage
from pipelines.files import replacing
from pipelines.tables import OffersInfo


def main(cfg: Config) -> None:
    """Write models/prepared/<candidate>.json for every candidate."""
    info, started = OffersInfo.read(OFFERS / "offers.json"), time.perf_counter()
    fit, select = (read_window(window, info) for window in ("fit", "select"))
    columns, controls = (info.numeric, info.categorical), Controls.of(info, fit)
    wants = {name: asked(cfg.model[name], info, cfg.seed) for name in cfg.candidates}
    different = [name for at, name in enumerate(wants) if wants[name] not in [*wants.values()][:at]]
    found: list[tuple[dict[str, object], Readings]] = []
    with steps(len(different), "", doing="prepare") as advance:
        for name in different:
            found.append(
                (wants[name], readings(fit, select, columns, info.ladder, cfg.model[name], cfg.seed, controls))
            )
            advance()
    with replacing(PREPARED) as draft:
        for name, want in wants.items():
            write_readings(draft, name, want, next(one for known, one in found if known == want))
    shapes = ", ".join(f"{one.shape} with {len(one.settled.terms.kind)} terms" for _, one in found)
    print(f"prepare: {shapes}, found in {time.perf_counter() - started:.0f} s -> {PREPARED}")


if __name__ == "__main__":
    stage(main)
