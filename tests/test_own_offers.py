"""The user's own table: every role may be there or not, and every mistake gets one clear message."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import clean, features, ingest
from pipelines.clean import cleaned
from pipelines.config import Clean, Config, Split
from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.policy import LADDER, QUOTE, TERMS_OF_SALE
from pipelines.pricing import Guardrails
from pipelines.sources import OffersSource, Roles, own_context, own_offers
from pipelines.tables import OFFERS, WINDOWS, OffersInfo, check

PLAIN = OffersSource("offers", "offers", path="mine.parquet")
WHOLE = replace(
    PLAIN,
    columns=Roles(
        "paid", "sold", shopper="user", item="sku", time="ts", list_price="rrp", unit_cost="cost", propensity="p"
    ),
    personal=("age", "segment"),
    protected=("gender",),
)


pytestmark = pytest.mark.usefixtures("workplace")


def plain(rows: int = 400) -> pd.DataFrame:
    """Return a small table with prices and outcomes alone, and rungs that are prices."""
    rng = np.random.default_rng(0)
    price = rng.choice([19.0, 39.0, 99.0, 399.0], rows)
    return pd.DataFrame({"price": price, "bought": (rng.random(rows) < 20 / price).astype(int)})


def whole(rows: int = 400) -> pd.DataFrame:
    """Return a table in which every role has a column, with features of several types."""
    rng = np.random.default_rng(1)
    rrp = rng.choice([10.0, 20.0, 25.0], rows)
    ratio = rng.choice([0.8, 0.9, 1.0], rows)
    return pd.DataFrame(
        {
            "user": rng.integers(1, 60, rows),
            "sku": rng.choice(["007", "008"], rows),
            "ts": 1_772_445_600 + np.arange(rows) * 60,
            "rrp": rrp,
            "cost": rrp * 0.6,
            "paid": rrp * ratio,
            "p": 1 / 3,
            "sold": rng.random(rows) < 0.3,
            "age": rng.integers(18, 80, rows).astype(float),
            "segment": rng.choice(["new", "loyal ", "学生"], rows),
            "member": rng.random(rows) < 0.5,
            "gender": rng.choice(["f", "m"], rows),
        }
    )


def made(table: pd.DataFrame, source: OffersSource) -> tuple[pd.DataFrame, pd.DataFrame, OffersInfo]:
    """Return the offers of `table`, saved where `source` expects it, read and cleaned."""
    save(table, Path(source.path))
    tables = cleaned({"offers": own_offers.read(source)}, source, Clean())[0]
    kept, off, info = own_context.offers(source, tables["offers"])
    return features.ordered(kept, info), off, info


def save(table: pd.DataFrame, path: Path) -> None:
    """Write `table` in the format that `path` names."""
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def rejected(table: pd.DataFrame, source: OffersSource) -> list[str]:
    """Return the rules that catch rows of `table`, in its order."""
    save(table, Path(source.path))
    return cleaned({"offers": own_offers.read(source)}, source, Clean())[1]["offers"]["rule"].tolist()


def said(info: OffersInfo) -> str:
    """Return all assumptions as one text."""
    return "\n".join(info.assumptions)


def test_prices_and_outcomes_are_enough() -> None:
    """Without any other column there are offers, and a sentence for everything that had to be assumed."""
    offers, off, info = made(plain(), PLAIN)
    assert (len(offers), len(off)) == (400, 0)
    assert info.ladder == (19.0, 39.0, 99.0, 399.0)
    assert (info.numeric, info.categorical) == ((), ())
    assert offers["price"].tolist() == np.array(info.ladder)[offers["rung"]].tolist()
    assert ({1.0}, {0.0}, 400) == (
        set(offers["list_price"]), set(offers["unit_cost"]), offers["shopper_id"].nunique()
    )  # fmt: skip
    assert info.cost_share == 0.0
    assert not info.propensity_logged
    assert not info.listed
    for word in ("no time", "no shopper", "no item", "no list price", "no unit cost", "Propensities"):
        assert word in said(info)


def test_every_role_has_its_column() -> None:
    """With all roles declared nothing is assumed, and the features are found by their types."""
    offers, off, info = made(whole(), WHOLE)
    assert (len(offers), len(off)) == (400, 0)
    assert info.ladder == (0.8, 0.9, 1.0)
    assert (info.numeric, info.categorical) == (("age",), ("segment", "member"))
    assert info.personal == ("age", "segment")
    assert info.listed
    assert (info.propensity_logged, info.cost_share, info.assumptions) == (True, None, ())
    assert {"new", "loyal", "学生"} == set(offers["segment"])
    assert {"true", "false"} == set(offers["member"])
    assert {"007", "008"} == set(offers["item_id"])
    assert offers["shopper_id"].str.fullmatch(r"\d+").all()
    assert pd.Timestamp("2026-03-02 10:00", tz="UTC") == offers["time"].min()
    assert offers["time"].is_monotonic_increasing


def test_csv_gives_what_parquet_gives() -> None:
    """The same table as CSV makes the same offers; identifiers keep their leading zeros."""
    parquet = made(whole(), WHOLE)[0]
    csv = made(whole(), replace(WHOLE, path="mine.csv"))[0]
    pd.testing.assert_frame_equal(parquet, csv)


def test_protected_columns_reach_nothing() -> None:
    """What must never be used is gone at the door."""
    assert "gender" not in made(whole(), WHOLE)[0]
    assert "gender" not in own_offers.read(WHOLE)


def test_what_gives_the_answer_away_is_left_out() -> None:
    """Constants, copies of the price or the outcome in any form, identifiers and times are no features."""
    table = whole().assign(
        shop="Berlin",
        copy=lambda t: t["paid"],
        discount=lambda t: (1 - t["paid"] / t["rrp"]).round(6),
        label=lambda t: np.where(t["sold"], "yes", "no"),
        note=[f"note {n}" for n in range(400)],
        seen=pd.date_range("2026-01-01", periods=400, freq="h"),
        revenue=lambda t: t["paid"] * t["sold"],
        courier=lambda t: np.where(t["sold"], np.where(t["age"] > 40, "van", "bike"), None),
        rated=lambda t: np.where(t["sold"], np.random.default_rng(2).random(400), np.nan),
    )
    _, _, info = made(table, WHOLE)
    assert (info.numeric, info.categorical) == (("age",), ("segment", "member"))
    for name in ("shop", "copy", "discount", "label", "note", "seen", "revenue", "courier", "rated"):
        assert f"Column {name!r} is left out" in said(info)


@pytest.mark.parametrize("path", ["mine.parquet", "mine.csv"])
def test_times_of_any_type_are_left_out(path: str) -> None:
    """Days and times as text, dates, times of day and durations are no words; text that is not always a day is."""
    moments = pd.date_range("2026-01-01", periods=40, freq="7h").repeat(10).to_series(index=range(400))
    table = whole().assign(
        day=moments.dt.strftime("%Y-%m-%d"),
        moment=moments.dt.strftime("%Y-%m-%d %H:%M:%S+01:00").where(moments.index > 3),
        date=moments.dt.date,
        mixed=moments.dt.strftime("%Y-%m-%d").where(moments.index > 9, "never"),
        gaps=moments.dt.strftime("%Y-%m-%d").where(moments.index > 9, "NA"),
    )
    if path == "mine.parquet":  # in CSV these two are words
        table = table.assign(hour=moments.dt.time.where(moments.index > 3), lasted=moments - moments[0])
    source = replace(WHOLE, path=path)
    save(table, Path(path))
    for stage in (ingest, clean, features):
        stage.main(Config(source, Guardrails(), {}, ("gbm",), seed=7))
    info = OffersInfo.read(Path("data/offers/offers.json"))
    assert (("age",), ("segment", "member", "mixed")) == (info.numeric, info.categorical)
    for name in {"day", "gaps", "moment", "date", "hour", "lasted"} & set(table):
        assert f"Column {name!r} is left out: it holds times; give what matters of them as numbers" in said(info)
    declared = replace(source, categorical=("day", "date"), personal=())
    assert ("day", "date") == made(table, declared)[2].categorical


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["k.A.", *map(str, range(399))], "399 of 400 cells are numbers and 'k.A.' is none: empty such cells, or name"),
        (
            [f"{k % 7},5" for k in range(400)],
            "400 of 400 cells are numbers (some with a decimal comma, such as '0,5'): write decimal points and name it",
        ),
        (
            ["?", *("1.250,5" if k % 2 else "7" for k in range(399))],
            "(some with a decimal comma, such as '1.250,5') and",
        ),
        ([str(k % 7) for k in range(400)], "400 of 400 cells are numbers: name it in source.numeric; source.cat"),
        ([*["A4"] * 41, *map(str, range(359))], None),
        ([*["A4"] * 41, *map(str, range(358)), "NA"], None),
        ([*["A4"] * 40, *map(str, range(360))], "360 of 400 cells are numbers and 'A4' is none"),
        ([None, "NA", *["7", "8"] * 199], "398 of 398 cells are numbers"),
        (["a", "b"] * 200, None),
    ],
)
def test_words_that_are_nearly_numbers_are_told(
    cells: list[str | None], expected: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ingest and the assumptions name the column, an odd cell and the setting, unless its kind is declared."""
    table = plain().assign(visits=pd.Series(cells, dtype="str"), seg=["a", "b"] * 200)
    for source, told in ((PLAIN, expected), (replace(PLAIN, categorical=("visits", "seg")), None)):
        assumed = said(made(table, source)[2])
        ingest.main(Config(source, Guardrails(), {}, ("gbm",), seed=7))
        for text in (assumed, capsys.readouterr().out):
            assert ("Column 'visits' is read as words, though" in text) == (told is not None)
            assert (told or "") in text
            assert "Column 'seg' is read" not in text


