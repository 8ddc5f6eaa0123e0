"""The contract that every candidate keeps, checked for each of them."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import spox

from pipelines.candidates import Candidate, History, dnn, family_module, linear, load_demand
from pipelines.candidates._regression import curved, design, newton
from pipelines.candidates._slopes import Bend, Bounded, Exp
from pipelines.candidates.controls import Controls
from pipelines.demand import LINKS, SMALLEST_BETA, Curve, Learning, log_loss, probability
from pipelines.encoder import Encoder
from pipelines.errors import InputError
from tests.worlds import CATEGORICAL, LADDER, NUMERIC, in_graph, offers

SMALL: dict[str, dict[str, Any]] = {
    "linear": {},
    "forest": {"trees": 12},
    "gbm": {"rounds": 80, "patience": 10},
    "dnn": {"epochs": 15, "members": 2, "hidden": (16, 8), "learning_rate": 5e-3},
}
EVERY = pytest.mark.parametrize("family", SMALL)
BOTH = pytest.mark.parametrize("link", LINKS)


def _windows(table: pd.DataFrame, link: str = "logit") -> tuple[Encoder, Curve, Learning, Learning]:
    """Return the first three quarters of a table to learn from and the rest to stop on, encoded."""
    cut = 3 * len(table) // 4
    early, late = table[:cut], table[cut:]
    encoder = Encoder.fit(early, NUMERIC, CATEGORICAL)
    curve = Curve.fit(link, "log", LADDER, early["multiplier"].to_numpy())
    learnings = [
        Learning(encoder.encode(w), curve.t(w["multiplier"].to_numpy()), w["bought"].to_numpy(), np.ones(len(w)), link)
        for w in (early, late)
    ]
    return encoder, curve, *learnings


def _fit(family: str, table: pd.DataFrame, seed: int = 5, link: str = "logit") -> tuple[Candidate, History]:
    module, (encoder, curve, early, late) = family_module(family), _windows(table, link)
    model, history, _ = module.fit(early, late, module.Settings(**SMALL[family]), seed)
    return Candidate(encoder, curve, model, family, Controls()), history


@functools.cache
def _fitted(family: str, link: str = "logit") -> Candidate:
    """Return the candidate after a look at 4,000 randomised offers."""
    return _fit(family, offers(4000)[0], link=link)[0]


def _coefficients(candidate: Candidate, table: pd.DataFrame) -> np.ndarray:
    return candidate.model.coefficients(candidate.encoder.encode(table))


def _extremes() -> pd.DataFrame:
    """Return contexts that no fit window has: missing, unseen, huge, negative."""
    table = offers(400, seed=9)[0]
    table.loc[:49, list(NUMERIC)] = np.nan
    table.loc[50:99, "list_price"] = 1e12
    table.loc[100:149, "age"] = -1e12
    table.loc[150:199, "visits"] = np.inf
    table.loc[200:249, "country"] = "火星"
    return table


def _run(candidate: Candidate, z: np.ndarray) -> np.ndarray:
    """Return the coefficients that ONNX Runtime gives for the candidate's graph."""
    argument = spox.argument(spox.Tensor(np.float32, ("N", z.shape[1])))
    proto = spox.build({"z": argument}, {"both": candidate.model.graph(argument)})
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"z": z})[0])


@EVERY
@BOTH
def test_same_seed_same_result(family: str, link: str, tmp_path: Path) -> None:
    """A second fit gives the same files to the byte, so that DVC sees no change."""
    _fit(family, offers(1500)[0], link=link)[0].save(tmp_path / "one")
    _fit(family, offers(1500)[0], link=link)[0].save(tmp_path / "two")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) >= 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@EVERY
def test_inputs_stay_as_they_were(family: str) -> None:
    """Neither fitting nor predicting writes into what it is given."""
    _, _, early, late = _windows(offers(1200)[0])
    copies = [array.copy() for w in (early, late) for array in (w.z, w.t, w.bought, w.weight)]
    module = family_module(family)
    model, *_ = module.fit(early, late, module.Settings(**SMALL[family]), 5)
    model.coefficients(late.z)
    for before, after in zip(copies, [a for w in (early, late) for a in (w.z, w.t, w.bought, w.weight)], strict=True):
        np.testing.assert_array_equal(before, after)


