"""A Spark session that keeps to itself: bound to this machine, without a user interface, quiet, and gone afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.behaviour.spark_dialect import INSTALL
from pipelines.config import EngineSettings
from pipelines.errors import InputError

JAVA = 17  # the oldest that Spark 4 runs on
_GET_JAVA = (
    f"install Java {JAVA} or later (Debian, Ubuntu: apt install openjdk-{JAVA}-jre-headless; macOS: brew install "
    f"openjdk@{JAVA}), or set JAVA_HOME to the folder of one that is there"
)
_AGREED = {  # what makes the SQL mean what it means to DuckDB; nothing may change it
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
}


@contextmanager
def running(settings: EngineSettings, spill: Path) -> Iterator[Any]:
    """Give a session; what it keeps on this machine's disk is in the folder `spill`.

    One that is already running in this process is used, with SQL settings of its own, and left running.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputError(f"engine=spark needs pyspark, which is not installed: {INSTALL}") from None
    active = SparkSession.getActiveSession()
    if active is not None:
        session = active.newSession()
        for key, value in _AGREED.items():
            session.conf.set(key, value)
        yield session
        return
    java()
    session = _started(SparkSession.builder, settings, spill)
    try:
        yield session
    finally:
        session.stop()
        _ended()


def _started(builder: Any, settings: EngineSettings, spill: Path) -> Any:
    """Return a new session; what Java says while it starts is kept in a file, and shown if it does not start."""
    if settings.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    for key, value in options(settings, spill).items():
        builder = builder.config(key, value)
    said = spill / "java.txt"
    try:
        with _output_to(said):
            return builder.getOrCreate()
    except Exception as error:
        lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("at ", "..."))]  # where in Spark it was
        told = (lines or str(error).splitlines() or ["no reason is given"])[-1]
        raise InputError(
            f"engine=spark: no session starts at engine.master={settings.master} ({told}); see engine.memory, "
            "engine.settings in conf/engine/spark.yaml and the Java that JAVA_HOME names"
        ) from error


def _ended() -> None:
    """End the Java of a session that was stopped: pyspark would leave it, with all its memory, until Python ends."""
    from pyspark import SparkContext

    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    process = getattr(gateway, "proc", None)
    if process is not None:
        gateway.shutdown()
        process.stdin.close()  # at which it ends
        process.wait()


def options(settings: EngineSettings, spill: Path) -> dict[str, str]:
    """Return the settings of a session: ours, those of `engine.settings` over them, and what must not change."""
    given = {
        "spark.master": settings.master,
        "spark.app.name": "pricewright",
        "spark.driver.memory": _java_size(settings.memory),
        "spark.sql.shuffle.partitions": str(settings.partitions),
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }
    if settings.master.startswith("local"):
        home = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        given.update(home, **{"spark.local.dir": str(spill / "spark")})
    else:
        given["spark.executor.memory"] = given["spark.driver.memory"]
    told = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings.settings.items()
    }
    return {**given, **told, **_AGREED}


def _java_size(memory: str) -> str:
    """Return `4GB` as Java writes it.

    >>> _java_size("1.5GB")
    '1536m'
    """
    number, unit = re.findall(r"([\d.]+) ?([KMGT])", memory)[0]
    return f"{max(1, round(float(number) * 1024.0 ** ('KMGT'.index(unit) - 1)))}m"


def java() -> str:
    """Return the Java that Spark will start; InputError if there is none, or one that is too old."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if found is None:
        where = f"JAVA_HOME={home} holds no bin/java" if home else "there is none on the PATH"
        raise InputError(f"engine=spark needs Java, and {where}: {_GET_JAVA}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if version is None:
        raise InputError(f"engine=spark needs Java, and {found} does not run: {_GET_JAVA}")
    if int(version[1]) < JAVA:
        raise InputError(f"engine=spark needs Java {JAVA} or later, and {found} is Java {version[1]}: {_GET_JAVA}")
    return found


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send what this process and those it starts write to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with file.open("wb") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        for number, own in enumerate(kept, start=1):
            os.dup2(own, number)
            os.close(own)