@pytest.mark.parametrize("nothing", ["NA", "none", 0, None])
def test_what_only_buyers_have_is_left_out(nothing: object) -> None:
    """Whatever stands in its place for the others, and however its values differ."""
    table = whole().assign(
        receipt=lambda t: np.where(t["sold"], [f"r{n}" for n in range(400)], np.array(nothing, object))
    )
    source = replace(WHOLE, path="mine.csv")
    assert "Column 'receipt' is left out" in said(made(table.assign(user="u" + table["user"].astype("str")), source)[2])


def test_an_honest_number_is_no_answer() -> None:
    """Neither one that is told twice, nor one of a shopper or a session, whose rows have one outcome by chance."""
    rng = np.random.default_rng(5)
    table = whole(1_000).assign(income=rng.random(1_000))
    alone = replace(WHOLE, columns=replace(WHOLE.columns, shopper=None, time=None, propensity=None))
    twice = table.loc[rng.integers(0, 1_000, 2_000)].drop(columns=["user", "ts", "p"])
    assert "income" in made(twice, alone)[2].numeric
    visits = table.loc[np.repeat(np.arange(1_000), 3)].assign(
        ts=1_772_445_600 + np.arange(3_000) * 60, user=np.repeat(np.arange(1_000), 3)
    )
    assert "income" in made(visits, WHOLE)[2].numeric
    label = table.assign(courier=np.where(table["sold"], "van", "bike"))
    named = replace(WHOLE, categorical=("courier", "segment"), numeric=("age",))
    assert "Column 'courier' is left out" in said(made(label, named)[2])  # it says the same as the outcome, row for row
    paid = table.assign(revenue=table["paid"] * table["sold"])
    assert "revenue" in made(paid, replace(WHOLE, numeric=("revenue", "age"), categorical=("segment",)))[2].numeric


