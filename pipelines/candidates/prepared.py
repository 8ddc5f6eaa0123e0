"""What candidates learn from: the windows, and how they are read, as `prepare` found it for all candidates at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates.learning import Readings, weighted
from pipelines.errors import InputError
from pipelines.files import digest, digest_folder, read_json, read_table, write_json
from pipelines.logging_policy import FOLDER
from pipelines.tables import OffersInfo

if TYPE_CHECKING:
    import pandas as pd

OFFERS, PREPARED = Path("data/offers"), Path("models/prepared")
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


def asked(settings: Any, info: OffersInfo, seed: int) -> dict[str, Any]:
    """Return what decides how a candidate reads offers: shapes and number of terms to choose from, offers, and seed.

    Of the offers also what `overlap` said: weights and controls come from there.
    """
    made_of = {"offers": digest(OFFERS / "offers.json"), "windows": info.sha256, "overlap": digest_folder(FOLDER)}
    return {"curve": [*settings.curve], "terms": settings.terms, "seed": seed, "sha256": made_of}


def write_readings(folder: Path, candidate: str, wants: dict[str, Any], found: Readings) -> None:
    """Keep in `folder` how a candidate is to read its offers; wants: what it `asked`."""
    write_json(folder / f"{candidate}.json", {"asked": wants, **found.to_json()})


def read_readings(candidate: str, wants: dict[str, Any]) -> Readings | None:
    """Return what was kept, or None where nothing was, or what was kept is of other settings or offers."""
    path = PREPARED / f"{candidate}.json"
    told = read_json(path) if path.is_file() else {}
    return Readings.from_json(told) if told.get("asked") == wants else None
