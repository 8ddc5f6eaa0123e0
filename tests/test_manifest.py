"""The manifest beside a graph: it comes back as it was, and knows its graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Field, Manifest
from pipelines.pricing import Guardrails
from tests.policies import tiny_policy


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    """Every field, tuples as tuples, nothing lost on the way through JSON."""
    rails = Guardrails(rungs=(0.8, 1.0), endings=(0.99,), minor_unit=0.01)
    written = tiny_policy(tmp_path, guardrails=rails, ladder=(0.8, 1.0))
    assert written == Manifest.read(tmp_path)
    assert rails == Manifest.read(tmp_path).terms.guardrails


@pytest.mark.parametrize("words", [None, (), ("DE", "中国")])
def test_the_words_of_a_field_come_back(tmp_path: Path, words: tuple[str, ...] | None) -> None:
    """None, no word and Chinese words are told apart."""
    tiny_policy(tmp_path)
    values = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    values["inputs"] = [{**values["inputs"][-1], "words": words}]
    (tmp_path / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
    found = Manifest.read(tmp_path).inputs[0]
    assert Field(found.name, "word", "", False, False, words=words) == found


def test_a_tampered_graph_is_refused(tmp_path: Path) -> None:
    """One byte more, and the message names both files and what to do."""
    tiny_policy(tmp_path)
    with (tmp_path / GRAPH).open("ab") as file:
        file.write(b"!")
    with pytest.raises(
        InputError, match=r"policy\.onnx is not the graph of .*policy\.json.*Export or promote it again"
    ):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("missing", [GRAPH, MANIFEST])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """Graph or manifest: which one, and what to do."""
    tiny_policy(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=f"{missing} is missing"):
        Manifest.read(tmp_path)
