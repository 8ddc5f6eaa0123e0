"""What the shop used to show: the probability of each rung given the context, learned from the log.

A multinomial logit over the encoded context: propensities where none were logged, and how far a context's rungs are
supported by what was shown. N contexts, D encoded columns, K rungs of the source's ladder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from pipelines.encoder import Encoder
from pipelines.errors import InputError
from pipelines.files import read_json, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spox import Var

    Columns = tuple[tuple[str, ...], tuple[str, ...]]  # numeric, categorical
    Floats = NDArray[np.float64]

FOLDER = Path("models/overlap")
SHOWN, IMPERSONAL, CHOSEN, DRAWN = "shown.json", "impersonal.json", "chosen.json", "drawn.json"
ROWS = 60_000  # offers that the logit is fitted on: it has few parameters
LEAST = 0.01  # of an estimated propensity: smaller ones are noise that weighs like evidence
STRENGTHS = (1e4, 1e3, 1e2, 10.0, 1.0)  # L2 penalties to choose from, beside taking no notice of the context
CONSTANT = float("inf")  # the strength under which every context has the same probabilities
FOLDS = 5
_CHOOSING_ROWS = 12_000  # offers among which the strength is chosen
_NEVER = -1000.0  # log-odds of a rung that was never shown: its probability underflows to 0
_HALF = 0.5  # of an offer is added to each rung that was shown, so that each has a probability in every fold
_ITERATIONS = 150


@dataclass(frozen=True)
class LoggingPolicy:
    """Which rungs such contexts were shown: p(rung k | z) = softmax(z W)_k.

    weights: (D, K), the last row the constant. offers: (K,) how many offers stood on each rung; where none did the
    probability is 0. strength: the L2 penalty chosen, infinite (None in JSON) where the context says nothing.
    """

    encoder: Encoder
    weights: Floats
    offers: tuple[int, ...]
    strength: float

    def __post_init__(self) -> None:
        """Refuse weights of another shape than the encoder and the ladder ask for."""
        wanted = (len(self.encoder.names), len(self.offers))
        if self.weights.shape != wanted:
            raise InputError(f"logging policy: weights of shape {self.weights.shape}, not {wanted}: run `dvc repro`")

    @classmethod
    def fit(cls, offers: pd.DataFrame, columns: Columns, rungs: int, seed: int) -> Self:
        """Learn from offers (context columns, rung, shopper_id); the strength is chosen by cross-validated log loss.

        columns: numeric and categorical; none of either means the same probabilities for all.
        """
        encoder = Encoder.fit(offers, *columns)
        z, rung = encoder.encode(offers), _rungs(offers, rungs)
        strength = _chosen(z, rung, _folds(offers, seed), rungs, seed)
        kept = _some(len(rung), ROWS, seed)
        weights = _weights(z[kept], rung[kept], rungs, strength, np.unique(rung))
        return cls(encoder, weights, tuple(np.bincount(rung, minlength=rungs).tolist()), strength)

    def probability(self, table: pd.DataFrame) -> Floats:
        """Return p, (N, K) double, rows summing to 1, for a table with all context columns."""
        return self.of(self.encoder.encode(table))

    def of(self, z: NDArray[np.float32]) -> Floats:
        """Return p, (N, K) double, for an encoded context (N, D)."""
        return _softmax(z.astype(np.float64) @ self.weights)

    def graph(self, inputs: dict[str, Var]) -> Var:
        """Return `probability` as an ONNX value: raw (N, 1) inputs by name -> (N, K) double."""
        return self.graph_of(self.encoder.graph(inputs))

    def graph_of(self, z: Var) -> Var:
        """Return `of` as an ONNX value: encoded (N, D) float32 -> (N, K) double."""
        import spox.opset.ai.onnx.v21 as op

        return op.softmax(op.matmul(op.cast(z, to=np.float64), op.const(self.weights)), axis=-1)

    def save(self, path: Path) -> None:
        """Write as one JSON file."""
        strength = None if self.strength == CONSTANT else self.strength
        values: dict[str, Any] = {"offers": list(self.offers), "strength": strength}
        write_json(path, values | {"weights": self.weights.tolist(), "encoder": self.encoder.to_json()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the policy that `save` wrote."""
        values = read_json(path)
        strength = CONSTANT if values["strength"] is None else float(values["strength"])
        return cls(Encoder.from_json(values["encoder"]), np.array(values["weights"]), tuple(values["offers"]), strength)


def cross_fitted(
    offers: pd.DataFrame, columns: Columns, rungs: int, seed: int, strength: float | None = None
) -> Floats:
    """Return p, (N, K), of each offer's context by a policy fitted without that shopper's offers (5 folds).

    strength: the L2 penalty; where not given it is chosen once, on all offers. Cross-fitting: Chernozhukov et al.
    (2018), "Double/debiased machine learning".
    """
    z, rung, fold = Encoder.fit(offers, *columns).encode(offers), _rungs(offers, rungs), _folds(offers, seed)
    strength = _chosen(z, rung, fold, rungs, seed) if strength is None else strength
    found = np.zeros((len(offers), rungs))
    for k in np.unique(fold):
        # one shopper alone has nobody else to learn from
        rest = np.flatnonzero(fold != k if (fold != k).any() else fold == k)
        rest = rest[_some(len(rest), ROWS, seed)]
        weights = _weights(z[rest], rung[rest], rungs, strength, np.unique(rung))
        found[fold == k] = _softmax(z[fold == k].astype(np.float64) @ weights)
    return found


