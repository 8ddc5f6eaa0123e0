"""The stage that says what a log can tell: overlap, balance, and what speaks against its prices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import overlap
from pipelines.balance import balance, mean_weight, misfits, per_rung, predictable
from pipelines.config import Config
from pipelines.files import read_json, write_table
from pipelines.logging_policy import LEAST, LoggingPolicy, propensities
from pipelines.pricing import Guardrails
from pipelines.sources import OffersSource
from pipelines.tables import OffersInfo

LADDER = (0.8, 1.0, 1.25)
INFO = OffersInfo("offers", "EUR", LADDER, ("age", "size"), (), propensity_logged=False, personal=("age",))


def log(rows: int = 3_000, hidden: float = 0.0, drawn: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Return offers whose rung follows age and a hidden shock that also moves demand; a share was drawn evenly."""
    rng = np.random.default_rng(seed)
    age, size, shock, cost = rng.normal(size=(4, rows))
    flag = (rng.random(rows) < drawn).astype(float)
    score = (age + 2 * hidden * shock + cost)[:, None] * np.array([-1.0, 0.0, 1.0])
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    p = np.where(flag[:, None] == 1, 1 / 3, p)
    rung = (rng.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1)
    multiplier = np.array(LADDER)[rung]
    q = 1 / (1 + np.exp(1 - 0.3 * age + 3 * np.log(multiplier) - 2 * hidden * shock))
    return pd.DataFrame(
        {
            "offer_id": [f"o{n}" for n in range(rows)], "shopper_id": [f"s{n}" for n in range(rows)],
            "window": np.where(np.arange(rows) < 0.7 * rows, "fit", "select"), "age": age, "size": size,
            "multiplier": multiplier, "rung": rung, "propensity": np.nan, "instrument": cost, "randomised": flag,
            "bought": (rng.random(rows) < q).astype(int),
        }
    )  # fmt: skip


def verdicts(found: overlap.Overlap) -> str:
    """Return all findings as one text."""
    return "\n".join(f"{f['verdict']}: {f['reason']}" for f in found.report["findings"])


@pytest.fixture(scope="module")
def plain() -> overlap.Overlap:
    """Return what an honest observational log says."""
    return overlap.studied(log(), INFO, 1)


def test_an_observational_log_is_marked_and_not_refuted(plain: overlap.Overlap) -> None:
    """Estimated propensities ask for a person; the sign is right and the placebos are still."""
    assert ["REVIEW"] == [f["verdict"] for f in plain.report["findings"]]
    assert "does not say how every price was chosen; propensities are estimated" in verdicts(plain)
    unsummed = overlap.findings(plain.report | {"unsummed": True})
    assert any("propensities of single prices" in finding["reason"] for finding in unsummed)
    assert not any("does not say" in finding["reason"] for finding in unsummed)
    assert plain.report["slope"]["z"] < -5
    assert (plain.table["shock"] == 0).all()
    assert plain.table["propensity"].between(LEAST, 1).all()


def test_weighting_restores_balance(plain: overlap.Overlap) -> None:
    """The context that decided the price is unlike from rung to rung, and alike once the offers are weighted."""
    found = plain.report["balance"]
    assert found["largest_before"] > 0.4
    assert found["largest_after"] < 0.1
    assert plain.report["predictable"]["concordance"] > 0.6


def test_a_hidden_shock_is_a_fail() -> None:
    """Where demand rises with the price the report fails the log and says why."""
    found = overlap.studied(log(hidden=1.0), INFO, 1)
    assert found.report["wrong_signed"]
    assert "FAIL: demand rises with the price" in verdicts(found)


def test_an_instrument_mends_the_sign() -> None:
    """With the cost shock declared the corrected slope falls again, and the endogeneity is told."""
    found = overlap.studied(log(hidden=1.0, rows=8_000), replace(INFO, instrument=True), 1)
    assert not found.report["wrong_signed"]
    assert not found.report["instrument"]["weak"]
    assert found.report["endogeneity"]["corrected"]["estimate"] < 0 < found.report["slope"]["estimate"]
    assert "REVIEW: prices answered to something hidden" in verdicts(found)
    assert found.table["shock"].std(ddof=0) == pytest.approx(1)


def test_a_weak_instrument_is_said() -> None:
    """A column that moves no price is reported, and gives no shock."""
    noise = log().assign(instrument=np.random.default_rng(9).normal(size=3_000))
    found = overlap.studied(noise, replace(INFO, instrument=True), 1)
    assert "REVIEW: the instrument hardly moves the price" in verdicts(found)
    assert (found.table["shock"] == 0).all()
    assert "endogeneity" not in found.report


