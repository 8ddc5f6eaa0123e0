"""The manifest beside every policy graph: what it takes, what it answers, and where it comes from (policy.json)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipelines.errors import InputError
from pipelines.files import digest, read_json, write_json
from pipelines.policy import Terms

GRAPH, MANIFEST = "policy.onnx", "policy.json"


@dataclass(frozen=True)
class Field:
    """One input of a policy.

    kind: "number" or "word". low, high: the range seen in training (numbers); the graph cuts to it. words: those seen.
    """

    name: str
    kind: str
    unit: str
    required: bool
    personal: bool
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Manifest:
    """What a policy is.

    name: the candidate or baseline. demand: what its demand curves are, in a sentence. model: the registered model's
    name. outputs: quote field -> meaning. data_sha256: of the offers that it learned from. graph_sha256: of
    policy.onnx. check: graph against Python. listed: whether there are list prices; if not, each is 1 and rungs are
    prices. definitions: of the features that it learned from (behaviour/exported.py), by which live use makes contexts;
    empty where they were none of ours.
    """

    name: str
    family: str
    model: str
    source: str
    currency: str
    inputs: tuple[Field, ...]
    outputs: dict[str, str]
    terms: Terms
    demand: str
    assumptions: tuple[str, ...]
    data_sha256: str
    git_commit: str
    graph_sha256: str
    check: dict[str, Any]
    listed: bool = True
    definitions: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write policy.json."""
        write_json(folder / MANIFEST, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read policy.json and verify that policy.onnx beside it is the graph it speaks of."""
        manifest = cls.from_json(read_json(folder / MANIFEST))
        found = digest(folder / GRAPH)
        if found != manifest.graph_sha256:
            raise InputError(
                f"{folder / GRAPH} is not the graph of {folder / MANIFEST}: SHA-256 {found[:12]}… instead of "
                f"{manifest.graph_sha256[:12]}…. Export or promote it again"
            )
        return manifest

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the manifest that policy.json's content is; it is not changed."""
        fields = tuple(
            Field(**{**f, "words": None if f["words"] is None else tuple(f["words"])}) for f in values["inputs"]
        )
        told = {"terms": Terms.from_json(values["terms"]), "assumptions": tuple(values["assumptions"])}
        return cls(**{**values, **told, "inputs": fields})
