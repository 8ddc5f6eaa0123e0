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

from pipelines.candidates._regression import curved, derivatives, design, fixed, newton, penalties, regressors
from pipelines.candidates._slopes import bend_of
from pipelines.demand import Learning, log_loss, log_odds, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.candidates._slopes import Bend

    Floats = NDArray[np.float64]

_DRAWS, _FIRST = 500, 100  # draws of the strengths, and how many of them only lead to where they belong
_START = 0.02  # tau² to start from
_LEAST_VARIANCE = 1e-10  # of a weight
_SURPRISE = 2.0  # nats by which a step may make the offers less likely than the quadratic had it
_HALVINGS = 10
_STRENGTH = 4.0  # of the penalty under which `likelier` starts
HANDICAP = 4.0  # nats that a bent slope must gain: where nothing tells, the plain regression is the safer base


@dataclass(frozen=True)
class Fitted:
    """An interaction regression on one window: its bend (None: straight slopes) and weights."""

    bend: Bend | None
    weights: Floats

    def eta(self, window: Learning) -> Floats:
        """Return eta, (N,)."""
        return design(window, self.bend, self.weights)[0]

    def surprise(self, window: Learning) -> float:
        """Return minus the log likelihood of a window's offers, in nats."""
        return _surprise(self.eta(window), window)


def likelier(window: Learning) -> Fitted:
    """Return the regression with straight or with bounded slopes, whichever makes the window's offers likelier."""
    found = []
    for slope in ("linear", "bounded"):
        bend, columns = bend_of(slope, window), regressors(window)
        start = curved(window, bend, _STRENGTH) if bend else newton(columns, window, _STRENGTH)
        found.append(Fitted(bend, shrunk(window, bend, _STRENGTH, start, 1)))
    return min(found, key=lambda one: one.surprise(window) + HANDICAP * (one.bend is not None))


def shrunk(window: Learning, bend: Bend | None, strength: float, weights: Floats, rounds: int) -> Floats:
    """Return the posterior mean of the weights, of `curved`, or without a bend of `newton`, under the horseshoe.

    weights: of the fit under `strength`, around which the first round begins. Rather a weak one: the bounds of a slope
    and the weights of its score stretch each other, and grow apart slowly. Constants stay all but unshrunk, and the
    bend's own weights follow the others by scoring steps. The draws are the same in every call.
    """
    size = len(weights)
    many = size - (len(bend.penalty) if bend else 0)
    penalty, own = penalties(size, strength, bend), np.ones(size, dtype=bool)
    own[fixed(size, bend)] = False
    for _ in range(rounds):
        eta, columns = design(window, bend, weights)
        gradient, information = derivatives(eta, columns, window.bought, window.link)
        inner = information[:many, :many]
        move = np.zeros(size)
        mean = _posterior_mean(inner, inner @ weights[:many] + gradient[:many], own[:many], penalty[:many])
        move[:many] = mean - weights[:many]
        if bend:
            left = gradient[many:] - information[many:, :many] @ move[:many] - penalty[many:] * weights[many:]
            move[many:] = np.linalg.solve(information[many:, many:] + np.diag(penalty[many:]), left)
        before = _surprise(eta, window)
        for _ in range(_HALVINGS):
            promised = 0.5 * move @ information @ move - gradient @ move
            found = _surprise(design(window, bend, weights + move)[0], window) - before
            if found <= max(float(promised), 0.0) + _SURPRISE:
                break
            move = move / 2
        weights = weights + move
    return weights


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
    total = np.zeros(size)
    for draw in range(_DRAWS):
        strength = np.where(own, 1 / np.maximum(local * common[group], _LEAST_VARIANCE), penalty)
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
    return total / (_DRAWS - _FIRST)


def _inverse_gamma(rng: np.random.Generator, shape: Floats | float, scale: Floats | float) -> Floats:
    return np.asarray(scale / np.maximum(rng.standard_gamma(shape), 1e-300))


def _surprise(eta: Floats, window: Learning) -> float:
    return len(eta) * log_loss(window.bought, sigmoid(log_odds(eta, window.link)))
