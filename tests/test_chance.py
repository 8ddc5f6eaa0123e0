"""Chance without a store: `u` and pseudonyms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.errors import InputError
from pipelines.serving.chance import DAY, bucket_of, pseudonym, u_of

KEY = b"k" * 32
NAMES = st.text(max_size=12)
INSTANTS = st.floats(0, 4e9)
BUCKETS = st.sampled_from([60, 3600, DAY, 7 * DAY])


@given(NAMES, NAMES, INSTANTS, st.floats(0, 1, exclude_max=True), BUCKETS)
def test_the_same_all_through_a_bucket(shopper: str, item: str, instant: float, later: float, bucket: float) -> None:
    """Any two instants of one bucket give one `u`, in [0, 1)."""
    start = bucket_of(instant, bucket) * bucket
    u = u_of(KEY, shopper, item, instant, bucket)
    assert 0 <= u < 1
    assert u == u_of(KEY, shopper, item, start, bucket)
    other = start + later * bucket
    if bucket_of(other, bucket) == bucket_of(instant, bucket):  # a float may round up into the next bucket
        assert u == u_of(KEY, shopper, item, other, bucket)


@given(st.tuples(NAMES, NAMES, st.integers(0, 40_000)), st.tuples(NAMES, NAMES, st.integers(0, 40_000)))
def test_depends_on_each_of_shopper_item_and_bucket(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    """Two triples have the same `u` if and only if they are the same, also where their texts join to the same text."""
    first, second = (u_of(KEY, who, what, day * DAY + 1.0) for who, what, day in (one, other))
    assert (one == other) == (first == second)


def test_names_cannot_run_into_each_other() -> None:
    """Moving a letter from shopper to item, or a digit to the bucket, is another triple."""
    assert u_of(KEY, "ab", "c", 0.0) != u_of(KEY, "a", "bc", 0.0)
    assert u_of(KEY, "1:2", "", 0.0) != u_of(KEY, "1", ":2", 0.0)


def test_each_key_has_its_own_chances() -> None:
    """Another secret gives another `u` and another pseudonym."""
    assert u_of(KEY, "anna", "book", 0.0) != u_of(b"x" * 32, "anna", "book", 0.0)
    assert pseudonym(KEY, "anna") != pseudonym(b"x" * 32, "anna")


@pytest.mark.parametrize("vary", ["shopper", "item", "bucket"])
def test_uniform_and_independent(vary: str) -> None:
    """Over shoppers, items or buckets alone `u` is uniform, and neighbours are independent."""
    given_ = {"shopper": "s", "item": "i", "bucket": 0}
    drawn = []
    for n in range(20_000):
        at = {**given_, vary: n if vary == "bucket" else f"{n}"}
        drawn.append(u_of(KEY, str(at["shopper"]), str(at["item"]), float(at["bucket"]) * DAY))
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    assert abs(stats.spearmanr(drawn[:-1], drawn[1:]).statistic) < 0.03
    bits = sum(int(u * 2**53) & 1 for u in drawn)  # the last bit of the fraction is as even as the first
    assert abs(bits / len(drawn) - 0.5) < 0.02


def test_the_bucket_begins_at_utc_midnight() -> None:
    """A day's last instant still has the day's chance, the next one does not."""
    midnight = 20_000 * DAY
    assert u_of(KEY, "a", "b", midnight) == u_of(KEY, "a", "b", midnight + DAY - 1e-3)
    assert u_of(KEY, "a", "b", midnight) != u_of(KEY, "a", "b", midnight - 1e-3)


@pytest.mark.parametrize("bucket", [0, -1, float("inf"), float("nan")])
def test_a_bucket_without_length_is_refused(bucket: float) -> None:
    """The message names the length."""
    with pytest.raises(InputError, match=r"a time bucket of .* is none"):
        u_of(KEY, "a", "b", 0.0, bucket)


@given(NAMES, NAMES)
def test_a_pseudonym_is_one_to_one_and_tells_nothing(one: str, other: str) -> None:
    """Two shoppers share a pseudonym only if they are the same; it never holds the name, and is not their `u`."""
    assert (one == other) == (pseudonym(KEY, one) == pseudonym(KEY, other))
    assert 32 == len(pseudonym(KEY, one))
    assert len(one) < 3 or one not in pseudonym(KEY, one)


def test_any_text_may_be_a_name() -> None:
    """Half a surrogate pair, which JSON can bring, is a name like any other."""
    assert 0 <= u_of(KEY, "\ud800", "绿茶", 0.0) < 1
    assert pseudonym(KEY, "\ud800") != pseudonym(KEY, "\ud801")


# What other machines and versions must agree with: changing these changes the price that shoppers see within a day.
def test_values_stay_what_they_are() -> None:
    """The hash of one fixed triple is pinned."""
    assert (0.7409486339853096, "cac18ab70bfc736319e3bec2a36c7880") == (
        u_of(KEY, "anna", "book", 1_772_445_600.0), pseudonym(KEY, "anna")
    )  # fmt: skip
