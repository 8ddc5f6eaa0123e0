"""overlap: what the log can and cannot tell of prices: which rungs were shown to whom, and what speaks against it.

Reads the fit and select windows and writes models/overlap/: `shown.json` and `impersonal.json` (which rungs such
contexts were shown, by all columns and by those that are not personal), `offers.parquet` (offer_id, window,
propensity, usual, shock), `report.json`; where rows are flagged as randomised also `chosen.json` and `drawn.json`,
the policies of the other rows and of those.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import control, refutation, wording
from pipelines.balance import balance, misfits, per_rung, predictable
from pipelines.config import Config, stage
from pipelines.files import read_table, replacing, write_json, write_table
from pipelines.logging_policy import (
    CHOSEN,
    DRAWN,
    FOLDER,
    IMPERSONAL,
    SHOWN,
    LoggingPolicy,
    assigned,
    cross_fitted,
    logged_or,
    randomised,
)
from pipelines.tables import OffersInfo

OFFERS = Path("data/offers")
SUPPORT = 0.02  # estimated probability below which a rung counts as hardly shown to such contexts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Overlap:
    """What the stage found: logging policies by file name, one row per offer, and the report."""

    policies: dict[str, LoggingPolicy]
    table: pd.DataFrame
    report: dict[str, Any]


def studied(offers: pd.DataFrame, info: OffersInfo, seed: int, support: float = SUPPORT) -> Overlap:
    """Return what the log says of `offers`: the fit and select windows together, told apart by the column `window`."""
    columns, rungs = (info.numeric, info.categorical), len(info.ladder)
    policies = fitted(offers, info, seed)
    probability = _assigned(offers, columns, rungs, policies, seed)
    propensity = logged_or(offers, probability)
    usual = probability @ np.log(np.array(info.ladder))
    z, shopper = policies[SHOWN].encoder.encode(offers), pd.factorize(offers["shopper_id"])[0]
    price = np.log(offers["multiplier"].to_numpy(float))
    spread = max(float(price.std()), 1e-12)
    t, usual_t = (price - price.mean()) / spread, (usual - price.mean()) / spread
    shock, ground = _shock(offers, info, z, t, usual_t, shopper)
    report = {
        "offers": len(offers),
        "propensity_logged": info.propensity_logged,
        "unsummed": info.unsummed,
        "listed": info.listed,
        "everywhere": info.everywhere,
        "support": support,
        "rungs": per_rung(
            offers["rung"].to_numpy(int), propensity, policies[SHOWN].of(z), info.ladder, support, shopper
        ),
        "balance": balance(z, policies[SHOWN].encoder.names, offers["rung"].to_numpy(int), propensity, info.ladder),
        "predictable": predictable(usual, probability, offers["rung"].to_numpy(int)),
        **refuted(z, t, offers["bought"].to_numpy(int), shopper, shock, seed),
        **ground,
    }
    report["findings"] = findings(report)
    named = offers[["offer_id", "window"]].reset_index(drop=True)
    return Overlap(policies, named.assign(propensity=propensity, usual=usual, shock=shock), report)


def _or_not_everywhere(everywhere: bool) -> str:
    """Return what else a mean weight below 1 may say."""
    if not everywhere:
        return ""
    return ", or not every offer could get that price (then set source.every_price to false)"


def fitted(offers: pd.DataFrame, info: OffersInfo, seed: int) -> dict[str, LoggingPolicy]:
    """Return the logging policies by file name; `drawn` is learned on the randomised rows of the fit window."""
    rungs, whole = len(info.ladder), (info.numeric, info.categorical)
    kept = [tuple(n for n in names if n not in info.personal) for names in whole]
    made = {
        SHOWN: LoggingPolicy.fit(offers, whole, rungs, seed),
        IMPERSONAL: LoggingPolicy.fit(offers, (kept[0], kept[1]), rungs, seed),
    }
    by_chance = randomised(offers)
    early = by_chance & (offers["window"] == "fit").to_numpy()
    if info.anchored and early.any():
        made[DRAWN] = LoggingPolicy.fit(offers[early], ((), ()), rungs, seed)
        made[CHOSEN] = made[DRAWN] if by_chance.all() else LoggingPolicy.fit(offers[~by_chance], whole, rungs, seed)
    return made


def _assigned(
    offers: pd.DataFrame,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    rungs: int,
    policies: dict[str, LoggingPolicy],
    seed: int,
) -> Floats:
    """Return the probabilities (N, K) by which each offer got its rung, cross-fitted where they were estimated."""
    drawn = policies.get(DRAWN)
    chosen = np.ones(len(offers), bool) if drawn is None else ~randomised(offers)
    found = np.zeros((len(offers), rungs))
    strength = policies[SHOWN if drawn is None else CHOSEN].strength
    if chosen.any():
        found[chosen] = cross_fitted(offers[chosen], columns, rungs, seed, strength)
    return assigned(offers, found, drawn)


def _shock(
    offers: pd.DataFrame, info: OffersInfo, z: NDArray[Any], t: Floats, usual: Floats, shopper: NDArray[Any]
) -> tuple[Floats, dict[str, Any]]:
    """Return the shock (N,), 0 where nothing tells it, and what the report says of where it comes from."""
    if info.instrument:
        first = control.first_stage(z, t, offers["instrument"].to_numpy(float), shopper)
        f = first.f if np.isfinite(first.f) else None
        return first.shock, {"instrument": {"f": f, "effect": first.effect, "weak": first.weak}}
    if info.anchored:
        flags = offers["randomised"].to_numpy(float)
        return control.anchored_shock(t, usual, flags), {"anchor": {"share": float((flags == 1).mean())}}
    return np.zeros(len(t)), {}


def refuted(
    z: NDArray[Any], t: Floats, bought: NDArray[Any], shopper: NDArray[Any], shock: Floats, seed: int
) -> dict[str, Any]:
    """Return the price's slope with its sign checked, the placebos, and where there is a shock its test."""
    slope = refutation.price_slope(z, t, bought, shopper)
    shuffled = refutation.placebo(z, t, bought, shopper, seed)
    placebos = {"shows_effect": shuffled.shows_effect, **asdict(shuffled), "z": list(shuffled.z)}
    found: dict[str, Any] = {"slope": asdict(slope), "placebo": placebos}
    judged = slope
    if shock.std() > 0:
        test = control.endogeneity(z, t, bought, shock, shopper)
        found["endogeneity"] = asdict(test)
        judged = test.corrected
    return {**found, "wrong_signed": refutation.wrong_signed(judged)}


