"""The policies to beat, and the reference that all are valued with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import baselines, graph, overlap, window
from pipelines.baselines import imitation, impersonal, logged_worth
from pipelines.candidates import load_demand
from pipelines.candidates.learning import regress, weighted
from pipelines.demand import probability
from pipelines.encoder import Encoder
from pipelines.files import read_json, read_table
from pipelines.logging_policy import FOLDER
from pipelines.manifest import GRAPH, Manifest
from pipelines.packing import SINGLE
from pipelines.pricing import Guardrails
from pipelines.tables import OffersInfo
from pipelines.window import on_ladder, scores
from tests import worlds
from tests.worlds import CATEGORICAL, LADDER, NUMERIC, config, enter_shop, info, offers, terms

FREE = terms()


@pytest.fixture(scope="module")
def learned():
    """What `baselines` learns of a fit and a select window, by name."""
    fit, select = weighted(offers(4000, 0)[0]), weighted(offers(500, 1)[0])
    return baselines.learned(fit, pd.concat([fit, select], ignore_index=True), info(), 0)


def confounded(rows: int, seed: int):
    """Return offers in which the younger half mostly saw 0.9 and the older half mostly 1.1."""
    table = offers(rows, seed)[0]
    rng = np.random.default_rng(seed)
    usual = np.where(table["age"] > 0.5, 3, 1)
    rung = np.where(rng.random(rows) < 0.8, usual, rng.integers(0, 5, rows))
    return table.assign(rung=rung, multiplier=np.array(LADDER)[rung])


def test_the_reference_learns_demand(learned) -> None:
    """On other offers it is nearer to the truth than one curve for all, which in turn falls with the price."""
    later, truth = offers(1000, 2)
    q = truth.drop(columns="offer_id").to_numpy()
    pooled, found = (probability(learned[name], later) for name in ("everybody", "reference"))
    assert 0.7 * np.abs(pooled - q).mean() > np.abs(found - q).mean()
    assert (np.diff(pooled[0]) < 0).all()
    assert np.ptp(pooled, axis=0).max() < 1e-6


def test_what_is_impersonal_does_not_see_a_person(learned) -> None:
    """Its encoder has no personal column, so shoppers who differ in nothing else have one curve."""
    assert (("list_price", "visits"), ()) == impersonal(info())
    later = offers(50, 2)[0]
    stranger = later.assign(age=0.99, country="unheard of")
    for name in ("impersonal", "impersonal_trial"):
        np.testing.assert_array_equal(probability(learned[name], later), probability(learned[name], stranger))
    assert np.abs(probability(learned["reference"], later) - probability(learned["reference"], stranger)).max() > 0.05


def test_a_trial_knows_the_fit_window_alone() -> None:
    """Other outcomes on the select window change what is learned on both windows, and no trial."""
    fit, select = weighted(offers(800, 0)[0]), weighted(offers(400, 1)[0])
    other = select.assign(bought=(select["rung"] == 4).astype(np.int64))
    first, second = (
        baselines.learned(fit, pd.concat([fit, table], ignore_index=True), info(), 0) for table in (select, other)
    )
    later = offers(50, 2)[0]
    same = {name: np.array_equal(probability(first[name], later), probability(second[name], later)) for name in first}
    assert same == {name: name.endswith("_trial") for name in first}


def test_the_reference_table_follows_the_offers(learned) -> None:
    """Row by row: each offer's curve at the rungs."""
    later = offers(100, 2)[0]
    table = baselines.curves(learned["reference"], later)
    assert ["offer_id", *(f"q_{k}" for k in range(5))] == list(table.columns)
    assert later["offer_id"].tolist() == table["offer_id"].tolist()
    np.testing.assert_array_equal(probability(learned["reference"], later)[:, 2], table["q_2"])


