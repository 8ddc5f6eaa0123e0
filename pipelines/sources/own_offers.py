"""The source offers: the user's own table, read by the roles that its columns are given (docs/own-data.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import tidy
from pipelines.errors import InputError, nearest
from pipelines.rules import EARLIEST, LATEST, Rule, impossible
from pipelines.sources import OffersSource, external, own_columns
from pipelines.tables import OFFERS, UTC

_IDS = {"offer": "offer_id", "shopper": "shopper_id", "item": "item_id"}  # role -> canonical column
_NAMES = {**_IDS, "rung": "nominal"}
_ROLES = {column: role for role, column in _NAMES.items()}
_NUMBERS = (
    "price", "bought", "list_price", "unit_cost", "propensity", "min_price", "max_price", "instrument", "randomised",
    "nominal",
)  # fmt: skip
_RULED = {  # rule -> the canonical column that it is about
    "bad_time": "time", "missing_price": "price", "price_not_positive": "price", "missing_list_price": "list_price",
    "list_price_not_positive": "list_price", "missing_cost": "unit_cost", "bought_not_0_or_1": "bought",
    "bad_propensity": "propensity", "randomised_not_0_or_1": "randomised",
}  # fmt: skip
_FLAGS = ("bought", "randomised")
_ANSWERS = (  # what a policy answers with: its graph can have no input of that name
    "purchase_probability", "expected_profit", "price_sensitivity", "guardrail", "fallback", "alpha", "beta",
    "ladder_price", "ladder_probability", "ladder_profit", "ladder_propensity",
)  # fmt: skip
RESERVED = frozenset(OFFERS.columns) | {
    "instrument",
    "randomised",
    "nominal",
    "personal",
    "u",
    "rule",
    "unreadable",
    *_ANSWERS,
}


def roles(source: OffersSource) -> dict[str, str]:
    """Return the canonical column -> the user's column, of the roles that the table has."""
    declared = dataclasses.asdict(source.columns)
    return {_NAMES.get(role, role): name for role, name in declared.items() if name is not None}


def read(source: OffersSource) -> pd.DataFrame:
    """Return the user's table under canonical names, with the columns that may be features and no others."""
    parts = roles(source)
    table = external.read(Path(source.path), "source.path", [parts[i] for i in _IDS.values() if i in parts])
    return canonical(table, source)


def canonical(table: pd.DataFrame, source: OffersSource) -> pd.DataFrame:
    """Return a table as it was read under canonical names.

    Single cells that break a rule stay, for `clean` to catch; a column that cannot play its role is refused.
    """
    path, parts = Path(source.path), roles(source)
    _refuse_confusion(table, source, path)
    features = _candidates(table, source, path)
    own_columns.refuse_nested(table[[*dict.fromkeys((*parts.values(), *features))]], path)
    for name in source.personal:
        if name not in features:
            raise InputError(f"{path}: source.personal {name!r} is no feature of the table{nearest(name, features)}")
    offers = pd.DataFrame(index=table.index)
    row = pd.Series([f"row-{n:07d}" for n in range(1, len(table) + 1)], table.index, dtype="str")
    offers["offer_id"] = tidy.identifiers(table[parts["offer_id"]]) if "offer_id" in parts else row
    shopper = tidy.identifiers(table[parts["shopper_id"]]) if "shopper_id" in parts else offers["offer_id"]
    offers["shopper_id"] = shopper
    offers["item_id"] = tidy.identifiers(table[parts["item_id"]]) if "item_id" in parts else "item"
    if "time" in parts:
        offers["time"] = own_columns.moments(table[parts["time"]], path)
    for name in (n for n in _NUMBERS if n in parts and n not in _FLAGS):
        offers[name] = own_columns.readable(table[parts[name]], f"source.columns.{_ROLES.get(name, name)}", path)
    offers["bought"] = own_columns.outcomes(table[parts["bought"]], path)
    if "randomised" in parts:
        offers["randomised"] = own_columns.flags(table[parts["randomised"]], path)
    for name in features:
        if name != parts.get("list_price"):
            offers[name] = own_columns.feature(table[name], source, path)
    return offers.reset_index(drop=True)


def _refuse_confusion(table: pd.DataFrame, source: OffersSource, path: Path) -> None:
    """Refuse names that the table lacks, and columns with two parts to play."""
    parts = dataclasses.asdict(source.columns)
    named = [(f"source.columns.{role}", name) for role, name in parts.items() if name is not None]
    lists = {key: getattr(source, key) or () for key in ("numeric", "categorical", "personal", "protected")}
    external.require(table, [*named, *((f"source.{k}", n) for k, names in lists.items() for n in names)], path)
    seen: dict[str, str] = {}
    features = [(f"source.{key}", name) for key in ("numeric", "categorical") for name in lists[key]]
    listed = parts["list_price"]
    for setting, name in [*named, *((s, n) for s, n in features if (s, n) != ("source.numeric", listed))]:
        if name in seen:
            raise InputError(f"{path}: column {name!r} is both {seen[name]} and {setting}; give it one part to play")
        seen[name] = setting
        if name in source.protected:
            raise InputError(f"{path}: column {name!r} is source.protected and {setting}; take it out of one")