@EVERY
def test_columns_are_found_by_name(family: str) -> None:
    """Neither the order of the columns nor further ones matter."""
    table = offers(300, seed=3)[0]
    turned = table[table.columns[::-1]].assign(tomorrow=1.0)
    np.testing.assert_array_equal(probability(_fitted(family), table), probability(_fitted(family), turned))


@EVERY
@BOTH
def test_curves_are_finite_and_fall(family: str, link: str) -> None:
    """Whatever the context, probabilities are probabilities and a higher price never sells more."""
    table = _extremes()
    candidate = _fitted(family, link)
    coefficients, q = _coefficients(candidate, table), probability(candidate, table)
    assert coefficients.dtype == np.float32
    assert coefficients.shape == (len(table), 2)
    assert coefficients[:, 1].min() >= np.float32(SMALLEST_BETA)
    assert q.shape == (len(table), len(LADDER))
    assert q.min() > 0
    assert q.max() < 1
    assert (np.diff(q, axis=1) < 0).all()


@EVERY
@BOTH
def test_the_graph_is_the_model(family: str, link: str) -> None:
    """ONNX Runtime gives the coefficients of Python, also far outside of what was seen, and for one row alone."""
    candidate = _fitted(family, link)
    z = candidate.encoder.encode(pd.concat([offers(2000, seed=4)[0], _extremes()]))
    z = np.concatenate([z, 30 * np.ones((1, z.shape[1]), np.float32), -30 * np.ones((1, z.shape[1]), np.float32)])
    np.testing.assert_allclose(candidate.model.coefficients(z), _run(candidate, z), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(candidate.model.coefficients(z[:1]), _run(candidate, z[:1]), rtol=1e-5, atol=1e-5)


@EVERY
@BOTH
def test_the_graph_has_the_curves(family: str, link: str) -> None:
    """From the raw columns on, words and missing numbers among them, ONNX gives the probabilities of Python."""
    candidate, table = _fitted(family, link), pd.concat([offers(300, seed=4)[0], _extremes()])
    (found,) = in_graph(candidate, table)
    np.testing.assert_allclose(probability(candidate, table), found, rtol=1e-4, atol=1e-7)


@EVERY
@BOTH
def test_settled_settings_run_without_a_select_window(family: str, link: str) -> None:
    """On the same offers they give a model near the one that the select window chose, and nothing is chosen anew."""
    module, (_, _, early, late) = family_module(family), _windows(offers(2000)[0], link)
    model, _, settled = module.fit(early, late, module.Settings(**SMALL[family]), 5)
    again, history, kept = module.fit(early, None, settled, 5)
    assert settled == kept
    assert np.isfinite(history["fit_log_loss"]).all()
    assert late.loss(model.coefficients(late.z)) == pytest.approx(late.loss(again.coefficients(late.z)), abs=0.01)


@EVERY
def test_saved_and_loaded_is_the_same(family: str, tmp_path: Path) -> None:
    """A candidate read back answers to the last bit as before, and holds no pickle."""
    table = _extremes()
    _fitted(family).save(tmp_path)
    loaded = load_demand(tmp_path)
    assert (_fitted(family).family, _fitted(family).curve) == (loaded.family, loaded.curve)
    np.testing.assert_array_equal(probability(_fitted(family), table), probability(loaded, table))
    assert {p.suffix for p in tmp_path.rglob("*.*")} <= {".json", ".npz"}


@EVERY
@BOTH
@pytest.mark.parametrize("rows", [40, 100])
def test_few_offers_are_enough_to_answer(family: str, link: str, rows: int) -> None:
    """A short window gives a curve, not an error, and the log loss of both windows step by step."""
    candidate, history = _fit(family, offers(rows)[0], link=link)
    assert np.isfinite(probability(candidate, _extremes())).all()
    assert {"fit_log_loss", "select_log_loss"} <= set(history)
    assert 1 == len({len(values) for values in history.values()})
    assert np.isfinite(list(history.values())).all()


@EVERY
def test_nobody_bought(family: str) -> None:
    """Where nobody bought, hardly anybody is expected to."""
    q = probability(_fit(family, offers(400)[0].assign(bought=0))[0], _extremes())
    assert np.isfinite(q).all()
    assert q[:, 2].mean() < 0.05


@EVERY
def test_a_price_that_never_moved_teaches_no_slope(family: str) -> None:
    """Without price changes every slope stays at its floor: nothing is made up."""
    candidate, _ = _fit(family, offers(800)[0].assign(multiplier=0.9))
    beta = _coefficients(candidate, _extremes())[:, 1]
    np.testing.assert_allclose(np.full(len(beta), SMALLEST_BETA), beta, atol=1e-4)


@EVERY
def test_no_context_at_all(family: str) -> None:
    """With the constant alone every shopper has the one pooled curve."""
    module, (_, _, early, late) = family_module(family), _windows(offers(800)[0])
    pooled = [dataclasses.replace(w, z=w.z[:, -1:]) for w in (early, late)]
    model, *_ = module.fit(*pooled, module.Settings(**SMALL[family]), 5)
    assert 1 == len(np.unique(model.coefficients(pooled[1].z), axis=0))


@EVERY
@BOTH
def test_a_known_sensitivity_is_found(family: str, link: str) -> None:
    """The sensitive half is found to be so, and the mean elasticity is right to a quarter."""
    candidate, _ = _fit(family, offers(12_000, seed=1)[0], link=link)
    fresh, true = offers(2000, seed=2)
    q, old = probability(candidate, fresh), fresh["age"].to_numpy() > 0.5
    true_q = true.drop(columns="offer_id").to_numpy()
    true_slope, slope = (np.log(p[:, 1] / p[:, 3]) / np.log(LADDER[3] / LADDER[1]) for p in (true_q, q))
    assert true_slope.mean() == pytest.approx(slope.mean(), rel=0.25)
    for half in (old, ~old):
        assert true_slope[half].mean() == pytest.approx(slope[half].mean(), abs=0.5)


@EVERY
def test_a_shuffled_outcome_teaches_nothing(family: str) -> None:
    """Where buying is independent of the context, the candidate is no better than one number for all."""
    table = offers(3000)[0]
    table["bought"] = np.random.default_rng(0).permutation(table["bought"])
    candidate, _ = _fit(family, table)
    fresh = offers(20_000, seed=6)[0]
    bought = np.random.default_rng(1).permutation(fresh["bought"])
    own = log_loss(bought, probability(candidate, fresh)[np.arange(len(fresh)), fresh["rung"]])
    pooled = log_loss(bought, np.full(len(bought), table["bought"].mean()))
    assert pooled == pytest.approx(own, abs=0.01)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        ("linear", {"l2": ()}),
        ("linear", {"l2": (-1.0,)}),
        ("linear", {"slopes": ()}),
        ("linear", {"relevance": -1}),
        ("linear", {"slopes": ("square",)}),
        ("forest", {"trees": 0}),
        ("forest", {"max_features": 1.5}),
        ("gbm", {"rounds": 0}),
        ("gbm", {"subsample": 0.0}),
        ("dnn", {"members": 0}),
        ("dnn", {"hidden": (0,)}),
        ("dnn", {"base_slopes": ("exp",)}),
    ],
)
def test_wrong_settings_are_refused(family: str, wrong: dict[str, Any]) -> None:
    """A setting under which nothing can be learned is named when it is made."""
    with pytest.raises(InputError, match=rf"model\.{family}\.{next(iter(wrong))}="):
        family_module(family).Settings(**wrong)


