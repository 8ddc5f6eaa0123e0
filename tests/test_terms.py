"""Terms: bends, steps and products of the context, found where the offers call for them and nowhere else."""

import numpy as np
import pytest

from pipelines.candidates.terms import Terms, found
from pipelines.demand import Learning, sigmoid


def window(rows: int, seed: int, level: object = None, slope: object = None) -> Learning:
    """Return offers of three numbers and a flag whose log-odds are level(z) - slope(z) t."""
    rng = np.random.default_rng(seed)
    z = np.column_stack([rng.normal(size=(rows, 3)), rng.random(rows) < 0.4, np.ones(rows)]).astype(np.float32)
    t = rng.normal(size=rows)
    a = np.zeros(rows) if level is None else level(z)  # type: ignore[operator]
    b = np.ones(rows) if slope is None else slope(z)  # type: ignore[operator]
    bought = (rng.random(rows) < sigmoid(a - b * t)).astype(np.int64)
    return Learning(z, t, bought, np.ones(rows))


def test_nothing_is_found_where_there_is_nothing() -> None:
    """A context that matters linearly, or not at all, gets no terms, but for one false alarm in ten searches."""
    alarms = [len(found(window(4_000, seed, lambda z: 0.8 * z[:, 0]), 40, 1).kind) for seed in range(10)]
    assert 2 >= sum(alarms)


@pytest.mark.parametrize(
    ("level", "slope", "kinds", "columns"),
    [
        (lambda z: 1.5 * np.maximum(z[:, 1] - 0.7, 0), None, {0, 1}, {1}),
        (None, lambda z: 0.6 + 1.2 * (z[:, 2] > 0), {0, 1}, {2}),
        (lambda z: 0.8 * z[:, 0] * z[:, 3], None, {2}, {0, 3}),
        (None, lambda z: 1 + 0.7 * z[:, 0] * z[:, 1], {2}, {0, 1}),
    ],
    ids=["a hinge in the level", "a step in the slope", "a product in the level", "a product in the slope"],
)
def test_what_is_there_is_found_first(level: object, slope: object, kinds: set[int], columns: set[int]) -> None:
    """The strongest term is made of the columns that matter, in the way in which they do."""
    terms = found(window(20_000, 3, level, slope), 40, 1)
    assert len(terms.kind) >= 1
    first = {terms.first[0], terms.second[0]} if terms.kind[0] == 2 else {terms.first[0]}
    assert (terms.kind[0] in kinds, columns) == (True, first)


def test_the_columns_are_standardised_and_stand_before_the_constant() -> None:
    """The context and its column of ones stay where they were; each term has mean 0 and spread 1 where it was found."""
    offers = window(6_000, 3, lambda z: 1.5 * np.maximum(z[:, 1] - 0.7, 0) + 0.8 * z[:, 0] * z[:, 3])
    terms = found(offers, 40, 1)
    wide = terms.beside(offers.z)
    assert wide.shape == (6_000, 5 + len(terms.kind))
    np.testing.assert_array_equal(offers.z[:, :-1], wide[:, :4])
    np.testing.assert_array_equal(offers.z[:, -1], wide[:, -1])
    np.testing.assert_allclose(0, wide[:, 4:-1].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(1, wide[:, 4:-1].std(axis=0), atol=1e-3)


def test_a_limit_and_few_offers_leave_terms_out() -> None:
    """`most` bounds their number, each needs a hundred offers, and none is asked for with 0."""
    offers = window(6_000, 3, lambda z: 2.0 * np.abs(z[:, 1]) + 0.8 * z[:, 0] * z[:, 3])
    assert len(found(offers, 1, 1).kind) == 1
    assert found(offers, 0, 1) == Terms()
    few = Learning(offers.z[:99], offers.t[:99], offers.bought[:99], offers.weight[:99])
    assert found(few, 40, 1) == Terms()


def test_a_context_of_constants_has_no_terms() -> None:
    """Columns that never move, and a context of the constant alone, offer nothing to test."""
    offers = window(1_000, 1)
    still = Learning(np.ones((1_000, 3), np.float32), offers.t, offers.bought, offers.weight)
    alone = Learning(np.ones((1_000, 1), np.float32), offers.t, offers.bought, offers.weight)
    assert found(still, 40, 1) == found(alone, 40, 1) == Terms()


def test_the_graph_gives_the_same_bits_and_json_the_same_terms() -> None:
    """All three kinds, in mixed order: ONNX Runtime and NumPy agree to the last bit; JSON loses nothing."""
    import onnxruntime
    import spox
    import spox.opset.ai.onnx.v21 as op

    terms = Terms(
        kind=(2, 0, 1, 2, 0),
        first=(0, 1, 2, 3, 0),
        second=(3, 0, 0, 1, 0),
        knot=(0.0, 0.25, -0.5, 0.0, 1.0),
        mean=(0.1, 0.2, 0.3, 0.4, 0.5),
        scale=(1.1, 0.7, 0.4, 2.0, 0.3),
    )
    z = window(500, 4).z
    raw = spox.argument(spox.Tensor(np.float32, ("N", 5)))
    for one in (terms, Terms()):
        model = spox.build({"z": raw}, {"wide": op.identity(one.graph(raw))})
        wide = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"z": z})[0]
        np.testing.assert_array_equal(one.beside(z), wide)
        assert one == Terms.from_json(one.to_json())
