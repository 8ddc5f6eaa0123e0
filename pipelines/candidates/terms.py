"""Bends, steps and products of the encoded context that the offers call for, as further columns of it.

A regression on the context alone knows no evening hours, no saturation and no "only where". Each number offers hinges
max(0, z - knot) and steps 1[z > knot] at quantiles, each pair of columns its product (after Friedman, "Multivariate
adaptive regression splines", Annals of Statistics 1991). A term may move the level of demand and its slope, so each is
tested by the efficient score of both (two degrees of freedom; Rao 1948) against the interaction logit, its slopes
straight or bounded, and the terms found before, the strongest first, until none is stronger than the strongest of so
many would be by chance.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.candidates._regression import design
from pipelines.candidates._shrinkage import ranked
from pipelines.demand import Learning, link_slope, log_odds, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from spox import Var

    Floats = NDArray[np.float32]

_KNOTS = tuple(k / 8 for k in range(1, 8))  # quantiles
_PRODUCTS = 60  # the strongest by a score test that takes no notice of the other columns
_ROWS = 60_000  # offers that suffice to find terms
_PER_TERM = 100  # offers that each term needs at least
_CHANCE = 0.1  # terms that are found where there is nothing to find
_NEW = 0.02  # share of a column's spread that the others must leave unexplained
_HINGE, _STEP, _PRODUCT = 0, 1, 2


@dataclass(frozen=True)
class Terms:
    """T columns made of an encoded context; kind: of `_HINGE`, `_STEP`, `_PRODUCT`.

    first: the column each is made of. second: of a product, the other factor. knot: of a hinge or step, in encoded
    units. mean, scale: by which it is standardised. All (T,).
    """

    kind: tuple[int, ...] = ()
    first: tuple[int, ...] = ()
    second: tuple[int, ...] = ()
    knot: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def beside(self, z: Floats) -> Floats:
        """Return the encoded context (N, D) with the terms before its last column of ones, (N, D + T)."""
        return np.concatenate([z[:, :-1], self._columns(z), z[:, -1:]], axis=1) if self.kind else z

    def graph(self, z: Var) -> Var:
        """Return the same as an ONNX value, to the last bit."""
        import spox.opset.ai.onnx.v21 as op

        if not self.kind:
            return z
        order, made = self._by_kind()
        x = op.gather(z, op.const(np.array(self.first)[order]), axis=1)
        parts = []
        for kind, (start, stop) in made.items():
            mine = op.slice(x, op.const([start]), op.const([stop]), op.const([1]))
            knots = op.const(np.array([self.knot], np.float32)[:, order[start:stop]])
            if kind == _PRODUCT:
                other = op.gather(z, op.const(np.array(self.second)[order[start:stop]]), axis=1)
                parts.append(op.mul(mine, other))
            elif kind == _HINGE:
                parts.append(op.relu(op.sub(mine, knots)))
            else:
                parts.append(op.cast(op.greater(mine, knots), to=np.float32))
        made_of = op.concat(parts, axis=1) if len(parts) > 1 else parts[0]
        centred = op.sub(made_of, op.const(np.array([self.mean], np.float32)[:, order]))
        scaled = op.div(centred, op.const(np.array([self.scale], np.float32)[:, order]))
        back = op.gather(scaled, op.const(np.argsort(order)), axis=1) if (np.diff(order) < 0).any() else scaled
        context, ones = (
            op.slice(z, op.const([a]), op.const([b]), op.const([1])) for a, b in ((0, -1), (-1, 2**31 - 1))
        )
        return op.concat([context, back, ones], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return the terms as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the terms of `to_json`."""
        return cls(**{name: tuple(found) for name, found in values.items()})

    def _by_kind(self) -> tuple[NDArray[np.int64], dict[int, tuple[int, int]]]:
        """Return the order in which terms of a kind stand together, and from where to where each kind stands."""
        kind = np.array(self.kind)
        order = np.argsort(kind, kind="stable")
        ends = np.searchsorted(kind[order], np.arange(_PRODUCT + 2))
        return order, {k: (int(a), int(b)) for k, (a, b) in enumerate(pairwise(ends)) if b > a}

    def _columns(self, z: Floats) -> Floats:
        raw = _raw(z, *(np.array(getattr(self, n)) for n in ("kind", "first", "second", "knot")))
        mean, scale = (np.array(x, np.float32) for x in (self.mean, self.scale))
        return np.asarray((raw - mean) / scale, dtype=np.float32)


@dataclass(frozen=True)
class _Base:
    """The regression that terms are tested against, at N offers, all float32.

    residual: (N,) of the working response, of variance 1. weight: (N,) square root of an offer's information. columns:
    (N, P) of the regression, times weight. steep: (N,) d eta / d score of the slope.
    """

    residual: Floats
    weight: Floats
    columns: Floats
    steep: Floats