def test_imitation_repeats_the_prices_of_the_past() -> None:
    """It quotes the group's usual price, whatever the profit, and stays inside the guardrails."""
    train = confounded(4000, 5)
    encoder = Encoder.fit(train, NUMERIC, CATEGORICAL)
    found = worlds.window(400, seed=6)
    rung = imitation(encoder, train, found, FREE).argmax(axis=1)
    old = found.offers["age"].to_numpy() > 0.6
    young = found.offers["age"].to_numpy() < 0.4
    assert np.mean(rung[old]) > 2.3 > 1.7 > np.mean(rung[young])
    cheap = dataclasses.replace(FREE, guardrails=Guardrails(largest_rise=0.0))
    assert imitation(encoder, train, found, cheap).argmax(axis=1).max() <= 2


def test_what_was_logged_is_counted_not_estimated() -> None:
    """The mean of what was earned, and never called observational."""
    found = worlds.window(300, propensity_logged=False)
    listed = on_ladder(np.ones((300, 1)), found.info.ladder)
    card = logged_worth(found, listed, None, 0.95)
    earned = (found.offers["price"] - found.offers["unit_cost"]) * found.offers["bought"]
    assert 1000 * earned.mean() == pytest.approx(card["profit_per_1000"])
    assert card["profit_low"] < card["profit_per_1000"] < card["profit_high"]
    expected = card["profit_per_1000"] - 1000 * scores(listed, found).mean()
    assert expected == pytest.approx(card["gain_over_list_price"]["per_1000"])
    assert "effective_sample_size" not in card


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def test_the_list_price_is_packed_like_a_candidate(shop: Path) -> None:
    """So that a champion always serves: it quotes the list price to all, with propensity 1, and its check passed."""
    manifest = Manifest.read(baselines.LIST_PRICE)
    assert ("list_price", True, (1.0,)) == (manifest.name, manifest.check["passed"], manifest.terms.ladder)
    table = offers(200, 7)[0].assign(u=np.linspace(0, 0.99, 200))
    found = graph.run(graph.session(baselines.LIST_PRICE / GRAPH), table)
    assert table["list_price"].tolist() == found["price"].tolist()
    assert {1.0} == set(found["propensity"])


def test_every_baseline_has_a_scorecard(shop: Path) -> None:
    """List price, best single multiplier, imitation, nothing personal and the log; bounds where the truth is known."""
    found = read_json(Path("models/scorecards/baselines.json"))
    assert {"list_price", "single", "imitation", "no_personal", "logged"} == set(found["policies"])
    for name, card in found["policies"].items():
        assert card["profit_low"] < card["profit_per_1000"] < card["profit_high"], name
        assert card["true_profit_per_1000"] <= found["bounds"]["perfect_per_1000"], name
    assert found["policies"]["single"]["multiplier"] in LADDER
    assert {"multiplier": found["policies"]["single"]["multiplier"]} == read_json(SINGLE)
    assert 0 < found["policies"]["list_price"]["balanced_log_loss"] < 1
    assert 400 == found["policies"]["list_price"]["offers"]
    assert 0 == found["policies"]["list_price"]["gain_over_list_price"]["per_1000"]
    assert found["bounds"]["best_single_per_1000"] <= found["bounds"]["perfect_per_1000"]


def sold(rungs: np.ndarray, eager: np.ndarray, seed: int) -> np.ndarray:
    """Return outcomes at rungs of LADDER, of which 0.9 earns most without a cost; the eager buy twice as often."""
    demand = np.array([0.4, 0.38, 0.24, 0.2, 0.17])
    return (np.random.default_rng(seed).random(len(rungs)) < np.where(eager, 2, 1) * demand[rungs]).astype(np.int64)


