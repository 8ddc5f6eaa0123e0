"""A decision log as the table of offers that it amounts to: which column plays which part, what its policies say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.sources import DecisionsSource, OffersSource, Roles
from pipelines.tables import OffersInfo

TOLD = "decisions.json"  # beside the tables: what the policies say of their inputs, and what was left out


def as_offers(source: DecisionsSource, told: Mapping[str, Any]) -> OffersSource:
    """Return a log as the table of offers that it amounts to, every part in the column of its name."""
    return OffersSource(
        kind="offers",
        name=source.name,
        currency=told["currency"],
        rungs=tuple(told["ladder"]),
        path=source.path,
        columns=Roles(
            price="price", bought="bought", shopper="shopper_id", item="item_id", time="time",
            list_price="list_price" if told["listed"] else None, unit_cost="unit_cost", propensity="propensity",
            min_price="min_price", max_price="max_price", offer="offer_id", rung="nominal",
        ),
        cost_share=told["cost_share"],
        numeric=tuple(told["numeric"]),
        categorical=tuple(told["categorical"]),
        personal=tuple(told["personal"]),
    )  # fmt: skip


def described(info: OffersInfo, told: Mapping[str, Any]) -> OffersInfo:
    """Return what the offers are, with what their policies and their log tell."""
    units = {name: told["units"].get(name, "") for name in (*info.numeric, *info.categorical)}
    said = (*_said(told), *info.assumptions)
    definitions = told["definitions"]  # of the features that the contexts were made of, so the next policy has them too
    # a live policy gives most contexts a chance of few rungs
    return replace(info, model=told["model"], everywhere=False, units=units, assumptions=said, definitions=definitions)


def _said(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for everything that was left out or taken on trust."""
    left, unnamed = told["left_out"], told["unnamed"]
    said = {
        f"A decision without a purchase told within {told['attribution_days']:g} days counts as not bought; those of "
        f"less than that before {told['as_of']} are left out ({left['young']:,}).": True,
        f"{left['not_chosen']:,} quotes of the list price that no policy chose (a deadline, a context that could not "
        "be priced) are left out.": left["not_chosen"] > 0,
        f"{unnamed['shopper']:,} decisions named no shopper: each counts as a shopper of its own.":
            unnamed["shopper"] > 0,
        f"{unnamed['item']:,} decisions named no item: they count as one item.": unnamed["item"] > 0,
        f"{told['damaged']:,} damaged groups of records of the log could not be read.": told["damaged"] > 0,
    }  # fmt: skip
    return tuple(sentence for sentence, holds in said.items() if holds)
