"""champion: whose policy prices now, moved by hand: signed, noted in the history, and pointed to.

The folder models/incumbent/<registered model>/ is the truth, and the alias `champion` follows it. What moves it is
`promote`; MLflow must know its store already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines import moves, registry, releases, signing
from pipelines.errors import InputError
from pipelines.manifest import Manifest
from pipelines.moves import HISTORY, Move
from pipelines.serving import keys, trust

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INCUMBENT = Path("models/incumbent")


@dataclass(frozen=True)
class Hand:
    """Whose hand moves the alias, and the key that it signs with."""

    key: Ed25519PrivateKey
    who: str = field(default_factory=moves.who)

    def move(self, manifest: Manifest, version: str, kind: str, why: str) -> bool:
        """Note the move and let `champion` point to a signed version; return whether it did not before."""
        releases.sign(manifest, version, self.key, "price")
        before = registry.alias_of(manifest.model, "champion")
        if before == version:
            return False
        told = (manifest.model, kind, before, version, manifest.name, manifest.graph_sha256, why)
        moves.note(HISTORY, Move(moves.now(), self.who, *told))
        return registry.point(manifest.model, "champion", version)

    def seal(self, folder: Path, manifest: Manifest, approved: bool) -> None:
        """Sign the incumbent's folder, unless it is; `approved`: somebody lets it price in this very run."""
        try:
            trust.sealed(folder, (self.key.public_key(),))
        except trust.UntrustedError as error:
            known = moves.moves(HISTORY, manifest.model)
            if not approved and known and all(m.graph_sha256 != manifest.graph_sha256 for m in known):
                raise InputError(
                    f"{folder} is not signed, and nobody promoted what it holds ({manifest.name}, "
                    f"{manifest.graph_sha256[:12]}, is not in {HISTORY}): delete it, or give a version with --to"
                ) from error
            signing.seal(folder, self.key)
            if not approved:
                print(f"note: {error.code}: {folder} is signed now, with the key {keys.name_of(self.key.public_key())}")


def same(one: Manifest | None, other: Manifest) -> bool:
    """Tell whether two policies quote the same."""
    return one is not None and (one.graph_sha256, one.currency) == (other.graph_sha256, other.currency)


def go_to(listed: Manifest, version: str, kind: str, why: str, hand: Hand) -> str:
    """Let a version price that did so before; return what there is to tell. The list-price policy may always price."""
    model, folder = listed.model, INCUMBENT / listed.model
    release = releases.find(model, version)
    with TemporaryDirectory() as scratch:
        manifest = releases.fetch(release, Path(scratch))
        priced = {m.graph_sha256 for m in moves.moves(HISTORY, model)}
        if (
            manifest.graph_sha256 not in priced
            and "promoted_because" not in release.tags
            and manifest.name != listed.name
        ):
            raise InputError(
                f"{model} version {version} ({manifest.name}) never priced: a challenger begins by its verdict, with "
                "`python -m pipelines.promote`, and after canary or review with --accept"
            )
        releases.sign(manifest, version, hand.key, "price")  # what cannot be signed must not come into the folder
        if same(manifest, listed):
            registry.drop_policy(folder)
        else:
            registry.copy_policy(Path(scratch), folder)
            hand.seal(folder, manifest, approved=True)
    pointed = hand.move(manifest, version, kind, why)
    news = "from now on" if pointed else "as before"
    named = f"{manifest.name} ({manifest.graph_sha256[:12]}) is the champion, {model} version {version}"
    return f"promote: {named}, {news}\n  because: {why}"


def roll_back(listed: Manifest, why: str, hand: Hand) -> str:
    """Let the version price that did before what prices now, by the history; return what there is to tell.

    Before the first champion the list price was what shoppers paid, and a rollback of that one leads there.
    """
    model = listed.model
    known, alias = moves.moves(HISTORY, model), registry.alias_of(model, "champion")
    found = moves.previous(known, alias)
    if found is None:
        first = registry.find(listed)
        if known and first not in (None, alias):
            return go_to(listed, first, "rollback", why, hand)
        named = "" if first in (None, alias) else f" ({first} is the list price)"
        raise InputError(
            f"{HISTORY} knows no champion of {model} before the one that prices now: name a version with --to{named}"
        )
    version, graph = found
    if graph not in (None, releases.find(model, version).tags.get("graph_sha256")):
        raise InputError(
            f"version {version} of {model} is not the one that {HISTORY} speaks of (the registry was made anew): name "
            "a version with --to"
        )
    return go_to(listed, version, "rollback", why, hand)
