"""Offers whose true demand is known: as a user's own table, and what a policy earns on them, without noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import InputError
from pipelines.tables import UTC

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START = pd.Timestamp("2026-01-01", tz="UTC")


@dataclass(frozen=True)
class Offers:
    """N offers at K rungs, and what only the benchmark knows of them.

    contexts: (N, columns) of numbers and words. ladder: (K,) price / list price, rising. list_price, unit_cost: (N,).
    truth: (N, K) true purchase probabilities. propensity: (N,) of the rung shown. rung: (N,). bought: (N,) 0 or 1.
    logging: (N, K) probabilities with which each rung was shown; None where only the propensity is known.
    """

    contexts: pd.DataFrame
    ladder: Floats
    list_price: Floats
    unit_cost: Floats
    truth: Floats
    propensity: Floats
    rung: Ints
    bought: Ints
    logging: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse parts of different sizes."""
        sizes = {len(getattr(self, n)) for n in ("contexts", "list_price", "unit_cost", "truth", "rung", "bought")}
        if len(sizes) > 1 or self.truth.shape[1] != len(self.ladder):
            raise InputError(
                f"offers of sizes {sorted(sizes)} with {self.truth.shape[1]} probabilities at {len(self.ladder)} rungs"
            )

    @property
    def unit_profit(self) -> Floats:
        """Profit per unit sold at each rung, (N, K)."""
        return np.asarray(self.list_price[:, None] * self.ladder[None, :] - self.unit_cost[:, None])


def table(offers: Offers) -> pd.DataFrame:
    """Return the offers as a user's own table: price, bought, propensity, a time that rises by a minute, features."""
    known: dict[str, Any] = {
        "price": offers.list_price * offers.ladder[offers.rung],
        "bought": offers.bought,
        "propensity": offers.propensity,
        "time": (START + pd.to_timedelta(np.arange(len(offers.rung)), unit="min")).astype(UTC),
    }
    return pd.concat([pd.DataFrame(known), offers.contexts.reset_index(drop=True)], axis=1)


@dataclass(frozen=True)
class Values:
    """True profit per offer of a policy, of the best single rung and of the best rung for each context."""

    policy: float
    single: float
    perfect: float
    single_rung: int

    @property
    def capture(self) -> float:
        """Share of the possible gain: 1 perfect, 0 the best single rung; NaN where there is nothing to gain."""
        room = self.perfect - self.single
        return (self.policy - self.single) / room if room > 1e-9 * abs(self.perfect) else float("nan")

    @property
    def lost(self) -> float:
        """Profit lost against the best single rung, as a share of its profit; negative is a gain."""
        return 1 - self.policy / self.single

    @property
    def headroom(self) -> float:
        """What perfect personal prices earn over the best single rung, as a share of its profit."""
        return self.perfect / self.single - 1


def values(rungs: Ints, truth: Floats, unit_profit: Floats) -> Values:
    """Return what rungs (N,) earn where purchase probabilities and profits per unit are (N, K)."""
    profit = unit_profit * truth
    means = profit.mean(axis=0)
    return Values(
        policy=float(profit[np.arange(len(rungs)), rungs].mean()),
        single=float(means.max()),
        perfect=float(profit.max(axis=1).mean()),
        single_rung=int(means.argmax()),
    )


def capture(rungs: Ints, truth: Floats, unit_profit: Floats) -> float:
    """Return the share of the possible gain that rungs (N,) capture."""
    return values(rungs, truth, unit_profit).capture
