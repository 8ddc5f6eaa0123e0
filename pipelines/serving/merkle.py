"""A hash tree (R. Merkle, 1979): one hash, the root, stands for many leaves, and a short path proves each of them.

Leaves and nodes are hashed apart (as in RFC 6962), so that no node passes for a leaf. Two neighbours are hashed in the
order of their bytes: a path proves that a leaf is in the tree, and where is nobody's concern. Where a level has an odd
number of nodes, `EMPTY` stands beside the last: it is the hash of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

SIZE = 32  # bytes of a hash
EMPTY = bytes(SIZE)
_LEAF, _NODE = b"\0", b"\1"


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the root of at least one leaf, and the path of each: its neighbours from the leaf up, joined."""
    levels = [[sha256(_LEAF + leaf).digest() for leaf in leaves]]
    while len(level := levels[-1]) > 1:
        if len(level) % 2:
            level.append(EMPTY)
        pairs = zip(level[::2], level[1::2], strict=True)
        levels.append([sha256(_NODE + (a + b if a < b else b + a)).digest() for a, b in pairs])
    paths = [b""]
    for level in reversed(levels[:-1]):  # what two neighbours have in common is joined once
        paths = [level[at ^ 1] + paths[at >> 1] for at in range(len(level))]
    return levels[-1][0], paths[: len(leaves)]


def root_of(leaf: bytes, path: bytes) -> bytes:
    """Return the root of the tree in which `leaf` has this path."""
    node = sha256(_LEAF + leaf).digest()
    for at in range(0, len(path), SIZE):
        beside = path[at : at + SIZE]
        node = sha256(_NODE + (node + beside if node < beside else beside + node)).digest()
    return node
