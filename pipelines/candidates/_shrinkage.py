"""Shrinkage of interaction regressions: every weight under a strength of its own, averaged over all that are plausible.

The horseshoe prior (Carvalho, Polson & Scott 2010, "The horseshoe estimator for sparse signals", Biometrika): weight j
is a draw of a normal distribution of mean 0 and deviation tau λ_j, λ_j and tau half-Cauchy, one tau for the level and
one for the slope. What does not matter fades, what does is hardly shrunk, and a weight that may or may not matter is
taken by as much as it does on average: the best guess of each strength instead (automatic relevance determination)
takes it whole or not at all. The log likelihood is taken as quadratic around the weights so far, a few rounds long;
then a round is Gibbs sampling in as many dimensions as there are weights, without another look at the offers
(Makalic & Schmidt 2016, "A simple sampler for the horseshoe estimator", IEEE Signal Processing Letters).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.candidates._regression import (
    climbed,
    curved,
    derivatives,
    design,
    fixed,
    haunt,
    newton,
    parted,
    penalties,
    predicted,
    regressors,
    surprise,
)
from pipelines.candidates._slopes import bend_of
from pipelines.demand import Learning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pipelines.candidates._slopes import Bend

    Floats = NDArray[np.float64]

_DRAWS, _FEWER = 400, 100  # draws of the strengths that are averaged, and by `ranked`
_FIRST, _AGAIN = 100, 20  # draws before them that only lead to where they belong, in the first round and in others
_EASY, _FEWEST = 400, 50  # weights beyond which there are fewer, since a draw costs their cube; and how many at least
_START = 0.02  # tau² to start from
_VARIANCES = (1e-10, 1e6)  # of a weight, between which it is drawn
_LEAST = 1e-300  # by which is divided
_FARTHEST = 3.0  # that a round may move eta, as its root mean square: beyond, the quadratic says nothing
_SPREAD = 1.5  # of the score of a bent slope, that costs half a nat: very steep ones are steps, which fit by chance
_SETTLED = 0.5  # nats of all offers that a round must change to be followed by another
_STRENGTH = 16.0  # of the penalty under which `ranked` starts
_ROUNDS = 10  # of `ranked`, at most
_SPREADS = {"logit": 1.7, "probit": 1.0}  # of eta, for much the same probabilities
_WIDE = 600  # weights beyond which `ranked` takes one strength for all, and straight slopes
_RIDGE = 1e-6  # by which a scoring step is kept solvable where nothing tells
HANDICAP = 4.0  # nats that a bent slope must gain: where nothing tells, the plain regression is the safer base


@dataclass(frozen=True)
class Fitted:
    """An interaction regression on one window: its bend (None: straight slopes), weights and link."""

    bend: Bend | None
    weights: Floats
    link: str

    def cost(self, window: Learning) -> float:
        """Return minus the log likelihood of a window's offers, in nats, and the handicap of a bent slope."""
        return surprise(predicted(window, self.bend, self.weights), window) + HANDICAP * (self.bend is not None)

    def under(self, link: str) -> Floats:
        """Return weights to begin with under a link: those of what is counted in its units are stretched."""
        weights, stretch = self.weights.copy(), _SPREADS[link] / _SPREADS[self.link]
        weights[: len(parted(weights, self.bend)[0]) if self.bend else None] *= stretch
        return weights


def ranked(window: Learning, like: Sequence[Fitted] = ()) -> list[Fitted]:
    """Return the regressions with straight and with bounded slopes, the one first that makes the offers likelier.

    A very wide context has straight slopes alone, under one strength for all. like: those of the same offers under
    another curve, to begin with.
    """
    if 2 * window.z.shape[1] > _WIDE:
        return [Fitted(None, newton(regressors(window), window, _STRENGTH), window.link)]
    begun, found = {one.bend is None: one.under(window.link) for one in like}, []
    for bend in (None, bend_of("bounded", window)):
        start = begun.get(bend is None)
        if start is None:
            start = curved(window, bend, _STRENGTH) if bend else newton(regressors(window), window, _STRENGTH)
        found.append(Fitted(bend, shrunk(window, bend, start, _ROUNDS, _FEWER), window.link))
    return sorted(found, key=lambda one: one.cost(window))


def shrunk(window: Learning, bend: Bend | None, weights: Floats, rounds: int, draws: int = _DRAWS) -> Floats:
    """Return the posterior mean of the weights, of `curved`, or without a bend of `newton`, under the horseshoe.

    weights: of a fit under one strength for all, to begin with; rather too strong than too weak, since around weights
    that fit by chance the likelihood is flat. rounds: at most; none follows a second one that changed nothing. draws:
    how many are averaged in each. Constants stay all but unshrunk. Before each round the bend's own weights, with the
    spread of its score, are fitted to the offers. The draws are the same in every call.
    """
    size = len(weights)
    many = size - (len(bend.penalty) if bend else 0)
    penalty, own = penalties(size, 1.0, bend), np.ones(size, dtype=bool)
    own[fixed(size, bend)] = False
    sampler, draws = _Sampler(own[:many], penalty[:many]), max(int(draws * min(1.0, (_EASY / many) ** 2)), _FEWEST)
    before = surprise(predicted(window, bend, weights), window)
    for turn in range(rounds):
        weights = _stretched(window, bend, weights)
        eta, columns = design(window, bend, weights)
        columns = columns[:, :many]
        gradient, information = derivatives(eta, columns, window.bought, window.link, np.float64)
        if bend is None:
            haunt(gradient, information, weights, window.link)
        pull = information @ weights[:many] + gradient
        move = sampler.mean(information, pull, draws) - weights[:many]
        far = float(np.sqrt(np.mean((columns @ move) ** 2)))
        weights = weights + np.append(move * min(1.0, _FARTHEST / max(far, _FARTHEST)), np.zeros(size - many))
        now = surprise(predicted(window, bend, weights), window)
        if turn and abs(now - before) < _SETTLED:
            break
        before = now
    return weights


