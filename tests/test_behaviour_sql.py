"""The batch SQL: only what the features need, a clear table, the same from Parquet, and a dialect that others take."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from brute_force import Tables, differences, log, short, slow_features

from pipelines.behaviour import batch, sql
from pipelines.behaviour.definitions import ENTITIES, Feature, FeatureSet
from pipelines.config import EngineSettings, load
from pipelines.errors import InputError

CONF = Path(__file__).parents[1] / "conf"
SHIPPED = load(conf=CONF).features.with_all()
SETS = {features.name: features for features in (SHIPPED, short())}


def only(**define: Feature) -> FeatureSet:
    """Return these features and no other."""
    return FeatureSet(define, short().forget, name="only")


def written(features: FeatureSet, tables: Tables, folder: Path, rows: int = 2_000_000) -> pd.DataFrame:
    """Return what the engine makes of Parquet files."""
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    paths = {name: folder / f"{name}.parquet" for name in tables}
    batch.engine(EngineSettings(rows=rows)).write(features, paths, folder / "out")
    return batch.frame(folder / "out")


def test_only_what_a_feature_needs_is_made() -> None:
    """Features of sessions alone need no other entity, no window, no table of texts, no step before."""
    few = only(views=Feature("session", "count", ("view",), meaning="views"))
    made = {step.name: step.select for step in sql.steps(few, ())}
    assert ["log", "of_session", "sold", "offers"] == list(made)
    for word in ("searches", "reviews", "previous_step", "decayed", "lives", "by_session_until"):
        assert word not in " ".join(made.values())
    assert "WHERE kind = 'view'" in made["of_session"].split("counted AS")[0]


def test_a_history_is_cut_only_where_it_is_long() -> None:
    """Without an entity that may be forgotten there is no life in the SQL, with it there is."""
    assert all("life" not in step.select for step in sql.steps(SHIPPED, ()))
    forgotten = {step.name for step in sql.steps(SHIPPED) if "life" in step.select}
    assert {f"of_{entity}" for entity in ENTITIES} == forgotten


def test_features_without_a_history_need_no_past(tmp_path: Path) -> None:
    """Facts alone make offers too."""
    tables = log(0)
    table = written(only(hour=Feature("offer", "fact", value="hour", meaning="UTC")), tables, tmp_path)
    views = tables["events"].query("kind == 'view'").set_index("event_id")["time"]
    assert views.dt.hour.to_dict() == table.set_index("offer_id")["hour"].to_dict()


@pytest.mark.parametrize("rows", [2_000_000, 40])
def test_files_give_what_frames_give(tmp_path: Path, rows: int) -> None:
    """Parquet files, whole or in parts, give what the reference gives, and nothing is left behind."""
    tables = log(4)
    table = written(SHIPPED, tables, tmp_path, rows).set_index("offer_id")
    assert [] == differences(slow_features(SHIPPED, tables), table)
    assert {"events.parquet", "items.parquet", "shoppers.parquet", "out"} == {p.name for p in tmp_path.iterdir()}
    assert (rows == 40) == (len(list((tmp_path / "out").iterdir())) > 1)


def test_a_folder_and_a_glob_are_one_log(tmp_path: Path) -> None:
    """A log in several files is read as one, by its folder or by a glob."""
    tables = log(1)
    whole = written(SHIPPED, tables, tmp_path)
    events = tables["events"]
    (tmp_path / "many").mkdir()
    for k, part in enumerate((events[:50], events[50:51], events[51:])):
        part.to_parquet(tmp_path / f"many/{k}.parquet", index=False)
    rest = {name: tables[name] for name in ("items", "shoppers")}
    for where in (tmp_path / "many", f"{tmp_path}/many/*.parquet"):
        batch.engine(EngineSettings()).write(SHIPPED, {"events": where, **rest}, tmp_path / "again")
        pd.testing.assert_frame_equal(whole, batch.frame(tmp_path / "again"))


def test_a_failure_leaves_the_old_offers(tmp_path: Path) -> None:
    """A log without a needed column fails and leaves what was written before, and no other file."""
    tables = log(2)
    before = written(SHIPPED, tables, tmp_path)
    broken = {**tables, "events": tables["events"].drop(columns="price")}
    with pytest.raises(Exception, match="price"):
        batch.engine(EngineSettings()).write(SHIPPED, broken, tmp_path / "out")
    pd.testing.assert_frame_equal(before, batch.frame(tmp_path / "out"))
    assert [] == [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_item_without_a_category_has_no_history_there(tmp_path: Path) -> None:
    """Items whose category is not known do not share one."""
    tables = log(5)
    items = tables["items"].assign(category=[None, None, "b", "c"])
    table = written(short(), {**tables, "items": items}, tmp_path).set_index("offer_id")
    assert [] == differences(slow_features(short(), {**tables, "items": items}), table)


def test_a_taken_name_is_refused() -> None:
    """A feature cannot be called what every offer has."""
    wrong = only(price=Feature("session", "count", meaning="events"))
    with pytest.raises(InputError, match=r"features.define.price: every offer has"):
        sql.offers(wrong)


def test_a_missing_log_and_engine_are_named(tmp_path: Path) -> None:
    """A path without Parquet and an engine that does not exist say so."""
    with pytest.raises(InputError, match=r"nowhere\.parquet: there is no Parquet"):
        batch.engine(EngineSettings()).write(SHIPPED, {"events": tmp_path / "nowhere.parquet"}, tmp_path / "out")
    with pytest.raises(InputError, match="engine=abacus is not an engine"):
        batch.engine(EngineSettings(name="abacus"))


def test_settings_of_an_engine_are_checked() -> None:
    """Memory without a unit and parts without rows are refused."""
    for wrong in ({"memory": "lots"}, {"rows": 0}, {"threads": 0}):
        with pytest.raises(InputError, match=r"engine\."):
            dataclasses.replace(EngineSettings(), **wrong)


@pytest.mark.parametrize("name", SETS)
def test_the_sql_can_be_said_in_spark(name: str) -> None:
    """Every step is one statement that sqlglot turns into Spark's dialect, whole-number division kept whole."""
    sqlglot = pytest.importorskip("sqlglot")
    for step in sql.steps(SETS[name]):
        (told,) = sqlglot.transpile(
            step.select, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
        )
        assert "//" not in told
        assert ("DIV" in told) == ("//" in step.select)


def test_the_sql_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m pipelines.behaviour.sql` prints every step with what it is."""
    monkeypatch.chdir(CONF.parent)
    sql.main()
    told = capsys.readouterr().out
    assert len(sql.steps(SHIPPED)) == told.count("CREATE OR REPLACE TEMP TABLE")
    assert "-- what the shopper and item did before each view, forgotten after 180d without an event" in told
