"""What helps against a hidden shock that moved price and demand alike: an instrument, or rows priced at random.

Both give one column, the *shock*: the part of the price that demand may have answered to before the price did. A model
that takes it beside the price (a control function) reads the price's own effect; shock = 0 is no shock.

Sources: Rivers & Vuong (1988) for the logit with a first stage's residual and its test; Petrin & Train (2010), "A
control function approach to endogeneity in consumer choice models"; Kallus, Puli & Shalit (2018), "Removing hidden
confounding by experimental grounding", for anchoring on randomised rows; Staiger & Stock (1997) for F >= 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError
from pipelines.refutation import Floats, Slope, logit

WEAK = 10.0  # F below which an instrument says too little of the price to be used
_RIDGE = 1.0


@dataclass(frozen=True)
class FirstStage:
    """The regression of the price on context and instrument.

    residual: (N,) v, the part of the price that neither explains. effect: t per standard deviation of the instrument.
    f: the instrument's F statistic, robust to unequal errors and clustered by shopper.
    """

    residual: Floats
    effect: float
    f: float

    @property
    def weak(self) -> bool:
        """Whether the instrument moved the price too little to be used."""
        return not self.f >= WEAK

    @property
    def shock(self) -> Floats:
        """The residual, standardised, (N,): what a model takes as a control. 0 everywhere if weak."""
        spread = self.residual.std()
        return self.residual / spread if not self.weak and spread > 0 else np.zeros(len(self.residual))


@dataclass(frozen=True)
class Endogeneity:
    """Whether the price answered to something hidden: the joint Wald test of the shock and of shock x t.

    statistic: chi-squared with two degrees of freedom. slope, corrected: the price's slope without and with the shock.
    """

    statistic: float
    p_value: float
    slope: Slope
    corrected: Slope


def first_stage(z: NDArray[Any], t: Floats, instrument: Floats, shopper: NDArray[Any] | None = None) -> FirstStage:
    """Return the least-squares regression of t (N,) on z (N, D, last column 1) and the instrument (N,).

    A missing instrument (NaN) is taken at its mean, with an indicator of its own. shopper: (N,) clusters; each offer
    is its own where not given.
    """
    known = np.isfinite(instrument)
    spread = float(instrument[known].std()) if known.any() else 0.0
    if spread <= 0:
        return FirstStage(t - t.mean(), 0.0, 0.0)
    moved = np.where(known, (instrument - instrument[known].mean()) / spread, 0.0)
    gaps = [] if known.all() else [~known]
    controls = np.column_stack([z, *gaps]).astype(np.float64)
    penalty = np.full(controls.shape[1], _RIDGE)
    penalty[z.shape[1] - 1] = 1e-6
    both = np.column_stack([t, moved])
    partial = both - controls @ np.linalg.solve(controls.T @ controls + np.diag(penalty), controls.T @ both)
    own_t, own = partial.T  # Frisch & Waugh (1933): what the controls leave of the price and of the instrument
    effect = float(own @ own_t / (own @ own))
    residual = own_t - effect * own
    group = np.arange(len(t)) if shopper is None else np.unique(shopper, return_inverse=True)[1]
    variance = float((np.bincount(group, own * residual) ** 2).sum() / (own @ own) ** 2)
    return FirstStage(residual, effect, effect**2 / variance if variance > 0 else np.inf)


def anchored_shock(t: Floats, usual: Floats, randomised: Floats) -> Floats:
    """Return (1 - randomised) x (t - usual), (N,): 0 where the price was drawn, its surprise where it was chosen.

    usual: (N,) the price expected in such a context, in the unit of t. randomised: (N,) 0 or 1, NaN counts as 0.
    """
    return np.where(np.nan_to_num(randomised) == 1, 0.0, t - usual)


def endogeneity(z: NDArray[Any], t: Floats, bought: NDArray[Any], shock: Floats, shopper: NDArray[Any]) -> Endogeneity:
    """Return the test whether `shock` (N,) matters beside context z (N, D) and price t (N,), all of N offers."""
    from scipy.stats import chi2

    spread = shock.std()
    if not spread > 0:
        raise InputError("endogeneity: the shock is the same in every row, so there is nothing to test")
    v = shock / spread
    plain = logit(z, t[:, None], bought, shopper).slope(-1)
    full = logit(z, np.column_stack([t, v, v * t]), bought, shopper)
    two = full.weights[-2:]
    statistic = float(two @ np.linalg.solve(full.covariance[-2:, -2:], two))
    return Endogeneity(statistic, float(chi2.sf(statistic, 2)), plain, full.slope(-3))
