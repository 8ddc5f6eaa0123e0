"""Learning in two steps: the trial knows the fit window alone, the settled demand both, with what the trial settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.candidates import linear
from pipelines.candidates.learning import Learned, learn, regress, weighted
from pipelines.demand import Curve, probability
from pipelines.encoder import Encoder
from tests.worlds import CATEGORICAL, LADDER, NUMERIC, offers

COLUMNS = (NUMERIC, CATEGORICAL)
SETTINGS = linear.Settings(curve=("logit-log", "logit-linear", "spline"), l2=(1.0, 16.0))


def learned(fit: pd.DataFrame, select: pd.DataFrame, settings: Any = SETTINGS) -> Learned:
    """Return what learning gives on two windows."""
    return learn(weighted(fit), weighted(select), COLUMNS, LADDER, settings, 0)


def test_the_trial_is_learned_on_the_fit_window_alone() -> None:
    """Another select window changes neither the encoder of the trial, nor its price scale, nor its weights."""
    fit, select = offers(600)[0], offers(300, seed=1)[0]
    settings = linear.Settings(curve=("logit-log",), l2=(4.0,), slopes=("linear",))
    one, two = (learned(fit, s, settings) for s in (select, select.assign(age=1e6, country="FR", bought=0)))
    assert one.trial.encoder == two.trial.encoder
    assert one.trial.curve == two.trial.curve
    np.testing.assert_array_equal(one.trial.model.b, two.trial.model.b)
    assert one.demand.encoder != two.demand.encoder


def test_the_settled_demand_is_learned_on_both_windows() -> None:
    """It is what the settled settings give on all offers: encoder, scale and weights."""
    fit, select = offers(600)[0], offers(300, seed=1)[0]
    settings = linear.Settings(curve=("logit-log",), l2=(1.0, 64.0), slopes=("linear",), relevance=0)
    found, both = learned(fit, select, settings), pd.concat([fit, select])
    assert Encoder.fit(both, *COLUMNS) == found.demand.encoder
    assert Curve.fit("logit", "log", LADDER, both["multiplier"].to_numpy()) == found.demand.curve
    assert 1 == len(found.settled.l2)
    assert found.history["select_log_loss"].index(min(found.history["select_log_loss"])) == (1.0, 64.0).index(
        found.settled.l2[0]
    )


def test_the_likeliest_shape_is_chosen() -> None:
    """It is the one that costs least, and link and axis are those of both curves."""
    found = learned(offers(800)[0], offers(400, seed=1)[0])
    assert {"logit-log", "logit-linear", "spline"} == set(found.shape_losses)
    assert found.shape == min(found.shape_losses, key=lambda s: found.shape_losses[s])
    assert (found.trial.curve.link, found.trial.curve.axis) == (found.demand.curve.link, found.demand.curve.axis)


def test_learning_again_gives_the_same_and_leaves_the_tables_alone() -> None:
    """Same windows, same seed: same curves to the last bit."""
    fit, select = offers(500)[0], offers(300, seed=1)[0]
    kept = fit.copy(), select.copy()
    one, two = (probability(learned(fit, select).demand, select) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    pd.testing.assert_frame_equal(kept[0], fit)
    pd.testing.assert_frame_equal(kept[1], select)


def test_the_plain_regression_needs_no_columns() -> None:
    """Without any there is one curve for all; with them the sensitive half is told apart."""
    table = weighted(offers(4000)[0])
    alone = probability(regress(table, ((), ()), LADDER, 0), table)
    assert 1 == len(np.unique(alone.round(12), axis=0))
    told = probability(regress(table, COLUMNS, LADDER, 0), table)
    old = table["age"].to_numpy() > 0.5
    fall = told[:, 0] / told[:, -1]
    assert fall[old].mean() > 2 * fall[~old].mean()


def test_the_weight_is_the_inverse_propensity() -> None:
    """Mean 1; an offer shown with a third of the chance counts three times; where nothing is known all count alike."""
    table = pd.DataFrame({"propensity": [0.3, 0.1, 0.3, 0.1]})
    assert [0.5, 1.5, 0.5, 1.5] == pytest.approx(weighted(table)["weight"].tolist())
    assert [1.0] * 4 == weighted(table, np.full(4, np.nan))["weight"].tolist()
    some = weighted(table, np.array([0.5, 0.25, np.nan, np.nan]))["weight"]
    assert [2 / 3, 4 / 3, 1, 1] == pytest.approx(some.tolist())
    assert "weight" not in table
