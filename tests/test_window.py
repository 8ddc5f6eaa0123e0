"""What policies are compared on: rung probabilities that sum to one, prices at their nearest rung, a truth apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import graph as graphs
from pipelines import window as windows
from pipelines.errors import InputError
from pipelines.files import read_table, write_table
from pipelines.logging_policy import FOLDER
from pipelines.policy import Terms
from pipelines.pricing import Guardrails
from pipelines.window import (
    gain_over,
    nearest_rung,
    on_ladder,
    quotes,
    read_select,
    scores,
    targets,
    targets_of,
    true_value,
    truth_of,
    window_of,
    worth,
)
from tests.worlds import LADDER, belief, session, terms, window, write_offers


def priced(priced_by: Terms, rows: int = 300, **columns):
    """Return a window whose offers hold the coefficients a, b of the graph, and that graph."""
    found = window(rows)
    table = found.offers.assign(a=-0.4, b=np.where(found.offers["age"] > 0.5, 6.0, 1.2), **columns)
    return dataclasses.replace(found, offers=table), session(priced_by)


@pytest.mark.parametrize(
    "priced_by",
    [
        terms(LADDER, Guardrails(exploration=0.4, minor_unit=0.01)),
        terms(LADDER, Guardrails(exploration=0.1, margin_floor=0.5, minor_unit=0.01, endings=(0.99,))),
        terms((0.8, 0.9), Guardrails(margin_floor=0.4), fallback=0.9),
        terms((1.0,), Guardrails(exploration=0.1), knots=LADDER),
    ],
)
def test_targets_are_probabilities(priced_by: Terms) -> None:
    """As it runs and greedily, a policy's rungs have probabilities that sum to 1; greedily one rung has all."""
    found, graph = priced(priced_by)
    running, quoted = targets(graph, found)
    np.testing.assert_allclose(running.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(quoted.sum(axis=1), 1)
    assert {0.0, 1.0} == set(np.unique(quoted))
    assert running.min() >= 0


def test_exploration_is_part_of_how_a_policy_runs() -> None:
    """Half the exploration goes to either side of the greedy rung; one at the end keeps what has nowhere to go."""
    found, graph = priced(terms(LADDER, Guardrails(exploration=0.4)))
    running, quoted = targets(graph, found)
    rung = quoted.argmax(axis=1)
    for k in range(len(LADDER)):
        edge = k in (0, len(LADDER) - 1)
        assert {0.8 if edge else 0.6} == set(running[rung == k, k].round(12)) or not (rung == k).any()
    assert len(set(rung)) > 1


def test_a_price_between_rungs_is_valued_at_the_nearest() -> None:
    """Endings move prices off the rungs; each counts as the rung nearest on the log scale."""
    found, graph = priced(terms(LADDER, Guardrails(endings=(0.99,), minor_unit=0.01)))
    _, quoted = targets(graph, found)
    price = graphs.run(graph, found.offers)["price"]
    expected = [
        min(range(len(LADDER)), key=lambda k: abs(np.log(p / listed / LADDER[k])))
        for p, listed in zip(price, found.offers["list_price"], strict=True)
    ]
    assert expected == quoted.argmax(axis=1).tolist()
    assert (np.abs(price / found.offers["list_price"] - np.array(LADDER)[expected]) > 1e-3).any()


def test_a_fallback_counts_at_its_price() -> None:
    """Where no rung is admissible, all chance is at the fallback's rung, be it one of the policy's or not."""
    for ladder in ((0.8, 0.9, 1.0), (0.8, 0.9)):
        found, graph = priced(terms(ladder, Guardrails(exploration=0.4), knots=LADDER), max_price=0.01)
        running, quoted = targets(graph, found)
        assert {1.0} == set(running[:, LADDER.index(1.0)]) == set(quoted[:, LADDER.index(1.0)])


def test_the_nearest_rung() -> None:
    """On the log scale, whatever lies outside at the outer rungs; absolute prices as well."""
    assert [0, 0, 1, 2, 4, 4] == nearest_rung(np.array([0.01, 0.84, 0.9, 1.04, 1.16, 99.0]), LADDER).tolist()
    assert [0, 1] == nearest_rung(np.array([61.0, 63.0]), (19.0, 199.0)).tolist()  # sqrt(19 x 199) = 61.49
    assert [[0, 1, 0, 0, 0]] == on_ladder(np.array([[0.9]]), LADDER).tolist()


def test_the_truth_changes_nothing_but_true_values() -> None:
    """With and without it, every number that a shop could have is the same; without it true values are None."""
    known, unknown = window(truth=True), window(truth=False)
    target = on_ladder(np.full((800, 1), 0.9), LADDER)
    other = on_ladder(np.full((800, 1), 1.0), LADDER)
    with_it, without = worth(target, known, 0.95), worth(target, unknown, 0.95)
    truths = {"true_profit_per_1000", "interval_holds_truth"}
    assert {k: v for k, v in with_it.items() if k not in truths} == {
        k: v for k, v in without.items() if k not in truths
    }
    assert {None} == {without[k] for k in truths}
    gains = gain_over(target, other, known, 0.95), gain_over(target, other, unknown, 0.95)
    assert gains[1] == gains[0] | {"true_per_1000": None}
    np.testing.assert_array_equal(scores(target, known), scores(target, unknown))


def test_the_true_value_worked_by_hand() -> None:
    """The mean over offers of (price - cost) x true probability at the rung."""
    found = window(50)
    target = on_ladder(np.full((50, 1), 1.1), LADDER)
    table = found.offers
    expected = np.mean((1.1 * table["list_price"] - table["unit_cost"]) * found.truth[:, 3])
    assert expected == pytest.approx(true_value(target, found))
    assert true_value(target, window(50, truth=False)) is None


def test_worth_agrees_with_the_truth_where_demand_is_known() -> None:
    """On 4,000 randomised offers the interval holds the true profit, of a policy and of its gain."""
    found = window(4000, seed=3)
    rung = np.where(found.offers[["age"]] > 0.5, 0.8, 1.2)
    target, other = on_ladder(rung, LADDER), on_ladder(np.full((4000, 1), 1.0), LADDER)
    card, gain = worth(target, found, 0.99), gain_over(target, other, found, 0.99)
    assert card["interval_holds_truth"]
    assert gain["low"] <= gain["true_per_1000"] <= gain["high"]
    assert gain["true_per_1000"] == pytest.approx(
        card["true_profit_per_1000"] - worth(other, found, 0.99)["true_profit_per_1000"]
    )
    assert 5 == pytest.approx(card["largest_weight"])
    assert 700 < card["effective_sample_size"] < 900


def test_a_gain_over_oneself_is_nothing() -> None:
    """The difference is paired: its interval has no width."""
    target = on_ladder(np.full((100, 1), 1.0), LADDER)
    found = gain_over(target, target, window(100), 0.95)
    assert [0.0] * 5 == [found[k] for k in ("per_1000", "low", "high", "standard_error", "true_per_1000")]


def test_observational_is_said() -> None:
    """Values from guessed propensities carry the mark."""
    target = on_ladder(np.full((100, 1), 1.0), LADDER)
    assert worth(target, window(100, propensity_logged=False), 0.95)["observational"]
    assert not worth(target, window(100), 0.95)["observational"]


def test_a_policy_without_overlap_has_no_self_normalised_value() -> None:
    """None, which JSON can say, in place of NaN, which it cannot."""
    found = window(100)
    never = (found.logged.rung + 1) % len(LADDER)
    target = np.eye(len(LADDER))[never]
    card = worth(target, found, 0.95)
    assert {None} == set(card["self_normalised"].values())
    assert (0.0, 0.0) == (card["effective_sample_size"], card["largest_weight"])


def write_select(where: Path):
    """Write the select window of a tiny market, what `overlap` says of its prices, and a reference demand."""
    found = write_offers(where)
    table = read_table(windows.OFFERS / "select.parquet")
    truth = truth_of(table, found)
    reference = pd.DataFrame(0.9 * truth, columns=[f"q_{k}" for k in range(len(LADDER))])
    reference.insert(0, "offer_id", table["offer_id"])
    write_table(windows.REFERENCE, reference)
    both = [pd.DataFrame({"offer_id": table["offer_id"], "propensity": p, "window": w, "shock": p}) for w, p in
            (("fit", 0.9), ("select", 0.25))]  # fmt: skip
    write_table(FOLDER / "offers.parquet", pd.concat(both, ignore_index=True))
    return found, table, truth, reference


def test_the_select_window_is_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offers, reference, propensities and truth meet by row and by offer_id, in whatever order the truth is kept."""
    monkeypatch.chdir(tmp_path)
    found, table, truth, reference = write_select(tmp_path)
    write_table(windows.TRUTH, read_table(windows.TRUTH).sample(frac=1, random_state=0))
    read = read_select(found)
    assert table["offer_id"].tolist() == read.offers["offer_id"].tolist()
    np.testing.assert_array_equal(truth, read.truth)
    np.testing.assert_array_equal(0.9 * truth, read.demand)
    assert {0.25} == set(read.logged.propensity)
    assert read.shock is None
    with_shock = read_select(dataclasses.replace(found, instrument=True)).shock
    assert with_shock is not None
    assert read_table(FOLDER / "offers.parquet").query("window == 'select'")["shock"].tolist() == with_shock.tolist()
    write_table(windows.REFERENCE, reference[::-1])
    with pytest.raises(InputError, match=r"reference\.parquet speaks of other offers"):
        read_select(found)
    windows.REFERENCE.unlink()
    with pytest.raises(InputError, match=r"reference\.parquet is missing"):
        read_select(found)


def test_the_truth_must_know_every_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks an offer is refused; none at all is the usual case."""
    monkeypatch.chdir(tmp_path)
    found = write_offers(tmp_path)
    table = read_table(windows.OFFERS / "certify.parquet")
    truth = read_table(windows.TRUTH)
    write_table(windows.TRUTH, truth[truth["offer_id"] != table["offer_id"][0]])
    with pytest.raises(InputError, match="does not know all offers"):
        truth_of(table, found)
    windows.TRUTH.unlink()
    assert truth_of(table, found) is None


def test_prices_drawn_at_random_are_the_evidence_where_there_are_any() -> None:
    """Offers flagged as randomised alone are compared on; without a flag, or where none is flagged, all are."""
    whole = window(200)
    flagged = whole.offers.assign(randomised=np.where(np.arange(200) % 4 == 0, 1.0, 0.0))
    parts = flagged, dataclasses.replace(whole.info, anchored=True), whole.demand, whole.logged.propensity, whole.truth
    found = window_of(*parts)
    assert flagged["offer_id"][::4].tolist() == found.offers["offer_id"].tolist()
    assert [(50, 5), (50, 5), (50, 5), (50,)] == [
        part.shape for part in (found.demand, found.truth, found.logged.unit_profit, found.logged.propensity)
    ]
    assert 200 == len(window_of(flagged, whole.info, *parts[2:]).offers)
    assert 200 == len(window_of(flagged.assign(randomised=0.0), *parts[1:]).offers)


def test_python_quotes_are_those_of_the_graph() -> None:
    """On the whole window, as rung probabilities and as greedy rungs."""
    found, graph = priced(terms(LADDER, Guardrails(exploration=0.3, largest_rise=0.1, minor_unit=0.01)))
    python = quotes(belief(found.offers["a"], found.offers["b"]), found, terms(
        LADDER, Guardrails(exploration=0.3, largest_rise=0.1, minor_unit=0.01)
    ))  # fmt: skip
    for mine, theirs in zip(targets_of(python, found), targets(graph, found), strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-12)


def test_the_terms_of_sale_come_from_the_offers() -> None:
    """(N, 1) each; what the table does not have is missing, and u always is."""
    found = window(10)
    assert {(10, 1)} == {v.shape for v in found.sale.values()}
    assert np.isnan(found.sale["u"]).all()
    assert found.offers["unit_cost"].tolist() == found.sale["unit_cost"][:, 0].tolist()


def test_earned_is_at_the_price_shown() -> None:
    """A sale earns the price that was shown, less the cost; a miss earns nothing."""
    found = window(200)
    table = found.offers
    assert found.logged.earned.tolist() == pytest.approx(
        ((table["price"] - table["unit_cost"]) * table["bought"]).tolist()
    )