def test_randomised_rows_anchor() -> None:
    """Flagged rows have no shock and the shares of their kind; the corrected slope falls."""
    offers = log(hidden=1.0, drawn=0.3, rows=8_000)
    found = overlap.studied(offers, replace(INFO, anchored=True), 1)
    flag = (offers["randomised"] == 1).to_numpy()
    assert {"shown.json", "impersonal.json", "chosen.json", "drawn.json"} == set(found.policies)
    assert (found.table.loc[flag, "shock"] == 0).all()
    assert np.abs(found.table.loc[flag, "propensity"] - 1 / 3).max() < 0.03
    assert found.report["endogeneity"]["corrected"]["estimate"] < -0.2
    assert not found.report["wrong_signed"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_no_rows_may_be_drawn(share: float) -> None:
    """A log drawn throughout, and one in which the flag is 0 throughout, go through as well."""
    offers = log(rows=400).assign(randomised=share)
    found = overlap.studied(offers, replace(INFO, anchored=True), 1)
    assert (share == 1) == ("drawn.json" in found.policies)
    assert np.isfinite(found.table[["propensity", "usual", "shock"]]).all(axis=None)


def test_logged_propensities_are_kept() -> None:
    """What was logged is not estimated again."""
    drawn = log(rows=400, drawn=1.0).assign(propensity=1 / 3)
    found = overlap.studied(drawn, replace(INFO, propensity_logged=True), 1)
    assert {1 / 3} == set(found.table["propensity"])
    assert not found.report["findings"]


@pytest.mark.parametrize(("chance", "told"), [(0.9, "0.3"), (0.1, "3.")])
def test_wrong_propensities_are_found(chance: float, told: str) -> None:
    """Rungs drawn evenly and logged with 0.9, or with 0.1, are named, with the mean weight and what chance allows."""
    table = log(rows=1_500, drawn=1.0).assign(propensity=chance)
    found = overlap.studied(table, replace(INFO, propensity_logged=True, listed=False), 1)
    (finding,) = found.report["findings"]
    assert "REVIEW" == finding["verdict"]
    for text in ("the logged propensities do not fit the prices", f"it is {told}", "at 0.8 (1 ±", "at 1.25 (1 ±"):
        assert text in finding["reason"]


@pytest.mark.parametrize("share", [0.5, 0.02, 0.002])
def test_right_propensities_are_hardly_ever_found_wrong(share: float) -> None:
    """Half of the contexts have a favourite; of 200 logs of 1,000 offers, however rare the rest, at most one alarms."""
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(200):
        side = rng.integers(0, 2, 1_000)
        p = np.full((1_000, 3), share / 3)
        p[np.arange(1_000), 2 * side] += 1 - share
        rung = (rng.random((1_000, 1)) > p.cumsum(axis=1)).sum(axis=1)
        rows = per_rung(rung, p[np.arange(1_000), rung], p, LADDER, 0.02)
        wrong += bool(misfits(rows))
    assert wrong <= 1


def test_propensities_may_be_right_where_an_item_has_some_prices_only() -> None:
    """What fits is not found wrong once it is said that not every offer could get every price; too small always is."""
    rng, rows = np.random.default_rng(7), 2_000
    table = log(rows=rows, drawn=1.0)
    halves = np.array([[0, 1], [1, 2]])[np.arange(rows) % 2]  # of the three rungs each offer can get two
    table["rung"] = halves[np.arange(rows), rng.integers(0, 2, rows)]
    table["multiplier"] = np.array(INFO.ladder)[table["rung"]]
    info = replace(INFO, propensity_logged=True)
    (finding,) = overlap.studied(table.assign(propensity=0.5), info, 1).report["findings"]
    assert "source.every_price" in finding["reason"]
    some = replace(info, everywhere=False)
    assert [] == overlap.studied(table.assign(propensity=0.5), some, 1).report["findings"]
    assert overlap.studied(table.assign(propensity=0.25), some, 1).report["findings"]


def test_a_live_policy_gives_few_contexts_a_chance() -> None:
    """A mean weight below 1 speaks against propensities only where every context had a chance; above 1 always."""
    rungs = [{"multiplier": m, "mean_weight": w, "tolerance": 0.2} for m, w in ((0.8, 0.3), (0.9, 1.1), (1.0, 1.6))]
    assert [(0.8, 0.3, 0.2), (1.0, 1.6, 0.2)] == misfits(rungs)
    assert [(1.0, 1.6, 0.2)] == misfits(rungs, everywhere=False)


def test_a_mean_weight_by_hand() -> None:
    """Forty of eighty offers with a chance of a half have the mean 1; shoppers count once, few offers tell nothing."""
    shown, half = np.arange(80) % 2 == 0, np.full(80, 0.5)
    found = mean_weight(shown, half, half, np.arange(80))
    assert (1.0, pytest.approx(0.05 + 4 / np.sqrt(80))) == (found["mean_weight"], found["tolerance"])
    grouped = mean_weight(shown, half, half, (np.arange(80) % 2) + 2 * (np.arange(80) // 8))
    assert grouped["tolerance"] == pytest.approx(0.05 + 4 * 2 / np.sqrt(80))
    assert mean_weight(np.arange(80) < 19, half, half, np.arange(80))["tolerance"] is None


def test_no_features_are_enough() -> None:
    """Without any column every context is alike, and the price is not predictable."""
    found = overlap.studied(log(rows=400), replace(INFO, numeric=(), personal=()), 1)
    assert found.report["predictable"]["concordance"] == pytest.approx(0.5, abs=0.06)
    assert 0 == found.report["balance"]["largest_after"]


def test_what_is_personal_is_not_in_the_impersonal_policy(plain: overlap.Overlap) -> None:
    """The policy for the opted-out does not know the personal columns."""
    assert ("age", "size", "1") == plain.policies["shown.json"].encoder.names
    assert ("size", "1") == plain.policies["impersonal.json"].encoder.names


def test_overlap_by_hand() -> None:
    """Shares, support and effective sample size of a tiny log are those of pencil and paper."""
    rung, propensity = np.array([0, 0, 1, 1]), np.array([0.5, 0.25, 1.0, 1.0])
    first, second, never = per_rung(
        rung, propensity, np.array([[0.99, 0.01, 0.0]] * 3 + [[0.5, 0.5, 0.0]]), LADDER, 0.02
    )
    assert (0.5, 0.0, 36 / 20) == (first["share"], first["unsupported"], first["effective_sample_size"])
    assert (0.75, 2.0) == (second["unsupported"], second["effective_sample_size"])
    assert (0.0, 1.0, 0.0) == (never["share"], never["unsupported"], never["effective_sample_size"])


def test_balance_by_hand() -> None:
    """The standardised difference before and after weighting is that of pencil and paper."""
    z = np.array([[1.0, 1], [1, 1], [-1, 1], [-1, 1]])
    found = balance(z, ("x", "1"), np.array([0, 0, 0, 1]), np.array([0.5, 0.5, 0.25, 1.0]), LADDER)
    on_first = next(row for row in found["worst"] if row["multiplier"] == 0.8)
    assert (pytest.approx(1 / 3), pytest.approx(0)) == (on_first["before"], on_first["after"])
    assert {"x"} == {row["column"] for row in found["worst"]}


def test_concordance_by_hand() -> None:
    """Of four pairs at different prices three were expected the right way round, or half of a tie."""
    p = np.full((4, 2), 0.5)
    assert 0.75 == predictable(np.array([1.0, 3, 2, 4]), p, np.array([0, 0, 1, 1]))["concordance"]
    assert 0.5 == predictable(np.ones(4), p, np.array([0, 0, 1, 1]))["concordance"]


def test_the_stage_writes_what_others_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From windows to models/overlap/: one row per offer of fit and select, and propensities for another window."""
    monkeypatch.chdir(tmp_path)
    offers, fresh = log(rows=600), log(rows=100, seed=5)
    for name in ("fit", "select"):
        write_table(Path(f"data/offers/{name}.parquet"), offers[offers["window"] == name].drop(columns="window"))
    INFO.write(Path("data/offers/offers.json"))
    overlap.main(Config(OffersSource("offers"), Guardrails(), {}, ("linear",), seed=3))
    table = pd.read_parquet("models/overlap/offers.parquet")
    assert ["offer_id", "window", "propensity", "usual", "shock"] == list(table.columns)
    assert offers["offer_id"].tolist() == table["offer_id"].tolist()
    assert 20 == len(read_json(Path("models/overlap/report.json"))["placebo"]["z"])
    shown = LoggingPolicy.load(Path("models/overlap/shown.json")).probability(fresh)
    expected = np.maximum(shown[np.arange(100), fresh["rung"]], LEAST)
    assert np.array_equal(expected, propensities(fresh))
