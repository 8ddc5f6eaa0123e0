"""The offers of the user's own table: which columns are context, what stands on which rung, what had to be assumed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines import ladder, tidy
from pipelines.errors import InputError
from pipelines.sources import EventsSource, OffersSource
from pipelines.sources.own_offers import doubts, roles
from pipelines.tables import OFFERS, UTC, OffersInfo

_GROUNDS = ("instrument", "randomised")  # what a price's own effect can be told by; never features
_MANY_WORDS = 0.5  # a text column with more distinct words than this share of the rows is an identifier
_FEW_ROWS = 50  # below which that cannot be told
_BUYERS = 20  # purchases, and offers without one, that must speak for it that a column gives the outcome away
_ERRORS, _ROUNDED = 3.0, 1.1  # standard errors, and the slack for a third written as 0.3, of 1 / propensity


def offers(source: OffersSource, clean: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of the clean table, those whose price is on no rung, and what the offers are."""
    table = _complete(clean, source)
    numeric, categorical, left_out = _context(table, source)
    told = source.columns.rung is not None  # else rungs are read off the prices, which rounding moved
    meant = table["nominal"] if told else table["multiplier"]
    exact = told or table["list_price"].nunique() == 1  # prices rounded to the cent blur the ratios
    rungs = source.rungs or ladder.derived(meant, source.path, exact)
    merged = source.rungs is None and ladder.few(meant, exact) is None
    if merged and not exact and rungs[0] < 1 < rungs[-1]:
        rungs = tuple(sorted({*rungs, 1.0}))  # so that the list price itself can be quoted
    rung = ladder.on_rung(meant, rungs, source.snap if source.rungs else None)
    told_chances = source.columns.propensity is not None
    chances = ladder.summed(meant, table["propensity"], rung, exact) if merged and told_chances else None
    if merged:  # the propensity of a single price is not that of the rung which takes in its neighbours
        table["propensity"] = np.nan if chances is None else chances
    unsummed = merged and told_chances and chances is None
    refuse_misfits(table[rung >= 0], rungs, source)
    table[categorical] = table[categorical].fillna("")
    canonical = [name for name in dict.fromkeys((*OFFERS.columns, *_GROUNDS)) if name != "rung"]
    features = [name for name in (*numeric, *categorical) if name not in canonical]
    table = table[[*canonical, *features]].assign(rung=rung).sort_values(["time", "offer_id"], ignore_index=False)
    info = OffersInfo(
        source=source.name or source.kind,
        currency=source.currency,
        ladder=rungs,
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        personal=tuple(name for name in source.personal if name in (*numeric, *categorical)),
        units=dict.fromkeys((*numeric, *categorical), "as in the table"),
        cost_share=source.cost_share if source.columns.unit_cost else source.cost_share or 0.0,
        propensity_logged=told_chances and not unsummed,
        unsummed=unsummed,
        everywhere=source.every_price,
        instrument=bool(table["instrument"].nunique() > 1),
        anchored=bool((table["randomised"] == 1).any()),
        listed=source.columns.list_price is not None,
        timed=source.columns.time is not None,
        assumptions=(
            *_assumed(source),
            *(ladder.merging(len(rungs), told_chances, unsummed) if merged else ()),
            *_grounds(table, source, told_chances and not unsummed),
            *left_out,
            *doubts(clean, source),
        ),
    )
    off = table["rung"] < 0
    return table[~off], table[off].assign(rule="off_ladder"), info


def _complete(clean: pd.DataFrame, source: OffersSource) -> pd.DataFrame:
    """Return the clean table with every canonical column, filled with what is assumed where the table lacks it."""
    table = clean.copy()
    for name in ("list_price", "propensity", "min_price", "max_price", *_GROUNDS):
        if name not in table:
            table[name] = 1.0 if name == "list_price" else np.nan
    if "time" not in table:
        table["time"] = tidy.absent(table.index, UTC)
    assumed = table["list_price"] * (source.cost_share or 0.0)
    table["unit_cost"] = table["unit_cost"].fillna(assumed) if "unit_cost" in table else assumed
    table["multiplier"] = (table["price"] / table["list_price"]).round(ladder.DIGITS)
    if "nominal" in table:
        table["nominal"] = table["nominal"].round(ladder.DIGITS).fillna(table["multiplier"])
    return table


