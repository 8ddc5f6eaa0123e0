"""Benchmark worlds: offers whose true demand is known, so that any policy can be scored without noise.

The list price is 1, so that a price is its own multiplier, and the unit cost is 0. A world and all that is drawn
from it are decided by its name and its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr, ndtri

from pipelines.benchmark.offers import Floats, Offers
from pipelines.errors import InputError, nearest

Rng = np.random.Generator

STREAMS = ("world", "learn", "certify", "fresh")  # what a seed is used for, each with numbers of its own


@dataclass(frozen=True)
class World:
    """A market with known demand: how contexts arise, what they buy, and how prices were set.

    contexts(n, rng) -> (n, D); demand(x, prices (K,)) -> (n, K); chances(x) -> (n, K), probabilities of the rungs.
    n: the usual number of offers to learn from. confounded: whether the price shown depends on the context.
    """

    name: str
    seed: int
    ladder: tuple[float, ...]
    n: int
    confounded: bool
    contexts: Callable[[int, Rng], Floats] = field(repr=False)
    demand: Callable[[Floats, Floats], Floats] = field(repr=False)
    chances: Callable[[Floats], Floats] = field(repr=False)

    def rng(self, stream: str) -> Rng:
        """Return the generator of one of STREAMS, the same at every call."""
        return np.random.default_rng([self.seed, STREAMS.index(stream)])

    def draw(self, n: int, rng: Rng) -> Offers:
        """Return n offers."""
        x = self.contexts(n, rng)
        prices = np.array(self.ladder)
        truth, logging = self.demand(x, prices), self.chances(x)
        rung = np.minimum((np.cumsum(logging, axis=1) <= rng.random((n, 1))).sum(axis=1), len(prices) - 1)
        at = np.arange(n), rung
        return Offers(
            contexts=pd.DataFrame(x, columns=[f"x{d:02d}" for d in range(x.shape[1])]),
            ladder=prices,
            list_price=np.ones(n),
            unit_cost=np.zeros(n),
            truth=truth,
            propensity=logging[at],
            rung=rung,
            bought=(rng.random(n) < truth[at]).astype(np.int64),
            logging=logging,
        )


def _normal_chances(ladder: Floats, mean: Floats, sd: float) -> Floats:
    """Return the mass that N(mean, sd^2) has nearest to each rung, (N, K)."""
    edges = (ladder[1:] + ladder[:-1]) / 2
    below = ndtr((edges[None, :] - mean[:, None]) / sd)
    ends = np.zeros((len(mean), 1)), np.ones((len(mean), 1))
    return np.diff(np.hstack([ends[0], below, ends[1]]), axis=1)


def _biggs(
    name: str, seed: int, spread: float, logged: tuple[Callable[[Floats], Floats], float],
    centre: float, demand: Callable[[Floats, Floats], Floats],
) -> World:  # fmt: skip
    """Return a world in the style of Biggs, Sun & Ettl (ICML 2021), put on a ladder.

    "Model distillation for revenue optimization: interpretable personalized pricing", as public re-implementations
    give its settings; not checked against the printed paper, therefore "biggs-style". The ladder are the quantiles
    0.1 ... 0.9 of N(5, spread^2), to four digits; a rung is shown with the mass that N(mean(x), sd^2) has nearest it.
    """
    ladder = np.round(5 + spread * ndtri(np.arange(1, 10) / 10), 4)
    mean, sd = logged
    return World(
        name, seed, tuple(ladder.tolist()), 5_000, centre == 0,
        contexts=lambda n, rng: rng.normal(centre, 1, (n, 2)),
        demand=demand,
        chances=lambda x: _normal_chances(ladder, mean(x), sd),
    )  # fmt: skip


def biggs1(seed: int) -> World:
    """Biggs-style setting 1: linear, prices at random. q = Phi(x0 - p), x ~ N(5, 1)."""
    at_random = (lambda x: np.full(len(x), 5.0), 1.0)
    return _biggs("biggs1", seed, 1.0, at_random, 5.0, lambda x, p: ndtr(x[:, :1] - p))


_BY_CONTEXT: tuple[Callable[[Floats], Floats], float] = (lambda x: 5 + x[:, 0], 2.0)  # dearer where x0 is high


def biggs4(seed: int) -> World:
    """Biggs-style setting 4: a slope in steps, confounded. q = Phi(5 + h p), h by the steps of x0 and x1."""

    def demand(x: Floats, p: Floats) -> Floats:
        step = np.array([-1.25, -1.1, -0.9, -0.75])[np.searchsorted([-1.0, 0.0, 1.0], x[:, 0], side="right")]
        return np.asarray(ndtr(5 + (step + np.where(x[:, 1] < 0, -0.1, 0.1))[:, None] * p))

    return _biggs("biggs4", seed, 5**0.5, _BY_CONTEXT, 0.0, demand)


def biggs6(seed: int) -> World:
    """Biggs-style setting 6: not linear, confounded. q = Phi(4 |x0 + x1| - |x0 + x1| p)."""

    def demand(x: Floats, p: Floats) -> Floats:
        return np.asarray(ndtr(np.abs(x.sum(axis=1, keepdims=True)) * (4 - p)))

    return _biggs("biggs6", seed, 5**0.5, _BY_CONTEXT, 0.0, demand)


def dube_misra(seed: int) -> World:
    """Forty dummies and 7,867 offers, prices uniform: size and prices of Dube & Misra (JPE 2023).

    "Personalized pricing and consumer welfare". q = sigma(alpha - b p) with alpha = -0.35 + (x - f) a and
    b = exp(ln 0.0075 + 0.8 (x - f) c + 0.35 (x0 x1 - f0 f1)); f the frequencies, a and c twelve non-zero entries each.
    """
    ladder = (19.0, 39.0, 59.0, 79.0, 99.0, 159.0, 199.0, 249.0, 299.0, 399.0)
    rng = np.random.default_rng([seed, STREAMS.index("world")])
    f = rng.uniform(0.1, 0.6, 40)
    a, c = np.zeros(40), np.zeros(40)
    a[rng.choice(40, 12, replace=False)] = rng.normal(0, 0.7, 12)
    c[rng.choice(40, 12, replace=False)] = rng.normal(0, 0.55, 12)

    def demand(x: Floats, p: Floats) -> Floats:
        slope = np.exp(np.log(0.0075) + 0.8 * (x - f) @ c + 0.35 * (x[:, 0] * x[:, 1] - f[0] * f[1]))
        return np.asarray(expit((-0.35 + (x - f) @ a)[:, None] - slope[:, None] * p))

    return World(
        "dube-misra", seed, ladder, 7_867, False,
        contexts=lambda n, rng: (rng.random((n, 40)) < f).astype(np.float64),
        demand=demand,
        chances=lambda x: np.full((len(x), len(ladder)), 1 / len(ladder)),
    )  # fmt: skip


_FAST = (20.0, 30.0, 40.0, 50.0, 60.0, 75.0)


def _fast(name: str, seed: int, demand: Callable[[Floats, Floats], Floats], confounded: bool) -> World:
    """Return a small world for repeated checks: six features, four of which matter, and six rungs."""

    def chances(x: Floats) -> Floats:
        aim = 2.5 + 1.2 * x[:, 0] - 1.0 * (x[:, 1] > 0.5)
        rule = np.exp(-0.9 * np.abs(np.arange(len(_FAST))[None, :] - aim[:, None]))
        share = 0.8 if confounded else 0.0
        return np.asarray(share * rule / rule.sum(axis=1, keepdims=True) + (1 - share) / len(_FAST))

    return World(
        name, seed, _FAST, 4_000, confounded,
        contexts=lambda n, rng: rng.normal(0, 1, (n, 6)), demand=demand, chances=chances,
    )  # fmt: skip


def _personal(x: Floats, p: Floats) -> Floats:
    """Return demand whose level and slope differ, with a kink and a product that no linear curve has, (N, K)."""
    level = 0.3 + 0.5 * x[:, 0] - 0.3 * np.abs(x[:, 2])
    slope = 1.25 * np.exp(0.6 * x[:, 0] + 0.8 * (x[:, 1] > 0.5) - 0.4 * x[:, 2] * x[:, 3])
    return np.asarray(ndtr(level[:, None] - np.clip(slope, 0.4, 4.0)[:, None] * np.log(p / 35.0)))


def _alike(x: Floats, p: Floats) -> Floats:
    """Return a(x) g(p): who buys differs, what a price does to them does not, (N, K)."""
    wish = expit(0.4 + 0.8 * x[:, 0] - 0.5 * (x[:, 1] > 0.5) + 0.4 * x[:, 2] * x[:, 3])
    return np.asarray(wish[:, None] * ndtr(0.3 - 1.9 * np.log(p / 42.0)))


def fast(seed: int) -> World:
    """A cheap world with personal differences, prices at random: for the coverage of intervals."""
    return _fast("fast", seed, _personal, confounded=False)


def fast_confounded(seed: int) -> World:
    """The world `fast`, with prices that depend on the context but for a fifth of the offers."""
    return _fast("fast-confounded", seed, _personal, confounded=True)


def fast_null(seed: int) -> World:
    """A cheap world in which one rung is best for everybody, prices at random."""
    return _fast("fast-null", seed, _alike, confounded=False)


WORLDS: dict[str, Callable[[int], World]] = {
    "biggs1": biggs1, "biggs4": biggs4, "biggs6": biggs6, "dube-misra": dube_misra,
    "fast": fast, "fast-confounded": fast_confounded, "fast-null": fast_null,
}  # fmt: skip


def world(name: str, seed: int) -> World:
    """Return the world of that name; its coefficients, where it has any to draw, are those of the seed."""
    if name not in WORLDS:
        raise InputError(f"worlds={name}: there is no such world{nearest(name, list(WORLDS))}")
    return WORLDS[name](seed)