def test_features_can_be_declared() -> None:
    """Declared columns are the features, in the declared type; the list price may be one of them."""
    source = replace(WHOLE, numeric=("rrp", "member"), categorical=("age",), personal=("age",))
    offers, _, info = made(whole(), source)
    assert (info.numeric, info.categorical) == (("list_price", "member"), ("age",))
    assert {0.0, 1.0} == set(offers["member"])
    assert "segment" not in offers
    assert offers["age"].str.fullmatch(r"\d+").all()


def test_costs_may_be_a_share() -> None:
    """Without a column for it the cost is the declared share of the list price, and the share fills gaps."""
    roles = replace(WHOLE.columns, unit_cost=None)
    offers, _, info = made(whole().drop(columns="cost"), replace(WHOLE, columns=roles, cost_share=0.4))
    assert (offers["unit_cost"] == offers["list_price"] * 0.4).all()
    assert info.cost_share == 0.4
    assert "40% of the list price is assumed" in said(info)
    gaps = whole().assign(cost=np.nan)
    assert (made(gaps, replace(WHOLE, cost_share=0.5))[0]["unit_cost"] == offers["list_price"] * 0.5).all()


def test_many_prices_become_nine_rungs() -> None:
    """More than 40 price ratios are taken as the nearest of their nine inner deciles, none is lost."""
    table = plain().assign(price=np.random.default_rng(2).normal(50, 5, 400))
    offers, off, info = made(table, PLAIN)
    assert (len(info.ladder), len(offers), len(off)) == (9, 400, 0)
    assert offers["multiplier"].nunique() > 25
    assert "nearest of 9 quantiles" in said(info)