def propensities(offers: pd.DataFrame, folder: Path = FOLDER) -> Floats:
    """Return the propensity (N,) of the rung shown, for offers that the policies in `folder` were not fitted on.

    As logged; else, of a row priced at random, the share of its rung among such rows; else as estimated.
    """
    drawn = LoggingPolicy.load(folder / DRAWN) if (folder / DRAWN).is_file() else None
    policy = LoggingPolicy.load(folder / (SHOWN if drawn is None else CHOSEN))
    return logged_or(offers, assigned(offers, policy.probability(offers), drawn))


def assigned(offers: pd.DataFrame, chosen: Floats, drawn: LoggingPolicy | None) -> Floats:
    """Return the probabilities (N, K) by which each offer got its rung: `chosen`, or `drawn` if flagged."""
    if drawn is None:
        return chosen
    return np.where(randomised(offers)[:, None], drawn.probability(offers), chosen)


def randomised(offers: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which offers are flagged as priced at random, (N,); a missing flag is none."""
    return offers["randomised"].to_numpy(float) == 1 if "randomised" in offers else np.zeros(len(offers), bool)


def judged(offers: pd.DataFrame) -> pd.DataFrame:
    """Return the offers that curves and policies are held against: those priced at random, where any are flagged."""
    by_chance = randomised(offers)
    return offers[by_chance].reset_index(drop=True) if by_chance.any() else offers


def logged_or(offers: pd.DataFrame, probability: Floats) -> Floats:
    """Return the logged propensity (N,), and where it is missing that of `probability` (N, K), at least `LEAST`."""
    rung, logged = offers["rung"].to_numpy(np.int64), offers["propensity"].to_numpy(float)
    guessed = np.maximum(probability[np.arange(len(rung)), rung], LEAST)
    return np.where(np.isfinite(logged), logged, guessed)


def _rungs(offers: pd.DataFrame, rungs: int) -> NDArray[np.int64]:
    """Return the rungs shown, (N,); refuse offers that do not fit the ladder."""
    rung = offers["rung"].to_numpy(np.int64)
    if not len(rung):
        raise InputError("no offers to learn from which rungs were shown: the window is empty")
    if rung.min() < 0 or rung.max() >= rungs:
        raise InputError(f"rungs {rung.min()} to {rung.max()} were shown, but the ladder has {rungs}: run `dvc repro`")
    return rung


def _folds(offers: pd.DataFrame, seed: int) -> NDArray[np.int64]:
    """Return the fold of every offer, (N,); all offers of a shopper are in one."""
    shopper, names = pd.factorize(offers["shopper_id"])
    fold: NDArray[np.int64] = (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[shopper]
    return fold


def _some(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return the positions of at most `most` of `rows` rows, drawn by `seed`."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _chosen(z: NDArray[np.float32], rung: NDArray[np.int64], fold: NDArray[np.int64], rungs: int, seed: int) -> float:
    """Return the strength with the least log loss on folds that it was not fitted on; `CONSTANT` is one of them."""
    if z.shape[1] == 1 or len(np.unique(rung)) == 1 or len(np.unique(fold)) == 1:
        return CONSTANT
    kept = _some(len(rung), _CHOOSING_ROWS, seed)
    z, rung, fold = z[kept], rung[kept], fold[kept]
    shown = np.unique(rung)
    losses = dict.fromkeys((CONSTANT, *STRENGTHS), 0.0)
    for k in np.unique(fold):
        rest, held = fold != k, fold == k
        start = None
        for strength in losses:
            start = _weights(z[rest], rung[rest], rungs, strength, shown, start)
            p = _softmax(z[held].astype(np.float64) @ start)
            losses[strength] -= float(np.log(np.maximum(p[np.arange(len(p)), rung[held]], 1e-12)).sum())
    return min(losses, key=losses.__getitem__)


def _weights(
    z: NDArray[np.float32],
    rung: NDArray[np.int64],
    rungs: int,
    strength: float,
    shown: NDArray[np.int64],
    start: Floats | None = None,
) -> Floats:
    """Return the weights (D, K) that maximise the penalised likelihood; the constant is not penalised.

    shown: the rungs that have a probability at all. start: weights to begin from.
    """
    from scipy.optimize import minimize

    counts = np.bincount(rung, minlength=rungs)[shown] + _HALF
    weights = np.zeros((z.shape[1], rungs))
    weights[-1] = _NEVER
    weights[-1, shown] = np.log(counts / counts.sum())
    if strength == CONSTANT or len(shown) == 1:
        return weights
    x = np.vstack([z.astype(np.float64), np.eye(1, z.shape[1], z.shape[1] - 1)])  # the last: half an offer of each
    target = np.zeros((len(x), len(shown)))
    target[np.arange(len(rung)), np.searchsorted(shown, rung)] = 1.0
    target[-1] = _HALF
    mass = target.sum(axis=1, keepdims=True)
    penalty = np.full((z.shape[1], 1), strength)
    penalty[-1] = 0.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(z.shape[1], len(shown))
        score = x @ w
        score -= score.max(axis=1, keepdims=True)
        p = np.exp(score)
        total = p.sum(axis=1, keepdims=True)
        value = (mass * np.log(total)).sum() - (target * score).sum() + (penalty * w**2).sum() / 2
        return float(value) / len(x), ((x.T @ (mass * p / total - target) + penalty * w) / len(x)).ravel()

    first = (weights if start is None else start)[:, shown]
    options = {"maxiter": _ITERATIONS, "ftol": 1e-9, "gtol": 1e-6}
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    weights[:, shown] = found.x.reshape(z.shape[1], len(shown))
    return weights


def _softmax(score: Floats) -> Floats:
    """Return the probabilities (N, K) of scores (N, K)."""
    p = np.exp(score - score.max(axis=1, keepdims=True))
    softmax: Floats = p / p.sum(axis=1, keepdims=True)
    return softmax
