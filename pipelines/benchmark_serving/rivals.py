"""What else serves the same policy: MLflow from its registry, BentoML and LitServe in environments of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from pipelines.benchmark_serving.asking import contexts
from pipelines.benchmark_serving.servers import ROOT, Program, Running, post
from pipelines.errors import InputError
from pipelines.manifest import Manifest
from pipelines.serving.runtime import Policy

LOCKED = {"bentoml": "1.4.40", "litserve": "0.2.19"}  # the releases that figures in docs/serving.md are of
_BESIDE = ("numpy", "onnxruntime")  # what prices; the same releases as here
_LONGEST = 1200.0  # seconds of an installation


def python(name: str, folder: Path, install: bool) -> Path:
    """Return the interpreter that has a rival; `install` makes its environment. Raises InputError without one."""
    home = folder / "rivals" / name
    found = home / "bin" / "python"
    if found.is_file() and (home / "installed").is_file():
        return found
    if not install:
        raise InputError(f"benchmark: {name} is not installed; --install puts it into {home}, and nowhere else")
    print(f"installing {name} {LOCKED[name]} into {home} …", flush=True)
    wanted = [f"{name}=={LOCKED[name]}", *(f"{package}=={version(package)}" for package in _BESIDE)]
    for words in (
        [sys.executable, "-m", "venv", str(home)],
        [str(found), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted],
    ):
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LONGEST)
        if done.returncode:
            raise InputError(f"benchmark: {name} cannot be installed: {done.stderr.strip()[-200:]}")
    (home / "installed").touch()
    return found


def rival(name: str, policy: Path, folder: Path, scratch: Path, install: bool) -> Program:
    """Return how BentoML or LitServe serves a policy, with one worker."""
    interpreter = python(name, folder, install).absolute()
    environment = {"PRICEWRIGHT_POLICY": str(policy.absolute()), "BENTOML_HOME": str(scratch.absolute())}
    module = f"pipelines.benchmark_serving.with_{name}"
    if name == "bentoml":
        words = ("-m", "bentoml", "serve", f"{module}:Pricing", "--host", "127.0.0.1", "--port", "{port}")
        return Program((str(interpreter), *words), scratch, "/readyz", environment)
    return Program((str(interpreter), "-m", module, "{port}"), scratch, "/health", environment)


def mlflow(policy: Path, scratch: Path) -> Program:
    """Return how MLflow serves a policy, as docs/serving.md says, from a registry of its own in `scratch`."""
    environment = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{scratch.absolute()}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # it starts uvicorn by its name
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }
    _register(policy, scratch, environment)
    model = ("-m", "mlflow", "models", "serve", "-m", "models:/pricing/1", "--env-manager", "local")
    words = (*model, "--host", "127.0.0.1", "--port", "{port}", "--workers", "1")
    return Program((sys.executable, *words), scratch, "/ping", environment)


def bodies(name: str, manifest: Manifest) -> list[bytes]:
    """Return requests for one quote each, as each of them takes these."""
    wrapped: dict[str, Any] = {
        "mlflow": lambda one: {"dataframe_records": [one]},
        "bentoml": lambda one: {"context": one},
        "litserve": lambda one: one,
    }
    return [orjson.dumps(wrapped[name](one)) for one in contexts(manifest)]


def judged(name: str, policy: Path, server: Running) -> dict[str, Any]:
    """Return nothing; InputError where a rival does not quote the price that the policy quotes."""
    sent, path = bodies(name, Manifest.read(policy))[0], "/invocations" if name == "mlflow" else "/quote"
    status, content = post(server.port, path, sent)
    expected = Policy.load(policy).quote(contexts(Manifest.read(policy), 1))[0]["price"]
    told = orjson.loads(content) if status == 200 else {}
    quote = told["predictions"][0] if "predictions" in told else told
    if quote.get("price") != expected:
        raise InputError(f"benchmark: {name} answers {status} {content[:100]!r} instead of the price {expected}")
    return {}


def _register(policy: Path, scratch: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines import manifest, registry; "
        "p = Path(sys.argv[1]); registry.ensure(p, manifest.Manifest.read(p), 'benchmark')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(policy.absolute())], cwd=scratch, capture_output=True, text=True, timeout=300,
        env={**environment, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    if found.returncode:
        raise InputError(f"benchmark: MLflow does not register {policy}: {found.stderr.strip()[-300:]}")
