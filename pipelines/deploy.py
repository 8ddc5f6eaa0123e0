"""deploy: hand the champion of the registry, verified, to the endpoint: models/live/<version>-<digest>/ and a pointer.

A process of its own beside the endpoint, because MLflow takes seconds and hundreds of MB to import. Where a version is
refused or the registry is away, the pointer stays, and the endpoint quotes on.

Usage: python -m pipelines.deploy --once | --watch [--every 1] [--shadow]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.config import Config, load
from pipelines.errors import InputError
from pipelines.files import replacing
from pipelines.serving.pointer import CURRENT, LIVE, REFUSED, SHADOW, Pointer, Refusal
from pipelines.serving.trust import PUBLIC_KEY, Keys, UntrustedError, public_keys, sealed

VARIABLE: Final = "PRICEWRIGHT_PUBLIC_KEY"
KEPT: Final = 5  # folders in models/live/, the newest; those that are pointed to always stay
_SHORTEST: Final = 0.1  # seconds between two looks
_LONGEST: Final = 30.0  # seconds between two attempts while the registry is away
# Read by MLflow at each call: a registry that is away must be told in seconds, not minutes.
_SHORT: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class AwayError(Exception):
    """A registry that does not answer, or not yet."""


@dataclass
class Deployer:
    """What brings one registered model's champion, and if asked for its challenger as a shadow, into `live`.

    seen: for each pointer the version and signing key that was dealt with last, so that nothing is done twice. told:
    for each use what was refused last.
    """

    model: str
    store: str
    keys: Keys
    live: Path = LIVE
    shadow: bool = False
    seen: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    told: dict[str, tuple[tuple[str, str | None], str]] = field(default_factory=dict)

    def step(self) -> list[str]:
        """Bring what the aliases name anew, and return what there is to tell; AwayError if the registry is away."""
        if self.store.startswith("sqlite:///") and not Path(self.store.removeprefix("sqlite:///")).is_file():
            raise AwayError(f"{self.store} does not exist yet: run `dvc repro` and `python -m pipelines.promote`")
        return self._asking(
            lambda: [
                *self._follow("champion", CURRENT, "price"),
                *(self._follow("challenger", SHADOW, "shadow") if self.shadow else self._end_shadow()),
            ]
        )

    def _asking(self, ask: Callable[[], list[str]]) -> list[str]:
        """Return what `ask` tells; AwayError whichever of its many ways the registry has to be away."""
        try:
            return ask()
        except (InputError, OSError):
            raise
        except Exception as error:  # MLflow, SQLAlchemy and requests each have errors of their own
            raise AwayError(f"{self.store}: {str(error).splitlines()[0] if str(error) else error!r}") from error

    def champion(self) -> list[str]:
        """Bring the champion alone, without a look at who wants to be it; raises as `step` does."""
        return self._asking(lambda: self._follow("champion", CURRENT, "price"))

    def _follow(self, alias: str, pointer: str, use: str) -> list[str]:
        from pipelines import registry, releases

        version = registry.alias_of(self.model, alias)
        champion = registry.alias_of(self.model, "champion") if use == "shadow" else None
        if version is None and use == "price":
            raise AwayError(f"{self.model} has no champion yet: run `python -m pipelines.promote`")
        if version is None or version == champion:
            return self._end_shadow()
        release = releases.find(self.model, version)
        now = version, release.signed(use) or release.signed("price")
        if self.seen.get(pointer) == now and (self.live / pointer).is_file():
            return []
        try:
            told = self._bring(release, pointer, use)
        except UntrustedError as error:
            self.seen[pointer] = now  # the same version with the same signature stays as bad as it is
            return self._refuse(error.code, str(error), now, use)
        except InputError as error:
            return self._refuse("registry", str(error), now, use)
        self.seen[pointer] = now
        self.told.pop(use, None)
        if use == "price":
            (self.live / REFUSED).unlink(missing_ok=True)
        return told

    def _bring(self, release: Any, pointer: str, use: str) -> list[str]:
        from pipelines import releases

        with _alone(self.live):
            name = f"{release.version}-{release.tags.get('graph_sha256', '')[:12]}"
            folder = self.live / name
            draft = self.live / f".{name}.new"
            shutil.rmtree(draft, ignore_errors=True)  # of a crash
            try:
                manifest = releases.download(release, use, draft)
                sealed(draft, self.keys, use).policy()
                _settle(draft, folder, self.keys, use)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            Pointer(name, release.version, self.model, manifest.graph_sha256).write(self.live / pointer)
            _prune(self.live)
        does = "prices" if use == "price" else "prices unseen"
        return [
            f"deploy: {manifest.name} ({manifest.graph_sha256[:12]}), {self.model} version {release.version}, {does}"
        ]

    def _end_shadow(self) -> list[str]:
        self.seen.pop(SHADOW, None)
        if not (self.live / SHADOW).is_file():
            return []
        (self.live / SHADOW).unlink()
        return ["deploy: nothing prices unseen any more"]

    def _refuse(self, code: str, reason: str, now: tuple[str, str | None], use: str) -> list[str]:
        """Tell the endpoint why a version is not there, once for each version and reason."""
        if self.told.get(use) == (now, reason):
            return []
        self.told[use] = now, reason
        if use == "price":
            Refusal(code, reason, time.time(), now[0]).write(self.live / REFUSED)
        else:
            self.live.joinpath(SHADOW).unlink(missing_ok=True)
        return [f"refused: {self.model} version {now[0]}: {reason}"]


def watch(deployer: Deployer, every: float, ended: threading.Event) -> None:
    """Step every so many seconds until `ended`; a registry that is away is told once, and asked less and less often."""
    wait, away = every, ""
    while not ended.is_set():
        try:
            for line in deployer.step():
                print(line, flush=True)
            if away:
                print("deploy: the registry answers again", flush=True)
            wait, away = every, ""
        except (AwayError, InputError, OSError) as error:
            if str(error) != away:
                print(f"deploy: waiting, while the endpoint keeps its policy: {error}", file=sys.stderr, flush=True)
            wait, away = min(2 * wait, _LONGEST), str(error)
        ended.wait(wait)


def _settle(draft: Path, folder: Path, keys: Keys, use: str) -> None:
    """Give a verified draft its name, unless the very same is there already."""
    try:
        sealed(folder, keys, use)
    except UntrustedError:
        with replacing(folder) as place:
            draft.rename(place)


@contextmanager
def _alone(live: Path) -> Iterator[None]:
    """Keep a second deployer out while files are written."""
    live.mkdir(parents=True, exist_ok=True)
    with (live / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prune(live: Path) -> None:
    """Remove old folders, so that deployments never fill the disk; an endpoint has read what it quotes by."""
    pointed = set()
    for name in (CURRENT, SHADOW):
        try:
            pointed.add(Pointer.read(live / name).folder)
        except (UntrustedError, OSError):
            continue
    folders = [p for p in live.iterdir() if p.is_dir() and not p.name.startswith(".")]
    for folder in sorted(folders, key=lambda p: p.stat().st_mtime_ns, reverse=True)[KEPT:]:
        if folder.name not in pointed:
            shutil.rmtree(folder, ignore_errors=True)


def deployer_of(cfg: Config, model: str | None, key: Path, shadow: bool) -> Deployer:
    """Return the deployer of the configured source and registry, with MLflow pointed at it."""
    from pipelines import tracking
    from pipelines.packing import registered_name

    os.environ.update({name: value for name, value in _SHORT.items() if name not in os.environ})
    tracking.reach(cfg)
    return Deployer(model or registered_name(cfg.source.name), cfg.tracking.uri, public_keys(key), shadow=shadow)


def main(arguments: list[str] | None = None) -> int:
    """Deploy once, or watch until a signal; status 1 where a single deployment did not succeed."""
    options = _options().parse_args(arguments)
    try:
        cfg = load(options.overrides)
        deployer = deployer_of(cfg, options.model, options.key, options.shadow)
        if not options.watch:
            lines = deployer.step() or ["deploy: as before"]
            print("\n".join(lines))
            return int(any(line.startswith("refused:") for line in lines))
    except (InputError, AwayError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if not options.every >= _SHORTEST:
        print(f"error: --every {options.every:g} must be at least {_SHORTEST:g} seconds", file=sys.stderr)
        return 1
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    watch(deployer, options.every, ended)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.deploy", description=(__doc__ or "").splitlines()[0])
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--once", action="store_true", help="deploy what the alias champion names now, and end")
    how.add_argument("--watch", action="store_true", help="follow the alias until a signal comes")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")
    parser.add_argument(
        "--shadow", action="store_true", help="let the alias challenger price the same requests, unseen"
    )
    parser.add_argument("--model", help="registered model (default: that of the configured source)")
    key = os.environ.get(VARIABLE) or PUBLIC_KEY
    parser.add_argument(
        "--key", type=Path, default=key, help=f"public key(s) to trust (default: ${VARIABLE}, {PUBLIC_KEY})"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as for every stage")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
