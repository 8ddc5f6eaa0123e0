"""Settings as frozen dataclasses: what has an unknown key, a wrong type or the wrong shape is refused by its name."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.errors import InputError, nearest


def typed(cls: type[Any], values: Any, where: str) -> Any:
    """Return `values` as an instance of the dataclass `cls`; an unknown key or wrong type names itself."""
    values = OmegaConf.create(dict(section(values, where)))
    refuse_unknown(cls, values, where)
    _misshapen(cls, values, where)
    schema = OmegaConf.structured(cls)
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            OmegaConf.set_readonly(schema[name], False)  # a frozen class makes its section read-only
    try:
        made = OmegaConf.to_object(OmegaConf.merge(schema, values))
    except OmegaConfBaseException as error:
        key = ".".join(filter(None, (where, str(error.full_key or ""))))
        told = str(error).splitlines()[0]
        if told.startswith("Incompatible value 'None'"):
            told = "null is no value for it; name one, or take the line out to have the default"
        raise InputError(f"conf: {key}: {told}") from error
    for f in dataclasses.fields(cls):
        if isinstance(getattr(made, f.name), list):
            object.__setattr__(made, f.name, tuple(getattr(made, f.name)))
    return made


def section(values: Any, where: str) -> Any:
    """Return settings as they are, if they are such."""
    if not isinstance(values, dict | DictConfig):
        raise InputError(f"conf: {where} must hold settings (key: value), not {values!r}")
    return values


def refuse_unknown(cls: type[Any], values: Any, where: str, deep: bool = True) -> None:
    """Refuse a key that `cls` does not have, naming the nearest; deep: in the sections within it too."""
    known = typing.get_type_hints(cls)
    for key, value in values.items():
        path = ".".join(filter(None, (where, str(key))))
        if key not in known:
            raise InputError(f"conf: {path} is not a known setting{nearest(str(key), list(known))}")
        if dataclasses.is_dataclass(known[key]) and isinstance(value, DictConfig) and deep:
            refuse_unknown(typing.cast("type[Any]", known[key]), value, path)


def _misshapen(cls: type[Any], values: DictConfig, where: str) -> None:
    """Refuse a word where a list belongs, and nothing or a word where lines of a section belong."""
    for key, kind in typing.get_type_hints(cls).items():
        kinds = set(typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,))
        value = values.get(key)
        if key not in values or (value is None and type(None) in kinds):
            continue
        path, wanted = ".".join(filter(None, (where, key))), kinds - {type(None)}
        if all(typing.get_origin(k) is tuple for k in wanted) and not isinstance(value, ListConfig):
            empty = ", or [] for none" if value is None else ""
            raise InputError(f"conf: {path} must be a list, e.g. [{example(value)}]{empty}")
        if all(typing.get_origin(k) is dict or dataclasses.is_dataclass(k) for k in wanted) and not isinstance(
            value, DictConfig
        ):
            found = (
                "nothing"
                if value is None
                else repr(OmegaConf.to_object(value) if isinstance(value, ListConfig) else value)
            )
            raise InputError(f"conf: {path} must hold lines, name: value, but it holds {found}")


def one_line(error: Exception) -> str:
    """Return what an error of Hydra or OmegaConf says, with the key that it is about."""
    key = getattr(error, "full_key", None)
    return " ".join(f"{key}: {error}".split()) if key else " ".join(str(error).split())


def example(values: Any) -> str:
    """Return an example for a list that is wanted where `values` stands: the one value, or a word for it."""
    return "x" if values is None or isinstance(values, dict | DictConfig) else str(values)