def _logit_truth(rows: int, link: str) -> tuple[Learning, np.ndarray]:
    """Return a window whose coefficients are linear in three columns, and the weights (6,) on their regressors."""
    rng = np.random.default_rng(3)
    z = np.column_stack([rng.normal(size=(rows, 2)), np.ones(rows)]).astype(np.float32)
    t, true = rng.normal(size=rows), np.array([0.4, -0.3, -0.2, 0.25, 0.0, 0.8])
    window = Learning(z, t, np.zeros(rows, np.int64), np.ones(rows), link)
    q = window.probability(linear.as_model(true).coefficients(z))
    return dataclasses.replace(window, bought=(rng.random(rows) < q).astype(np.int64)), true


@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_newton_is_the_penalised_logistic_regression(strength: float) -> None:
    """Under logit it solves what scikit-learn solves, the constants unshrunk, with the two half offers added."""
    from sklearn.linear_model import LogisticRegression

    window, _ = _logit_truth(2000, "logit")
    columns = linear.regressors(window)
    found = newton(columns, window, strength, np.zeros(6))
    constants = np.array([1, 1, 100, 1, 1, 100.0])  # a column times 100: its weight is hardly shrunk
    ghost = np.array([[0, 0, 1.0, 0, 0, 0]] * 2)
    rows, outcome = np.vstack([columns, ghost]) * constants, np.append(window.bought, [0, 1])
    weight = np.append(np.ones(2000), [0.5, 0.5])
    reference = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    expected = reference.fit(rows, outcome, sample_weight=weight).coef_[0] * constants
    np.testing.assert_allclose(expected, found, atol=2e-3)


