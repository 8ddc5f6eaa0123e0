"""Spark gives what DuckDB gives, keeps to itself, and says what it misses."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from brute_force import SOURCE, Tables, differences, log, short, slow_features

from pipelines import features
from pipelines.behaviour import batch, sql, texts
from pipelines.behaviour.definitions import Feature, FeatureSet
from pipelines.behaviour.spark import by_value, reader, view
from pipelines.behaviour.spark_dialect import in_spark
from pipelines.behaviour.spark_session import java, options, running
from pipelines.clean import cleaned
from pipelines.config import Clean, EngineSettings, load
from pipelines.errors import InputError
from pipelines.market import simulate
from pipelines.tables import WINDOWS, OffersInfo

CONF = Path(__file__).parents[1] / "conf"
SHIPPED = load(conf=CONF).features.with_all()
SPARK = EngineSettings(
    name="spark",
    memory="1GB",
    partitions=1,
    settings={  # to compile what runs once takes longer than to run it
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.sql.codegen.wholeStage": False,
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": False,
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the working folder of the session."""
    return tmp_path_factory.mktemp("working")


@pytest.fixture(scope="module")
def session(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give the one session of this module, which every engine below uses; skip where there can be none."""
    pytest.importorskip("pyspark", reason="engine=spark is an extra: pip install pricewright[spark]")
    pytest.importorskip("sqlglot", reason="engine=spark is an extra: pip install pricewright[spark]")
    try:
        java()
    except InputError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with running(SPARK, tmp_path_factory.mktemp("spill")) as session:
            yield session


def written(engine: EngineSettings, wanted: FeatureSet, tables: Tables, out: Path) -> pd.DataFrame:
    """Return what an engine writes, by offer_id."""
    batch.engine(engine).write(wanted, tables, out)
    return batch.frame(out).set_index("offer_id")


def together(logs: list[Tables]) -> Tables:
    """Return logs as one in which they share no shopper, session or item: what Spark takes long for is to begin."""
    named = [
        {name: t.assign(**{c: t[c] + f"-{k}" for c in t.columns if c.endswith("_id")}) for name, t in tables.items()}
        for k, tables in enumerate(logs)
    ]
    return {name: pd.concat([tables[name] for tables in named], ignore_index=True) for name in logs[0]}


def test_logs_with_ties_and_gaps_give_the_same(session: Any, tmp_path: Path) -> None:
    """Random logs of seconds, hours and months, many events at once, short memories and windows: as the reference says.

    And as DuckDB says.
    """
    logs = [log(seed, 80, tick) for seed, tick in enumerate((3_000.5, 3_000.5, 0.004, 400_000.0), start=4)]
    tables = together(logs)
    found = written(SPARK, short(), tables, tmp_path / "spark")
    reference = pd.concat([slow_features(short(), t).rename(lambda n, k=k: f"{n}-{k}") for k, t in enumerate(logs)])
    assert [] == differences(reference, found)
    expected = written(EngineSettings(), short(), tables, tmp_path / "duckdb")
    pd.testing.assert_frame_equal(expected, found, rtol=1e-6, atol=1e-6)
    assert {"spark", "duckdb"} == {path.name for path in tmp_path.iterdir()}
    assert {".parquet"} == {path.suffix for path in (tmp_path / "spark").iterdir()}


def test_the_stage_writes_the_same_offers(session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With engine: spark a small market has the same windows, features and description."""
    shop = simulate(dataclasses.replace(SOURCE, offers=700), seed=3)
    raw = {"events": shop.events, "items": shop.items, "shoppers": shop.shoppers}
    found = {}
    for engine in (EngineSettings(), SPARK):
        (tmp_path / engine.name / "data/clean").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / engine.name)
        for name, table in cleaned(raw, SOURCE, Clean())[0].items():
            table.to_parquet(f"data/clean/{name}.parquet", index=False)
        features.main(dataclasses.replace(load(conf=CONF), source=SOURCE, engine=engine))
        found[engine.name] = {name: pd.read_parquet(f"data/offers/{name}.parquet") for name in (*WINDOWS, "quarantine")}
        found[engine.name]["info"] = dataclasses.replace(OffersInfo.read(Path("data/offers/offers.json")), sha256="")
    assert found["duckdb"].pop("info") == found["spark"].pop("info")
    for name, table in found["duckdb"].items():
        pd.testing.assert_frame_equal(table, found["spark"][name], rtol=1e-6, atol=1e-6)
    assert len(found["spark"]["certify"]) > 100