def hidden(rows: int = 6000) -> pd.DataFrame:
    """Return offers without list prices; the eager, whom `age` tells, were shown dearer ones, unlogged."""
    table, rng = offers(rows, 3)[0], np.random.default_rng(3)
    eager = table["age"].to_numpy() > 0.5
    dealt = np.where(eager[:, None], [[0.02, 0.03, 0.15, 0.3, 0.5]], [[0.5, 0.3, 0.15, 0.03, 0.02]])
    rung = (np.cumsum(dealt, axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, 4)
    price = np.array(LADDER)[rung]
    return table.assign(
        list_price=1.0, unit_cost=0.0, price=price, multiplier=price, rung=rung, bought=sold(rung, eager, 4),
        propensity=np.nan, window="fit",
    )  # fmt: skip


UNLISTED = {"listed": False, "fallback": None, "propensity_logged": False, "numeric": ("age",), "categorical": ()}
NO_RAILS = config(guardrails=Guardrails())


def priced_as(table: pd.DataFrame, about: OffersInfo) -> pd.DataFrame:
    """Return the fit window with what `overlap` tells of it, written where stages look for it."""
    found = overlap.studied(table, about, 1)
    for name, policy in found.policies.items():
        FOLDER.mkdir(parents=True, exist_ok=True)
        policy.save(FOLDER / name)
    told = {n: found.table[n].to_numpy(float) for n in ("propensity", "usual", "shock")}
    return weighted(table.assign(**told))


def test_the_best_single_price_takes_notice_of_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlogged, prices rose with the wish to buy: plain means find the dearest best, estimated propensities do not."""
    monkeypatch.chdir(tmp_path)
    table, about = hidden(), info(**UNLISTED)
    assert 1.2 == baselines.best_multiplier(NO_RAILS, about, table.assign(propensity=0.2, shock=0.0, weight=1.0))
    assert 0.9 == baselines.best_multiplier(NO_RAILS, about, priced_as(table, about))


def test_prices_drawn_at_random_decide_the_best_single_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some rows are flagged so they alone tell it, also if what moved the others is in no column."""
    monkeypatch.chdir(tmp_path)
    table, rng = hidden(12_000), np.random.default_rng(5)
    eager, drawn = table["age"].to_numpy() > 0.5, rng.random(len(table)) < 0.1
    rung = np.where(drawn, rng.integers(0, 5, len(table)), table["rung"])
    price = np.array(LADDER)[rung]
    table = table.assign(
        rung=rung, multiplier=price, price=price, bought=sold(rung, eager, 6), age=0.5 * rng.random(len(rung))
    )
    table, about = table.assign(randomised=drawn.astype(float)), info(**UNLISTED, anchored=True)
    unflagged, blind = table.drop(columns="randomised"), info(**UNLISTED)
    assert baselines.best_multiplier(NO_RAILS, blind, priced_as(unflagged, blind)) > 1
    assert 0.9 == baselines.best_multiplier(NO_RAILS, about, priced_as(table, about))


def test_an_instrument_decides_the_best_single_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hidden shock raised price and demand; the curve with the shock beside the context is the one that counts."""
    monkeypatch.chdir(tmp_path)
    table, rng = hidden(12_000), np.random.default_rng(7)
    shock, cost = rng.normal(size=(2, len(table)))
    rung = np.clip(np.round(2 + shock + cost), 0, 4).astype(int)
    q = 1 / (1 + np.exp(-(-0.2 + 1.5 * shock - 5 * np.log(np.array(LADDER)[rung]))))
    price = np.array(LADDER)[rung]
    table = table.assign(rung=rung, multiplier=price, price=price, bought=(rng.random(len(q)) < q).astype(int))
    table = table.assign(instrument=cost)
    about = info(**UNLISTED, instrument=True)
    assert 1.2 == baselines.best_multiplier(NO_RAILS, info(**UNLISTED), priced_as(table, info(**UNLISTED)))
    assert 0.8 == baselines.best_multiplier(NO_RAILS, about, priced_as(table, about))


def test_guardrails_bind_the_price_in_the_list_prices_place() -> None:
    """Of the rungs that they leave it is the best."""
    table = hidden().assign(propensity=0.2, shock=0.0, weight=1.0)
    rails = config(guardrails=Guardrails(largest_rise=0.1))
    assert 1.1 == baselines.best_multiplier(rails, info(**UNLISTED), table)


def spoil(name: str) -> None:
    """Let the outcomes of a window say that only the dearest rung sells."""
    table = read_table(Path(f"data/offers/{name}.parquet"))
    table["bought"] = (table["rung"] == 4).astype(np.int64)
    table.to_parquet(f"data/offers/{name}.parquet")


def test_what_is_valued_on_select_was_chosen_before_it(shop: Path) -> None:
    """Other outcomes on select change no multiplier and no reference demand there, but what is taken to certify."""
    before = read_json(Path("models/scorecards/baselines.json")), read_table(window.REFERENCE)
    settled = probability(load_demand(Path("models/baselines/reference")), offers(50, 9)[0])
    spoil("select")
    baselines.main(config())
    after = read_json(Path("models/scorecards/baselines.json")), read_table(window.REFERENCE)
    single = [found[0]["policies"]["single"] for found in (before, after)]
    assert single[0]["multiplier"] == single[1]["multiplier"]
    assert single[0]["profit_per_1000"] != single[1]["profit_per_1000"]
    assert before[1].equals(after[1])
    again = probability(load_demand(Path("models/baselines/reference")), offers(50, 9)[0])
    assert np.abs(settled - again).max() > 0.01


def test_nothing_here_reads_the_certify_window(shop: Path) -> None:
    """Without it, the same files come out."""
    before = {p: p.read_bytes() for p in baselines.MODELS.rglob("*") if p.is_file()}
    Path("data/offers/certify.parquet").unlink()
    baselines.main(config())
    assert before == {p: p.read_bytes() for p in baselines.MODELS.rglob("*") if p.is_file()}


def test_propensities_come_from_what_is_known_of_the_log(shop: Path) -> None:
    """Halving them doubles the weights of the best single price; the list price has none to gain or lose."""
    before = read_json(Path("models/scorecards/baselines.json"))["policies"]["imitation"]["largest_weight"]
    table = read_table(FOLDER / "offers.parquet")
    table.assign(propensity=table["propensity"] / 2).to_parquet(FOLDER / "offers.parquet")
    baselines.main(config())
    after = read_json(Path("models/scorecards/baselines.json"))["policies"]["imitation"]["largest_weight"]
    assert 2 * before == pytest.approx(after)


def test_outside_a_simulation_there_are_no_bounds(shop: Path) -> None:
    """Without the truth the same estimates come out, and None where only the truth knows."""
    before = read_json(Path("models/scorecards/baselines.json"))
    window.TRUTH.unlink()
    baselines.main(config())
    after = read_json(Path("models/scorecards/baselines.json"))
    assert after["bounds"] is None
    for name, card in after["policies"].items():
        assert card.get("true_profit_per_1000") is None, name
        assert before["policies"][name]["profit_per_1000"] == card["profit_per_1000"], name


def test_impersonal_prices_are_not_confounded_by_what_is_left_out() -> None:
    """Where a personal column moved both price and demand, the impersonal curve still falls as demand does."""
    rng = np.random.default_rng(0)
    rows, rungs = 6_000, np.array(LADDER)
    table = offers(rows, 1)[0]
    age = rng.normal(size=rows)
    rung = np.clip(np.round(2 + 1.2 * age + rng.normal(0, 0.7, rows)), 0, 4).astype(int)
    chance = 1 / (1 + np.exp(-(1.5 * age - 6.0 * np.log(rungs[rung]))))
    table = table.assign(age=age, rung=rung, multiplier=rungs[rung], bought=(rng.random(rows) < chance).astype(int))
    models = baselines.learned(table.assign(weight=1.0), table.assign(weight=1.0), info(), 0)
    q = probability(models["impersonal"], table.head(500)).mean(axis=0)
    naive = regress(table.assign(weight=1.0), impersonal(info()), LADDER, 0)  # rises with the price, so it is flat
    plain = probability(naive, table.head(500)).mean(axis=0)
    assert q[0] > q[-1] + 0.2 > plain[0] - plain[-1] + 0.2
