"""The fitting of penalised interaction regressions: scoring steps for the weights of level and slope.

z: (N, D) encoded context, last column 1. Penalty: strength/2 × the squares of the weights, one strength for all; the
constants of level and slope stay all but unshrunk. Strengths learned with the weights: `_shrinkage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.demand import Learning, link_slope, log_loss, log_odds, sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipelines.candidates._slopes import Bend

    Floats = NDArray[np.float64]

_UNSHRUNK = 1e-4  # penalty, as a share of the others', of the mean level and the mean slope
_STEPS, _HALVINGS = 50, 30  # of Newton's method, at most
_SETTLED = 1e-7  # nats of one offer: an improvement too small to go on for


def regressors(window: Learning) -> Floats:
    """Return the columns of the regression, (N, 2 D): z, and -t z."""
    z = window.z.astype(np.float64)
    return np.hstack([z, -window.t[:, None] * z])


def newton(columns: Floats, window: Learning, strength: float, start: Floats | None = None) -> Floats:
    """Return the weights, (P,), that maximise the penalised log likelihood of eta = columns @ weights.

    Two half offers at the mean price, one bought and one not, keep every weight finite.
    """
    start = np.zeros(columns.shape[1]) if start is None else start
    penalty = penalties(len(start), strength)
    place = len(start) // 2 - 1

    def loss(weights: Floats) -> float:
        level = sigmoid(log_odds(weights[place], window.link))
        ghosts = -0.5 * float(np.log(np.clip(level * (1 - level), 1e-300, None)))
        return surprise(columns @ weights, window) + ghosts + 0.5 * float(penalty @ weights**2)

    def step(weights: Floats) -> Floats:
        gradient, curvature = derivatives(columns @ weights, columns, window.bought, window.link)
        haunt(gradient, curvature, weights, window.link)
        return _solved(gradient - penalty * weights, curvature, penalty)

    return climbed(start, loss, step, len(window.t))


def haunt(gradient: Floats, information: Floats, weights: Floats, link: str) -> None:
    """Add the two half offers of `newton` to gradient (P,) and information (P, P), in place."""
    place = len(weights) // 2 - 1
    pull, curvature = derivatives(weights[[place]], np.ones((1, 1)), np.array([0.5]), link)
    gradient[place] += pull[0]
    information[place, place] += curvature[0, 0]


def curved(window: Learning, bend: Bend, strength: float, start: Floats | None = None) -> Floats:
    """Return the weights (2 D + E,) of eta = z·a - beta(z·b) (t - pivot): a, b, the bend's own; Fisher's scoring."""
    z = window.z.astype(np.float64)
    size = 2 * z.shape[1] + len(bend.penalty)
    penalty = penalties(size, strength, bend)

    def loss(weights: Floats) -> float:
        return surprise(_curved_eta(z, window, bend, weights), window) + 0.5 * float(penalty @ weights**2)

    def step(weights: Floats) -> Floats:
        gradient, curvature = derivatives(*_curved_columns(z, window, bend, weights), window.bought, window.link)
        return _solved(gradient - penalty * weights, curvature, penalty)

    return climbed(np.zeros(size) if start is None else start, loss, step, len(window.t))


def _curved_eta(z: Floats, window: Learning, bend: Bend, weights: Floats) -> Floats:
    """Return eta, (N,)."""
    a, b, rest = parted(weights, bend)
    return z @ a - bend.slope(z @ b, rest)[0] * (window.t - bend.pivot(rest))


def _curved_columns(z: Floats, window: Learning, bend: Bend, weights: Floats) -> tuple[Floats, Floats]:
    """Return eta (N,) and d eta / d weights (N, 2 D + E)."""
    a, b, rest = parted(weights, bend)
    score, beyond = z @ b, window.t - bend.pivot(rest)
    beta, steepness = bend.slope(score, rest)
    columns = np.hstack([z, (-beyond * steepness)[:, None] * z, bend.beside(score, window.t, rest)])
    return z @ a - beta * beyond, columns


def parted(weights: Floats, bend: Bend) -> tuple[Floats, Floats, Floats]:
    """Return a (D,), b (D,) and the bend's own weights (E,)."""
    a, b, rest = np.split(weights, [width := (len(weights) - len(bend.penalty)) // 2, 2 * width])
    return a, b, rest


def surprise(eta: Floats, window: Learning) -> float:
    """Return minus the log likelihood of the offers under eta (N,), in nats."""
    q = sigmoid(log_odds(eta, window.link))
    return len(q) * log_loss(window.bought, q)


def predicted(window: Learning, bend: Bend | None, weights: Floats) -> Floats:
    """Return eta (N,) of a regression."""
    z = window.z.astype(np.float64)
    if bend:
        return _curved_eta(z, window, bend, weights)
    a, b = np.split(weights, 2)
    return z @ a - window.t * (z @ b)


def design(window: Learning, bend: Bend | None, weights: Floats) -> tuple[Floats, Floats]:
    """Return eta (N,) and d eta / d weights (N, P) of a regression, without a bend the columns of `regressors`."""
    if bend:
        return _curved_columns(window.z.astype(np.float64), window, bend, weights)
    columns = regressors(window)
    return columns @ weights, columns


def fixed(size: int, bend: Bend | None) -> list[int]:
    """Return the places of the constants of level and slope, and of the bend's own weights."""
    width = (size - (len(bend.penalty) if bend else 0)) // 2
    return [width - 1, 2 * width - 1, *range(2 * width, size)]


def penalties(size: int, strength: float, bend: Bend | None = None) -> Floats:
    """Return the penalty of each weight, (P,): one strength, constants all but free, the bend's own as it has them."""
    penalty, places = np.full(size, strength), fixed(size, bend)
    penalty[places[:2]] *= _UNSHRUNK
    if bend:
        penalty[places[2:]] = bend.penalty
    return penalty


def _solved(gradient: Floats, curvature: Floats, penalty: Floats) -> Floats:
    return np.asarray(np.linalg.solve(curvature + np.diag(penalty), gradient))


def climbed(weights: Floats, loss: Callable[[Floats], float], step: Callable[[Floats], Floats], rows: int) -> Floats:
    """Return the weights to which steps lead, each halved until it makes the loss no larger."""
    now = loss(weights)
    for _ in range(_STEPS):
        move = step(weights)
        for _ in range(_HALVINGS):
            later = loss(weights + move)
            if later <= now:
                break
            move = move / 2
        else:
            return weights
        weights, gained, now = weights + move, now - later, later
        if gained < _SETTLED * max(rows, 1):
            break
    return weights


def derivatives(
    eta: Floats, columns: Floats, bought: NDArray[Any], link: str, precision: type = np.float32
) -> tuple[Floats, Floats]:
    """Return gradient (P,) and expected information (P, P) of the log likelihood; columns: (N, P) d eta / d weights.

    Single precision steers steps, twice as fast, where their end is decided by the gradient alone; but in it the
    information of columns that sum to another one has negative eigenvalues.
    """
    q, slope = sigmoid(log_odds(eta, link)), link_slope(eta, link)
    half = columns.astype(precision) * np.sqrt(q * (1 - q) * slope**2).astype(precision)[:, None]
    return columns.T @ ((bought - q) * slope), (half.T @ half).astype(np.float64)
