"""Varying-coefficient boosting: XGBoost trees over the context for alpha and for ln beta, on a linear base.

Each round adds one tree per output (custom objective), starting from the interaction logit; rounds stop when the
log loss on the select window no longer falls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates import History, linear
from pipelines.candidates._progress import steps
from pipelines.candidates._trees import LEAF, Trees
from pipelines.candidates.shapes import SHAPES
from pipelines.demand import SMALLEST_BETA, Learning, link_slope, log_loss, log_odds, sigmoid
from pipelines.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from spox import Var

_LARGEST_BETA = 1e3
_LEAST_SHARE = 0.1  # of the mean slope: below it ln beta has no gradient left, and no tree could bring it back
_FLAT = 1e-6  # of the intercept's curvature: below it the price hardly ever moved, and there is no slope to learn
_FEW = 20_000  # rows below which a second thread costs more than it gives


@dataclass(frozen=True)
class Settings:
    """How the trees grow; names are XGBoost's where it has one. `patience` is in rounds."""

    family: str = "gbm"
    curve: tuple[str, ...] = SHAPES
    rounds: int = 600
    patience: int = 40
    learning_rate: float = 0.05
    max_depth: int = 4
    min_child_weight: float = 10.0
    reg_lambda: float = 10.0
    subsample: float = 0.7
    colsample_bynode: float = 0.6
    threads: int = 2
    base_l2: tuple[float, ...] = linear.Settings.l2
    base_slopes: tuple[str, ...] = linear.SLOPES
    terms: int = 40

    def __post_init__(self) -> None:
        """Refuse settings under which no tree can grow, naming the value."""
        for key in ("rounds", "patience", "learning_rate", "max_depth", "threads"):
            if getattr(self, key) <= 0:
                raise InputError(f"model.gbm.{key}={getattr(self, key)} must be positive")
        for key in ("subsample", "colsample_bynode"):
            if not 0 < getattr(self, key) <= 1:
                raise InputError(f"model.gbm.{key}={getattr(self, key)} must lie in (0, 1]")


@dataclass(frozen=True)
class Model:
    """Trees over a linear base: margins = base + trees; alpha is the first, beta = exp of the second."""

    base: linear.Model
    least: float  # of the base's beta
    booster: Any

    def coefficients(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): alpha and beta, beta >= SMALLEST_BETA."""
        import xgboost

        data = xgboost.DMatrix(z, base_margin=_base_margin(self.base, self.least, z))
        return _coefficients(self.booster.predict(data, output_margin=True).reshape(len(z), 2))

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value: (N, D) float32 -> (N, 2) float32."""
        import spox.opset.ai.onnx.v21 as op

        slope = op.const(np.array([[False, True]]))
        least, low, high = (
            op.const(np.array([pair], np.float32))
            for pair in ((-np.inf, self.least), (-np.inf, SMALLEST_BETA), (np.inf, _LARGEST_BETA))
        )
        base = op.max([self.base.graph(z), least])
        margins = op.add(op.where(slope, op.log(base), base), _trees(self.booster).graph(z))
        return op.min([op.max([op.where(slope, op.exp(margins), margins), low]), high])

    def save(self, folder: Path) -> None:
        """Write model.json (the booster, with the base's smallest beta) and base/ into an existing folder."""
        self.booster.set_attr(least=repr(self.least))
        (folder / "model.json").write_bytes(bytes(self.booster.save_raw("json")))
        (folder / "base").mkdir(exist_ok=True)
        self.base.save(folder / "base")


def load(folder: Path) -> Model:
    """Return the model that `Model.save` wrote."""
    import xgboost

    booster = xgboost.Booster(model_file=folder / "model.json")
    return Model(linear.load(folder / "base"), float(booster.attr("least")), booster)


def fit(fit: Learning, select: Learning | None, settings: Settings, seed: int) -> tuple[Model, History, Settings]:
    """Return the boosted curve, the log loss of both windows after each round, and settings that stop where it did.

    Without a select window all rounds are grown.
    """
    import xgboost

    base, _, settled = linear.fit(fit, select, linear.Settings(l2=settings.base_l2, slopes=settings.base_slopes), seed)
    mean_beta = float(base.coefficients(fit.z)[:, 1].mean())
    least = max(SMALLEST_BETA, _LEAST_SHARE * mean_beta)
    windows = {"fit": fit} if select is None else {"fit": fit, "select": select}
    matrices = {name: _matrix(window, base, least) for name, window in windows.items()}
    stop = [] if select is None else [xgboost.callback.EarlyStopping(rounds=settings.patience, save_best=True)]
    evaluated: dict[str, dict[str, list[float]]] = {}
    with steps(settings.rounds, "gbm") as advance:
        booster = xgboost.train(
            _parameters(settings, seed, len(fit.t)),
            matrices["fit"],
            num_boost_round=settings.rounds,
            obj=lambda margins, data: _objective(margins, data, fit.link),
            custom_metric=lambda margins, data: _metric(margins, data, fit.link),
            evals=[(matrix, name) for name, matrix in matrices.items()],
            evals_result=evaluated,
            callbacks=[*stop, _each(advance)],
            verbose_eval=False,
        )
    history = {f"{name}_log_loss": list(values["log_loss"]) for name, values in evaluated.items()}
    return (
        Model(base, least, booster),
        history,
        replace(settings, base_l2=settled.l2, base_slopes=settled.slopes, rounds=booster.num_boosted_rounds()),
    )


