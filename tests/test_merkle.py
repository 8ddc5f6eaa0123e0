"""The hash tree: every leaf is proved by its path, and nothing else is."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.serving.merkle import SIZE, root_of, tree

LEAVES = st.lists(st.binary(max_size=70), min_size=1, max_size=40, unique=True)


@given(LEAVES)
def test_every_leaf_leads_to_the_root(leaves: list[bytes]) -> None:
    """All paths are as long as the tree is high, and lead to the one root."""
    root, paths = tree(leaves)
    assert {(len(leaves) - 1).bit_length() * SIZE} == {len(path) for path in paths}
    assert {root} == {root_of(leaf, path) for leaf, path in zip(leaves, paths, strict=True)}


@given(LEAVES, st.binary(max_size=70), st.data())
def test_nothing_else_leads_to_the_root(leaves: list[bytes], other: bytes, data: st.DataObject) -> None:
    """No other leaf, no changed, shorter or longer path; and no node passes for a leaf."""
    root, paths = tree(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    leaf, path = leaves[at], paths[at]
    assume(other != leaf)
    assert root != root_of(other, path)
    assert root != root_of(leaf, path + other[:SIZE].ljust(SIZE, b"\0"))
    if path:
        place, change = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(1, 255))
        changed = bytearray(path)
        changed[place] ^= change
        assert root != root_of(leaf, bytes(changed))
        assert root != root_of(leaf, path[:-SIZE])
        node, beside = sha256(b"\0" + leaf).digest(), path[:SIZE]
        assert root != root_of(b"".join(sorted((node, beside))), path[SIZE:])


def test_by_hand() -> None:
    """A tree of three leaves, hash by hash: the third has nothing beside it."""

    def node(one: bytes, other: bytes) -> bytes:
        return sha256(b"\1" + b"".join(sorted((one, other)))).digest()

    a, b, c = (sha256(b"\0" + leaf).digest() for leaf in (b"a", b"b", b"c"))
    left, right = node(a, b), node(c, bytes(32))
    root, paths = tree([b"a", b"b", b"c"])
    assert (node(left, right), [b + right, a + right, bytes(32) + left]) == (root, paths)
    assert (a, [b""]) == tree([b"a"])
