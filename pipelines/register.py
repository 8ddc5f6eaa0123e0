"""register: the challenger, picked and judged -> a version of the registered model, alias challenger.

Usage: python -m pipelines.register
"""

from __future__ import annotations

from pathlib import Path

from pipelines import registry, tracking
from pipelines.card import card
from pipelines.config import Config, stage
from pipelines.files import write_json

MODELS = Path("models")


def main(cfg: Config) -> None:
    """Register models/policy.onnx and write models/registered.json, which says what and not which version.

    A version's number depends on the registry's past, which DVC cannot see.
    """
    manifest, verdict = registry.challenger(MODELS)
    text = card(manifest, registry.scorecard(MODELS, manifest), verdict)
    tracking.start(cfg)
    version = registry.ensure(MODELS, manifest, text)
    registry.describe(manifest.model, version, text)  # the verdict may be new where the graph is not
    registry.point(manifest.model, "challenger", version)
    name, digest = manifest.name, manifest.graph_sha256
    told = {"model": manifest.model, "alias": "challenger", "policy": name, "graph_sha256": digest}
    write_json(MODELS / "registered.json", told)
    print(f"register: {name} ({digest[:12]}) is {manifest.model} version {version}, alias challenger")


if __name__ == "__main__":
    stage(main)
