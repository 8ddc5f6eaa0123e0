"""Events as they are sent: read as the batch would clean them, or refused with the name of the field."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from attached import ITEMS, event
from live import NOON

from pipelines import rules, tables
from pipelines.behaviour.measures import Event
from pipelines.serving import happened
from pipelines.serving.fields import RequestError


def _read(**columns: Any) -> Event | str:
    return happened.read(event("e1") | columns, "events[0]", ITEMS, "EUR")


def test_texts_numbers_and_times_are_as_clean_leaves_them() -> None:
    """NFKC, lower case, folded white space, floats, microseconds: the very row that `clean` makes of it."""
    sent = event("  e1 ", time="2026-03-02T12:00:00.000001+01:00", path="Home > ITEM", page_depth=3, currency="EUR")
    sent |= {"keywords": "  ＧＲＥＥＮ   Tea ", "propensity": None}
    found = happened.read(sent, "events[0]", ITEMS, "EUR")
    assert isinstance(found, Event)
    clean = rules.typed(pd.DataFrame([sent]), tables.EVENTS, "here").iloc[0]
    assert (clean["event_id"], clean["time"].value // 1000) == (found.event_id, found.instant)
    for name in ("path", "keywords", "channel", "page_depth", "price", "dwell_seconds"):
        assert clean[name] == found.row[name]
    assert "propensity" not in found.row


def test_limits_are_those_of_clean() -> None:
    """Words and bounds are written down twice, since live use loads no pandas; they must not drift apart."""
    assert tables.CHANNELS == happened.CHANNELS
    assert {name: high for name, (_, high) in happened.NUMBERS.items()} == {
        name: rules._BOUNDS[name][1] for name in happened.NUMBERS
    }
    assert set(happened.NUMBERS) | set(happened.PHRASES) <= set(tables.EVENTS.columns)


def test_the_public_price_is_taken_of_the_item() -> None:
    """A view without a list price has its item's; one that brings its own keeps it."""
    assert 24.99 == _read().row["list_price"]
    assert 30.0 == _read(list_price=30).row["list_price"]
    assert "list_price" not in _read(kind="search", item_id=None, price=None).row


def test_what_is_not_for_this_shop_is_answered_by_a_word() -> None:
    """An unknown item and a foreign currency are no mistake of the message."""
    assert "unknown_item" == _read(item_id="sofa")
    assert "foreign_currency" == _read(currency="USD")
    assert not isinstance(_read(currency="eur "), str)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""), ("event_id", None), ("event_id", 7), ("shopper_id", " "), ("session_id", "s" * 257),
        ("item_id", None), ("kind", "glance"), ("kind", None), ("channel", "fax"), ("channel", 1), ("price", None),
        ("price", 0), ("price", "24.99"), ("price", True), ("dwell_seconds", -1), ("rating", 6), ("rating", 10**400),
        ("path", 3), ("path", "x" * 2_001), ("text", "\ud800"), ("time", None), ("time", "noon"), ("time", 0),
        ("time", True), ("time", "2101-01-01"), ("time", float("inf")), ("currency", 5),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_field(field: str, value: Any) -> None:
    """The refusal says which event, which field, and what was expected."""
    with pytest.raises(RequestError) as refused:
        _read(**{field: value})
    assert f"events[0].{field}" == refused.value.field
    assert "expected" in refused.value.detail or "needs the price" in refused.value.detail


def test_times_in_every_form_are_the_same_instant() -> None:
    """Seconds, milliseconds and texts with and without a zone."""
    forms = (NOON, NOON * 1000, "2026-03-02T11:13:20", "2026-03-02T11:13:20Z", "2026-03-02T12:13:20+01:00")
    assert {round(NOON * 1e6)} == {happened.instant(form, "time") for form in forms}
