"""Learning in two steps: a trial on the fit window, tuned on the select window; then the same, settled, on both.

The trial is what the select window can judge; the settled demand, which has seen both windows, is what may price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.candidates import Candidate, History, family_module, linear, shapes, terms
from pipelines.candidates.controls import Controls
from pipelines.candidates.shapes import Shown
from pipelines.candidates.terms import Terms
from pipelines.demand import Curve, Learning
from pipelines.encoder import Encoder

Columns = tuple[tuple[str, ...], tuple[str, ...]]  # the (numeric, categorical) names of the context
_PLAIN_ROWS = 60_000  # offers that suffice for a plain regression
_HELD_OUT = 0.2  # of them, to choose its strength and shape by


@dataclass(frozen=True)
class Learned:
    """What learning gave: the trial, the settled demand, learning curves, and what the select window chose."""

    trial: Candidate
    demand: Candidate
    history: History
    settled: Any
    shape: str
    shape_losses: dict[str, float]


@dataclass(frozen=True)
class Reading:
    """How offers are read by who learns from them: how the context is encoded, with which terms, under which curve."""

    encoder: Encoder
    terms: Terms
    curve: Curve

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, to the last bit."""
        return {name: getattr(self, name).to_json() for name in ("encoder", "terms", "curve")}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Reading:
        """Return what `to_json` gave."""
        encoder, curve = Encoder.from_json(told["encoder"]), Curve.from_json(told["curve"])
        return cls(encoder, Terms.from_json(told["terms"]), curve)


@dataclass(frozen=True)
class Readings:
    """What every family needs that has the same shapes and as many terms to choose from, whatever it learns.

    trial: how the trial reads the fit window. settled: how the settled demand reads both. shape: which was chosen.
    losses: what each costs in nats per offer.
    """

    trial: Reading
    settled: Reading
    shape: str
    losses: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return them as plain data, to the last bit."""
        told = {name: getattr(self, name).to_json() for name in ("trial", "settled")}
        return {**told, "shape": self.shape, "losses": self.losses}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Readings:
        """Return what `to_json` gave."""
        trial, settled = (Reading.from_json(told[name]) for name in ("trial", "settled"))
        return cls(trial, settled, told["shape"], told["losses"])


def readings(
    fit: pd.DataFrame, select: pd.DataFrame, columns: Columns, rungs: tuple[float, ...], settings: Any, seed: int,
    controls: Controls | None = None, read: Encoder | None = None,
) -> Readings:  # fmt: skip
    """Return how the two windows are read, of which `settings.curve` and `settings.terms` alone decide; as `learn`."""
    beside, both = controls or Controls(), pd.concat([fit, select], ignore_index=True)
    encoder, later_encoder = read or Encoder.fit(fit, *columns), read or Encoder.fit(both, *columns)
    shown, later = (_shown(encoder, beside, table) for table in (fit, select))
    whole, added, anew, known = _shown(later_encoder, beside, both), Terms(), Terms(), None
    if settings.terms:
        _, curve, known = shapes.choose(shown, later, rungs, shapes.plain(settings.curve), seed)
        added = terms.found(shown.under(curve), settings.terms, seed)
        shown, later = (window.widened(added) for window in (shown, later))
    shape, curve, losses = shapes.choose(shown, later, rungs, settings.curve, seed, None if added.kind else known)
    if settings.terms:
        anew = terms.found(whole.under(curve), settings.terms, seed)
        whole = whole.widened(anew)
    settled = shapes.fitted(shape, whole, curve, seed)
    return Readings(Reading(encoder, added, curve), Reading(later_encoder, anew, settled), shape, losses)


def learn(
    fit: pd.DataFrame,
    select: pd.DataFrame,
    columns: Columns,
    rungs: tuple[float, ...],
    settings: Any,
    seed: int,
    controls: Controls | None = None,
    read: Encoder | None = None,
) -> Learned:
    """Return the candidate, learned twice. Tables: the context, `multiplier`, `rung`, `bought`, `weight`, and what
    the controls need (`usual`, `shock`). rungs: (K,) multipliers of the source.

    Encoder, price scale and model of the trial know the fit window alone; of the demand, both windows. read: the
    encoder to use instead.
    """
    beside = controls or Controls()
    found = readings(fit, select, columns, rungs, settings, seed, beside, read)
    return learned(found, fit, select, settings, seed, beside)


def learned(
    found: Readings, fit: pd.DataFrame, select: pd.DataFrame, settings: Any, seed: int, controls: Controls
) -> Learned:
    """Return a family's candidate, learned twice: the trial and the demand, from tables as `learn` takes them."""
    family, trial, settled = family_module(settings.family), found.trial, found.settled
    windows = [_under(trial, controls, table) for table in (fit, select)]
    model, history, chosen = family.fit(*windows, settings, seed)
    both = _under(settled, controls, pd.concat([fit, select], ignore_index=True))
    again, *_ = family.fit(both, None, chosen, seed)
    first, second = (
        Candidate(reading.encoder, reading.curve, one, settings.family, controls, reading.terms)
        for reading, one in ((trial, model), (settled, again))
    )
    return Learned(first, second, history, chosen, found.shape, found.losses)


def regress(
    table: pd.DataFrame,
    columns: Columns,
    rungs: tuple[float, ...],
    seed: int,
    read: Encoder | None = None,
    beside: Controls | None = None,
) -> Candidate:
    """Return the interaction logit on the given columns (none: one curve for all), tuned on a part of the table.

    The plain model of baselines, references and impersonal prices; table, `read` and `beside` (controls) as in `learn`.
    """
    some = table.sample(min(len(table), _PLAIN_ROWS), random_state=seed)
    held_out = max(int(_HELD_OUT * len(some)), 1)
    settings = linear.Settings(slopes=("linear",))
    # read as every stage reads it, so that a policy graph encodes a context once
    read = read or Encoder.fit(table, *columns)
    return learn(some[held_out:], some[:held_out], columns, rungs, settings, seed, beside, read).demand


def weighted(table: pd.DataFrame, propensity: Any = None) -> pd.DataFrame:
    """Return the table with `weight`: 1 / propensity, mean 1, so that every rung counts alike; 1 where unknown."""
    inverse = 1 / np.asarray(table["propensity"] if propensity is None else propensity, dtype=float)
    inverse = np.where(np.isfinite(inverse), inverse, np.nanmean(inverse) if np.isfinite(inverse).any() else 1.0)
    return table.assign(weight=inverse / inverse.mean())


def _under(reading: Reading, controls: Controls, table: pd.DataFrame) -> Learning:
    return _shown(reading.encoder, controls, table).widened(reading.terms).under(reading.curve)


def _shown(encoder: Encoder, controls: Controls, table: pd.DataFrame) -> Shown:
    return Shown(
        controls.learning(encoder.encode(table), table),
        table["multiplier"].to_numpy(float),
        table["rung"].to_numpy(np.int64),
        table["bought"].to_numpy(np.int64),
        table["weight"].to_numpy(float),
    )