def _stretched(window: Learning, bend: Bend | None, weights: Floats) -> Floats:
    """Return the weights with the two constants, the bend's own and the spread of its score anew, by scoring steps.

    The spread of the score and that of the slope stretch each other, so they are moved together. The horseshoe, whose
    tau adapts, has no opinion of the former, and without one it would grow until the rounds lead nowhere: where slopes
    are all at one bound or the other the likelihood is flat.
    """
    if bend is None:
        return weights
    a, b, rest = parted(weights, bend)
    z = window.z[:, :-1].astype(np.float64)
    level, score = z @ a[:-1], z @ b[:-1]
    penalty = np.concatenate([[0.0, np.var(score) / _SPREAD**2, 0.0], bend.penalty])

    def eta(now: Floats) -> Floats:
        beta, _ = bend.slope(now[1] * score + now[2], now[3:])
        return np.asarray(level + now[0] - beta * (window.t - bend.pivot(now[3:])))

    def loss(now: Floats) -> float:
        return surprise(eta(now), window) + 0.5 * float(penalty @ now**2)

    def step(now: Floats) -> Floats:
        spread, own = now[1] * score + now[2], now[3:]
        steep = -(window.t - bend.pivot(own)) * bend.slope(spread, own)[1]
        columns = np.column_stack([np.ones_like(score), steep * score, steep, bend.beside(spread, window.t, own)])
        gradient, information = derivatives(eta(now), columns, window.bought, window.link, np.float64)
        return np.asarray(np.linalg.solve(information + np.diag(penalty + _RIDGE), gradient - penalty * now))

    found = climbed(np.concatenate([[a[-1], 1.0, b[-1]], rest]), loss, step, len(window.t))
    return np.concatenate([a[:-1], found[:1], found[1] * b[:-1], found[2:]])


class _Sampler:
    """Draws of weights under the horseshoe, from round to round: the strengths go on from where they were.

    own: which weights (P,) have a strength of their own, the first half tau of level and the second that of slope;
    penalty: (P,) of the others.
    """

    def __init__(self, own: NDArray[np.bool_], penalty: Floats) -> None:
        half = len(own) // 2
        self._own, self._penalty, self._half = own, penalty, half
        self._counts = np.array([own[:half].sum(), own[half:].sum()])
        self._local, self._local_mixing = np.ones(len(own)), np.ones(len(own))  # λ², and the scale it is drawn by
        self._common, self._common_mixing = np.full(2, _START), np.ones(2)  # tau²
        self._first = _FIRST

    def mean(self, information: Floats, pull: Floats, draws: int) -> Floats:
        """Return the mean (P,) of weights of log likelihood pull·w - w·information·w / 2, over so many draws."""
        from scipy.linalg import lapack

        size, half, count = len(pull), self._half, self._first + draws
        rng = np.random.default_rng(0)
        noise, gammas = rng.standard_normal((count, size)), rng.standard_exponential((2, count, size))
        commons = np.maximum(rng.standard_gamma((self._counts + 1) / 2, (count, 2)), _LEAST)
        mixings, gammas = rng.standard_exponential((count, 2)), np.maximum(gammas, _LEAST)
        total, matrix = np.zeros(size), np.empty((size, size), order="F")
        diagonal = matrix.reshape(-1, order="F")[:: size + 1]
        with _one_thread():
            for draw in range(count):
                spread = np.concatenate([np.full(half, self._common[0]), np.full(size - half, self._common[1])])
                strength = 1 / np.clip(self._local * spread, *_VARIANCES)
                matrix[:] = information
                diagonal += np.where(self._own, strength, self._penalty)
                root, failed = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
                if failed:
                    raise np.linalg.LinAlgError("the information of the regression is not positive definite")
                mean = lapack.dpotrs(root, pull, lower=1)[0]
                squares = (mean + lapack.dtrtrs(root, noise[draw], lower=1, trans=1)[0]) ** 2
                self._local = (1 / self._local_mixing + squares / (2 * spread)) / gammas[0, draw]
                self._local_mixing = (1 + 1 / self._local) / gammas[1, draw]
                shares = np.where(self._own, squares / self._local, 0.0)
                sums = np.array([shares[:half].sum(), shares[half:].sum()])
                self._common = (1 / self._common_mixing + 0.5 * sums) / commons[draw]
                self._common_mixing = (1 + 1 / self._common) / np.maximum(mixings[draw], _LEAST)
                if draw >= self._first:
                    total += mean
        self._first = _AGAIN
        return total / draws


def _one_thread() -> AbstractContextManager[Any]:
    """Keep linear algebra on one thread: matrices so small are slower on several, many times so on a busy machine."""
    limit: AbstractContextManager[Any] = _pools().limit(limits=1, user_api="blas")
    return limit


@cache
def _pools() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