def test_rounded_prices_stand_on_the_rungs_that_were_meant() -> None:
    """With list prices that differ, cents do not multiply the rungs, and every offer keeps its exact ratio."""
    rng = np.random.default_rng(6)
    rrp = rng.uniform(8, 120, 400).round(2)
    table = whole().assign(rrp=rrp, cost=1.0, paid=(rrp * rng.choice([0.7, 0.8, 1.0], 400)).round(2))
    offers, off, info = made(table, WHOLE)
    assert ((0.7, 0.8, 1.0), True) == (info.ladder, info.propensity_logged)
    assert (400, 0) == (len(offers), len(off))
    assert offers["multiplier"].nunique() > 25
    assert (np.abs(offers["multiplier"] - np.array(info.ladder)[offers["rung"]]) < 0.001).all()


def test_propensities_of_merged_prices_are_summed_where_the_log_tells_them() -> None:
    """Sixty prices, each with its own chance, whoever is asked: a rung has the sum of those of its prices."""
    rng = np.random.default_rng(2)
    chance = rng.uniform(1, 2, 60)
    chance /= chance.sum()
    which = np.append(np.arange(60), rng.choice(60, 5940, p=chance))
    table = pd.concat([plain()] * 15, ignore_index=True).assign(price=100.0 + which, p=chance[which])
    offers, _, info = made(table, replace(PLAIN, columns=Roles(propensity="p")))
    assert (9, True, False) == (len(info.ladder), info.propensity_logged, info.unsummed)
    place = np.abs(100.0 + np.arange(60) - np.array(info.ladder)[:, None] - 1e-9).argmin(axis=0)
    expected = np.bincount(place, chance)
    np.testing.assert_allclose(offers["propensity"], expected[offers["rung"]], rtol=1e-9)
    assert "sum of those of its prices" in said(info)
    assert "observational" not in said(info)


@pytest.mark.parametrize("how", ["by context", "sum to 0.5"])
def test_propensities_that_cannot_be_summed_are_not_used(how: str) -> None:
    """Where contexts differ, or chances are missing, it is not known what a rung's is; and the log did tell them."""
    price = np.random.default_rng(2).integers(100, 200, 4000).astype(float)
    p = np.where(np.arange(4000) % 2, 0.005, 0.015) if how == "by context" else 0.005
    table = pd.concat([plain()] * 10, ignore_index=True).assign(price=price, p=p)
    offers, _, info = made(table, replace(PLAIN, columns=Roles(propensity="p")))
    assert (9, False, True) == (len(info.ladder), info.propensity_logged, info.unsummed)
    assert offers["propensity"].isna().all()
    assert "Propensities were logged, but of single prices" in said(info)
    assert "were not logged" not in said(info)


def test_forty_prices_are_the_ladder_themselves() -> None:
    """They keep their propensities."""
    price = 100.0 + np.arange(4000) % 40
    table = pd.concat([plain()] * 10, ignore_index=True).assign(price=price, p=1 / 40)
    _, _, info = made(table, replace(PLAIN, columns=Roles(propensity="p")))
    assert (40, True) == (len(info.ladder), info.propensity_logged)


