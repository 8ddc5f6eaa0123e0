"""The shape of the demand curve that all contexts share, chosen by how likely it makes the offers of both windows.

Shapes are compared under the interaction logit, its slopes straight or bounded; under slopes that are wrong they can
hardly be told apart. The select window alone does it badly, and worse where unequal propensities weigh few of its
offers heavily; a wrong shape moves everybody's best rung. So what differs from the first shape listed has to earn it. A
narrow context is seen with its squares and products: differences between shoppers that the regression cannot see would
pass for the shape of each one's curve (a mean of steep curves is flat).

Plain shapes are a link over log m or m. `spline` lets t be any rising function of the rungs: each rung's value is moved
from the best plain shape towards what its own offers say, the less the fewer they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from pipelines.candidates import linear
from pipelines.candidates._regression import newton, regressors
from pipelines.candidates._shrinkage import Fitted, ranked
from pipelines.candidates.terms import Terms
from pipelines.demand import Curve, Learning, link_slope, log_odds, sigmoid

PLAIN = {
    "logit-log": ("logit", "log"),
    "logit-linear": ("logit", "linear"),
    "probit-log": ("probit", "log"),
    "probit-linear": ("probit", "linear"),
}
SHAPES = (*PLAIN, "spline")
_STRENGTH = 16.0  # of the penalty under which a scale is bent
_ROWS = 40_000  # offers that suffice to tell shapes apart
_BENT_ROWS = 20_000  # offers that suffice to bend one
_ROUNDS = 3  # of moving the rungs and fitting the coefficients again
_RIDGE = 200.0  # offers' worth of the plain shape that every rung's value is shrunk towards
_HANDICAP = 2.0  # nats that a plain shape must gain over the first one listed
_BENT_HANDICAP = 4.0  # the same for one whose every rung was moved: it can go wrong at each of them
_LARGEST_STEP = 0.5  # of t, in standard deviations of the price
_LEAST_RISE = 1e-3  # of t from rung to rung
_WIDEST = 60  # columns of a context that has room for squares and products


@dataclass(frozen=True)
class Shown:
    """One window before a price scale is chosen: z, bought, weight as in `Learning`; the prices shown, (N,)."""

    z: NDArray[np.float32]
    multiplier: NDArray[np.float64]
    rung: NDArray[np.int64]
    bought: NDArray[np.int64]
    weight: NDArray[np.float64]

    def under(self, curve: Curve) -> Learning:
        """Return the window under a curve's price scale and link."""
        return Learning(self.z, curve.t(self.multiplier), self.bought, self.weight, curve.link)

    def joined(self, later: Shown) -> Shown:
        """Return both windows as one."""
        names = ("z", "multiplier", "rung", "bought", "weight")
        return Shown(*(np.concatenate([getattr(self, name), getattr(later, name)]) for name in names))

    def some(self, rows: int, seed: int) -> Shown:
        """Return at most so many of the offers, drawn at random."""
        if len(self.rung) <= rows:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self.rung), rows, replace=False))
        return Shown(*(getattr(self, name)[kept] for name in ("z", "multiplier", "rung", "bought", "weight")))

    def widened(self, terms: Terms) -> Shown:
        """Return the window with terms beside its context."""
        return replace(self, z=terms.beside(self.z))

    def squared(self) -> Shown:
        """Return the window with squares and products of its context beside it, where `_WIDEST` columns hold them all.

        The last column stays the constant. A column of two values is no number: its square says nothing new.
        """
        numbers = [j for j in range(self.z.shape[1] - 1) if len(np.unique(self.z[:, j])) > 2]
        pairs = list(combinations_with_replacement(numbers, 2))
        if not pairs or len(pairs) + self.z.shape[1] > _WIDEST:
            return self
        added = np.column_stack([self.z[:, i] * self.z[:, j] for i, j in pairs])
        added = (added - added.mean(axis=0)) / np.maximum(added.std(axis=0), 1e-6)
        return replace(self, z=np.column_stack([self.z[:, :-1], added, self.z[:, -1:]]).astype(np.float32))


