"""Modes and the frontier, against policies made by hand, and what no guardrail can do by construction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import modes
from pipelines.policy import Belief, Terms
from pipelines.pricing import Guardrails
from pipelines.simple_policies import bounds
from pipelines.window import Window, on_ladder, quotes, targets_of, true_value
from tests.worlds import LADDER, window

FREE = Terms(LADDER, LADDER, Guardrails())
GUARDED = Terms(LADDER, LADDER, Guardrails(largest_cut=0.1, largest_rise=0.1, margin_floor=0.55, exploration=0.2))


def knowing(found: Window) -> Belief:
    """Return the belief of one who knows the true demand."""
    assert found.truth is not None
    return Belief([found.truth], (1.0,))


def impersonal(found: Window) -> Belief:
    """Return the belief that all offers have the mean demand."""
    assert found.truth is not None
    return Belief([np.repeat(found.truth.mean(axis=0, keepdims=True), len(found.offers), axis=0)], (1.0,))


def rows_of(found: Window, terms: Terms) -> dict[str, dict]:
    """Return the frontier by the key of its settings."""
    return {r["setting"]: r for r in modes.frontier(knowing(found), impersonal(found), found, terms, 0.95)}


@pytest.fixture(scope="module")
def shop() -> Window:
    """A window in which half of the shoppers should pay less than the list price and half more."""
    return window(600)


def test_discounts_only_never_raise_a_price(shop: Window) -> None:
    """Some are dearer in full, none with discounts only, and the cheaper ones stay as they were."""
    found = modes.compare(knowing(shop), None, shop, FREE, None, 0.95)
    assert found["full"]["share_dearer"] > 0 == found["discount_only"]["share_dearer"]
    assert found["full"]["share_cheaper"] == found["discount_only"]["share_cheaper"] > 0


def test_the_usual_price_is_the_ceiling_where_the_list_price_is_no_rung(shop: Window) -> None:
    """With 0.9 as the usual multiplier a discount is below that, and there is always something to quote."""
    terms = replace(FREE, ladder=(0.8, 0.9, 1.1, 1.2), fallback=0.9)
    assert (0.8, 0.9) == modes.within(terms, None, 0.0).ladder
    assert (0.9,) == modes.within(replace(terms, ladder=(1.1, 1.2)), None, 0.0).ladder
    assert (0.8, 0.9) == modes.within(terms, 0.15, 0.15).ladder


def test_a_tighter_limit_of_the_shop_stays() -> None:
    """A mode adds limits, and lifts none."""
    rails = modes.within(GUARDED, 0.3, 0.05).guardrails
    assert (0.1, 0.05) == (rails.largest_cut, rails.largest_rise)


def test_without_personal_columns_there_is_no_such_mode(shop: Window) -> None:
    """It would be the full one under another name."""
    assert {"full", "discount_only"} == set(modes.compare(knowing(shop), None, shop, FREE, None, 0.95))
    found = modes.compare(knowing(shop), impersonal(shop), shop, FREE, bounds(shop, FREE), 0.95)
    assert 1.0 == pytest.approx(found["full"]["share_of_gain"])
    assert found["no_personal"]["share_of_gain"] <= 1e-9
    assert 0 == found["no_personal"]["share_cheaper"] * found["no_personal"]["share_dearer"]


def test_a_gain_is_over_the_list_price(shop: Window) -> None:
    """True profit of the policy less that of the list price for everybody, by hand."""
    found = modes.compare(knowing(shop), None, shop, FREE, None, 0.95)["full"]
    running, _ = targets_of(quotes(knowing(shop), shop, FREE), shop)
    listed = on_ladder(np.ones((len(shop.offers), 1)), LADDER)
    expected = 1000 * (true_value(running, shop) - true_value(listed, shop))
    assert expected == pytest.approx(found["gain_over_list_price"]["true_per_1000"])


@pytest.mark.parametrize("terms", [FREE, GUARDED, replace(GUARDED, ladder=(0.8, 0.9, 1.1, 1.2), fallback=0.9)])
def test_tighter_guardrails_never_raise_the_modelled_profit(shop: Window, terms: Terms) -> None:
    """No row beats no guardrail; the tighter the moves or the higher the margin, the less."""
    rows = rows_of(shop, terms)
    assert all(r["modelled_per_1000"] <= rows["none"]["modelled_per_1000"] + 1e-9 for r in rows.values())
    moves = [rows[f"within_{m:g}"]["modelled_per_1000"] for m in modes.MOVES]
    assert sorted(moves) == moves
    if terms.fallback == 1.0:
        floors = [rows[f"margin_{f:g}"]["modelled_per_1000"] for f in modes.FLOORS]
        assert sorted(floors, reverse=True) == floors


def test_each_guardrail_in_force_has_a_row_and_no_other(shop: Window) -> None:
    """Those of the shop, by themselves and together; the first row has none and keeps all."""
    rows = rows_of(shop, GUARDED)
    alone = {"largest_cut", "largest_rise", "margin_floor", "exploration"}
    assert alone == set(rows) & {*modes._RULES}
    assert not set(rows_of(shop, FREE)) & {*modes._RULES}
    assert ("none", "configured") == (next(iter(rows)), list(rows)[-1])
    assert 1.0 == rows["none"]["kept"]
    assert 0 == rows["none"]["cost"]["per_1000"]
    assert rows["configured"]["kept"] < rows["largest_rise"]["kept"] < 1


def test_what_is_kept_and_what_it_costs_add_up(shop: Window) -> None:
    """Gain left plus cost is the free gain, true and estimated; the share is that of the true gains."""
    rows = rows_of(shop, GUARDED)
    for row in rows.values():
        for key in ("per_1000", "true_per_1000"):
            assert rows["none"]["gain"][key] == pytest.approx(row["gain"][key] + row["cost"][key])
        expected = row["gain"]["true_per_1000"] / rows["none"]["gain"]["true_per_1000"]
        assert expected == pytest.approx(row["kept"])


def test_no_share_of_an_uncertain_gain_is_told() -> None:
    """Without the truth the share is of estimates, and of few offers, whose interval holds nought, there is none."""
    few, many = window(40, truth=False), window(20_000, truth=False)
    truth = {len(w.offers): replace(w, truth=w.demand) for w in (few, many)}
    kept = {}
    for found in (few, many):
        believed = knowing(truth[len(found.offers)])
        rows = modes.frontier(believed, None, found, FREE, 0.95)
        kept[len(found.offers)] = [r["kept"] for r in rows]
        assert {"estimate"} == {r["kept_by"] for r in rows}
    assert {None} == set(kept[40])
    assert 1.0 == kept[20_000][0]


def test_the_table_is_plain_data_and_is_drawn(shop: Window, tmp_path: Path) -> None:
    """JSON takes it as it is, and the chart is a picture."""
    rows = list(rows_of(shop, GUARDED).values())
    assert rows == json.loads(json.dumps(rows, allow_nan=False))
    json.dumps(modes.compare(knowing(shop), None, shop, GUARDED, None, 0.95), allow_nan=False)
    modes.chart(tmp_path / "frontier.png", rows)
    from matplotlib.image import imread

    assert imread(tmp_path / "frontier.png").std() > 0.01
