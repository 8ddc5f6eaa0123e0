"""A context is read the same way in Python and in the graph, whatever stands in it."""

from __future__ import annotations

import json
import math

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import spox
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.encoder import Encoder, Number, Word
from tests.worlds import CATEGORICAL, NUMERIC, offers

ENCODER = Encoder.fit(offers(1000)[0], NUMERIC, CATEGORICAL)


def _session(encoder: Encoder) -> onnxruntime.InferenceSession:
    inputs = {n.name: spox.argument(spox.Tensor(np.float64, ("N", 1))) for n in encoder.numbers}
    inputs |= {w.name: spox.argument(spox.Tensor(np.str_, ("N", 1))) for w in encoder.words}
    proto = spox.build(inputs, {"z": encoder.graph(inputs)})
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


SESSION = _session(ENCODER)


def _run(table: pd.DataFrame) -> np.ndarray:
    feeds = {name: table[[name]].to_numpy(float) for name in NUMERIC}
    feeds |= {name: table[[name]].to_numpy(object) for name in CATEGORICAL}
    return np.asarray(SESSION.run(None, feeds)[0])


def test_columns_have_names_and_the_last_is_one() -> None:
    """Every encoded column is named, and the constant comes last."""
    z = ENCODER.encode(offers(50, seed=1)[0])
    assert z.dtype == np.float32
    assert (50, len(ENCODER.names)) == z.shape
    np.testing.assert_array_equal(np.ones(50), z[:, -1])
    assert {"list_price", "age", "visits", "visits is missing", "country=中国", "1"} <= set(ENCODER.names)


def test_numbers_are_standardised_on_the_training_window() -> None:
    """On what it was learned from, a full column has mean 0 and spread 1."""
    z = ENCODER.encode(offers(1000)[0])[:, ENCODER.names.index("age")]
    assert pytest.approx(0, abs=1e-5) == z.mean()
    assert pytest.approx(1, abs=1e-5) == z.std()


def test_a_missing_number_is_the_median_and_says_so() -> None:
    """NaN reads like the median, and its indicator is on."""
    table = offers(3, seed=1)[0]
    table["visits"] = [np.nan, ENCODER.numbers[2].fill, 0.0]
    z, names = ENCODER.encode(table), ENCODER.names
    value, missing = z[:, names.index("visits")], z[:, names.index("visits is missing")]
    assert value[1] == value[0]
    assert [1, 0, 0] == missing.tolist()


def test_an_unseen_word_is_none_of_the_known() -> None:
    """A word that training never saw switches all indicators of its column off."""
    z = ENCODER.encode(offers(3, seed=1)[0].assign(country="火星"))
    shown = [i for i, name in enumerate(ENCODER.names) if name.startswith("country=")]
    assert len(shown) == 3
    assert not z[:, shown].any()


def test_beyond_the_range_seen_nothing_changes() -> None:
    """An absurd value counts as the largest one seen."""
    table = pd.concat([offers(1, seed=1)[0]] * 2)
    table["list_price"] = [1e9, math.inf]
    z = ENCODER.encode(table)
    np.testing.assert_array_equal(z[0], z[1])
    assert abs(z).max() < 20


def test_a_skewed_column_is_taken_by_its_logarithm() -> None:
    """A long right tail is logged, a symmetric column and one with negative values are not."""
    rng = np.random.default_rng(0)
    assert Number.fit("spend", np.exp(rng.normal(0, 1.5, 1000))).log
    assert not Number.fit("hour", rng.uniform(0, 23, 1000)).log
    assert not Number.fit("gain", np.exp(rng.normal(0, 1.5, 1000)) - 3).log


@pytest.mark.parametrize("values", [[0.1] * 7, [np.nan] * 7, [3.0], [1e12] * 9])
def test_a_constant_or_empty_column_stays_small(values: list[float]) -> None:
    """Rounding noise of a column that never moves is not blown up."""
    encoder = Encoder.fit(pd.DataFrame({"x": values}), ("x",), ())
    assert abs(encoder.encode(pd.DataFrame({"x": [*values, 0.1, np.nan, 7.0]}))).max() <= 1


def test_rare_words_count_as_unseen() -> None:
    """A word in fewer than one row in 500 gets no column; the frequent come first."""
    word = Word.fit("path", pd.Series(["a"] * 500 + ["b"] * 600 + ["c"] * 2 + [""] * 50))
    assert word.words == ("b", "a")


def test_no_columns_leave_the_constant() -> None:
    """A table without any context has the constant alone."""
    encoder = Encoder.fit(pd.DataFrame({"y": [1, 2]}), (), ())
    np.testing.assert_array_equal(np.ones((2, 1), np.float32), encoder.encode(pd.DataFrame({"y": [1, 2]})))


def test_state_is_plain_data() -> None:
    """Through JSON and back it is the same encoder."""
    assert Encoder.from_json(json.loads(json.dumps(ENCODER.to_json()))) == ENCODER


def test_the_graph_is_the_encoder() -> None:
    """On thousands of offers the graph gives what Python gives, to the last bit but for the logarithm."""
    table = offers(5000, seed=2)[0]
    np.testing.assert_allclose(ENCODER.encode(table), _run(table), rtol=1e-6, atol=1e-7)


_ANY = st.one_of(st.floats(width=64), st.just(math.nan))


@settings(max_examples=150, deadline=None)
@given(_ANY, _ANY, _ANY, st.one_of(st.text(max_size=12), st.sampled_from(["DE", "中国", "中国 ", "de"])))
def test_any_context_reads_the_same(list_price: float, age: float, visits: float, country: str) -> None:
    """Whatever a request brings (missing, infinite, huge, any script), both read it alike, and as a number."""
    country = country.replace("\0", "").encode("utf-8", "ignore").decode()
    row = pd.DataFrame({"list_price": [list_price], "age": [age], "visits": [visits], "country": [country]})
    z = ENCODER.encode(row)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z, _run(row), rtol=1e-6, atol=1e-7)


def test_a_word_in_two_columns_is_told_apart_by_its_column() -> None:
    """One look-up serves all columns, and yet each has indicators of its own words alone."""
    table = pd.DataFrame({"path": ["search", "mail"] * 9, "channel": ["direct", "search"] * 9})
    encoder = Encoder.fit(table, (), ("path", "channel"))
    asked = pd.DataFrame({"path": ["search", "direct", ""], "channel": ["mail", "search", "direct"]})
    feeds = {name: asked[[name]].to_numpy(object) for name in asked}
    np.testing.assert_array_equal(encoder.encode(asked), _session(encoder).run(None, feeds)[0])
    assert [2, 2, 2] == encoder.encode(asked).sum(axis=1).astype(int).tolist()


def test_an_encoder_within_another_says_where() -> None:
    """Columns read alike are found in the other's encoded context; those read in another way are not."""
    table = offers(1000)[0]
    few = Encoder.fit(table, ("visits", "list_price"), ("country",))
    columns = few.columns_in(ENCODER)
    assert columns is not None
    np.testing.assert_array_equal(few.encode(table), ENCODER.encode(table)[:, columns])
    assert ENCODER.columns_in(few) is None
    assert Encoder.fit(table.head(100), ("visits",), ()).columns_in(ENCODER) is None


def test_the_graph_of_no_columns_is_the_constant() -> None:
    """Whatever else a request brings, there is one row of it for each context."""
    given = {"other": spox.argument(spox.Tensor(np.float64, ("N", 1)))}
    proto = spox.build(given, {"z": Encoder((), ()).graph(given)})
    made = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(np.ones((3, 1), np.float32), made.run(None, {"other": np.zeros((3, 1))})[0])
