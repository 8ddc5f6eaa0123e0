"""The pictures: tables that say what a loop says, and files that are not empty."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import charts
from pipelines.packing import pack, terms_of
from pipelines.window import quotes
from tests.worlds import LADDER, belief, candidate, config, info, knowledge, offers, window


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory):
    """A packed candidate: its manifest, and what it quotes on a window."""
    folder, known = tmp_path_factory.mktemp("policy"), knowledge(candidate(offers(400)[0]))
    terms = terms_of(config(), info())
    manifest = pack(folder, config(), info(), offers(300)[0], known, terms, "linear", "linear", "a tiny one")
    return manifest, lambda found: quotes(known.belief(found.offers), found, terms)


@pytest.fixture(scope="module")
def drawn(policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that was drawn."""
    folder = tmp_path_factory.mktemp("plots") / "linear"
    (manifest, quoted), found = policy, window(600, seed=1)
    charts.draw(folder, manifest, quoted(found), found)
    return folder


def test_every_chart_is_there(drawn: Path) -> None:
    """Four tables with rows, and one page that is a picture with more than one colour in it."""
    names = {"calibration.csv", "demand.csv", "elasticity.csv", "price_change.csv", "scorecard.png"}
    assert names == {p.name for p in drawn.iterdir()}
    for name in names - {"scorecard.png"}:
        assert len(pd.read_csv(drawn / name)) > 0, name
    from matplotlib.image import imread

    page = imread(drawn / "scorecard.png")
    assert page.shape[0] > 500
    assert page.std() > 0.01


def test_shares_are_shares(drawn: Path) -> None:
    """Each histogram has every offer once, and the calibration bins hold all rows."""
    for name in ("elasticity", "price_change"):
        assert 1 == pytest.approx(pd.read_csv(drawn / f"{name}.csv")["share"].sum())
    assert 600 == pd.read_csv(drawn / "calibration.csv")["rows"].sum()
    assert 600 == pd.read_csv(drawn / "demand.csv")["rows"].sum()
    assert (pd.read_csv(drawn / "elasticity.csv")["middle"] < 0).all()


def sloped(slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return curves through one half at the list price with these slopes, and minus the slopes as elasticities."""
    return belief(np.zeros(len(slope)), slope).demand, -slope


def test_demand_by_decile_is_what_a_loop_finds() -> None:
    """Offers of a tenth of the shoppers, by slope; predicted falls with the price in each; deciles rise in slope."""
    found = window(500, seed=1)
    slope = np.random.default_rng(0).gamma(2, 2, 500) + 0.1
    table = charts.demand_by_decile(found, *sloped(slope))
    assert [(g, m) for g in range(1, 11) for m in LADDER] == list(
        zip(table["decile"], table["multiplier"], strict=True)
    )
    steep = np.argsort(slope)[-50:]
    last = table[table["decile"] == 10].reset_index()
    for k, m in enumerate(LADDER):
        shown = steep[found.logged.rung[steep] == k]
        assert len(shown) == last["rows"][k]
        assert found.offers["bought"].to_numpy()[shown].mean() == pytest.approx(last["observed"][k])
        assert np.mean(1 / (1 + m ** slope[steep])) == pytest.approx(last["predicted"][k])
    for _, part in table.groupby("decile"):
        assert part["predicted"].is_monotonic_decreasing


def test_a_rung_never_shown_has_no_observed_rate() -> None:
    """NaN, a gap in the picture, and the line is there all the same."""
    found = window(50, seed=1)
    never = dataclasses.replace(found, logged=dataclasses.replace(found.logged, rung=np.zeros(50, dtype=np.int64)))
    table = charts.demand_by_decile(never, *sloped(np.linspace(1, 2, 50)))
    assert table[table["multiplier"] > 0.8]["observed"].isna().all()
    assert table["predicted"].notna().all()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_window_of_few_offers_is_drawn(policy, tmp_path: Path, rows: int) -> None:
    """Fewer offers than deciles and bins leave gaps, and no crash."""
    (manifest, quoted), found = policy, window(rows, seed=1)
    charts.draw(tmp_path / "few", manifest, quoted(found), found)
    assert 5 == len(list((tmp_path / "few").iterdir()))


def test_values_outside_fall_into_the_outer_bins() -> None:
    """By hand, on two bins."""
    found = charts.histogram(np.array([-9.0, 0.1, 0.2, 9.0]), -1.0, 1.0, 2)
    assert [[-0.5, 0.25], [0.5, 0.75]] == found.to_numpy().tolist()


@pytest.mark.parametrize("value", [0.0, -1e-4, -30.0])
def test_one_value_is_a_histogram_too(value: float) -> None:
    """All elasticities alike, be they nought."""
    assert 1 == charts.histogram(np.full(10, value), np.floor(value), 0.0, 40)["share"].sum()


def test_prices_are_held_against_the_usual_one() -> None:
    """By hand, on rungs that are prices: the share of each, by its change against the usual price."""
    found = charts.shares(np.array([40.0, 100.0, 101.0, 500.0]), (40.0, 100.0, 500.0), 100.0)
    assert [[-0.6, 0.25], [0.0, 0.5], [4.0, 0.25]] == found.to_numpy().tolist()