def _candidates(table: pd.DataFrame, source: OffersSource, path: Path) -> list[str]:
    """Return the columns that are or may be features: the declared, and where none are declared all the rest."""
    taken = {*roles(source).values(), *source.protected}
    chosen = [*(source.numeric or ()), *(source.categorical or ())]
    for name in table.columns:
        open_to = (source.numeric is None, source.categorical is None)
        if name in taken or name in chosen or not any(open_to):
            continue
        number = own_columns.is_number(table[name])
        if (number and open_to[0]) or (not number and open_to[1]):
            chosen.append(name)
    for name in chosen:
        if name in RESERVED and name not in taken:
            raise InputError(
                f"{path}: column {name!r} has a name that pricewright uses itself; say what it is under "
                f"source.columns, list it under source.protected, or rename it"
            )
    return chosen


def doubts(table: pd.DataFrame, source: OffersSource) -> list[str]:
    """Return a sentence for each column, raw or clean, that nobody declared and that is text but for numbers in it."""
    declared = {*(source.numeric or ()), *(source.categorical or ())}
    open_to = [name for name in table.columns if name not in RESERVED and name not in declared]
    return [sentence for name in open_to if (sentence := own_columns.nearly_numbers(table[name]))]


def clean_rules(raw: pd.DataFrame, source: OffersSource) -> tuple[pd.DataFrame, Sequence[Rule]]:
    """Return the raw offers with their types, and the rules that each must pass, in order."""
    parts = roles(source)
    table = pd.DataFrame(index=raw.index)
    unreadable = pd.Series(False, index=raw.index)
    for name, values in raw.items():
        if name in _IDS.values():
            table[name] = tidy.identifiers(values)
        elif name == "time":
            table[name] = tidy.times(values)
        elif name in _NUMBERS or name in (source.numeric or ()):
            table[name] = tidy.numbers(values)
            unreadable |= table[name].isna() & tidy.present(values)
        else:
            table[name] = values if values.dtype.kind in "fmM" else tidy.labels(values)
    costed = "unit_cost" in parts and source.cost_share is None
    whole = [name for name in ("shopper_id", "item_id", "time") if name in parts]
    return table.assign(unreadable=unreadable), (
        ("missing_id", lambda t: t[["offer_id", "shopper_id", "item_id"]].isna().any(axis=1)),
        ("not_a_number", lambda t: t["unreadable"]),
        ("bad_time", lambda t: ~_column(t, "time").between(EARLIEST, LATEST) & ("time" in parts)),
        ("missing_price", lambda t: t["price"].isna()),
        ("price_not_positive", lambda t: t["price"] <= 0),
        ("missing_list_price", lambda t: _column(t, "list_price").isna() & ("list_price" in parts)),
        ("list_price_not_positive", lambda t: _column(t, "list_price") <= 0),
        ("missing_cost", lambda t: _column(t, "unit_cost").isna() & costed),
        ("bought_not_0_or_1", lambda t: ~t["bought"].isin((0, 1))),
        ("bad_propensity", lambda t: ~_column(t, "propensity").between(1e-12, 1) & ("propensity" in parts)),
        ("randomised_not_0_or_1", lambda t: ~_column(t, "randomised").isin((0, 1, np.nan))),
        ("impossible_value", lambda t: impossible(t.drop(columns="propensity", errors="ignore")) | _infinite(t)),
        ("duplicate_id", lambda t: t.duplicated("offer_id")),
        # Only where shopper, item and time are known can two like rows be told to be one.
        ("duplicate_offer", lambda t: t.drop(columns="offer_id").duplicated() & (len(whole) == 3)),
    )


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table else tidy.absent(table.index, UTC if name == "time" else "float64")


def _infinite(table: pd.DataFrame) -> pd.Series[bool]:
    return table.select_dtypes("float").isin([float("inf"), float("-inf")]).any(axis=1)


def refuse_useless(kept: pd.DataFrame, rejected: pd.DataFrame, source: OffersSource) -> None:
    """Refuse a table none of whose rows passed, with the rules, their columns and the next step; or one outcome."""
    if not kept.empty:
        _refuse_one_outcome(kept["bought"], source)
        return
    counts = rejected["rule"].value_counts()
    columns = ", ".join(f"{part}={name!r}" for part, name in roles(source).items())
    raise InputError(
        f"{source.path}: all {len(rejected)} rows were rejected: "
        + ", ".join(f"{rule} {count}" for rule, count in counts.items())
        + _example(rejected, str(counts.index[0]), source)
        + f"; mend the table or the roles in conf/source ({columns}); docs/own-data.md has the rules"
    )


def _example(rejected: pd.DataFrame, rule: str, source: OffersSource) -> str:
    """Return what one row that `rule` caught holds, in which column of theirs; '' where the rule is about several."""
    column = _RULED.get(rule)
    if column is None:
        return ""
    found = rejected.loc[rejected["rule"] == rule, column].dropna()
    value = repr(str(found.iloc[0])) if len(found) else "nothing"
    role = _ROLES.get(column, column)
    return f", e.g. column {roles(source)[column]!r} (source.columns.{role}) holds {value}"


def _refuse_one_outcome(bought: pd.Series, source: OffersSource) -> None:
    """Refuse a table in which nothing was bought, or everything."""
    if bought.nunique() > 1:
        return
    found, missing = ("every one", "were not bought") if bought.iloc[0] == 1 else ("none", "were bought")
    raise InputError(
        f"{source.path}: {found} of the {len(bought)} offers was bought (column {source.columns.bought!r}), so the "
        f"data say nothing about what a price does; bring offers that {missing} too, or mend source.columns.bought"
    )
