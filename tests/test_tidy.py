"""Values in one form: text in English and Chinese, times in UTC, keys as text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import tidy


@given(st.text(max_size=20))
def test_text_is_brought_to_one_form(text: str) -> None:
    """Normalised text stays as it is when normalised again, and has no white space to fold."""
    once = tidy.phrases(pd.Series([text], dtype="str"))
    again = tidy.phrases(once)
    assert once.fillna("").tolist() == again.fillna("").tolist()
    assert " ".join(once.fillna("").iloc[0].split()) == once.fillna("").iloc[0]


def test_english_and_chinese_text() -> None:
    """Full-width letters and spaces become plain ones; names keep their case, an empty text is missing."""
    texts = pd.Series(["  Ｌｕｘｕｒｙ　台灯 ", "CHEAP\tTea", "", None], dtype="str")
    assert tidy.phrases(texts).fillna("-").tolist() == ["luxury 台灯", "cheap tea", "-", "-"]
    assert tidy.labels(texts).fillna("-").tolist() == ["Luxury 台灯", "CHEAP Tea", "-", "-"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-02 10:00", "2026-03-02 10:00"),
        ("2026-03-02T10:00:00+08:00", "2026-03-02 02:00"),
        (1772445600, "2026-03-02 10:00"),
        (1772445600000, "2026-03-02 10:00"),
        (pd.Timestamp("2026-03-02 10:00", tz="Asia/Shanghai"), "2026-03-02 02:00"),
        ("20260302T100000Z", "2026-03-02 10:00"),
        ("1772445600", "2026-03-02 10:00"),
        (" 1772445600.0 ", "2026-03-02 10:00"),
        ("1772445600000", "2026-03-02 10:00"),
        ("yesterday", None),
        ("now", None),
        ("today", None),
    ],
)
def test_times_are_in_utc(written: object, expected: str | None) -> None:
    """A time without a zone is UTC, with a zone it is converted, and a number counts from 1970."""
    wanted = pd.NaT if expected is None else pd.Timestamp(expected, tz="UTC")
    read = tidy.times(pd.Series([written]))
    assert str(read.dtype) == "datetime64[us, UTC]"
    assert [wanted] == read.tolist() or (expected is None and read.isna().all())


def test_a_word_among_times_is_no_time() -> None:
    """Neither the clock's time nor a reason to misread its neighbours, be they written or numbers."""
    for kind in ("str", "object", "category"):
        for written in ("1772445600", "2026-03-02T11:00:00+01:00"):
            read = tidy.times(pd.Series([written, "now", None, "unknown"], dtype=kind))
            assert [pd.Timestamp("2026-03-02 10:00", tz="UTC"), pd.NaT, pd.NaT, pd.NaT] == read.tolist()


def test_keys_are_text() -> None:
    """A number that was read as 17850.0 is the key 17850, and leading zeros of a text stay."""
    assert tidy.identifiers(pd.Series([17850.0, 12.0])).tolist() == ["17850", "12"]
    assert tidy.identifiers(pd.Series([17850.0, np.nan])).fillna("-").tolist() == ["17850", "-"]
    assert tidy.identifiers(pd.Series([" 007", ""])).fillna("-").tolist() == ["007", "-"]