@BOTH
def test_newton_recovers_the_truth_of_its_link(link: str) -> None:
    """With 40,000 offers every weight comes back, and under the other link it does not."""
    window, true = _logit_truth(40_000, link)
    found = newton(linear.regressors(window), window, 1.0, np.zeros(6))
    np.testing.assert_allclose(true, found, atol=0.05)
    other = dataclasses.replace(window, link=LINKS[link == "logit"])
    assert abs(newton(linear.regressors(other), other, 1.0, np.zeros(6)) - true).max() > 0.2


BENDS = {  # a bend, and a truth of its own weights that its penalty hardly pulls at
    "exp": (Exp(), [-1.5]),
    "bounded": (Bounded(1.0), [-0.5, 0.1]),
}


def _curved_truth(rows: int, kind: str, spread: float) -> tuple[Learning, Bend, np.ndarray]:
    """Return a window with eta = z·a - beta(z·b) (t - pivot), its bend and the weights (6 + E,); spread: of z·b."""
    rng, (bend, rest) = np.random.default_rng(4), BENDS[kind]
    z = np.column_stack([rng.normal(size=(rows, 2)), np.ones(rows)]).astype(np.float32)
    t, true = rng.normal(size=rows), np.array([0.4, -0.3, 0.5, spread, 0.2, 0.1, *rest])
    window = Learning(z, t, np.zeros(rows, np.int64), np.ones(rows))
    q = window.probability(linear.as_model(true, bend).coefficients(z))
    return dataclasses.replace(window, bought=(rng.random(rows) < q).astype(np.int64)), bend, true


def test_an_exp_slope_and_its_pivot_are_recovered() -> None:
    """With 40,000 offers every weight comes back, the pivot among them."""
    window, bend, true = _curved_truth(40_000, "exp", 0.7)
    np.testing.assert_allclose(true, curved(window, bend, 1.0), atol=0.1)


def test_a_bounded_slope_is_recovered() -> None:
    """With 200,000 offers every weight comes back, and so do the slopes of nearly all contexts, bounds included."""
    window, bend, true = _curved_truth(200_000, "bounded", 1.5)
    found = curved(window, bend, 1.0)
    np.testing.assert_allclose(true[:6], found[:6], atol=0.15)
    (_, slopes), (_, expected) = (linear.as_model(w, bend).coefficients(window.z).T for w in (found, true))
    assert np.abs(slopes - expected).mean() < 0.05
    assert 0.25 * np.exp(-0.5) < expected.min() < 0.2  # the truth reaches its bound, so that the test asks for it


@pytest.mark.parametrize("kind", BENDS)
def test_the_columns_of_a_bend_are_its_derivatives(kind: str) -> None:
    """Finite differences of eta say the same."""
    window, bend, true = _curved_truth(50, kind, 0.7)
    eta, columns = design(window, bend, true)
    for at in range(len(true)):
        moved = true.copy()
        moved[at] += 1e-6
        found = (design(window, bend, moved)[0] - eta) / 1e-6
        np.testing.assert_allclose(columns[:, at], found, atol=1e-4)


def test_a_pivot_that_nothing_tells_stays_near_the_mean_price() -> None:
    """Where all slopes are alike any pivot fits, and a wanton one would make nonsense of the level."""
    window, _ = _logit_truth(5000, "logit")
    same = dataclasses.replace(window, z=window.z[:, -1:])
    assert abs(curved(same, Exp(), 1.0)[-1]) < 0.3


