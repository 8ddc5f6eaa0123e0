"""Decision trees as plain arrays, and a sum of them as one ONNX node.

The converters of the libraries are wrong for two outputs, so the node is written here from the trees themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spox import Var

LEAF = -1  # the feature of a leaf


@dataclass(frozen=True)
class Trees:
    """Many trees in one list of M nodes; a row's value is the sum of the leaves that it reaches.

    roots: (T,) node of each tree's root. feature, threshold, left, right: (M,) a row with z[feature] < threshold goes
    left (a leaf has feature LEAF). value: (M, 2) what a leaf adds to the two outputs.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float32]

    @classmethod
    def join(cls, trees: list[Self]) -> Self:
        """Return one forest of many."""
        sizes = np.cumsum([0, *(len(tree.feature) for tree in trees)])
        shifted = {
            key: np.concatenate([getattr(tree, key) + size for tree, size in zip(trees, sizes, strict=False)])
            for key in ("roots", "left", "right")
        }
        kept = {
            key: np.concatenate([getattr(tree, key) for tree in trees]) for key in ("feature", "threshold", "value")
        }
        return cls(**shifted, **kept)

    def scaled(self, factor: float) -> Self:
        """Return the same trees with every value multiplied."""
        return replace(self, value=self.value * np.float32(factor))

    def leaves(self, z: NDArray[np.float32], tree: int) -> NDArray[np.int64]:
        """Return the node, (N,), at which each row ends in one of the trees."""
        node = np.full(len(z), self.roots[tree])
        rows = np.flatnonzero(self.feature[node] != LEAF)
        while len(rows):
            at = node[rows]
            lower = z[rows, self.feature[at]] < self.threshold[at]
            node[rows] = np.where(lower, self.left[at], self.right[at])
            rows = rows[self.feature[node[rows]] != LEAF]
        return node

    def total(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum over all trees, (N, 2)."""
        out = np.zeros((len(z), 2), np.float32)
        for tree in range(len(self.roots)):
            out += self.value[self.leaves(z, tree)]
        return out

    def graph(self, z: Var) -> Var:
        """Return `total` as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import spox.opset.ai.onnx.ml.v3 as ml

        count = len(self.feature)
        tree = np.searchsorted(self.roots, np.arange(count), side="right") - 1
        within = np.arange(count) - self.roots[tree]
        leaf = self.feature == LEAF
        ends = np.repeat(np.flatnonzero(leaf), 2)
        targets = np.tile([0, 1], len(ends) // 2)
        return ml.tree_ensemble_regressor(
            z,
            n_targets=2,
            nodes_treeids=tree.tolist(),
            nodes_nodeids=within.tolist(),
            nodes_featureids=np.where(leaf, 0, self.feature).tolist(),
            nodes_modes=np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
            nodes_values=self.threshold.tolist(),
            nodes_truenodeids=np.where(leaf, 0, self.left - self.roots[tree]).tolist(),
            nodes_falsenodeids=np.where(leaf, 0, self.right - self.roots[tree]).tolist(),
            target_treeids=tree[ends].tolist(),
            target_nodeids=within[ends].tolist(),
            target_ids=targets.tolist(),
            target_weights=self.value[ends, targets].tolist(),
        )

    def arrays(self) -> dict[str, Any]:
        """Return the arrays by name, to be kept."""
        return dict(vars(self))
