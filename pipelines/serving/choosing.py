"""What an endpoint quotes by when it starts: what was deployed, else what was promoted, else the list price.

`promote` and `deploy` write the pointer in models/live/, so it is there as a rule. What was promoted may price as well,
for it is signed; without either the list-price policy quotes, which nobody has to sign: it changes no price.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.files import read_json
from pipelines.manifest import GRAPH, MANIFEST
from pipelines.serving import golden
from pipelines.serving.anatomy import OddGraphError, inspect
from pipelines.serving.golden import GOLDEN
from pipelines.serving.pointer import CURRENT, LIVE, Pointer
from pipelines.serving.runtime import Policy
from pipelines.serving.swap import Live, Placed
from pipelines.serving.trust import UntrustedError, public_keys, verified

if TYPE_CHECKING:
    from pipelines.serving.settings import Settings

INCUMBENT = Path("models/incumbent")
LIST_PRICE = Path("models/baselines/list_price")


def chosen(settings: Settings) -> Live:
    """Return what quotes: one folder for good, or what follows the pointer. Raises InputError where nothing can."""
    if settings.policy is not None:
        if not (settings.policy / GRAPH).is_file():
            raise InputError(f"{settings.policy / GRAPH} is missing: run `make repro` first, which makes a policy")
        if settings.unsigned:
            print(f"warning: {settings.policy} may be unsigned: anybody can have made it", file=sys.stderr)
            return Live.fixed(loose(settings.policy), settings.policy)
        keys = public_keys(settings.public_key)
        try:
            return Live.fixed(verified(settings.policy, keys), settings.policy, keys)
        except UntrustedError as error:
            if error.code in ("file", "unsigned"):
                raise InputError(f"{error}. To try it out all the same: --unsigned") from None
            raise
    return _following(settings.public_key)


def loose(folder: Path) -> Policy:
    """Return a policy that nobody signed: of its graph only what `export` writes, and golden quotes if it has them."""
    graph = folder / GRAPH
    try:
        inspect(graph.read_bytes())
    except OSError as error:
        raise InputError(f"{graph} cannot be read ({error.strerror}): run `make repro`, which makes a policy") from None
    except OddGraphError as error:
        raise InputError(f"{graph} is refused: {error}") from None
    policy = Policy.load(folder)
    if (folder / GOLDEN).is_file() and (failed := golden.failure(policy, read_json(folder / GOLDEN))):
        raise InputError(f"{folder} does not answer as its {GOLDEN} says: {failed}")
    return policy


def is_signed(live: Live) -> bool:
    """Tell whether what quotes now was verified by a key."""
    held = live.current
    return held is not None and bool(live.places["current"].keys) and held.folder != LIST_PRICE


def _following(key: Path) -> Live:
    """Return what follows the pointer; what it begins with is of the source that was run here, if one was."""
    keys = public_keys(key) if key.is_file() else ()
    live = Live(LIVE, keys)
    # `baselines` writes the list-price policy of the configured source, and it names the registered model
    model = read_json(LIST_PRICE / MANIFEST)["model"] if (LIST_PRICE / MANIFEST).is_file() else None
    if (LIVE / CURRENT).is_file() and _is_of(LIVE / CURRENT, model):
        if not keys:
            public_keys(key)  # says what is missing
        live.look()
        if live.current is not None:
            return live
    promoted, problem = INCUMBENT / (model or "pricing"), live.refusal
    if promoted.is_dir():
        public_keys(key)
        live.places["current"].held = Placed(verified(promoted, keys), None, promoted, time.time())
    elif LIST_PRICE.is_dir():
        print(f"{problem.reason if problem else f'{promoted} does not exist: nothing was promoted yet'}; "
              "so the list price is quoted")  # fmt: skip
        live.places["current"].held = Placed(loose(LIST_PRICE), None, LIST_PRICE, time.time())
    else:
        nothing = (
            f"{LIVE / CURRENT}, {promoted} and {LIST_PRICE} are missing: run `make repro` first, which makes a policy"
        )
        raise InputError(problem.reason if problem else nothing)
    return live


def _is_of(pointer: Path, model: str | None) -> bool:
    try:
        told = Pointer.read(pointer)
    except UntrustedError:
        return True  # looking at it says what is wrong
    if model is None or told.model == model:
        return True
    print(f"{pointer} is of {told.model}, and {LIST_PRICE} of {model}, whose policy is quoted", file=sys.stderr)
    return False
