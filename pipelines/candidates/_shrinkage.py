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
from typing import TYPE_CHECKING

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
    from numpy.typing import NDArray

    from pipelines.candidates._slopes import Bend

    Floats = NDArray[np.float64]

_DRAWS, _FIRST = 500, 100  # draws of the strengths, and how many of them only lead to where they belong
_FEWEST, _EASY = 150, 400  # draws at least, and weights up to which there are all: a draw costs their cube
_START = 0.02  # tau² to start from
_VARIANCES = (1e-10, 1e6)  # of a weight, between which it is drawn
_FARTHEST = 3.0  # that a round may move eta, as its root mean square: beyond, the quadratic says nothing
_SETTLED = 0.5  # nats of all offers that a round must change to be followed by another
_STRENGTH = 16.0  # of the penalty under which `likelier` starts
_ROUNDS = 6  # of `likelier`, at most
_WIDE = 600  # weights beyond which `likelier` takes one strength for all, and straight slopes
_RIDGE = 1e-6  # by which a scoring step is kept solvable where nothing tells
HANDICAP = 4.0  # nats that a bent slope must gain: where nothing tells, the plain regression is the safer base


@dataclass(frozen=True)
class Fitted:
    """An interaction regression on one window: its bend (None: straight slopes) and weights."""

    bend: Bend | None
    weights: Floats

    def cost(self, window: Learning) -> float:
        """Return minus the log likelihood of a window's offers, in nats, and the handicap of a bent slope."""
        return surprise(predicted(window, self.bend, self.weights), window) + HANDICAP * (self.bend is not None)


def likelier(window: Learning) -> Fitted:
    """Return the regression with straight or with bounded slopes, whichever makes the window's offers likelier.

    A very wide context has straight slopes, under one strength for all.
    """
    straight = newton(regressors(window), window, _STRENGTH)
    if len(straight) > _WIDE:
        return Fitted(None, straight)
    found = []
    for bend in (None, bend_of("bounded", window)):
        start = curved(window, bend, _STRENGTH) if bend else straight
        found.append(Fitted(bend, shrunk(window, bend, start, _ROUNDS)))
    return min(found, key=lambda one: one.cost(window))


def shrunk(window: Learning, bend: Bend | None, weights: Floats, rounds: int) -> Floats:
    """Return the posterior mean of the weights, of `curved`, or without a bend of `newton`, under the horseshoe.

    weights: of a fit under one strength for all, to begin with; rather too strong than too weak, since around weights
    that fit by chance the likelihood is flat. rounds: at most; none follows one that changed nothing. Constants stay
    all but unshrunk. Before each round the bend's own weights, with the spread of its score, are fitted to the offers.
    The draws are the same in every call.
    """
    size = len(weights)
    many = size - (len(bend.penalty) if bend else 0)
    penalty, own = penalties(size, 1.0, bend), np.ones(size, dtype=bool)
    own[fixed(size, bend)] = False
    before = surprise(predicted(window, bend, weights), window)
    for _ in range(rounds):
        weights = _stretched(window, bend, weights) if bend else weights
        eta, columns = design(window, bend, weights)
        columns = columns[:, :many]
        gradient, information = derivatives(eta, columns, window.bought, window.link, np.float64)
        if bend is None:
            haunt(gradient, information, weights, window.link)
        pull = information @ weights[:many] + gradient
        move = _posterior_mean(information, pull, own[:many], penalty[:many]) - weights[:many]
        far = float(np.sqrt(np.mean((columns @ move) ** 2)))
        weights = weights + np.append(move * min(1.0, _FARTHEST / max(far, _FARTHEST)), np.zeros(size - many))
        now = surprise(predicted(window, bend, weights), window)
        if abs(now - before) < _SETTLED:
            break
        before = now
    return weights


def _stretched(window: Learning, bend: Bend, weights: Floats) -> Floats:
    """Return the weights with the two constants, the bend's own and the spread of its score anew, by scoring steps.

    The spread of the score and that of the slope stretch each other, so they are moved together: the horseshoe, whose
    tau adapts, has no opinion of the former.
    """
    a, b, rest = parted(weights, bend)
    z = window.z[:, :-1].astype(np.float64)
    level, score = z @ a[:-1], z @ b[:-1]
    penalty = np.concatenate([np.zeros(3), bend.penalty])

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


def _posterior_mean(information: Floats, pull: Floats, own: NDArray[np.bool_], penalty: Floats) -> Floats:
    """Return the mean (P,) of weights of log likelihood pull·w - w·information·w / 2 under the horseshoe.

    own: which weights have a strength of their own, the first half tau of level and the second that of slope; penalty:
    of the others.
    """
    from scipy.linalg import cho_solve, solve_triangular

    rng, size = np.random.default_rng(0), len(pull)
    group = (np.arange(size) >= size // 2).astype(int)
    members = [own & (group == k) for k in (0, 1)]
    local, local_mixing = np.ones(size), np.ones(size)  # λ², and the scale by which it is drawn
    common, common_mixing = np.full(2, _START), np.ones(2)  # tau²
    total, draws = np.zeros(size), int(np.clip(_DRAWS * (_EASY / size) ** 2, _FEWEST, _DRAWS))
    for draw in range(draws):
        strength = np.where(own, 1 / np.clip(local * common[group], *_VARIANCES), penalty)
        root = np.linalg.cholesky(information + np.diag(strength))
        mean = cho_solve((root, True), pull, check_finite=False)
        drawn = mean + solve_triangular(root, rng.standard_normal(size), lower=True, trans="T", check_finite=False)
        local = _inverse_gamma(rng, np.ones(size), 1 / local_mixing + drawn**2 / (2 * common[group]))
        local_mixing = _inverse_gamma(rng, np.ones(size), 1 + 1 / local)
        for k, mine in enumerate(members):
            spread = 1 / common_mixing[k] + 0.5 * np.sum(drawn[mine] ** 2 / local[mine])
            common[k] = _inverse_gamma(rng, (mine.sum() + 1) / 2, spread)
            common_mixing[k] = _inverse_gamma(rng, 1.0, 1 + 1 / common[k])
        if draw >= _FIRST:
            total += mean
    return total / (draws - _FIRST)


def _inverse_gamma(rng: np.random.Generator, shape: Floats | float, scale: Floats | float) -> Floats:
    return np.asarray(scale / np.maximum(rng.standard_gamma(shape), 1e-300))
