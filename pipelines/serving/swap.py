"""The policy that quotes now, and how another takes its place while requests are running.

A thread looks every second at the pointer that `python -m pipelines.deploy` writes. What it names anew is verified,
loaded and self-tested beside the policy that quotes, and then takes its place by one assignment: a request keeps the
policy that it began with. What is refused changes nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.errors import InputError
from pipelines.serving.memory import give_back
from pipelines.serving.pointer import CURRENT, REFUSED, SHADOW, Pointer, Refusal, Stamp, stamp_of
from pipelines.serving.runtime import Policy
from pipelines.serving.trust import Keys, UntrustedError, verified

_PATIENCE: Final = 30.0  # seconds until what could not be read is tried again


@dataclass(frozen=True)
class Placed:
    """A policy in its place. version: of the registered model, None where it was not deployed from a registry."""

    policy: Policy
    version: str | None
    folder: Path
    since: float  # seconds since 1970

    def __post_init__(self) -> None:
        """Look now whether it is steady, and not while a first request waits."""
        _ = self.policy.steady


class Place:
    """One place for a policy, filled by a pointer: the champion's, or a shadow's that nobody is shown.

    held, refusal: what quotes now, and why something newer does not, None where there is nothing to tell. placed,
    refused: how often a policy was put here, and how often one was refused, by code. Only `look` changes them; anybody
    may read them at any time.
    """

    def __init__(self, pointer: Path, keys: Keys, use: str) -> None:
        self.pointer, self.keys, self.use = pointer, keys, use
        self.held: Placed | None = None
        self.refusal: Refusal | None = None
        self.placed = 0
        self.refused: Counter[str] = Counter()
        self._seen: Stamp = None
        self._again = 0.0

    def look(self) -> bool:
        """Put in place what the pointer names anew; return whether something was. Never raises for what is bad."""
        stamp = stamp_of(self.pointer)
        if stamp == self._seen and (not self._again or time.monotonic() < self._again):
            return False
        self._seen, self._again = stamp, 0.0
        version = None
        try:
            if stamp is None:
                return self._gone()
            told = Pointer.read(self.pointer)
            version = told.version
            return self._put(told)
        except UntrustedError as error:
            # a file may be on its way still; anything else stays as it is until the pointer moves
            self._again = time.monotonic() + _PATIENCE if error.code == "file" else 0.0
            self._refuse(error.code, str(error), version)
        except Exception as error:  # whatever it is, the policy that quotes must go on
            self._again = time.monotonic() + _PATIENCE
            self._refuse("error", f"{self.pointer}: {error!r}", version)
        return False

    def _put(self, told: Pointer) -> bool:
        held, folder = self.held, self.pointer.parent / told.folder
        if held is not None and held.folder == folder and held.policy.manifest.graph_sha256 == told.graph_sha256:
            self.refusal = None  # the pointer came back to what quotes already
            return False
        policy = verified(folder, self.keys, self.use)
        manifest = policy.manifest
        if (manifest.model, manifest.graph_sha256) != (told.model, told.graph_sha256):
            raise UntrustedError(
                "pointer",
                f"{self.pointer} names {told.model} {told.graph_sha256[:12]}, but {folder} holds {manifest.model} "
                f"{manifest.graph_sha256[:12]}: deploy again",
            )
        if held is not None and held.policy.manifest.model != manifest.model:
            raise UntrustedError(
                "pointer",
                f"{folder} is of the registered model {manifest.model}, and {held.policy.manifest.model} quotes here: "
                "another shop's policy needs an endpoint of its own, or a new start of this one",
            )
        self.held, self.refusal = Placed(policy, told.version, folder, time.time()), None
        self.placed += 1
        return True

    def _gone(self) -> bool:
        """Follow a pointer that is no more: a shadow ends, while a champion keeps quoting."""
        if self.use == "shadow" and self.held is not None:
            self.held, self.refusal = None, None
            return True
        return False

    def _refuse(self, code: str, reason: str, version: str | None) -> None:
        self.refused[code] += 1
        self.refusal = Refusal(code, reason, time.time(), version)
        if self.use == "shadow":
            self.held = None  # a shadow is worth something only as what the challenger would quote
        print(f"refused: {reason}", file=sys.stderr, flush=True)


class Live:
    """The policies of one worker: `policy` quotes, `shadow`, if there is one, prices the same without being shown.

    folder: where pointers and policies are, as `deploy` writes them. told: called after each change with what changed,
    "current" or "shadow", in the thread that watches.
    """

    def __init__(self, folder: Path, keys: Keys, told: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.places = {
            "current": Place(folder / CURRENT, keys, "price"),
            "shadow": Place(folder / SHADOW, keys, "shadow"),
        }
        self.undeployed: Refusal | None = None
        self._told, self._end = told, threading.Event()
        self._thread: threading.Thread | None = None
        self._stamp: Stamp = None
        self._tidy = 0

    @classmethod
    def fixed(cls, policy: Policy, folder: Path, keys: Keys = ()) -> Live:
        """Return the live policies of an endpoint that quotes by one given folder, whatever is deployed."""
        live = cls(folder, keys)
        live.places["current"].held = Placed(policy, None, folder, time.time())
        return live

    @property
    def current(self) -> Placed | None:
        """What quotes now; take it once per request."""
        return self.places["current"].held

    @property
    def policy(self) -> Policy:
        """The policy that quotes now; InputError before there is one."""
        held = self.current
        if held is None:
            why = self.places["current"].refusal
            raise InputError(
                why.reason if why else f"{self.folder / CURRENT} is missing: run `python -m pipelines.deploy`"
            )
        return held.policy

    @property
    def shadow(self) -> Placed | None:
        """What prices unseen now, if anything does."""
        return self.places["shadow"].held

    @property
    def refusal(self) -> Refusal | None:
        """Why a newer champion does not quote: refused here, or before by `deploy`; None where all is well."""
        return self.places["current"].refusal or self.undeployed

    def look(self) -> bool:
        """Look at the pointers once; return whether anything changed. Cheap when nothing did: three calls of stat."""
        changed = [name for name, place in self.places.items() if place.look()]
        self._look_at_refused()
        if changed:
            self._tidy = 3  # the old policy goes when the last request that holds it ends
        elif self._tidy:
            self._tidy -= 1
            give_back()
        for name in changed:
            if self._told is not None:
                self._told(name)
        return bool(changed)

    def start(self, every: float = 1.0) -> None:
        """Look now, and then every so many seconds in a thread of its own, until `stop`."""
        self.look()
        self._thread = threading.Thread(target=self._watch, args=(every,), name="swap", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a load that has begun is waited for, as it is short."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(10)

    def facts(self) -> dict[str, Any]:
        """Return what GET /ready and /metrics tell about the policies, as plain data."""
        return {name: _facts(place) for name, place in self.places.items()} | {"undeployed": _plain(self.undeployed)}

    def _watch(self, every: float) -> None:
        while not self._end.wait(every):
            try:
                self.look()
            except Exception as error:  # a thread that dies would leave an old price for ever
                print(f"swap: {error!r}", file=sys.stderr, flush=True)

    def _look_at_refused(self) -> None:
        stamp = stamp_of(self.folder / REFUSED)
        if stamp != self._stamp:
            self._stamp = stamp
            self.undeployed = None if stamp is None else Refusal.read(self.folder / REFUSED)


def _facts(place: Place) -> dict[str, Any]:
    held = place.held
    return {
        "version": held.version if held else None,
        "policy": held.policy.manifest.name if held else None,
        "digest": held.policy.digest if held else None,
        "since": held.since if held else None,
        "placed": place.placed,
        "refused": dict(place.refused),
        "refusal": _plain(place.refusal),
    }


def _plain(refusal: Refusal | None) -> dict[str, Any] | None:
    return None if refusal is None else vars(refusal).copy()
