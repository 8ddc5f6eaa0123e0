"""Cleaning of the user's own event log, bucket by bucket of shoppers, with the rules of every event log."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq

from pipelines import rules, tidy
from pipelines.config import Clean
from pipelines.errors import InputError
from pipelines.files import read_json, scratch, write_table
from pipelines.rules import Rule, counted, nothing_left, sift
from pipelines.sources import EventsSource, buckets, event_files
from pipelines.sources.event_log import TOLD
from pipelines.tables import EVENTS, ITEMS, SHOPPERS, check

SQL = Path(__file__).parents[1] / "sql" / "list_price.sql"
_MOST_SCATTERED = 1_000_000  # rows of event ids that several shoppers have: more of them, and they are no ids
_LATE = ("duplicate_event", "machine")  # the rules after duplicate_id

Report = dict[str, dict[str, object]]


def write(raw: Path, out: Path, rest: Path, source: EventsSource, clean: Clean, rows: int = buckets.ROWS) -> Report:
    """Read `raw`, write the clean tables to `out` and the rejected rows to `rest`; return the report by table.

    Tables are read in buckets of about `rows` rows. Raises InputError if nothing is left of events or items.
    """
    out.mkdir()
    rest.mkdir()
    for name in ("events", "items", "shoppers", TOLD):
        if not (raw / (name if name == TOLD else f"{name}.parquet")).is_file():
            raise InputError(f"{raw}/{name} is missing: run `dvc repro`, which makes it")
    items, made = _items(raw, out, rest, source)
    with scratch(out.with_name(".clean.scratch")) as drafts, event_files.connection() as duck:
        made["shoppers"] = _Pass(duck, drafts / "shoppers", raw / "shoppers.parquet", SHOPPERS, rows).run(
            rules.of_shoppers(), out / "shoppers.parquet", rest / "shoppers.parquet"
        )
        events = _Pass(duck, drafts / "events", raw / "events.parquet", EVENTS, rows, source, items)
        made["events"] = events.run(
            rules.of_events(source, clean, items), out / "events.parquet", rest / "events.parquet"
        )
    shutil.copyfile(raw / TOLD, out / TOLD)
    made["events"]["ignored"] = read_json(raw / TOLD)["ignored"]
    return {name: made[name] for name in sorted(made)}


def _items(raw: Path, out: Path, rest: Path, source: EventsSource) -> tuple[pd.Series[str], Report]:
    """Clean the items as one table; return the ids of the clean ones."""
    table = pd.read_parquet(raw / "items.parquet")
    typed = rules.typed(table, ITEMS, str(raw / "items.parquet"))
    kept, rejected = sift(table, typed, rules.of_items(source))
    if kept.empty:
        raise InputError(nothing_left(str(raw / "items.parquet"), counted(rejected)))
    write_table(out / "items.parquet", check(kept.sort_values("item_id", ignore_index=True), ITEMS, "clean"))
    write_table(rest / "items.parquet", rejected)
    told: Report = {"items": {"rows_in": len(table), "kept": len(kept), "rejected": counted(rejected)}}
    return kept["item_id"], told


def words(table: pd.DataFrame, source: EventsSource) -> pd.DataFrame:
    """Return typed events with the canonical words for kind and channel; a kind in no list becomes missing."""
    kinds = {_phrase(word): kind for word, kind in source.told_kinds.items()}
    channels = {_phrase(word): channel for word, channel in source.channels.items()}
    channel = table["channel"].map(channels) if channels else table["channel"]
    told = {"kind": table["kind"].map(kinds).astype("str"), "channel": channel.fillna(source.channel).astype("str")}
    return table.assign(**told)


def _phrase(word: str) -> str:
    return str(tidy.phrases(pd.Series([word], dtype="str")).iloc[0])


class _Pass:
    """One table on its way through the rules: split by shopper, sifted bucket by bucket, put together again."""

    def __init__(
        self, duck: duckdb.DuckDBPyConnection, folder: Path, raw: Path, schema: pa.DataFrameSchema, rows: int,
        source: EventsSource | None = None, items: pd.Series[str] | None = None,
    ) -> None:  # fmt: skip
        self.duck, self.folder, self.raw, self.schema = duck, folder, raw, schema
        self.source, self.items = source, items
        for part in ("raw", "kept", "rejected"):
            (folder / part).mkdir(parents=True)
        self.buckets = buckets.split(duck, raw, folder / "raw", rows)

    def run(self, by: Sequence[Rule], out: Path, rest: Path) -> dict[str, object]:
        """Write the clean table in its order (of time, then id), and the rejected rows as they came."""
        by = self._with_scattered(by)
        rejected: Counter[str] = Counter()
        kept, example = 0, ""
        before = pq.read_schema(self.raw)
        for k, table in enumerate(buckets.buckets(self.duck, self.folder / "raw", self.buckets)):
            whole, broken = sift(table, self._typed(table), by)
            checked = check(whole.reset_index(drop=True), self.schema, "clean")
            buckets.write_part(checked, buckets.of_columns(self.schema), self.folder / f"kept/{k:06d}.parquet")
            ruled = before.append(buckets.RULE).append(buckets.ROW)
            buckets.write_part(broken.reset_index(), ruled, self.folder / f"rejected/{k:06d}.parquet")
            rejected.update(counted(broken))
            kept += len(whole)
            if not kept and not broken.empty and self.source is not None and self.items is not None:
                example = rules.example_of(broken, self.source, self.items)
        if not kept:
            raise InputError(nothing_left(str(self.raw), dict(rejected), example))
        self._put_together(out, rest)
        counts = {rule: rejected[rule] for rule in sorted(rejected)}
        return {"rows_in": kept + sum(counts.values()), "kept": kept, "rejected": counts}

    def _typed(self, table: pd.DataFrame) -> pd.DataFrame:
        typed = rules.typed(table, self.schema, str(self.raw))
        return typed if self.source is None else words(typed, self.source)

    def _with_scattered(self, by: Sequence[Rule]) -> Sequence[Rule]:
        """Return the rules, `duplicate_id` knowing also the rows whose id an earlier row of another bucket has."""
        if self.source is None or "event_id" not in self.source.used_columns or self.buckets == 1:
            return by
        rows = buckets.scattered(self.duck, self.folder / "raw", "event_id", _MOST_SCATTERED)
        if isinstance(rows, int):
            raise InputError(
                f"{self.source.path}: {rows:,} events share their id (column {self.source.columns.event_id!r}) with "
                "events of other shoppers, so it is none; name another with source.columns.event_id, or set it to null"
            )
        whole, _ = sift(
            rows, self._typed(rows), [rule for rule in by if rule[0] not in _LATE and rule[0] != "duplicate_id"]
        )
        later = whole.index[whole.duplicated("event_id")]
        own = dict(by)["duplicate_id"]
        both = {"duplicate_id": lambda table: own(table) | table.index.isin(later)}
        return tuple((name, both.get(name, breaks)) for name, breaks in by)

    def _put_together(self, out: Path, rest: Path) -> None:
        kept, rejected = f"read_parquet('{self.folder}/kept/*.parquet')", f"'{self.folder}/rejected/*.parquet'"
        order = "time, event_id" if self.source is not None else "shopper_id"
        if self.source is not None and rules.derives_list_price(self.source):
            script = SQL.read_text(encoding="utf-8")
            self.duck.execute(f"CREATE TEMP VIEW kept AS SELECT * FROM {kept}")
            self.duck.execute(f"SET VARIABLE days = {self.source.list_price_days}")
            self.duck.execute(script)
            kept = "listed"
        columns = ", ".join(self.schema.columns)
        self.duck.execute(f"COPY (SELECT {columns} FROM {kept} ORDER BY {order}) TO '{out}' (FORMAT parquet)")
        query = f"SELECT * EXCLUDE (row) FROM read_parquet({rejected}) ORDER BY row"
        self.duck.execute(f"COPY ({query}) TO '{rest}' (FORMAT parquet)")
