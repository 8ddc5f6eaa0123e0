"""quality: what the data of this run are like -> data/quality/; where a threshold is broken, the stage fails.

profile.json holds everything, quality.json its headline numbers (`dvc metrics show`), report.html shows it. All three
are there after a failure too. passed.json is written only on success: the stages that learn wait for it, and since it
never changes, a change of thresholds alone makes none of them run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines import quality_drift, report_quality
from pipelines.behaviour.durations import microseconds
from pipelines.config import Config, stage
from pipelines.errors import InputError
from pipelines.files import write_json
from pipelines.quality_arrival import arrival
from pipelines.quality_history import HISTORY, Noted, fingerprint, note, reference
from pipelines.quality_limits import Breach, Quality, allowed, breaches, message
from pipelines.quality_profile import Table, columns, opened, parts, reading, session
from pipelines.tables import WINDOWS

DATA, OUT, PASSED = Path("data"), Path("data/quality"), "passed.json"


def tables(connection: Any, data: Path = DATA) -> dict[str, Table]:
    """Return the tables of a run: the clean events, items and shoppers of a log, and the offers of all windows."""
    found = {n: files for n in ("events", "items", "shoppers") if (files := _files(data / "clean", n))}
    windows = [path for name in WINDOWS for path in _files(data / "offers", name)]
    if not windows:
        raise InputError(f"{data / 'offers'} holds no window: run `dvc repro`, which makes it")
    return {name: opened(connection, name, files) for name, files in {**found, "offers": windows}.items()}


def _files(folder: Path, name: str) -> list[Path]:
    """Return the files of a table, whether it is one file, or a folder of parts."""
    return parts(folder / f"{name}.parquet") or parts(folder / name)


def rejected(connection: Any, name: str, data: Path = DATA) -> dict[str, int]:
    """Return how many rows of a table each rule set aside: those of `clean`, and of `features` for offers."""
    files = _files(data / "quarantine", name) + (_files(data / "offers", "quarantine") if name == "offers" else [])
    if not files:
        return {}
    query = f"SELECT rule, count(*) FROM {reading(files)} GROUP BY rule ORDER BY rule"
    return {str(rule): int(rows) for rule, rows in connection.execute(query).fetchall()}


def profile(connection: Any, found: Mapping[str, Table], limits: Quality, data: Path = DATA) -> dict[str, Any]:
    """Return, for each table, rows in, kept and rejected by rule, and the profile of each column."""
    told = {}
    for name, table in found.items():
        rules = rejected(connection, name, data)
        ranges = {c: limit[1] for c in table.columns if (limit := allowed(limits.ranges, name, c))}
        told[name] = {
            "rows": table.rows,
            "rows_in": table.rows + sum(rules.values()),
            "rejected": rules,
            "columns": columns(table, ranges),
        }
    return told


def identity(told: Mapping[str, Any]) -> str:
    """Return the fingerprint of the data that a profile is of; thresholds play no part in it."""
    bare = {
        name: one | {"columns": {c: {k: v for k, v in col.items() if k != "outside"} for c, col in columns.items()}}
        for name, one in told.items()
        for columns in (one["columns"],)
    }
    return fingerprint(bare)


def inside(connection: Any, data: Path = DATA) -> dict[str, dict[str, float]]:
    """Return how far each column of the offers moved from the fit to the certify window: column -> drift."""
    fit, certify = (opened(connection, name, _files(data / "offers", name)) for name in ("fit", "certify"))
    return quality_drift.moved(certify, quality_drift.bins_of(columns(fit, {})))


def since(found: Mapping[str, Table], last: Noted | None) -> dict[str, Any] | None:
    """Return how far each table moved since the run before; None where there is none to compare with."""
    if last is None:
        return None
    moved = {
        name: quality_drift.moved(table, last.tables[name]) for name, table in found.items() if name in last.tables
    }
    return {"against": last.data, "tables": moved}


def came(connection: Any, told: Mapping[str, Any], lateness: str, data: Path = DATA) -> dict[str, Any] | None:
    """Return how the log arrived (see `arrival`); None where there is no log, or no clean event in it."""
    times, raw = told.get("events", {"columns": {}})["columns"].get("time"), _files(data / "raw", "events")
    if not raw or not times or not times["first"]:
        return None
    return arrival(connection, raw, (times["first"], times["last"]), microseconds(lateness, "features.lateness"))


def measured(cfg: Config, data: Path = DATA, history: Path = HISTORY) -> tuple[dict[str, Any], Noted]:
    """Return the report of a run, all but what it breaks, and what is noted of it once it has passed."""
    with session() as connection:
        found = tables(connection, data)
        told = profile(connection, found, cfg.quality, data)
        run = cfg.source.name if cfg.experiment == "none" else f"{cfg.source.name}, {cfg.experiment}"
        known_as = identity(told)
        last = reference(history, run, known_as)
        report = {
            "run": run,
            "data": known_as,
            "tables": told,
            "arrival": came(connection, told, cfg.features.lateness, data),
            "drift": since(found, last),
            "drift_inside": inside(connection, data),
        }
    bins = {name: quality_drift.bins_of(one["columns"]) for name, one in told.items()}
    return report, Noted(run, known_as, last.data if last else None, bins)


def summary(report: Mapping[str, Any], broken: tuple[Breach, ...]) -> dict[str, Any]:
    """Return the headline numbers: rows, shares set aside, late and moved most."""
    told, log = report["tables"], report["arrival"]
    return {
        "passed": not broken,
        "broken": len(broken),
        "rows": {name: one["rows"] for name, one in told.items()},
        "rejected": {name: _share(sum(one["rejected"].values()), one["rows_in"]) for name, one in told.items()},
        "duplicates": {name: _share(sum(_duplicates(one)), one["rows_in"]) for name, one in told.items()},
        "late": _share(log["late"], log["rows"]) if log else None,
        "late_beyond": _share(log["beyond"], log["rows"]) if log else None,
        "backwards": log["backwards"] if log else None,
        "drift": _most((report["drift"] or {}).get("tables", {})),
        "drift_inside": _most({"offers": report["drift_inside"]}),
    }


def _duplicates(table: Mapping[str, Any]) -> Iterator[int]:
    return (rows for rule, rows in table["rejected"].items() if rule.startswith("duplicate_"))


def _share(rows: int, of: int) -> float:
    return round(rows / of, 6) if of else 0.0


def _most(moved: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any] | None:
    """Return the column that moved most."""
    every = [(one["psi"], f"{table}.{column}") for table, columns in moved.items() for column, one in columns.items()]
    return {"psi": max(every)[0], "column": max(every)[1]} if every else None


def main(cfg: Config) -> None:
    """Write data/quality/, and note the data for the next run; raise InputError where a threshold is broken."""
    (OUT / PASSED).unlink(missing_ok=True)
    report, noted = measured(cfg)
    broken = breaches(report, cfg.quality)
    told = report | {"breaches": [asdict(one) | {"sentence": one.sentence} for one in broken]}
    write_json(OUT / "profile.json", told)
    write_json(OUT / "quality.json", summary(report, broken))
    report_quality.write(OUT / "report.html", told)
    if broken:
        raise InputError(message(broken, str(OUT / "report.html")))
    note(HISTORY, noted)
    write_json(OUT / PASSED, {"passed": True})
    rows = ", ".join(f"{name} {one['rows']:,}" for name, one in report["tables"].items())
    print(f"quality: {rows}; no threshold is broken")


if __name__ == "__main__":
    stage(main)