def _matrix(window: Learning, base: linear.Model, least: float) -> Any:
    """Return the window as XGBoost takes it: a label has one column per output, so the price stands in it too."""
    import xgboost

    label = np.column_stack([window.bought, window.t])
    return xgboost.DMatrix(window.z, label=label, weight=window.weight, base_margin=_base_margin(base, least, window.z))


def _parameters(settings: Settings, seed: int, rows: int) -> dict[str, Any]:
    shared = ("learning_rate", "max_depth", "min_child_weight", "reg_lambda", "subsample", "colsample_bynode")
    return {
        **{key: getattr(settings, key) for key in shared},
        "multi_strategy": "one_output_per_tree",
        "num_target": 2,
        "base_score": 0.0,
        "tree_method": "hist",
        "disable_default_eval_metric": True,
        "nthread": 1 if rows < _FEW else settings.threads,
        "seed": seed,
    }


def _base_margin(base: linear.Model, least: float, z: NDArray[np.float32]) -> NDArray[np.float32]:
    coefficients = base.coefficients(z)
    coefficients[:, 1] = np.log(np.maximum(coefficients[:, 1], np.float32(least)))
    return coefficients


def _coefficients(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    beta = np.clip(np.exp(margins[:, 1]), SMALLEST_BETA, _LARGEST_BETA)
    return np.column_stack([margins[:, 0], beta]).astype(np.float32)


def _probability(margins: NDArray[np.float32], data: Any, link: str) -> tuple[NDArray[Any], ...]:
    """Return the outcome, its probability, and the derivatives of its log-odds in alpha and in ln beta, (N,) each."""
    bought, t = data.get_label().reshape(-1, 2).T
    alpha, beta = _coefficients(margins.reshape(-1, 2)).astype(np.float64).T
    eta = alpha - beta * t
    level = link_slope(eta, link)
    return bought, sigmoid(log_odds(eta, link)), level, -beta * t * level


def _objective(margins: NDArray[np.float32], data: Any, link: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return gradient and hessian, (N, 2), of the log loss in (alpha, ln beta).

    The slope's are rescaled so that its mean hessian equals the intercept's: else min_child_weight, which knows one
    scale only, would forbid every split of the slope.
    """
    bought, q, level, slope = _probability(margins, data, link)
    residual, weight = q - bought, q * (1 - q) * level**2
    curvature = q * (1 - q) * slope**2
    scale = weight.mean() / curvature.mean() if curvature.mean() > _FLAT * weight.mean() else 0.0
    gradient = np.column_stack([residual * level, scale * residual * slope])
    return gradient, np.column_stack([weight, scale * curvature])


def _metric(margins: NDArray[np.float32], data: Any, link: str) -> tuple[str, float]:
    bought, q, *_ = _probability(margins, data, link)
    return "log_loss", log_loss(bought, q, data.get_weight())


def _each(advance: Callable[[], None]) -> Any:
    """Return a callback that reports each round; made here because its base class is XGBoost's."""
    import xgboost

    class Each(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            advance()
            return False

    return Each()


def _trees(booster: Any) -> Trees:
    """Return the booster's trees, read from its own JSON: no converter knows its two outputs."""
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    return Trees.join([_tree(tree, output) for tree, output in zip(model["trees"], model["tree_info"], strict=True)])


def _tree(tree: dict[str, Any], output: int) -> Trees:
    left = np.array(tree["left_children"])
    leaf = left == -1
    numbers = np.array(tree["split_conditions"], dtype=np.float32)  # of a leaf: its value
    value = np.zeros((len(left), 2), np.float32)
    value[leaf, output] = numbers[leaf]
    return Trees(
        roots=np.zeros(1, np.int64),
        feature=np.where(leaf, LEAF, tree["split_indices"]),
        threshold=np.where(leaf, 0, numbers).astype(np.float32),
        left=np.where(leaf, 0, left),
        right=np.where(leaf, 0, tree["right_children"]),
        value=value,
    )