@pytest.mark.parametrize("words", [("yes", "no"), ("True", "False"), (" TRUE", "false "), (True, False), (1.0, 0.0)])
def test_an_outcome_may_be_a_word(words: tuple[object, object]) -> None:
    """Yes and no, true and false are read like 1 and 0, in Parquet and CSV; a strange word goes to quarantine."""
    table = plain()
    expected = table["bought"].tolist()
    told = table["bought"].map({1: words[0], 0: words[1]})
    for path in ("mine.parquet", "mine.csv"):
        source = replace(PLAIN, path=path)
        offers, _, _ = made(table.assign(bought=told), source)
        assert expected == offers.sort_values("offer_id")["bought"].tolist()
    told = told.astype("str").where(table.index != 7, "perhaps")
    save(table.assign(bought=told), Path(source.path))
    rest = cleaned({"offers": own_offers.read(source)}, source, Clean())[1]["offers"]
    assert [("not_a_number", "perhaps")] == list(zip(rest["rule"], rest["bought"], strict=True))


def test_declared_rungs_take_what_is_near() -> None:
    """With rungs declared a price further away than the tolerance is set aside."""
    offers, off, info = made(plain(), replace(PLAIN, rungs=(19.2, 100.0), snap=0.02))
    assert info.ladder == (19.2, 100.0)
    assert {19.0, 99.0} == set(offers["price"])
    assert {39.0, 399.0} == set(off["price"])
    assert {"off_ladder"} == set(off["rule"])


def test_each_flaw_has_its_rule() -> None:
    """Every kind of broken cell is caught by the rule that is named after it; whole rows stay."""
    flaws = {
        "missing_id": ("user", None),
        "bad_time": ("ts", -9e9),
        "missing_price": ("paid", np.nan),
        "price_not_positive": ("paid", -3.0),
        "missing_list_price": ("rrp", np.nan),
        "list_price_not_positive": ("rrp", 0.0),
        "missing_cost": ("cost", np.nan),
        "bought_not_0_or_1": ("sold", 2.0),
        "bad_propensity": ("p", 1.2),
        "impossible_value": ("age", np.inf),
        "impossible_value ": ("paid", 1e-9),
        "impossible_value  ": ("rrp", 9e8),
    }
    table = whole().astype({"sold": float, "ts": float, "user": "str"})
    for row, (name, value) in enumerate(flaws.values()):
        table.loc[row, name] = value
    assert [*map(str.strip, flaws), "duplicate_offer"] == rejected(pd.concat([table, table.iloc[[50]]]), WHOLE)


def test_an_id_may_occur_once() -> None:
    """With a column for the offer's id its second row is set aside; a word among numbers is named as it stood."""
    source = replace(PLAIN, path="mine.csv", columns=Roles(offer="n"))
    table = plain().astype({"price": object}).assign(n=[*range(399), 0])
    table.loc[7, "price"] = "ask"
    save(table, Path("mine.csv"))
    rest = cleaned({"offers": own_offers.read(source)}, source, Clean())[1]["offers"]
    assert [("7", "not_a_number", "ask"), ("0", "duplicate_id", str(table.loc[399, "price"]))] == list(
        zip(rest["offer_id"], rest["rule"], rest["price"], strict=True)
    )


def test_a_missing_number_may_be_a_word() -> None:
    """NA, null and nan are missing where numbers, outcomes or flags are expected, also beside cells that are broken."""
    roles = Roles(unit_cost="cost", randomised="ab")
    source = replace(PLAIN, path="mine.csv", columns=roles, cost_share=0.5, numeric=("age",), categorical=("land",))
    table = plain().astype({"bought": object}).assign(cost=1.0, ab="yes", age=40.0, land="DE")
    table = table.astype({"price": object, "cost": object, "age": object})
    table["ab"] = np.where(np.arange(400) % 2, "NA", "yes")
    table["land"] = np.where(np.arange(400) % 3, "NA", "DE")
    table.loc[[3, 4, 5], ["cost", "age"]] = ["NA", "null"]
    table.loc[6, "cost"] = table.loc[7, "age"] = "ask"
    table.loc[8, "price"], table.loc[9, "bought"] = "nan", "n/a"
    assert ["not_a_number", "not_a_number", "missing_price", "bought_not_0_or_1"] == rejected(table, source)
    offers = made(table, source)[0].set_index("offer_id")
    for row in (4, 5, 6):
        assert np.isnan(offers["age"][f"row-{row:07d}"])
        assert offers["unit_cost"][f"row-{row:07d}"] == 0.5
    assert {"DE", "NA"} == set(offers["land"])