def test_bounds_that_nothing_tells_stay_where_they_begin() -> None:
    """Where all slopes are alike, one curve for all comes out, between bounds about the usual slope."""
    window, _ = _logit_truth(5000, "logit")
    same = dataclasses.replace(window, z=window.z[:, -1:])
    usual = newton(linear.regressors(same), same, 1.0, np.zeros(2))[1]
    model, *_ = linear.fit(same, None, linear.Settings(slopes=("bounded",)), 0)
    assert usual == pytest.approx(float(model.coefficients(same.z)[0, 1]), rel=0.01)
    assert 0.1 * usual < model.low < 0.5 * usual
    assert usual < model.span < 2 * usual


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (lambda: _curved_truth(8000, "exp", 0.7), "exp"),
        (lambda: _curved_truth(8000, "bounded", 3.0), "bounded"),
        (lambda: _logit_truth(20_000, "logit"), "linear"),
    ],
)
def test_the_likelier_slope_is_taken(drawn: Any, expected: str) -> None:
    """Slopes that differ in their logarithm, or between bounds, are told from straight ones, and kept as a setting."""
    window, names = drawn()[0], ("z", "t", "bought", "weight")
    half = len(window.t) // 2
    early, late = (
        dataclasses.replace(window, **{n: getattr(window, n)[part] for n in names})
        for part in (slice(half), slice(half, None))
    )
    model, history, settled = linear.fit(early, late, linear.Settings(), 0)
    assert (expected, (expected,)) == (model.slope, settled.slopes)
    assert [s for s in range(3) for _ in ("start", "horseshoe")] == history["slope"]
    again, *_ = linear.fit(window, None, settled, 0)
    assert expected == again.slope
    assert 3 == len(again.a) == len(again.b)


@pytest.mark.parametrize(
    ("model", "at_zero", "steepest"),
    [
        (
            linear.Model(np.array([0.5, -0.2]), np.array([3.0, 0.1]), "exp", -1.2),
            [-0.2 - 1.2 * np.exp(0.1), np.exp(0.1)],
            np.exp(8.0),
        ),
        (
            linear.Model(np.array([0.5, -0.2]), np.array([30.0, 0.0]), "bounded", low=0.3, span=1.4),
            [-0.2, 1.0],
            1.7,
        ),
    ],
)
def test_a_bent_slope_is_kept_and_in_the_graph(
    model: linear.Model, at_zero: list[float], steepest: float, tmp_path: Path
) -> None:
    """The model comes back from its file, and ONNX gives the same coefficients, also at the ends of a score."""
    z = np.column_stack([np.linspace(-4, 4, 41), np.ones(41)]).astype(np.float32)
    model.save(tmp_path)
    expected = model.coefficients(z)
    np.testing.assert_array_equal(expected, linear.load(tmp_path).coefficients(z))
    np.testing.assert_allclose(expected[20], at_zero, rtol=1e-6)
    assert steepest == pytest.approx(expected[:, 1].max())
    value = spox.argument(spox.Tensor(np.float32, ("N", 2)))
    built = spox.build({"z": value}, {"both": model.graph(value)})
    (found,) = onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"z": z})
    np.testing.assert_allclose(expected, found, rtol=1e-6)


@pytest.mark.parametrize("slope", linear.SLOPES)
def test_what_does_not_matter_fades(slope: str) -> None:
    """Of 30 columns one moves level and slope: its weights are hardly shrunk, the others' all but gone."""
    rng, rows, width = np.random.default_rng(5), 4000, 31
    z = np.column_stack([rng.normal(size=(rows, width - 1)), np.ones(rows)]).astype(np.float32)
    weight = {"linear": 0.4, "exp": 0.4, "bounded": 1.2}[slope]
    bend, rest = {"linear": (None, []), "exp": (Exp(), [0.0]), "bounded": (Bounded(1.0), [0.0, 0.0])}[slope]
    true = np.array([*np.zeros(2 * width), *rest])
    true[[0, width - 1, width, 2 * width - 1]] = 0.8, 0.3, weight, 0.5
    window = Learning(z, rng.normal(size=rows), np.zeros(rows, np.int64), np.ones(rows))
    q = window.probability(linear.as_model(true, bend).coefficients(z))
    window = dataclasses.replace(window, bought=(rng.random(rows) < q).astype(np.int64))
    plain, *_ = linear.fit(window, None, linear.Settings(slopes=(slope,), relevance=0), 0)
    own, *_ = linear.fit(window, None, linear.Settings(slopes=(slope,)), 0)
    assert own.b[0] == pytest.approx(weight, rel=0.4)
    if slope != "exp":  # there the level is told apart only together with the pivot
        assert own.a[0] == pytest.approx(0.8, abs=0.15)
    for name in ("a", "b"):
        noise, before = getattr(own, name)[1:-1], getattr(plain, name)[1:-1]
        assert np.square(noise).sum() < 0.5 * np.square(before).sum()


