"""Definitions as JSON: beside the offers that were made by them, in the manifest of a policy, and for live use.

Reading them needs no Hydra. What is written leaves out what stands at its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pipelines.behaviour.definitions import Feature, FeatureSet
from pipelines.errors import InputError

if TYPE_CHECKING:
    from pipelines.manifest import Field

DEFINITIONS, FACTS, STATE = "live.json", "facts.db", "state.db"  # the files of a folder that live use is given
_SAME_PRICES = ("meaning", "personal", "enabled")  # what a definition says beside how it is computed


def as_json(features: FeatureSet) -> dict[str, Any]:
    """Return the enabled definitions, and what holds for all."""
    define = {name: _plain(feature) for name, feature in features.define.items() if feature.enabled}
    return {"name": features.name, "lateness": features.lateness, "forget": dict(features.forget), "define": define}


def from_json(values: Any, where: str) -> FeatureSet:
    """Return what `as_json` told; raises InputError naming `where`, and the feature, if it is none."""
    if not isinstance(values, dict) or not isinstance(values.get("define"), dict):
        raise InputError(
            f"{where} holds no definitions of features; `python -m pipelines.behaviour.attach` writes them"
        )
    define = {}
    for name, settings in values["define"].items():
        try:
            told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
            define[name] = Feature(**told)
        except (InputError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: define.{name}: {error}") from None
    try:
        return FeatureSet(define, values["forget"], values["lateness"], values["name"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: {type(error).__name__}: {error}; forget, lateness and name must be there") from None


def misfits(features: FeatureSet, inputs: tuple[Field, ...], learned: Mapping[str, Any]) -> list[str]:
    """Return why these features are not the inputs that a policy learned from, one line each; none if they are.

    inputs: those of the policy's context, without the terms of sale. learned: the definitions in its manifest, empty
    where it has none: then names, kinds and meanings are all there is to compare.
    """
    mine = features.features
    theirs = from_json(learned, "the policy's definitions") if learned else None
    found = []
    for field in inputs:
        feature, kind = mine.get(field.name), field.kind
        if feature is None:
            found.append(f"{field.name}: there is no such feature")
        elif feature.is_word != (kind == "word"):
            found.append(f"{field.name}: the policy takes a {kind}")
        elif theirs is not None and field.name in theirs.features:
            was = theirs.features[field.name]
            found += [
                f"{field.name}.{f.name}: {_value(feature, f.name)!r} instead of {_value(was, f.name)!r}"
                for f in fields(Feature)
                if f.name not in _SAME_PRICES and _value(feature, f.name) != _value(was, f.name)
            ]
            now, then = features.forget.get(feature.entity), theirs.forget.get(feature.entity)
            if now != then:
                found.append(f"{field.name}: forget.{feature.entity} is {now} instead of {then}")
        elif field.unit and field.unit != feature.meaning:
            found.append(f"{field.name}: it is {feature.meaning!r}, and the policy learned from {field.unit!r}")
    return found


def _plain(feature: Feature) -> dict[str, Any]:
    values = {f.name: _value(feature, f.name) for f in fields(Feature) if _value(feature, f.name) != f.default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _value(feature: Feature, name: str) -> Any:
    """Return what a feature says; what was read by Hydra has lists where others have tuples."""
    value = getattr(feature, name)
    return tuple(value) if isinstance(value, list) else value