@pytest.mark.parametrize("path", ["mine.parquet", "mine.csv"])
@pytest.mark.parametrize("kind", ["seconds", "iso"])
def test_a_word_among_times_costs_its_row_alone(kind: str, path: str) -> None:
    """Seconds since 1970 beside a word are still times; `now` is none, or windows would move from day to day."""
    source = replace(WHOLE, path=path)
    expected = made(whole(), WHOLE)[0]
    table = whole().astype({"ts": "str"})
    if kind == "iso":
        table["ts"] = pd.to_datetime(whole()["ts"], unit="s", utc=True).map(lambda t: t.isoformat())
    words = ["unknown", "now", "today"]
    table.loc[:2, "ts"] = words
    save(table, Path(path))
    kept, rest = cleaned({"offers": own_offers.read(source)}, source, Clean())
    assert [(word, "bad_time") for word in words] == list(
        zip(rest["offers"]["time"], rest["offers"]["rule"], strict=True)
    )
    assert expected["time"].tolist()[3:] == kept["offers"]["time"].tolist()


def test_cleaning_twice_changes_nothing() -> None:
    """The clean table of offers stays as it is, and every row is counted once."""
    table = whole()
    table.loc[[3, 9], "paid"] = -1.0
    save(table, Path(WHOLE.path))
    once, rest = cleaned({"offers": own_offers.read(WHOLE)}, WHOLE, Clean())
    twice, more = cleaned(once, WHOLE, Clean())
    pd.testing.assert_frame_equal(once["offers"], twice["offers"])
    assert (len(once["offers"]), len(rest["offers"]), len(more["offers"])) == (398, 2, 0)