def _context(table: pd.DataFrame, source: OffersSource) -> tuple[list[str], list[str], list[str]]:
    """Return the numeric and the categorical columns of the context, and a sentence for each column left out."""
    numeric: list[str] = []
    categorical: list[str] = []
    left_out: list[str] = []
    names = [name for name in table.columns if name not in OFFERS.columns and name not in (*_GROUNDS, "nominal")]
    if (listed := roles(source).get("list_price")) and listed in (source.numeric or ()):
        names.insert(0, "list_price")
    for name in names:
        word = name in (source.categorical or ())
        reason = _unfit(table, name, word, named=word or name in (source.numeric or ()))
        if reason:
            left_out.append(f"Column {name!r} is left out: {reason}.")
        elif pd.api.types.is_numeric_dtype(table[name]):
            numeric.append(name)
        else:
            categorical.append(name)
    return numeric, categorical, left_out


def _unfit(table: pd.DataFrame, name: str, declared: bool, named: bool) -> str:
    """Return why a column cannot be context, or an empty text; declared: as words, named: as words or numbers."""
    values = table[name]
    count = values.nunique(dropna=False)
    if count == 1:
        return "it has the same value in every row"
    if values.dtype.kind in "mM":
        return "it holds times; give what matters of them as numbers, such as days since"
    for column, meaning in (("bought", "the outcome"), ("price", "the price shown"), ("multiplier", "the price shown")):
        if _says(values, table[column]):
            return f"it says the same as {meaning} ({column})"
    if not named and gives_away(table, name):
        return "each of its values has one outcome, as what is known only afterwards does"
    if name == "list_price" or pd.api.types.is_numeric_dtype(values) or declared or len(table) < _FEW_ROWS:
        return ""
    return "nearly every row has a word of its own, as identifiers do" if count > _MANY_WORDS * len(table) else ""


def _says(values: pd.Series, told: pd.Series) -> bool:
    """Return whether two columns can be told from each other, row for row, and not by chance of being all different."""
    if pd.api.types.is_numeric_dtype(values) and np.array_equal(values.to_numpy(float), told.to_numpy(float)):
        return True
    left, right = pd.factorize(values, use_na_sentinel=False)[0], pd.factorize(told)[0]
    kinds = int(left.max()) + 1
    pairs = len(np.unique(left.astype(np.int64) * (int(right.max()) + 1) + right))
    return kinds == int(right.max()) + 1 == pairs and 1 < kinds <= len(values) / 2


def gives_away(table: pd.DataFrame, name: str) -> bool:
    """Return whether the outcome can be read off a column: no value that several shoppers share has both outcomes.

    At least `_BUYERS` purchases must speak for it, and as many offers without one; the same row twice counts once. A
    column that is filled for buyers alone, or for all others, is one as well, and one in which all others share a value
    that no buyer has.
    """
    once = table.drop_duplicates([column for column in table if column not in ("offer_id", "shopper_id", "time")])
    values, bought = once[name], once["bought"].to_numpy(int)
    if min(bought.sum(), len(bought) - bought.sum()) < _BUYERS:
        return False
    kinds = pd.factorize(values.where(tidy.present(values)), use_na_sentinel=False)[0]
    for one, other in ((kinds[bought == 0], kinds[bought == 1]), (kinds[bought == 1], kinds[bought == 0])):
        if (one == one[0]).all() and one[0] not in other:
            return True
    shoppers = pd.Series(pd.factorize(once["shopper_id"])[0]).groupby(kinds).nunique().to_numpy()
    rows, sold = np.bincount(kinds)[shoppers > 1], np.bincount(kinds, bought)[shoppers > 1]
    one_sided = (sold == 0) | (sold == rows)
    return bool(one_sided.all()) and min(sold.sum(), (rows - sold).sum()) >= _BUYERS