def test_a_network_goes_on_from_a_bounded_slope(tmp_path: Path) -> None:
    """It has the bounds of the base, is no worse than it, and comes back from its files and in the graph with them."""
    window, bend, true = _curved_truth(4000, "bounded", 3.0)
    base, *_ = linear.fit(window, None, linear.Settings(l2=(1.0,), slopes=("bounded",)), 0)
    settings = dnn.Settings(base_l2=(1.0,), base_slopes=("bounded",), hidden=(8,), members=2, epochs=3)
    model, *_ = dnn.fit(window, None, settings, 0)
    assert (base.low, base.span) == model.bounds
    z = window.z[:500]
    expected = model.coefficients(z)
    truth = linear.as_model(true, bend).coefficients(z)
    assert np.abs(expected - truth).mean() < 1.5 * np.abs(base.coefficients(z) - truth).mean() + 0.02
    assert base.low <= expected[:, 1].min() < 0.5 < expected[:, 1].max() <= base.low + base.span + 1e-6
    model.save(tmp_path)
    np.testing.assert_array_equal(expected, dnn.load(tmp_path).coefficients(z))
    value = spox.argument(spox.Tensor(np.float32, ("N", 3)))
    built = spox.build({"z": value}, {"both": model.graph(value)})
    (found,) = onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"z": z})
    np.testing.assert_allclose(expected, found, rtol=1e-4, atol=1e-5)


def test_another_network_must_be_clearly_better() -> None:
    """The truth is clearly better than nonsense; not than itself, nor than what differs by less than noise tells."""
    window, bend, true = _curved_truth(4000, "bounded", 3.0)
    near = true + np.array([0.01, *np.zeros(len(true) - 1)])
    told = {
        name: linear.as_model(w, bend) for name, w in {"true": true, "near": near, "wrong": np.zeros_like(true)}.items()
    }
    assert dnn._clearly_better(told["true"], told["wrong"], window)
    assert not dnn._clearly_better(told["wrong"], told["true"], window)
    assert not dnn._clearly_better(told["true"], told["true"], window)
    assert not dnn._clearly_better(told["near"], told["true"], window)


@pytest.mark.parametrize(("bent", "expected"), [(True, ("bounded",)), (False, ("linear",))])
def test_the_network_starts_from_the_slope_that_fits(bent: bool, expected: tuple[str, ...]) -> None:
    """From a bounded one where scores are straight; where slopes grow with |x|, which no straight score tells, not."""
    rng = np.random.default_rng(7)
    window = _curved_truth(6000, "bounded", 3.0)[0]
    if not bent:
        steep = 3 * np.abs(window.z[:, 0]).astype(float)
        q = 1 / (1 + np.exp(-1.0 + steep * window.t))
        window = dataclasses.replace(window, bought=(rng.random(6000) < q).astype(np.int64))
    early, late = (
        dataclasses.replace(window, **{n: getattr(window, n)[part] for n in ("z", "t", "bought", "weight")})
        for part in (slice(4000), slice(4000, None))
    )
    settings = dnn.Settings(base_l2=(1.0,), hidden=(16,), members=1, epochs=12, patience=12, learning_rate=0.02)
    model, _, settled = dnn.fit(early, late, settings, 0)
    assert expected == settled.base_slopes
    assert bent == (model.bounds is not None)


def test_settled_settings_hold_one_choice() -> None:
    """What the select window chose is kept in the settings: one strength, one share, so many rounds, one epoch."""
    *_, early, late = _windows(offers(1500)[0])
    settled = {}
    for family, small in SMALL.items():
        module = family_module(family)
        settled[family] = module.fit(early, late, module.Settings(**small), 5)[2]
    assert 1 == len(settled["linear"].l2) == len(settled["forest"].shares) == len(settled["gbm"].base_l2)
    assert 1 <= settled["gbm"].rounds <= SMALL["gbm"]["rounds"]
    assert 1 <= settled["dnn"].stop <= SMALL["dnn"]["epochs"]