@pytest.mark.parametrize(
    ("table", "source", "message"),
    [
        (plain().iloc[:0], PLAIN, r"mine.parquet has no rows: source.path must name"),
        (
            plain().rename(columns={"price": "prices"}), PLAIN,
            r"^mine.parquet: there is no column 'price' \(did you mean 'prices'\?\); name the right one with "
            r"source.columns.price, or add it$",
        ),
        (plain().assign(age=1), replace(PLAIN, numeric=("agee",)), r"'agee' \(did you mean 'age'\?\).*source.numeric"),
        (plain().assign(sex="f"), replace(PLAIN, protected=("sexx",)), r"'sexx' \(did you mean 'sex'\?\)"),
        (plain(), replace(PLAIN, personal=("price",)), r"source.personal 'price' is no feature"),
        (
            plain().assign(price="dear"), PLAIN,
            r"column 'price' must hold numbers \(source.columns.price\), but 400 of 400 values are none, e.g. 'dear'; "
            r"convert the column, or name another",
        ),
        (plain().assign(age="old"), replace(PLAIN, numeric=("age",)), r"'age' must hold numbers \(source.numeric\)"),
        (
            plain().assign(when="noon"), replace(PLAIN, columns=Roles(time="when")),
            r"column 'when' must hold times \(source.columns.time\), but 'noon' is none; use ISO 8601",
        ),
        (plain().assign(price=-1.0), PLAIN, r"all 400 rows were rejected: price_not_positive 400, "
         r"e\.g\. column 'price' \(source\.columns\.price\) holds '-1\.0'; mend the table"),
        (plain().assign(price=np.nan), PLAIN, r"missing_price 400, e\.g\. column 'price' .* holds nothing; mend"),
        (
            plain().assign(when=np.inf), replace(PLAIN, columns=Roles(time="when")),
            r"column 'when' must hold times \(source.columns.time\), but inf is none; use",
        ),
        (
            plain().assign(price=pd.Timestamp("2026-03-02")), PLAIN,
            r"'price' must hold numbers .*, e.g. 2026-03-02 00:00:00; convert",
        ),
        (plain().assign(price=9.0), PLAIN, r"every offer was shown at the same price .* set source.rungs"),
        (
            plain().assign(bought=lambda t: 3 * t["bought"]), PLAIN,
            r"'bought' must hold 1 where the offer was bought, however many pieces, .* of 400 rows .* e.g. 3; convert",
        ),
        (plain().assign(bought=lambda t: t["bought"].where(t["bought"] == 1)), PLAIN, r"something else, e.g. nothing"),
        (plain().assign(bought=0), PLAIN, r"mine.parquet: none of the 400 offers was bought \(column 'bought'\)"),
        (plain().assign(bought=True), PLAIN, r"every one of the 400 offers was bought .* that were not bought too"),
        (plain().assign(tags=[["a", "b"]] * 400), PLAIN, r"'tags' holds several values in one cell \(a ndarray\)"),
        (plain(), replace(PLAIN, rungs=(1.0, 2.0)), r"no offer was shown within 2.5% of a rung of source.rungs=\[1.0"),
        (
            plain().assign(p=0.05), replace(PLAIN, columns=Roles(propensity="p")),
            r"column 'p' cannot hold the probabilities of 4 rungs: 1 / probability is 20.0 on average, and 4 at most",
        ),
        (plain().assign(time=1), PLAIN, r"column 'time' has a name that pricewright uses itself"),
        (plain(), replace(PLAIN, columns=Roles("price", "price")), r"is both source.columns.price and source.columns"),
        (plain().assign(a=1), replace(PLAIN, numeric=("a",), protected=("a",)), r"source.protected and source.numeric"),
        (
            plain().assign(cost=1.0), replace(PLAIN, columns=Roles(instrument="costs")),
            r"there is no column 'costs' \(did you mean 'cost'\?\); name the right one with source.columns.instrument",
        ),
        (
            plain().assign(cost="dear"), replace(PLAIN, columns=Roles(instrument="cost")),
            r"'cost' must hold numbers \(source.columns.instrument\), but 400 of 400",
        ),
        (
            plain().assign(test=np.arange(400) % 3), replace(PLAIN, columns=Roles(randomised="test")),
            r"'test' must hold 1 where the price was drawn at random and 0 where it was not, .* 133 of 400",
        ),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_clear_message(table: pd.DataFrame, source: OffersSource, message: str) -> None:
    """What is wrong, where, and what to do: one message for each mistake."""
    with pytest.raises(InputError, match=message):
        made(table, source)


def test_grounds_are_read_and_are_no_features() -> None:
    """An instrument and a flag for drawn prices reach the offers, say what they assume, and are never context."""
    rng = np.random.default_rng(4)
    table = plain().assign(shock=rng.normal(size=400), ab=rng.choice(["yes", "no", None], 400))
    for role, column, word in (("instrument", "shock", "no other way"), ("randomised", "ab", "priced at random")):
        save(table[["price", "bought", column]], Path(PLAIN.path))
        source = replace(PLAIN, columns=Roles(**{role: column}))
        kept, _, info = own_context.offers(
            source, cleaned({"offers": own_offers.read(source)}, source, Clean())[0]["offers"]
        )
        told = table[column] if role == "instrument" else table[column].map({"yes": 1.0, "no": 0.0})
        pd.testing.assert_series_equal(told, kept.sort_index()[role], check_names=False, check_dtype=False)
        assert ((), ()) == (info.numeric, info.categorical)
        assert (role == "instrument", role == "randomised") == (info.instrument, info.anchored)
        assert word in said(info)


def test_grounds_that_say_nothing_are_not_taken() -> None:
    """A constant instrument and a flag that is never 1 correct nothing, and the assumptions say so."""
    for role, word in (("instrument", "says nothing"), ("randomised", "flags no row")):
        source = replace(PLAIN, columns=Roles(**{role: "g"}))
        save(plain().assign(g=0), Path(PLAIN.path))
        _, _, info = own_context.offers(
            source, cleaned({"offers": own_offers.read(source)}, source, Clean())[0]["offers"]
        )
        assert (False, False) == (info.instrument, info.anchored)
        assert word in said(info)


def test_a_strange_flag_goes_to_quarantine() -> None:
    """A single cell that is neither 0 nor 1 costs its row, under the rule named after it."""
    source = replace(PLAIN, columns=Roles(randomised="ab"))
    assert ["randomised_not_0_or_1"] == rejected(plain().assign(ab=[2, *[1, 0] * 199, 1]), source)
    assert ["not_a_number"] == rejected(plain().assign(ab=["maybe", *["1", "0"] * 199, "1"]), source)


def test_two_grounds_are_refused() -> None:
    """An instrument and randomised rows together have no defined meaning."""
    with pytest.raises(InputError, match=r"instrument='c' and source.columns.randomised='r': only one of them"):
        Roles(instrument="c", randomised="r")


def test_names_of_the_policy_are_no_features() -> None:
    """What a policy's graph takes or answers by name cannot be a feature; a column without a name is dropped."""
    assert {*TERMS_OF_SALE, *QUOTE, *LADDER} <= own_offers.RESERVED
    table = plain().assign(**{"": np.arange(400), " ": 1, "a[b] <c>": np.arange(400) % 7})
    assert ("a[b] <c>",) == made(table, PLAIN)[2].numeric


def test_files_that_are_no_tables_are_refused() -> None:
    """A missing file, another format and a broken file are each named with the setting."""
    with pytest.raises(InputError, match=r"^mine.parquet is missing: .* source.path"):
        own_offers.read(PLAIN)
    Path("mine.xlsx").write_text("x")
    with pytest.raises(InputError, match=r"mine.xlsx: source.path must name a .parquet, .csv"):
        own_offers.read(replace(PLAIN, path="mine.xlsx"))
    Path("mine.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"mine.parquet cannot be read as parquet"):
        own_offers.read(PLAIN)
    Path("mine.csv").write_text("")
    with pytest.raises(InputError, match=r"mine.csv cannot be read as csv"):
        own_offers.read(replace(PLAIN, path="mine.csv"))
    Path("mine.csv").write_text("price;bought\n1,5;0\n")
    with pytest.raises(InputError, match=r"^mine.csv: its columns are separated by ';', not by ','; save it with the"):
        own_offers.read(replace(PLAIN, path="mine.csv"))
    Path("mine.csv").write_text("price,bought,size\n1.5,0,groß\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"^mine.csv cannot be read as csv: .*; save it again as UTF-8"):
        own_offers.read(replace(PLAIN, path="mine.csv"))


def test_a_broken_schema_shows_the_cell_plainly() -> None:
    """A number is shown as one, not as its type's spelling."""
    offers = made(whole(), WHOLE)[0]
    with pytest.raises(
        InputError, match=r"column 'price' breaks the rule 'greater_than\(0\)', e.g. -1.0 \(1 problem in"
    ):
        check(offers.assign(price=offers["price"].where(offers["offer_id"] != "row-0000007", -1.0)), OFFERS, "features")


@pytest.mark.parametrize(("table", "source"), [(plain(), PLAIN), (whole(), WHOLE)])
def test_the_stages_hand_over(table: pd.DataFrame, source: OffersSource) -> None:
    """From file to windows: every row is in one window, the schema holds, and a second run gives the same bytes."""
    save(table, Path(source.path))
    cfg = Config(source, Guardrails(), {}, ("gbm",), seed=7, split=Split(0.2, 0.4))
    digests = []
    for _ in range(2):
        for stage in (ingest, clean, features):
            stage.main(cfg)
        digests.append(OffersInfo.read(Path("data/offers/offers.json")).sha256)
    assert digests[0] == digests[1]
    parts = [check(pd.read_parquet(f"data/offers/{name}.parquet"), OFFERS, name) for name in WINDOWS]
    assert [len(part) for part in parts] == [160, 80, 160]
    assert read_json(Path("data/clean/report.json"))["offers"] == {"rows_in": 400, "kept": 400, "rejected": {}}
