"""The features of conf/features/behaviour.yaml with pandas, for a log of two months: nothing is forgotten."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.behaviour import texts

DAY = 86_400 * 10**6
_OFFER = [
    "shopper_id",
    "item_id",
    "instant",
    "list_price",
    "unit_cost",
    "min_price",
    "max_price",
    "price",
    "propensity",
]
_TOPICS = [f"topic_{k}" for k in range(1, texts.TOPICS + 1)]


class _Past:
    """The events of each entity in order of time; every answer is of what came before, in the order of the log."""

    def __init__(self, log: pd.DataFrame, *keys: str) -> None:
        self.group = log.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
        self.order = np.lexsort((np.arange(len(log)), log["instant"].to_numpy(), self.group))
        self.sorted_group, self.instant = self.group[self.order], log["instant"].to_numpy()[self.order]
        new = np.diff(self.sorted_group, prepend=-1) != 0
        self.start = self._places(new)
        self.now = self._places(new | (np.diff(self.instant, prepend=-1) != 0))

    @staticmethod
    def _places(new: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each event the place of the last event up to it that is `new`."""
        found: NDArray[np.int64] = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
        return found

    def _since(self, back: int) -> NDArray[np.int64]:
        """Return for each event the place of its entity's first event not earlier than `back` before it."""
        span = self.instant.max() - self.instant.min() + 1
        passed = self.instant - self.instant.min()
        times = self.sorted_group * span  # few enough shoppers and items that this is a whole number
        found: NDArray[np.int64] = np.searchsorted(times + passed, times + np.maximum(passed - back, 0))
        return found

    def _back(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.empty(len(found))
        result[self.order] = found
        return result

    def sum(self, values: pd.Series, window: int | None = None) -> NDArray[np.float64]:
        total = np.concatenate([[0.0], np.cumsum(values.fillna(0).to_numpy(float)[self.order])])
        start = self.start if window is None else self._since(window)
        return self._back(total[self.now] - total[start])

    def last(self, values: pd.Series) -> pd.Series:
        """Return the last value that is not missing before each event."""
        known = values.notna().to_numpy()[self.order]
        place = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        before = np.concatenate([[-1], place])[self.now]
        found = values.to_numpy(object)[self.order][np.maximum(before, 0)]
        result = np.empty(len(found), dtype=object)
        result[self.order] = np.where(before >= self.start, found, None)
        return pd.Series(result, values.index)

    def first_instant(self) -> NDArray[np.float64]:
        found = self.instant[self.start].astype(float)
        return self._back(np.where(self.now > self.start, found, np.nan))


def offers(events: pd.DataFrame, items: pd.DataFrame, shoppers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view with its features."""
    log = _log(events, items)
    person, item = _Past(log, "shopper_id"), _Past(log, "item_id")
    pair, kin, visit = (_Past(log, "shopper_id", key) for key in ("item_id", "category", "session_id"))
    made = {
        **_of_shopper(log, person), **_of_pairs(log, pair, kin), **_of_session(log, visit), **_of_item(log, item),
        "bought": _sold(log),
    }  # fmt: skip
    table = pd.concat([log, pd.DataFrame(made, index=log.index)], axis=1)
    views = table[table["kind"] == "view"].merge(shoppers, on="shopper_id", how="left")
    since = (views["instant"] - _instants(views["signup"])) / DAY
    instant = views["instant"]
    facts = {
        "days_since_signup": since.where(since >= 0), "cost_share": views["unit_cost"] / views["list_price"],
        "hour": (instant // (DAY // 24) % 24).astype(float), "weekday": ((instant // DAY + 3) % 7).astype(float),
    }  # fmt: skip
    words = ["country", "language", "device", "tier", "channel", "path", "last_step", "step_before_last", "category"]
    views = views.assign(offer_id=views["event_id"], **facts, **{word: views[word].fillna("") for word in words})
    return views[["offer_id", *_OFFER, "page_depth", *words, *facts, *made.keys() - set(words)]]


def _instants(times: pd.Series) -> pd.Series:
    whole: pd.Series = times.dt.as_unit("us").astype("int64").where(times.notna())
    return whole


def _log(events: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    log = events.assign(instant=_instants(events["time"]).astype("int64")).drop(columns="time")
    log = log.sort_values(["instant", "event_id"], ignore_index=True)
    log = log.merge(items.drop(columns=["list_price", "title"]), on="item_id", how="left")
    searches = texts.searches(log["keywords"].dropna().unique()).add_prefix("k_")
    reviews = texts.reviews(log["text"].dropna().unique()).add_prefix("r_")
    log = log.merge(searches, left_on="keywords", right_on="k_text", how="left")
    log = log.merge(reviews, left_on="text", right_on="r_text", how="left")
    page = log["path"].str.rsplit(">", n=1).str[-1].fillna("item").replace("", "item")
    log["step"] = page.where(log["kind"] == "view", log["kind"])
    log["previous_step"] = log.groupby(["shopper_id", "session_id"], sort=False)["step"].shift()
    for kind in ("view", "search", "cart", "purchase", "review"):
        log[f"is_{kind}"] = (log["kind"] == kind).astype(float)
    return log


def _of_shopper(log: pd.DataFrame, past: _Past) -> dict[str, object]:
    money = (log["price"] * log["quantity"].fillna(1) * log["is_purchase"]).round(6)
    bought, stars = past.sum(log["is_purchase"]), log["rating"].where(log["kind"] == "review")
    grown = 2.0 ** ((log["instant"] - log["instant"].min()) / (7 * DAY))
    return {
        "shopper_views": past.sum(log["is_view"]),
        "shopper_sessions": past.sum((~log.duplicated(["shopper_id", "session_id"])).astype(float)),
        "purchases": bought,
        "spend": past.sum(money),
        "days_since_purchase": _since(log, past, "purchase"),
        "discount_share": _share(past.sum(log["is_purchase"] * (log["price"] < log["list_price"])), bought),
        "mean_rating_given": _share(past.sum(stars), past.sum(stars.notna().astype(float))),
        "views_7d": past.sum(log["is_view"], 7 * DAY),
        "spend_30d": past.sum(money, 30 * DAY),
        "recent_views": past.sum(log["is_view"] * grown) / grown,
    }


def _of_pairs(log: pd.DataFrame, pair: _Past, kin: _Past) -> dict[str, object]:
    return {
        "item_views_by_shopper": pair.sum(log["is_view"]),
        "item_dwell_by_shopper": pair.sum(log["dwell_seconds"]),
        "days_since_item_view": _since(log, pair, "view"),
        "bought_before": pair.sum(log["is_purchase"]),
        "category_views_by_shopper": kin.sum(log["is_view"]),
        "category_purchases_by_shopper": kin.sum(log["is_purchase"]),
    }


def _of_session(log: pd.DataFrame, past: _Past) -> dict[str, object]:
    views, seen = past.sum(log["is_view"]), ["shopper_id", "session_id", "item_id", "kind"]
    items = past.sum(log["is_view"] * (~log.duplicated(seen)))
    known = past.sum(log["k_words"].notna().astype(float))
    return {
        "session_views": views,
        "session_items": items,
        "session_revisits": views - items,
        "session_dwell": past.sum(log["dwell_seconds"]),
        "session_searches": past.sum(log["is_search"]),
        "session_carts": past.sum(log["is_cart"]),
        "session_minutes": (log["instant"] - past.first_instant()) / 60e6,
        "last_step": past.last(log["step"]),
        "step_before_last": past.last(log["previous_step"]),
        "views_after_search": past.sum(log["is_view"] * (log["previous_step"] == "search")),
        "reviews_read": past.sum(log["is_view"] * (log["step"] == "reviews")),
        **{f"search_{name}": past.sum(log[f"k_{name}"]) for name in ("bargain", "premium", "words")},
        **{f"search_{topic}": _share(past.sum(log[f"k_{topic}"]), known) for topic in _TOPICS},
    }


def _of_item(log: pd.DataFrame, past: _Past) -> dict[str, object]:
    views, stars = past.sum(log["is_view"]), log["rating"].where(log["kind"] == "review")
    texts_known = past.sum(log["r_sentiment"].notna().astype(float))
    return {
        "item_views": views,
        "item_views_1d": past.sum(log["is_view"], DAY),
        "item_conversion": (past.sum(log["is_purchase"]) + 1) / (views + 20),
        "item_rating": _share(past.sum(stars), past.sum(stars.notna().astype(float))),
        "item_reviews": past.sum(log["is_review"]),
        "review_sentiment": _share(past.sum(log["r_sentiment"]), texts_known),
        **{f"review_{topic}": _share(past.sum(log[f"r_{topic}"]), texts_known) for topic in _TOPICS},
    }


def _since(log: pd.DataFrame, past: _Past, kind: str) -> NDArray[np.float64]:
    latest = past.last(log["instant"].where(log["kind"] == kind)).to_numpy(float)
    return np.asarray((log["instant"].to_numpy() - latest) / DAY)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _sold(log: pd.DataFrame) -> NDArray[np.int64]:
    """Return which views a purchase of the item follows in the session before its next view there."""
    past = _Past(log, "shopper_id", "session_id", "item_id")
    place = past.last(pd.Series(np.where(log["kind"] == "view", log.index, np.nan), log.index))
    bought = np.zeros(len(log), dtype=np.int64)
    bought[place[log["kind"] == "purchase"].dropna().astype(int)] = 1
    return bought
