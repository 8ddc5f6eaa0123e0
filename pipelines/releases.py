"""Versions of the registered model that are signed: what `promote` signs, and `deploy` hands to the endpoint.

A version's signature and golden quotes lie beside its model, in signed/price/ or signed/shadow/; a tag names the key.
They come after the version, since what is registered may not price yet. MLflow must know its store already.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines import registry, signing
from pipelines.errors import InputError
from pipelines.manifest import GRAPH, MANIFEST, Manifest
from pipelines.serving import keys
from pipelines.serving.golden import GOLDEN
from pipelines.serving.trust import SIGNATURE, UntrustedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Release:
    """What the registry says of a version: where its model is, its graph, why it was promoted, and who signed it."""

    model: str
    version: str
    source: str
    tags: dict[str, str]

    def signed(self, use: str) -> str | None:
        """Return the name of the key that signed it for `use`, or None."""
        return self.tags.get(f"signed_{use}")


def find(model: str, version: str) -> Release:
    """Return a version; InputError, with those there are, where it does not exist."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        found = client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        there = sorted(int(v.version) for v in client.search_model_versions(f"name = '{model}'"))
        raise InputError(f"{model} has no version {version!r}; it has {there or 'none yet'}") from None
    return Release(model, str(found.version), str(found.source), dict(found.tags))


def fetch(release: Release, folder: Path) -> Manifest:
    """Copy a version's policy.onnx and policy.json into `folder` and return its manifest.

    Raises InputError where they are not those that were registered.
    """
    _download(release, "artifacts/policy", folder, (GRAPH, MANIFEST))
    manifest = Manifest.read(folder)
    if (manifest.model, manifest.graph_sha256) != (release.model, release.tags.get("graph_sha256")):
        raise InputError(
            f"the files of {release.model} version {release.version} are not those that were registered: delete the "
            "version, and run `dvc repro` and `python -m pipelines.promote`"
        )
    return manifest


def sign(manifest: Manifest, version: str, key: Ed25519PrivateKey, use: str) -> None:
    """Sign a version for `use`, unless this key did so already; `manifest` is what its files must be.

    Raises InputError where they are another policy, or one that no endpoint would load.
    """
    import mlflow

    release, name = find(manifest.model, version), keys.name_of(key.public_key())
    if release.signed(use) == name:
        return
    with TemporaryDirectory() as scratch:
        folder, signed = Path(scratch) / "policy", Path(scratch) / use
        stored = fetch(release, folder)
        if _facts(stored) != _facts(manifest):
            raise InputError(
                f"{manifest.model} version {version} in the registry says otherwise of its policy than {manifest.name} "
                f"does here, and is not signed: delete the version and run `python -m pipelines.promote` again"
            )
        signing.seal(folder, key, use)
        signed.mkdir()
        for file in (GOLDEN, SIGNATURE):
            shutil.copyfile(folder / file, signed / file)
        client = mlflow.MlflowClient()
        client.log_model_artifacts(release.source.removeprefix("models:/"), str(signed), f"signed/{use}")
    registry.tag(manifest.model, version, **{f"signed_{use}": name})  # last: from now on it may be deployed


def download(release: Release, use: str, folder: Path) -> Manifest:
    """Copy a version and its signature for `use` into `folder`, as the endpoint reads it; UntrustedError if unsigned.

    What may price may shadow as well. Whether the signature is right is not looked at here.
    """
    granted = next((u for u in dict.fromkeys((use, "price")) if release.signed(u)), None)
    if granted is None:
        raise UntrustedError(
            "unsigned",
            f"{release.model} version {release.version} is not signed to {use}: the alias was moved by hand, or before "
            "policies were signed. Run `python -m pipelines.promote`, which signs the champion",
        )
    manifest = fetch(release, folder)
    _download(release, f"signed/{granted}", folder, (GOLDEN, SIGNATURE))
    return manifest


def _download(release: Release, path: str, folder: Path, names: tuple[str, ...]) -> None:
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        uri = f"models:/{release.model}/{release.version}/{path}"
        found = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch))
        for name in names:
            if not (found / name).is_file():
                raise InputError(f"{uri} holds no {name}: register or promote the policy again")
            shutil.copyfile(found / name, folder / name)


def _facts(manifest: Manifest) -> tuple[object, ...]:
    """Return what two manifests of one graph must agree on; where and when it was made may differ."""
    fields = tuple((f.name, f.kind, f.required) for f in manifest.inputs)
    return manifest.model, manifest.graph_sha256, manifest.currency, manifest.listed, fields
