"""Rows that a real log has and a simulated one lacks: broken on purpose, for `clean` to catch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

_BOT_VIEWS = 240  # of one bot, within a minute


def break_rows(events: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return `events` with about `share` more rows, every one of them flawed, in the order of their times.

    The rows of `events` stay as they are, and come before a duplicate of theirs. With a share above 0 there is at
    least one row of each flaw, and one bot.
    """
    if share <= 0 or events.empty:
        return events
    count = max(1, round(share * len(events) / (len(_FLAWS) + 1)))
    added = [flaw(events, count, rng) for flaw in _FLAWS]
    added.append(_bots(events, max(1, count // _BOT_VIEWS), rng))
    rows = pd.concat(added, ignore_index=True)
    named = rows["event_id"].isna()
    rows.loc[named, "event_id"] = [f"x{n:06d}" for n in range(int(named.sum()))]
    return pd.concat([events, rows.astype(events.dtypes)]).sort_values("time", kind="stable", ignore_index=True)


def _some(events: pd.DataFrame, kind: str | None, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return copies of `count` events, nameless and a moment later than the originals."""
    pool = events.index[events["item_id"].notna() if kind is None else events["kind"] == kind]
    rows = events.loc[rng.choice(pool, min(count, len(pool)), replace=False)].copy()
    return rows.assign(event_id=None, time=rows["time"] + pd.Timedelta(milliseconds=1))


def _repeated(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return events.iloc[rng.choice(len(events), min(count, len(events)), replace=False)].copy()


def _renamed(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = _some(events, None, count, rng)
    return rows.assign(time=rows["time"] - pd.Timedelta(milliseconds=1))


def _negative_price(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = _some(events, "view", count, rng)
    return rows.assign(price=-rows["price"])


def _absurd_dwell(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return _some(events, "view", count, rng).assign(dwell_seconds=1e6)


def _foreign_currency(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    return _some(events, "purchase", count, rng).assign(currency="USD")


def _no_product(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = _some(events, "purchase", count, rng)
    return rows.assign(item_id=rng.choice(["POST", "MANUAL", "GIFT-CARD"], len(rows)))


def _missing(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = _some(events, "view", count, rng)
    gap = np.arange(len(rows)) % 4
    rows["time"] = rows["time"].mask(gap == 0)
    rows["shopper_id"] = rows["shopper_id"].mask(gap == 1)
    rows["price"] = rows["price"].mask(gap == 2)
    rows["kind"] = rows["kind"].mask(gap == 3, "vieww")
    return rows


def _bots(events: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    views = events.index[events["kind"] == "view"]
    rows = events.loc[rng.choice(views, count * _BOT_VIEWS)].copy()
    bot = np.arange(len(rows)) // _BOT_VIEWS
    start = rng.choice(events["time"].to_numpy(), count)
    second = np.arange(len(rows)) % _BOT_VIEWS * (60.0 / _BOT_VIEWS)
    return rows.assign(
        event_id=None,
        shopper_id=[f"bot{n}" for n in bot],
        session_id=[f"bot{n}" for n in bot],
        time=pd.to_datetime(start[bot], utc=True) + pd.to_timedelta(np.round(second * 1000), unit="ms"),
        dwell_seconds=0.2,
    )


_FLAWS: tuple[Callable[[pd.DataFrame, int, np.random.Generator], pd.DataFrame], ...] = (
    _repeated, _renamed, _negative_price, _absurd_dwell, _foreign_currency, _no_product, _missing,
)  # fmt: skip
