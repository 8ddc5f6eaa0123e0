"""The fitting of penalised interaction regressions: scoring steps for the weights of level and slope.

z: (N, D) encoded context, last column 1. Penalty: strength/2 × the squares of the weights, one strength for all or one
for each; the constants of level and slope stay all but unshrunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.demand import Learning, link_slope, log_loss, log_odds, sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST_LOG_SLOPE = 8.0  # of ln beta, either way
_UNSHRUNK = 1e-4  # penalty, as a share of the others', of the mean level and the mean slope
_STEPS, _HALVINGS = 50, 30  # of Newton's method, at most
_SETTLED = 1e-7  # nats of one offer: an improvement too small to go on for
_LEAST_VARIANCE = 1e-6  # of a weight: below it the weight is as good as none
_PIVOT = 1.0  # penalty of the pivot: it stays at the mean price where slopes hardly differ, and nothing tells it


def regressors(window: Learning) -> Floats:
    """Return the columns of the regression, (N, 2 D): z, and -t z."""
    z = window.z.astype(np.float64)
    return np.hstack([z, -window.t[:, None] * z])


def newton(columns: Floats, window: Learning, strength: float | Floats, start: Floats) -> Floats:
    """Return the weights, (P,), that maximise the penalised log likelihood of eta = columns @ weights.

    Two half offers at the mean price, one bought and one not, keep every weight finite.
    """
    penalty = _penalty(len(start), strength)
    ghost = np.zeros(len(start))
    ghost[len(start) // 2 - 1] = 1.0

    def loss(weights: Floats) -> float:
        q = sigmoid(log_odds(columns @ weights, window.link))
        level = sigmoid(log_odds(ghost @ weights, window.link))
        ghosts = -0.5 * float(np.log(np.clip(level * (1 - level), 1e-300, None)))
        return len(q) * log_loss(window.bought, q) + ghosts + 0.5 * float(penalty @ weights**2)

    def step(weights: Floats) -> Floats:
        gradient, curvature = _derivatives(columns @ weights, columns, window.bought, window.link)
        ghostly = _derivatives(ghost[None, :] @ weights, ghost[None, :], np.array([0.5]), window.link)
        return _solved(gradient + ghostly[0] - penalty * weights, curvature + ghostly[1], penalty)

    return _climbed(start, loss, step, len(window.t))


def effective(columns: Floats, window: Learning, strength: float, weights: Floats) -> float:
    """Return how many weights the penalty leaves free: trace of (information + penalty)⁻¹ information.

    Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning" (2009), section 7.6.
    """
    _, information = _derivatives(columns @ weights, columns, window.bought, window.link)
    return float(np.trace(np.linalg.solve(information + np.diag(_penalty(len(weights), strength)), information)))


def curved(window: Learning, strength: float | Floats, start: Floats | None = None) -> Floats:
    """Return the weights (2 D + 1,) of eta = z·a - exp(z·b) (t - pivot), a then b then the pivot; Fisher's scoring."""
    z = window.z.astype(np.float64)
    width = z.shape[1]
    penalty = _penalty(2 * width + 1, strength)

    def loss(weights: Floats) -> float:
        q = sigmoid(log_odds(_curved_eta(z, window, weights)[0], window.link))
        return len(q) * log_loss(window.bought, q) + 0.5 * float(penalty @ weights**2)

    def step(weights: Floats) -> Floats:
        gradient, curvature = _derivatives(*_curved_columns(z, window, weights), window.bought, window.link)
        return _solved(gradient - penalty * weights, curvature, penalty)

    return _climbed(np.zeros(2 * width + 1) if start is None else start, loss, step, len(window.t))


def _curved_eta(z: Floats, window: Learning, weights: Floats) -> tuple[Floats, Floats]:
    """Return eta and beta, (N,) each."""
    width = z.shape[1]
    beta = np.exp(np.clip(z @ weights[width:-1], -LARGEST_LOG_SLOPE, LARGEST_LOG_SLOPE))
    return z @ weights[:width] - beta * (window.t - weights[-1]), beta


def _curved_columns(z: Floats, window: Learning, weights: Floats) -> tuple[Floats, Floats]:
    """Return eta (N,) and d eta / d weights (N, 2 D + 1)."""
    eta, beta = _curved_eta(z, window, weights)
    return eta, np.hstack([z, (beta * (weights[-1] - window.t))[:, None] * z, beta[:, None]])


def relevant(window: Learning, strength: float, weights: Floats, rounds: int) -> Floats:
    """Return the weights, of `newton` (2 D,) or `curved` (2 D + 1,), each under a strength of its own.

    Automatic relevance determination: each weight is taken as a draw of a normal distribution of mean 0 whose variance
    is learned with it. A round of the EM algorithm sets each variance to weight² + its posterior variance, and fits
    again; what does not matter fades, what does is hardly shrunk (MacKay 1992, "Bayesian interpolation"; Tipping 2001,
    "Sparse Bayesian learning and the relevance vector machine", equation 16). The constants and the pivot are left out.
    weights: of the fit under `strength`.
    """
    z, exp = window.z.astype(np.float64), len(weights) % 2 == 1
    columns = np.hstack([z, -window.t[:, None] * z])
    penalty = _penalty(len(weights), strength)
    own = np.ones(len(weights), dtype=bool)
    own[_fixed(len(weights))] = False
    for _ in range(rounds):
        design = _curved_columns(z, window, weights) if exp else (columns @ weights, columns)
        _, information = _derivatives(*design, window.bought, window.link)
        variance = weights**2 + np.diag(np.linalg.inv(information + np.diag(penalty)))
        penalty = np.where(own, 1 / np.maximum(variance, _LEAST_VARIANCE), penalty)
        weights = curved(window, penalty, weights) if exp else newton(columns, window, penalty, weights)
    return weights


def _fixed(size: int) -> list[int]:
    """Return the places of the constants of level and slope, and of the pivot where there is one."""
    width = size // 2
    return [width - 1, 2 * width - 1, *([size - 1] if size % 2 else [])]


def _penalty(size: int, strength: float | Floats) -> Floats:
    if isinstance(strength, np.ndarray):
        return strength
    penalty = np.full(size, strength)
    penalty[_fixed(size)[:2]] *= _UNSHRUNK
    if size % 2:
        penalty[-1] = _PIVOT
    return penalty


def _solved(gradient: Floats, curvature: Floats, penalty: Floats) -> Floats:
    return np.asarray(np.linalg.solve(curvature + np.diag(penalty), gradient))


def _climbed(weights: Floats, loss: Callable[[Floats], float], step: Callable[[Floats], Floats], rows: int) -> Floats:
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


def _derivatives(eta: Floats, columns: Floats, bought: NDArray[Any], link: str) -> tuple[Floats, Floats]:
    """Return gradient (P,) and expected information (P, P) of the log likelihood; columns: (N, P) d eta / d weights."""
    q, slope = sigmoid(log_odds(eta, link)), link_slope(eta, link)
    half = columns.astype(np.float32) * np.sqrt(q * (1 - q) * slope**2).astype(np.float32)[:, None]
    # single precision steers the steps, twice as fast; where they end is decided by the gradient alone
    return columns.T @ ((bought - q) * slope), (half.T @ half).astype(np.float64)
