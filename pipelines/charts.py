"""The pictures of a scorecard: as tables that `dvc plots` overlays, and as one page that people look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines import wording
from pipelines.manifest import Manifest
from pipelines.scorecard import calibration, elasticities, shown_probability
from pipelines.value import Floats
from pipelines.window import Window, nearest_rung

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS = 10


def demand_by_decile(window: Window, q: Floats, elasticity: Floats) -> pd.DataFrame:
    """Return the mean predicted, and the observed, purchase rate at each rung, by decile of price sensitivity.

    q: (N, K) curves; elasticity: (N,) of each.

    Columns: decile (1: least sensitive), multiplier, predicted, observed (NaN where never shown), rows.
    """
    ladder = np.array(window.info.ladder)
    ranks = pd.Series(-elasticity).rank(method="first", pct=True)
    decile = np.ceil(ranks.to_numpy() * _GROUPS).astype(int)
    bought = window.offers["bought"].to_numpy(float)
    rows = []
    for group in range(1, _GROUPS + 1):
        inside = decile == group
        for k, multiplier in enumerate(ladder):
            shown = inside & (window.logged.rung == k)
            if inside.any():
                observed = bought[shown].mean() if shown.any() else np.nan
                rows.append((group, multiplier, q[inside, k].mean(), observed, int(shown.sum())))
    return pd.DataFrame(rows, columns=["decile", "multiplier", "predicted", "observed", "rows"])


def histogram(values: Floats, low: float, high: float, bins: int) -> pd.DataFrame:
    """Return middle and share of each bin; values outside fall into the outer bins."""
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return pd.DataFrame({"middle": (edges[1:] + edges[:-1]) / 2, "share": counts / max(len(values), 1)})


def shares(multipliers: Floats, ladder: tuple[float, ...], usual: float) -> pd.DataFrame:
    """Return the share of prices nearest to each rung, by the rung's change against the `usual` multiplier."""
    counts = np.bincount(nearest_rung(multipliers, ladder), minlength=len(ladder))
    middle = np.round(np.array(ladder) / usual - 1, 6)
    return pd.DataFrame({"middle": middle, "share": counts / max(len(multipliers), 1)})


def draw(folder: Path, manifest: Manifest, found: dict[str, Any], window: Window) -> None:
    """Write calibration, demand, elasticity and price-change tables (CSV) and scorecard.png into a new folder.

    found: what the policy quotes on the window (`scorecard.NEEDED`).
    """
    folder.mkdir(parents=True)
    q, usual = shown_probability(found["demand"], window), manifest.terms.fallback
    elasticity = elasticities(found["demand"], manifest)
    low = float(np.floor(np.quantile(elasticity, 0.005)))
    tables = {
        "calibration": calibration(window.offers["bought"].to_numpy(np.int64), q),
        "demand": demand_by_decile(window, found["demand"], elasticity),
        "elasticity": histogram(elasticity, low, 0.0, 40),
        "price_change": shares(found["multiplier"], window.info.ladder, usual),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    page(folder / "scorecard.png", manifest.name, tables, usual, manifest.listed)


def page(path: Path, name: str, tables: dict[str, pd.DataFrame], usual: float, listed: bool = True) -> None:
    """Draw the four tables on one page; `usual` is the multiplier that prices are held against.

    listed: whether there are list prices.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    figure.suptitle(f"{name}: the select window")
    _calibration(axes[0, 0], tables["calibration"])
    _demand(axes[0, 1], tables["demand"], wording.price_axis(listed))
    against = wording.usual(usual, listed)
    _bars(axes[1, 0], tables["elasticity"], f"Elasticity at {against}", "elasticity")
    _bars(axes[1, 1], tables["price_change"], f"Greedy price against {against}", "price change")
    figure.savefig(path, dpi=110)


def _calibration(axis: Axes, table: pd.DataFrame) -> None:
    top = 1.05 * float(table[["predicted", "observed"]].to_numpy().max() or 1.0)
    axis.plot([0, top], [0, top], color="0.7", linewidth=1)
    axis.plot(table["predicted"], table["observed"], "o", markersize=4)
    axis.set(title="Calibration", xlabel="predicted purchase probability", ylabel="observed purchase rate")


def _demand(axis: Axes, table: pd.DataFrame, across: str) -> None:
    for decile, colour in ((1, "tab:green"), (5, "tab:blue"), (10, "tab:red")):
        part = table[table["decile"] == decile]
        axis.plot(part["multiplier"], part["predicted"], color=colour, label=f"decile {decile} of sensitivity")
        axis.plot(part["multiplier"], part["observed"], "o", color=colour, markersize=4)
    axis.set(
        title="Demand: model (line), observed (dots)",
        xlabel=across,
        ylabel="purchase probability",
    )
    axis.legend(fontsize=8)


def _bars(axis: Axes, table: pd.DataFrame, title: str, label: str) -> None:
    width = float(np.diff(table["middle"]).min()) if len(table) > 1 else 0.1
    axis.bar(table["middle"], table["share"], width=0.9 * width)
    axis.set(title=title, xlabel=label, ylabel="share of offers")