def found(window: Learning, most: int, seed: int) -> Terms:
    """Return at most so many terms, the strongest first, found on the window; none where it is too small."""
    window = _some(window, seed)
    most = min(most, len(window.t) // _PER_TERM)
    if most < 1 or window.z.shape[1] == 1:
        return Terms()
    base = _base(window)
    offered, tried = _offered(window.z, base)
    raw = _raw(window.z, *offered)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    varied = scale > 0
    if not varied.any():
        return Terms()
    raw = raw if varied.all() else raw[:, varied]
    raw -= mean[varied]  # in place: it is by far the largest thing here
    raw /= scale[varied]
    places = np.flatnonzero(varied)[_forward(raw, base, most, 2 * np.log(tried / _CHANCE))]
    values = (*(of[places] for of in offered), mean[places], scale[places])
    return Terms(*(tuple(v.tolist()) for v in values))


def _some(window: Learning, seed: int) -> Learning:
    if len(window.t) <= _ROWS:
        return window
    kept = np.sort(np.random.default_rng(seed).choice(len(window.t), _ROWS, replace=False))
    return Learning(window.z[kept], window.t[kept], window.bought[kept], window.weight[kept], window.link)


def _base(window: Learning) -> _Base:
    """Return what the regression leaves that terms are tested against."""
    found = ranked(window)[0]
    eta, columns = design(window, found.bend, found.weights)
    q, slope = sigmoid(log_odds(eta, window.link)), link_slope(eta, window.link)
    weight = np.sqrt(np.maximum(q * (1 - q) * slope**2, 1e-12))
    # the constant of the slope's score comes last of the weights of level and slope: d eta / d score of any term is its
    steep = columns[:, 2 * window.z.shape[1] - 1]
    parts = ((window.bought - q) * slope / weight, weight, columns * weight[:, None], steep)
    return _Base(*(part.astype(np.float32) for part in parts))


def _offered(z: Floats, base: _Base) -> tuple[tuple[NDArray[Any], ...], int]:
    """Return kind, first, second and knot of the terms to test, and from among how many these were taken."""
    width = z.shape[1] - 1
    rows: list[tuple[int, int, int, float]] = []
    for j in range(width):
        values = np.unique(z[:, j])
        if len(values) > 2:
            knots = np.unique(np.quantile(z[:, j], _KNOTS, method="lower").astype(np.float32))
            knots = knots[knots < values[-1]]
            bends = [k for k in knots if k > values[0]]  # a hinge at the smallest value is the column itself
            rows += [(_HINGE, j, 0, float(k)) for k in bends] + [(_STEP, j, 0, float(k)) for k in knots]
    pairs = np.array(list(combinations_with_replacement(range(width), 2)), dtype=np.int64).reshape(-1, 2)
    strength = np.zeros(len(pairs))
    for direction in (np.ones_like(base.steep), base.steep):
        score = z.T @ (z * (base.residual * base.weight * direction)[:, None])
        information = (z**2).T @ (z**2 * (base.weight * direction)[:, None] ** 2)
        strength += (score**2 / np.maximum(information, 1e-12))[pairs[:, 0], pairs[:, 1]]
    strongest = pairs[np.argsort(-strength, kind="stable")[:_PRODUCTS]]
    rows += [(_PRODUCT, int(i), int(j), 0.0) for i, j in strongest]
    kind, first, second = (np.array([r[k] for r in rows], dtype=np.int64) for k in range(3))
    return (kind, first, second, np.array([r[3] for r in rows], np.float32)), len(rows) + len(pairs)


def _raw(z: Floats, kind: NDArray[Any], first: NDArray[Any], second: NDArray[Any], knot: NDArray[Any]) -> Floats:
    """Return the terms before they are standardised, (N, T)."""
    made, knots = np.empty((len(z), len(kind)), np.float32), knot.astype(np.float32)
    for at, (what, i, j) in enumerate(zip(kind, first, second, strict=True)):
        if what == _PRODUCT:
            made[:, at] = z[:, i] * z[:, j]
        else:
            made[:, at] = np.maximum(z[:, i] - knots[at], 0) if what == _HINGE else z[:, i] > knots[at]
    return made


def _forward(terms: Floats, base: _Base, most: int, threshold: float) -> NDArray[np.int64]:
    """Return the places of the terms (N, C) taken one by one, the strongest score of level and slope first."""
    count, y = terms.shape[1], base.residual
    known, _ = np.linalg.qr(base.columns)
    both = np.hstack([terms, base.steep[:, None] * terms]) * base.weight[:, None]
    before = np.einsum("nc,nc->c", both, both).astype(np.float64)
    both -= known @ (known.T @ both)
    gram = (both.T @ both).astype(np.float64)
    score = (both.T @ (y - known @ (known.T @ y))).astype(np.float64)
    taken: list[int] = []
    while len(taken) < most:
        strength = _strength(gram, score, before, count)
        best = int(strength.argmax())
        if not strength[best] > threshold:
            break
        taken.append(best)
        pair = [best, count + best]
        # what is left of every other term once these two columns are explained
        solved = np.linalg.pinv(gram[np.ix_(pair, pair)], hermitian=True) @ np.column_stack([gram[pair], score[pair]])
        held = gram[:, pair].copy()
        gram -= held @ solved[:, :-1]
        score -= held @ solved[:, -1]
    return np.array(taken, dtype=np.int64)


def _strength(gram: NDArray[np.float64], score: NDArray[np.float64], before: NDArray[np.float64], count: int) -> Any:
    """Return each term's score statistic for level and slope together, (C,); 0 for what the others explain already."""
    level, slope = np.diag(gram)[:count], np.diag(gram)[count:]
    cross = np.diag(gram[:count, count:])
    own = (level > _NEW * before[:count]) & (slope > _NEW * before[count:])
    determinant = np.where(own, level * slope - cross**2, 1.0)
    u, v = score[:count], score[count:]
    found = (u**2 * slope - 2 * u * v * cross + v**2 * level) / np.maximum(determinant, 1e-12)
    return np.where(own & (determinant > 1e-6 * level * slope), found, 0.0)
