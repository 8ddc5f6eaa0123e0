"""Definitions as JSON: they come back as they were, and differences from what a policy learned from are named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from attached import definitions

from pipelines.behaviour.exported import as_json, from_json, misfits
from pipelines.behaviour.layout import digest
from pipelines.errors import InputError
from pipelines.manifest import Field

LEARNED = as_json(definitions())


def _inputs(**units: str) -> tuple[Field, ...]:
    """Return the inputs of a policy that learned from the shipped features."""
    return tuple(
        Field(name, "word" if feature.is_word else "number", units.get(name, feature.meaning), False, False)
        for name, feature in definitions().features.items()
    )


def _changed(name: str, **settings: Any) -> Any:
    features = definitions()
    return replace(features, define={**features.define, name: replace(features.define[name], **settings)})


def test_definitions_come_back_from_json() -> None:
    """What JSON tells makes the same features and the same state, whatever is switched off."""
    found = from_json(json.loads(json.dumps(LEARNED)), "here")
    assert as_json(definitions()) == as_json(found)
    assert list(definitions().features) == list(found.features)
    assert [f.meaning for f in definitions().features.values()] == [f.meaning for f in found.features.values()]
    assert digest(definitions()) == digest(found)
    assert (definitions().forget, definitions().lateness) == (found.forget, found.lateness)


def test_the_definitions_of_the_policy_fit_it() -> None:
    """Nothing is wrong with what it learned from, by its definitions or by their meanings alone."""
    assert [] == misfits(definitions(), _inputs(), LEARNED)
    assert [] == misfits(definitions(), _inputs(), {})


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (_changed("item_views_1d", window="7d"), "item_views_1d.window: '7d' instead of '1d'"),
        (_changed("item_conversion", prior=(2.0, 20.0)), "item_conversion.prior: (2.0, 20.0) instead of (1.0, 20.0)"),
        (_changed("tier", enabled=False), "tier: there is no such feature"),
        (
            replace(definitions(), forget={**definitions().forget, "session": "2d"}),
            "forget.session is 2d instead of 1d",
        ),
    ],
)
def test_another_definition_is_named(features: Any, said: str) -> None:
    """The feature, the key and both values are told."""
    assert any(said in line for line in misfits(features, _inputs(), LEARNED))


def test_a_new_meaning_alone_changes_nothing() -> None:
    """Words may be mended without training anew, where the definitions are known; else they are all there is."""
    features = _changed("tier", meaning="the tier of loyalty")
    assert [] == misfits(features, _inputs(), LEARNED)
    assert ["tier: it is 'the tier of loyalty', and the policy learned from 'loyalty tier'"] == misfits(
        features, _inputs(), {}
    )


def test_inputs_that_are_no_features_are_named() -> None:
    """A policy learned from a table of its own cannot be fed by the state; nor can a word be a number."""
    own = (Field("visits", "number", "", False, False), Field("tier", "number", "", False, False))
    assert ["visits: there is no such feature", "tier: the policy takes a number"] == misfits(definitions(), own, {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "holds no definitions"),
        ({"define": {"x": {"aggregate": "median"}}}, "define.x: aggregate='median' does not exist"),
        ({"define": {"x": 3}}, "define.x"),
        ({"define": {"x": {"odd": 1}}}, "define.x"),
        ({"define": {}}, "'forget'"),
    ],
)
def test_what_is_no_definition_is_refused(values: Any, said: str) -> None:
    """The message names the file, and the feature where there is one."""
    with pytest.raises(InputError, match=f"here.*{said}"):
        from_json(values, "here")
