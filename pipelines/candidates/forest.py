"""A forest of local corrections to the interaction logit, in the manner of generalised random forests.

Trees split where the best correction (d alpha, d beta) differs between shoppers, each tree shaped by one part of the
offers; the other part then solves one Newton step per leaf (honest leaves). The select window picks the share of the
step to take. After Athey, Tibshirani & Wager, "Generalized random forests" (Annals of Statistics 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History, linear
from pipelines.candidates._progress import steps
from pipelines.candidates._trees import LEAF, Trees
from pipelines.candidates.shapes import SHAPES
from pipelines.demand import SMALLEST_BETA, Learning, link_slope
from pipelines.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

_LEAST = np.array([[-np.inf, SMALLEST_BETA]], np.float32)


@dataclass(frozen=True)
class Settings:
    """How the trees grow; names are scikit-learn's where it has one.

    shaping_rows: offers that shape one tree, at most half of all; the others fill its leaves. ridge: offers' worth of
    the base that every leaf is shrunk towards. shares: of the step, among which the select window picks.
    """

    family: str = "forest"
    curve: tuple[str, ...] = SHAPES
    trees: int = 100
    max_depth: int = 7
    min_samples_leaf: int = 50
    max_features: float = 0.5
    shaping_rows: int = 20_000
    ridge: float = 100.0
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    threads: int = 2
    base_l2: tuple[float, ...] = linear.Settings.l2
    base_slopes: tuple[str, ...] = linear.SLOPES
    terms: int = 40

    def __post_init__(self) -> None:
        """Refuse settings under which no tree can grow, naming the value."""
        for key in ("trees", "max_depth", "min_samples_leaf", "shaping_rows", "threads", "ridge"):
            if getattr(self, key) <= 0:
                raise InputError(f"model.forest.{key}={getattr(self, key)} must be positive")
        if not 0 < self.max_features <= 1:
            raise InputError(f"model.forest.max_features={self.max_features} must lie in (0, 1]")
        if not self.shares or min(self.shares) < 0:
            raise InputError(f"model.forest.shares={list(self.shares)} must be at least one number >= 0")


@dataclass(frozen=True)
class Model:
    """A linear base and trees whose leaves correct it: coefficients = base + trees."""

    base: linear.Model
    trees: Trees

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        both = self.base.coefficients(z) + self.trees.total(z)
        floored: NDArray[np.float32] = np.maximum(both, _LEAST)
        return floored

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import spox.opset.ai.onnx.v21 as op

        both = op.add(self.base.graph(z), self.trees.graph(z))
        return op.max([both, op.const(_LEAST)])

    def save(self, folder: Path) -> None:
        """Write model.npz (the trees) and base/ into an existing folder."""
        np.savez(folder / "model.npz", **self.trees.arrays())
        (folder / "base").mkdir(exist_ok=True)
        self.base.save(folder / "base")


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    with np.load(folder / "model.npz", allow_pickle=False) as arrays:
        return Model(linear.load(folder / "base"), Trees(**arrays))


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return base and forest with the share of the step that the select window likes best, each one's loss, that share.

    Without a select window the first share is taken.
    """
    base, _, settled = linear.fit(fit, select, linear.Settings(l2=settings.base_l2, slopes=settings.base_slopes), seed)
    score, information = _newton(base.coefficients(fit.z), fit)
    trees = _corrections(fit.z, score, information, settings, seed)
    history: History = {"share": [], "fit_log_loss": [], "select_log_loss": []}
    tried = settings.shares if select is not None else settings.shares[:1]
    moves = [(window, base.coefficients(window.z), trees.total(window.z)) for window in (fit, select or fit)]
    for share in tried:
        history["share"].append(share)
        for name, (window, start, move) in zip(("fit", "select"), moves, strict=True):
            moved = np.maximum(start + np.float32(share) * move, _LEAST)
            history[f"{name}_log_loss"].append(window.loss(moved))
    best = tried[int(np.argmin(history["select_log_loss"]))]
    return (
        Model(base, trees.scaled(best)),
        history,
        replace(settings, base_l2=settled.l2, base_slopes=settled.slopes, shares=(best,)),
    )


def _newton(coefficients: NDArray[np.float32], window: Learning) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return score (N, 2) and information (N, 2, 2) of each offer's log likelihood in (alpha, beta)."""
    alpha, beta = coefficients.astype(np.float64).T
    eta = alpha - beta * window.t
    q, slope = window.probability(coefficients), link_slope(eta, window.link)
    direction = np.column_stack([np.ones_like(window.t), -window.t]) * slope[:, None]
    score = (window.bought - q)[:, None] * direction
    information = (q * (1 - q))[:, None, None] * direction[:, :, None] * direction[:, None, :]
    return score, information


def _corrections(
    z: NDArray[np.float32], score: NDArray[Any], information: NDArray[Any], settings: Settings, seed: int
) -> Trees:
    """Return the trees, each with one shrunk Newton step per leaf, together their mean."""
    from sklearn.ensemble import RandomForestRegressor

    mean = information.mean(axis=0)
    mean = mean + np.eye(2) * (1e-6 * np.trace(mean) + 1e-12)  # a price that never moved has no information
    outcomes = score @ np.linalg.inv(mean)
    outcomes = outcomes / (outcomes.std(axis=0) + 1e-12)  # both coefficients count alike in a split
    forest = RandomForestRegressor(
        n_estimators=settings.trees,
        max_depth=settings.max_depth,
        min_samples_leaf=settings.min_samples_leaf,
        max_features=settings.max_features,
        max_samples=min(settings.shaping_rows, max(len(z) // 2, 1)),
        n_jobs=settings.threads,
        random_state=seed,
    ).fit(z, outcomes)
    ridge = settings.ridge * mean
    grown = []
    with steps(settings.trees, "forest") as advance:
        for tree, shaping in zip(forest.estimators_, forest.estimators_samples_, strict=True):
            others = np.ones(len(z), bool)
            others[shaping] = False
            grown.append(_filled(_shape(tree.tree_), z[others], score[others], information[others], ridge))
            advance()
    return Trees.join(grown).scaled(1 / settings.trees)


def _shape(tree: Any) -> Trees:
    """Return one scikit-learn tree without values; its rule z <= h in float64 is z < the next float32 above h."""
    leaf = tree.children_left == -1
    threshold = tree.threshold.astype(np.float32)
    threshold = np.where(threshold > tree.threshold, threshold, np.nextafter(threshold, np.float32(np.inf)))
    return Trees(
        roots=np.zeros(1, np.int64),
        feature=np.where(leaf, LEAF, tree.feature),
        threshold=np.where(leaf, 0, threshold).astype(np.float32),
        left=np.where(leaf, 0, tree.children_left),
        right=np.where(leaf, 0, tree.children_right),
        value=np.zeros((len(leaf), 2), np.float32),
    )


def _filled(
    shape: Trees, z: NDArray[np.float32], score: NDArray[Any], information: NDArray[Any], ridge: NDArray[Any]
) -> Trees:
    """Return the tree with (information + ridge)⁻¹ score, summed over the leaf's offers, as every leaf's value."""
    node, count = shape.leaves(z, 0), len(shape.feature)
    total = np.column_stack([np.bincount(node, s, count) for s in score.T])
    matrix = np.stack(
        [np.bincount(node, information[:, i, j], count) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))], axis=1
    )
    solved = np.linalg.solve(matrix.reshape(-1, 2, 2) + ridge, total[:, :, None])[:, :, 0]
    return replace(shape, value=np.where(shape.feature[:, None] == LEAF, solved, 0).astype(np.float32))