def plain(shapes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the plain ones of some shapes; if there is none, that which the others start from."""
    return tuple(s for s in shapes if s in PLAIN) or ("logit-log",)


def choose(
    fit: Shown,
    select: Shown,
    rungs: tuple[float, ...],
    shapes: tuple[str, ...],
    seed: int,
    known: dict[str, float] | None = None,
) -> tuple[str, Curve, dict[str, float]]:
    """Return the name of the likeliest shape, its curve on the fit window, and what each shape costs in nats per offer.

    A cost is minus the log likelihood, plus one for each free rung (Akaike 1974; weights are as many under each), plus
    the handicaps, of the shape and of a bent slope. known: what the plain ones cost, if the same windows have told.
    """
    both = fit.joined(select).some(_ROWS, seed).squared()
    first = plain(shapes)
    curves = {s: Curve.fit(*PLAIN[s], rungs, both.multiplier) for s in first}
    handicaps = {s: _HANDICAP * (s != first[0]) for s in first} | {"spline": _BENT_HANDICAP + len(rungs) - 2}

    seen: list[Fitted] = []  # of the shape before

    def cost(shape: str) -> float:
        window = both.under(curves[shape])
        seen[:] = ranked(window, seen)
        return (seen[0].cost(window) + handicaps[shape]) / len(both.rung)

    costs = known or {s: cost(s) for s in first}
    if "spline" in shapes:
        curves["spline"] = bent(both.some(_BENT_ROWS, seed), curves[min(costs, key=costs.__getitem__)])
        costs = {**costs, "spline": cost("spline")}
    costs = {s: found for s, found in costs.items() if s in shapes}
    name = min(costs, key=costs.__getitem__)
    return name, fitted(name, fit, curves[name], seed), costs


def fitted(name: str, window: Shown, like: Curve, seed: int) -> Curve:
    """Return the shape `name`, chosen before as `like`, fitted anew on another window."""
    curve = Curve.fit(like.link, like.axis, like.rungs, window.multiplier)
    return bent(window.some(_BENT_ROWS, seed).squared(), curve) if name == "spline" else curve


def bent(window: Shown, curve: Curve) -> Curve:
    """Return the curve with every rung's t moved towards what its offers say, still rising."""
    plain, now = np.array(curve.values), np.array(curve.values)
    for _ in range(_ROUNDS):
        learning = window.under(curve.reshaped(now))
        ab = _coefficients(learning, window.z).astype(np.float64)
        now = _rising(_moved(now, plain, ab, window, curve.link), window.rung)
    return curve.reshaped(now)


def _moved(
    now: NDArray[np.float64], plain: NDArray[np.float64], ab: NDArray[np.float64], window: Shown, link: str
) -> NDArray[np.float64]:
    """Return one Newton step of every rung's t, (K,), shrunk towards the plain shape."""
    eta = ab[:, 0] - ab[:, 1] * now[window.rung]
    q, slope = sigmoid(log_odds(eta, link)), link_slope(eta, link) * ab[:, 1]
    information = q * (1 - q) * slope**2
    score = np.bincount(window.rung, -(window.bought - q) * slope, len(now))
    ridge = _RIDGE * information.mean()
    step = (score - ridge * (now - plain)) / (np.bincount(window.rung, information, len(now)) + ridge)
    # where demand hardly falls with the price nothing tells a shape, and an unbounded step would run away
    moved: NDArray[np.float64] = now + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    return moved


def _rising(values: NDArray[np.float64], rung: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the nearest rising values, each rung weighing as often as it was shown."""
    from sklearn.isotonic import IsotonicRegression

    weight = np.bincount(rung, minlength=len(values)) + 1.0
    level = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weight)
    found: NDArray[np.float64] = level + _LEAST_RISE * np.arange(len(values))
    return found


def _coefficients(learning: Learning, z: NDArray[np.float32]) -> NDArray[np.float32]:
    return linear.as_model(newton(regressors(learning), learning, _STRENGTH)).coefficients(z)