def test_times_are_whole_microseconds(session: Any, tmp_path: Path) -> None:
    """Times with a zone or without, in files of a folder or in a frame, are read as DuckDB reads them."""
    times = pd.to_datetime(["2026-03-01 22:00:00.000001", "1969-12-31 23:59:59.999999", None])
    instants = [1_772_402_400_000_001, -1, None]
    (tmp_path / "log/deep").mkdir(parents=True)
    for name in ("one", "deep/two"):
        zoned = times.tz_localize("UTC").as_unit("us")
        pd.DataFrame({"time": zoned}).to_parquet(tmp_path / f"log/{name}.parquet")
    (tmp_path / "log/readme.txt").write_text("not a table")
    view(session, "of_files", tmp_path / "log", tmp_path)
    assert sorted([*instants, *instants], key=str) == sorted(values(session, "instant", "of_files"), key=str)
    view(session, "of_frame", pd.DataFrame({"signup": times.tz_localize("Asia/Shanghai")}), tmp_path)
    eight_hours = 8 * 3_600 * 10**6
    assert [instants[0] - eight_hours, -1 - eight_hours, None] == values(session, "signup", "of_frame")
    pd.DataFrame({"time": times.as_unit("us")}).to_parquet(tmp_path / "plain.parquet")
    view(session, "of_plain", str(tmp_path / "pl*.parquet"), tmp_path)
    assert instants == values(session, "instant", "of_plain")


def values(session: Any, column: str, table: str) -> list[Any]:
    """Return one column of a table."""
    return [value for (value,) in session.sql(f"SELECT {column} FROM {table}").collect()]


def test_a_missing_log_is_named(session: Any, tmp_path: Path) -> None:
    """A path without Parquet says so, and nothing is written."""
    with pytest.raises(InputError, match=r"nowhere\.parquet: there is no Parquet to read"):
        batch.engine(SPARK).write(SHIPPED, {"events": tmp_path / "nowhere.parquet"}, tmp_path / "out")
    assert [] == list(tmp_path.iterdir())


def test_the_session_keeps_to_itself(session: Any, folder: Path) -> None:
    """It listens on this machine alone, shows no page, counts time in UTC, and leaves nothing where it was started."""
    settings = dict(session.sparkContext.getConf().getAll())
    assert "127.0.0.1" == settings["spark.driver.host"] == settings["spark.driver.bindAddress"]
    assert session.sparkContext.uiWebUrl is None
    assert "UTC" == session.conf.get("spark.sql.session.timeZone")
    assert [] == list(folder.iterdir())


def test_workers_need_not_have_this_project(session: Any, tmp_path: Path) -> None:
    """What reads texts can be sent to a Python that knows pyarrow and pyspark, and nothing of pricing."""
    from pyspark import cloudpickle

    by_value()
    (tmp_path / "sent").write_bytes(cloudpickle.dumps(reader(texts.read_search.__wrapped__, ("words", "topic_1"))))
    program = """
import pickle, pyarrow, sys
read = pickle.load(open("sent", "rb"))
table, = read([pyarrow.RecordBatch.from_arrays([pyarrow.array(["cheap tea"])], ["text"])])
print(table.to_pylist(), "pipelines" in sys.modules)
"""
    told = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = texts.read_search("cheap tea")
    row = {"text": "cheap tea", "words": 2.0, "topic_1": expected["topic_1"]}
    assert f"{[row]} False" == told.stdout.strip()


