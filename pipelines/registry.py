"""The registry: policies as versions of a registered model in MLflow, each content once, found by its digest.

MLflow must know where it keeps them before these are called (`tracking.start`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.files import read_json, replacing
from pipelines.manifest import GRAPH, MANIFEST, Manifest

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

# The modules of `pipelines` that price live traffic; the model carries them, so it serves from any folder.
SHIPPED = (
    "__init__", "demand", "errors", "files", "graph", "manifest", "policy", "pricing",
    "serving/__init__", "serving/anatomy", "serving/fields", "serving/packed", "serving/runtime", "serving/steady",
)  # fmt: skip
_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas")
_QUOTE_WORDS = ("currency", "guardrail", "fallback", "policy", "digest")
_QUOTE_NUMBERS = (
    "price", "list_price", "multiplier", "purchase_probability", "expected_profit", "price_sensitivity",
    "propensity",
)  # fmt: skip
_PACKAGE = Path(__file__).parent


def ensure(folder: Path, manifest: Manifest, card: str) -> str:
    """Return the version of the registered model that holds the policy in `folder`; without one, register it.

    card: the description of a new version.
    """
    version = find(manifest)
    if version is None:
        version = _register(folder, manifest)
        describe(manifest.model, version, card)
    return version


def describe(model: str, version: str, card: str) -> None:
    """Write the description of a version anew."""
    import mlflow

    mlflow.MlflowClient().update_model_version(model, version, description=card)


def tag(model: str, version: str, **tags: str) -> None:
    """Write tags onto a version."""
    import mlflow

    for key, value in tags.items():
        mlflow.MlflowClient().set_model_version_tag(model, version, key, value)


def challenger(models: Path) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest of models/policy.onnx and what models/champion.json says of it.

    Raises InputError where the two do not speak of the same policy.
    """
    verdict = read_json(models / "champion.json")
    manifest = Manifest.read(models)
    if (manifest.name, manifest.graph_sha256) != (verdict["pick"], verdict["graph_sha256"]):
        raise InputError(
            f"{models / 'champion.json'} judges {verdict['pick']}, but {models / MANIFEST} is another policy "
            f"({manifest.name}, {manifest.graph_sha256[:12]}): run `dvc repro`"
        )
    return manifest, verdict


def scorecard(models: Path, manifest: Manifest) -> dict[str, Any]:
    """Return what `evaluate` or `baselines` measured of this very graph, or nothing."""
    own, shared = models / "scorecards" / f"{manifest.name}.json", models / "scorecards" / "baselines.json"
    if own.is_file():
        found: dict[str, Any] = read_json(own)
        return found if found.get("graph_sha256") == manifest.graph_sha256 else {}
    return dict(read_json(shared)["policies"].get(manifest.name, {})) if shared.is_file() else {}


def find(manifest: Manifest) -> str | None:
    """Return the latest version with the same graph and currency whose files still exist, or None."""
    import mlflow

    query = f"name = '{manifest.model}' and tags.graph_sha256 = '{manifest.graph_sha256}'"
    found: list[ModelVersion] = list(mlflow.MlflowClient().search_model_versions(query))
    for version in sorted(found, key=lambda v: -int(v.version)):
        # the currency is no part of the graph, but it is of the quote
        if version.tags.get("currency") == manifest.currency and _stored(version):
            return str(version.version)
    return None


def alias_of(model: str, alias: str) -> str | None:
    """Return the version that `alias` points to, or None."""
    import mlflow

    for registered in mlflow.MlflowClient().search_registered_models(f"name = '{model}'"):
        target = registered.aliases.get(alias)
        return None if target is None else str(target)
    return None


def point(model: str, alias: str, version: str) -> bool:
    """Let `alias` point to `version`; return whether it did not before."""
    import mlflow

    if alias_of(model, alias) == version:
        return False
    mlflow.MlflowClient().set_registered_model_alias(model, alias, version)
    return True


def signature(manifest: Manifest) -> ModelSignature:
    """Return the policy's fields as MLflow's columns: doubles and strings, optional unless required."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    kinds = {"number": DataType.double, "word": DataType.string}
    inputs: list[Any] = [ColSpec(kinds[f.kind], f.name, required=f.required) for f in manifest.inputs]
    outputs: list[Any] = [ColSpec(DataType.double, name, required=False) for name in _QUOTE_NUMBERS]
    outputs += [ColSpec(DataType.string, name, required=False) for name in _QUOTE_WORDS]
    return ModelSignature(Schema(inputs), Schema(outputs))


def example(manifest: Manifest) -> dict[str, Any]:
    """Return a request in the middle of what the policy has seen, without chance (`u`) and item limits."""
    left_out = ("unit_cost", "min_price", "max_price", "u")
    request: dict[str, Any] = {}
    for field in manifest.inputs:
        if field.kind == "word":
            request[field.name] = (field.words or ("",))[0]
        elif field.name not in left_out:
            low, high = field.low or 0.0, field.high or 2.0
            request[field.name] = round((low + high) / 2, 2) or 1.0
    return request


def _stored(version: ModelVersion) -> bool:
    """Tell whether the model's files are there: somebody may have removed them and kept the database."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return bool(mlflow.artifacts.list_artifacts(artifact_uri=f"models:/{version.name}/{version.version}"))
    except (MlflowException, OSError):
        return False


def _register(folder: Path, manifest: Manifest) -> str:
    import mlflow

    with TemporaryDirectory() as scratch, _no_bytecode():
        policy, code = Path(scratch) / "policy", Path(scratch) / "pipelines"
        copy_policy(folder, policy)
        for module in SHIPPED:
            (code / module).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_PACKAGE / f"{module}.py", code / f"{module}.py")
        logged = mlflow.pyfunc.log_model(
            name=manifest.name,
            python_model=str(_PACKAGE / "serving" / "pyfunc.py"),
            artifacts={"policy": str(policy)},
            code_paths=[str(code)],
            signature=signature(manifest),
            input_example=[example(manifest)],
            pip_requirements=[f"{name}=={installed(name)}" for name in _REQUIREMENTS],
        )
    if logged.signature is None or logged.signature.inputs is None:
        raise InputError(f"MLflow stored no signature for {folder}: nothing was registered")
    tags = {
        "graph_sha256": manifest.graph_sha256,
        "data_sha256": manifest.data_sha256,
        "currency": manifest.currency,
        "policy": manifest.name,
        "source": manifest.source,
        "git_commit": manifest.git_commit,
    }
    version = mlflow.register_model(logged.model_uri, manifest.model, tags=tags)
    return str(version.version)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Keep Python's compiled files out of the model: MLflow runs its code where it stores it, to try the example."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def copy_policy(source: Path, target: Path) -> None:
    """Copy graph, then manifest; a crash between the two is told by the digest in the manifest."""
    for name in (GRAPH, MANIFEST):
        with replacing(target / name) as draft:
            shutil.copyfile(source / name, draft)


def drop_policy(folder: Path) -> None:
    """Remove a policy folder at once, so that no half of it is ever found."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)  # of a crash
    if folder.is_dir():
        folder.rename(gone)
        shutil.rmtree(gone)