def findings(report: dict[str, Any]) -> list[dict[str, str]]:
    """Return what a person must know of the log, the gravest first: FAIL, REVIEW or NOTE, each with its reason."""
    slope, placebos, least = report["slope"], report["placebo"], report["support"]
    instrument, test = report.get("instrument", {}), report.get("endogeneity", {})
    mended = wording.number(test.get("corrected", slope)["estimate"], "+.2f")
    hardly = [wording.rung_named(r["multiplier"], report["listed"]) for r in report["rungs"] if r["unsupported"] > 0.5]
    wrong = misfits(report["rungs"], report["everywhere"]) if report["propensity_logged"] else []
    said = [
        (
            "FAIL",
            report["wrong_signed"],
            f"demand rises with the price (slope {mended} per standard "
            "deviation of the log price, after the context): what raised prices also raised demand and is not in the "
            "context. Add it as a column, declare an instrument or randomised rows, or randomise some prices",
        ),
        (
            "FAIL",
            placebos["shows_effect"],
            "with the prices shuffled at random, so that they can have no effect, there still seems to be one (largest "
            f"|z| {placebos['largest']:.1f}): rows are not independent as assumed, and margins of error are too small; "
            "name the column that groups rows with source.columns.shopper",
        ),
        (
            "REVIEW",
            bool(wrong),
            "the logged propensities do not fit the prices shown: over all offers, 1 / propensity of those that got a "
            f"price must be 1 on average; it is {wording.misfits(wrong, report['listed'])}. Above 1 they are too "
            f"small, below 1 too large{_or_not_everywhere(report['everywhere'])}. Log the probability with which each "
            "offer got its own price, or set source.columns.propensity to null",
        ),
        (
            "REVIEW",
            instrument.get("weak", False),
            f"the instrument hardly moves the price (F {instrument.get('f') or 0:.1f}, at least {control.WEAK:g} is "
            "needed): it is not used",
        ),
        (
            "REVIEW",
            test.get("p_value", 1.0) < 0.05,
            f"prices answered to something hidden (p {test.get('p_value', 1.0):.2g}): the slope is "
            f"{wording.number(slope['estimate'], '+.2f')} without and {mended} with the control",
        ),
        (
            "REVIEW",
            not report["propensity_logged"],
            f"{wording.unknown_chances(report['unsummed'])}; propensities are estimated: what a price does is "
            "observational here",
        ),
        (
            "NOTE",
            bool(hardly),
            f"hardly shown (below {least:.0%}) to most contexts: {', '.join(hardly)}; little is known of demand there",
        ),
    ]
    return [{"verdict": verdict, "reason": reason} for verdict, holds, reason in said if holds]


def main(cfg: Config) -> None:
    """Write models/overlap/ from the fit and select windows."""
    info = OffersInfo.read(OFFERS / "offers.json")
    parts = [read_table(OFFERS / f"{name}.parquet").assign(window=name) for name in ("fit", "select")]
    found = studied(pd.concat(parts, ignore_index=True), info, cfg.seed)
    with replacing(FOLDER) as draft:
        for name, policy in found.policies.items():
            policy.save(draft / name)
        write_table(draft / "offers.parquet", found.table)
        write_json(draft / "report.json", found.report)
    slope = found.report["slope"]
    told = [f"\n  {f['verdict']}: {f['reason']}" for f in found.report["findings"]]
    moved = f"{wording.number(slope['estimate'], '+.3f')} ± {slope['standard_error']:.3f}"
    print(f"overlap: slope {moved} -> {FOLDER}/{''.join(told)}")


if __name__ == "__main__":
    stage(main)