def refuse_misfits(offers: pd.DataFrame, rungs: tuple[float, ...], source: OffersSource | EventsSource) -> None:
    """Refuse rungs on which no offer stands, and propensities that cannot be those of the rungs.

    With p the probability of the rung shown, the mean of 1 / p is the number of rungs that had a chance.
    """
    if offers.empty:
        raise InputError(
            f"{source.path}: no offer was shown within {source.snap:.1%} of a rung of source.rungs={list(rungs)}; "
            "rungs are price / list price (prices, where the table has no list price): mend them, or set them to null"
        )
    inverse = 1 / offers["propensity"].dropna().to_numpy(float)
    if not len(inverse):
        return
    error = inverse.std() / np.sqrt(len(inverse))
    least = inverse.mean() - _ERRORS * error  # a few tiny but right probabilities can raise the mean alone
    if least > _ROUNDED * len(rungs):
        raise InputError(
            f"{source.path}: column {source.columns.propensity!r} cannot hold the probabilities of {len(rungs)} rungs: "
            f"1 / probability is {inverse.mean():,.1f} on average, and {len(rungs)} at most for so many; give the "
            "probability with which each offer got its rung out of these, or set source.columns.propensity to null"
        )


def _assumed(source: OffersSource) -> list[str]:
    """Return a sentence for each role that the table leaves open."""
    parts = source.columns
    share = source.cost_share or 0.0
    said = {
        f"The table has no time: {'shoppers' if parts.shopper else 'rows'} are dealt to fit, select and certify at "
        "random, so none of these lies later.": not parts.time,
        "The table names no shopper: each row counts as a shopper of its own.": not parts.shopper,
        "No feature is declared personal (source.personal), so a shopper who opts out (personal = 0) gets the same "
        "prices as everybody else.": not source.personal,
        "The table names no item: all rows count as one item.": not parts.item,
        "The table has no list price: it is taken as 1, so the rungs are prices themselves.": not parts.list_price,
        f"The table has no unit cost: {share:.0%} of the list price is assumed.": not parts.unit_cost and share > 0,
        "The table has no unit cost: it is taken as 0, so profit is revenue.": not parts.unit_cost and share == 0,
        f"Rows without a unit cost are given {share:.0%} of the list price.": bool(parts.unit_cost) and share > 0,
        "Propensities were not logged: what a price does is observational here.": not parts.propensity,
    }  # fmt: skip
    return [sentence for sentence, holds in said.items() if holds]


def _grounds(table: pd.DataFrame, source: OffersSource, logged: bool) -> list[str]:
    """Return a sentence for what is taken on trust of an instrument, or of rows priced at random."""
    parts = source.columns
    by_chance = table["randomised"] == 1
    said = {
        f"Column {parts.instrument!r} is taken to move prices and to have no other way to move demand.":
            bool(parts.instrument) and table["instrument"].nunique() > 1,
        f"Column {parts.instrument!r} is the same in every row, so as an instrument it says nothing.":
            bool(parts.instrument) and table["instrument"].nunique() <= 1,
        f"Column {parts.randomised!r} flags no row as priced at random, so nothing is anchored on it.":
            bool(parts.randomised) and not by_chance.any(),
        f"Rows flagged by {parts.randomised!r} ({by_chance.mean():.0%}) are taken to have been priced at random, "
        "whoever was asked.": bool(by_chance.any()),
        "The propensity of rows priced at random is the share of their rung among such rows.":
            bool(by_chance.any()) and not logged,
    }  # fmt: skip
    return [sentence for sentence, holds in said.items() if holds]
