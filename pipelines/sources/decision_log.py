"""The log that the endpoint writes, read into tables: decisions, outcomes, and the policies that decided."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json

from pipelines.errors import InputError
from pipelines.serving import log_segments as segments
from pipelines.serving.log_segments import DECISIONS, OUTCOMES

INPUT = "inputs."  # what the columns of a policy's inputs begin with
_KINDS = {"number": pa.float64(), "word": pa.string()}
_BLOCK = 64 * 2**20  # bytes; no record may be longer
_TYPES = {
    DECISIONS: {
        **dict.fromkeys(
            ("quote_id", "shopper", "item", "session", "fallback", "policy", "version", "digest", "repeat_of"),
            pa.string(),
        ),
        **dict.fromkeys(("time", "rung", "price", "list_price", "propensity"), pa.float64()),
        **dict.fromkeys(("repeat", "personalised"), pa.bool_()),
        "shadow": pa.struct([("digest", pa.string()), ("price", pa.float64()), ("propensity", pa.float64())]),
    },
    OUTCOMES: {"quote_id": pa.string(), "time": pa.float64(), "bought": pa.bool_(), "quantity": pa.float64()},
}


@dataclass(frozen=True)
class Logged:
    """What a log holds.

    decisions, outcomes: tables in the order of their writing; a policy's inputs are columns `inputs.<name>`. policies:
    digest -> manifest. unreadable: records that do not fit. damaged: groups of records that are lost.
    """

    decisions: pd.DataFrame
    outcomes: pd.DataFrame
    policies: Mapping[str, Mapping[str, Any]]
    unreadable: int
    damaged: int


def read(folder: Path, unsealed: bool = False) -> Logged:
    """Return what the sealed segments of `folder` hold; `unsealed`: also what was written since, of live writers.

    What writers that died have left is sealed first, or read as it is where somebody has a hand on it. Raises
    InputError where there is no log.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: the endpoint writes it; name another with source.path")
    segments.recover(folder)
    policies: dict[str, Mapping[str, Any]] = {}
    parts: dict[str, list[pa.Table]] = {DECISIONS: [], OUTCOMES: []}
    unreadable, damaged = 0, len(list(folder.glob(f"*{segments.DAMAGED}")))
    for kind, content in _contents(folder, unsealed):
        told = {digest: json.loads(text) for digest, text in content.policies.items()}
        policies.update(told)
        table, odd = _table(content.lines, _schema(kind, told))
        parts[kind].append(table)
        unreadable, damaged = unreadable + odd, damaged + content.damaged
    tables = {kind: _joined(kind, found) for kind, found in parts.items()}
    return Logged(tables[DECISIONS], tables[OUTCOMES], policies, unreadable, damaged)


def _contents(folder: Path, unsealed: bool) -> Iterator[tuple[str, segments.Content]]:
    """Give the kind and content of every segment, in the order in which they were begun."""
    begun = folder.glob(f"*{segments.OPEN}") if unsealed else segments.left_behind(folder)
    for path in sorted((*folder.glob(f"*{segments.SEALED}"), *begun)):
        kind = path.name.split("-")[0]
        if kind not in _TYPES:
            raise InputError(f"{path} is no segment of a decision log: move it away")
        try:
            yield kind, segments.read(path)
        except FileNotFoundError:
            yield kind, segments.read(path.with_suffix(segments.SEALED))  # it was sealed meanwhile


def _schema(kind: str, policies: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the types of one segment's records: the inputs are those that its policies name."""
    if kind == OUTCOMES:
        return pa.schema(list(_TYPES[kind].items()))
    inputs: dict[str, pa.DataType] = {}
    for manifest in policies.values():
        for field in manifest["inputs"]:
            if inputs.setdefault(field["name"], _KINDS[field["kind"]]) != _KINDS[field["kind"]]:
                raise InputError(
                    f"the input {field['name']!r} is a number to one policy of the log and a word to another: move the "
                    "segments of the older one out of source.path"
                )
    return pa.schema([*_TYPES[kind].items(), ("inputs", pa.struct(list(inputs.items())))])


def _table(lines: list[bytes], schema: pa.Schema) -> tuple[pa.Table, int]:
    """Return JSON lines as a table, and how many of them do not fit its schema."""
    if not lines:
        return schema.empty_table(), 0
    try:
        return _parsed(b"\n".join(lines), schema), 0
    except pa.ArrowInvalid:
        fitting, odd = [schema.empty_table()], 0
        for line in (line for group in lines for line in group.split(b"\n")):
            try:
                fitting.append(_parsed(line, schema))
            except pa.ArrowInvalid:
                odd += 1
        return pa.concat_tables(fitting), odd


def _parsed(lines: bytes, schema: pa.Schema) -> pa.Table:
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    block = pa.json.ReadOptions(block_size=min(_BLOCK, max(len(lines), 1)))
    return pa.json.read_json(io.BytesIO(lines), block, options)


def _joined(kind: str, parts: list[pa.Table]) -> pd.DataFrame:
    flat = [part.flatten() for part in parts] or [_schema(kind, {}).empty_table().flatten()]
    frame: pd.DataFrame = pa.concat_tables(flat, promote_options="permissive").to_pandas()
    return frame