SLIDING = """SELECT sum(x) OVER w AS a, count(x) OVER w AS b, sum(CASE WHEN x > 1.5 THEN 1 END) OVER w AS c, k // 7 AS d
FROM t WINDOW w AS (PARTITION BY k ORDER BY t RANGE BETWEEN 500 PRECEDING AND 1 PRECEDING)"""


def test_frames_grow_where_they_can() -> None:
    """A frame as long as the log is open, a shorter one is not; of the shipped features only decay has such a one."""
    pytest.importorskip("sqlglot")
    whole = in_spark(SLIDING, span=500)
    assert ("UNBOUNDED" in whole, "500" in whole) == (True, False)
    parted = in_spark(SLIDING, span=501)
    assert ("UNBOUNDED" in parted, "500 PRECEDING" in parted) == (False, True)
    assert "x > 1.5e0 THEN 1 END) OVER w AS c" in parted
    assert "k DIV 7 AS d" in parted
    selects = [in_spark(step.select, span=10**18) for step in sql.steps(SHIPPED)]
    slides = [line for text in selects for line in re.findall(r"BETWEEN \d+ PRECEDING", text)]
    assert 1 == len(slides)


def test_a_measure_called_as_a_column_is_that_column() -> None:
    """The log never has two columns of one name, which Spark could not tell apart."""
    paid = {"last_price": Feature("session", "last", ("view",), value="price", meaning="price")}
    select = sql.log(FeatureSet(paid, SHIPPED.forget, name="only")).select
    assert 1 == sum(line.strip().startswith("e.price") for line in select.splitlines())


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyspark or sqlglot the error says how to install them."""
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(InputError, match=r"engine=spark needs pyspark.*pip install \"pricewright\[spark\]\""):
        batch.engine(SPARK).write(SHIPPED, log(0), tmp_path / "out")
    assert [] == list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(InputError, match=r"engine=spark needs sqlglot.*requirements-extras\.lock"):
        in_spark("SELECT 1", 0)


def test_a_missing_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Java on the PATH, a JAVA_HOME without one, an old one and a broken one each say what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        InputError, match=r"needs Java, and there is none on the PATH: install Java 17 or later .*JAVA_H"
    ):
        java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"JAVA_HOME={tmp_path} holds no bin/java: install"):
        java()
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    for said, told in (
        ('openjdk version "1.8.0_402"', "is Java 8: install"),
        ("no such thing", "does not run: install"),
    ):
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        program.chmod(0o755)
        with pytest.raises(InputError, match=told):
            java()
    program.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    assert str(program) == java()


def test_one_line_of_conf_chooses_spark() -> None:
    """`engine: spark` is all that changes; its settings reach Spark, those that make it agree with DuckDB stay."""
    settings = load(
        ["engine=spark", "engine.settings={spark.sql.ansi.enabled: false, spark.cores.max: 8}"], CONF
    ).engine
    told = options(settings, Path("/spill"))
    expected = {
        "spark.master": "local[2]", "spark.driver.memory": "4096m", "spark.cores.max": "8",
        "spark.sql.ansi.enabled": "true", "spark.driver.bindAddress": "127.0.0.1", "spark.local.dir": "/spill/spark",
    }  # fmt: skip
    assert expected == {key: told[key] for key in expected}
    cluster = options(dataclasses.replace(settings, master="spark://host:7077"), Path("/spill"))
    assert "4096m" == cluster["spark.executor.memory"]
    assert not {"spark.driver.bindAddress", "spark.local.dir"} & set(cluster)


def test_settings_of_the_other_engine_are_refused() -> None:
    """DuckDB has no master, Spark no threads: a setting that would be ignored is an error."""
    for name, key, value in (("duckdb", "master", "yarn"), ("spark", "threads", "4"), ("spark", "rows", "5")):
        with pytest.raises(InputError, match=rf"engine\.{key} is no setting of engine={name}"):
            load([f"engine={name}", f"engine.{key}={value}"], CONF)
