"""The benchmark's table as a picture: one panel per world, a dot per method with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import wording
from pipelines.benchmark.table import CHOSEN, Mean, Record, by_world, methods, shares
from pipelines.files import replacing

_LEAST = -60.0  # captures below are drawn at the edge, with their number
_OURS, _OTHERS, _PICK = "#4878a8", "#707070", "#c8501e"


def draw(path: Path, records: Sequence[Record], worlds: Sequence[str]) -> None:
    """Write the picture of all worlds in which something can be gained; nothing is written where there is none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = methods(records)
    panels = {
        world: {name: mean for name, find in found.items() if (mean := shares(those, find))}
        for world, those in by_world(records, worlds).items()
    }
    panels = {world: means for world, means in panels.items() if means}
    if not panels:
        return
    names = [n for n in found if any(n in means for means in panels.values())]
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    size = (3.6 * across + 1.4, down * (0.27 * len(names) + 1.0))
    figure, axes = plt.subplots(down, across, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, world in zip(axes.flat, panels, strict=False):
        _panel(axis, world, panels[world], names, set(records[0]["contenders"]))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.supxlabel("share of the possible gain captured, %\n0: best single price, 100: perfect", fontsize=10)
    figure.tight_layout()
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=150)
    plt.close(figure)


def _panel(axis: Any, world: str, means: dict[str, Mean], names: list[str], ours: set[str]) -> None:
    """Draw one world: methods from top to bottom."""
    axis.set_title(world, loc="left", fontsize=11, fontweight="bold")
    axis.axvline(0, color="black", linewidth=0.8)
    axis.axvline(100, color="black", linewidth=0.8, linestyle=":")
    for name, mean in means.items():
        colour = _PICK if name.startswith(CHOSEN) else _OURS if name in ours else _OTHERS
        _dot(axis, mean, names.index(name), colour)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(_LEAST - 8, 108)
    axis.grid(axis="y", color="#eeeeee")
    axis.spines[["top", "right"]].set_visible(False)


def _dot(axis: Any, mean: Mean, at: int, colour: str) -> None:
    """Draw one mean with its standard error, and its number on the side where there is room."""
    error, value = float(np.nan_to_num(mean.error)), max(mean.mean, _LEAST)
    if mean.mean < _LEAST:
        error = 0.0
        axis.plot(value, at, marker="<", color=colour, markersize=7)
    else:
        axis.errorbar(value, at, xerr=error, fmt="o", color=colour, markersize=6, elinewidth=1.5)
    side = 1 if value < 60 else -1
    number, beside = wording.number(mean.mean, ".0f"), "left" if side > 0 else "right"
    where = {"xytext": (8 * side, 0), "textcoords": "offset points", "ha": beside, "va": "center"}
    axis.annotate(number, (value + side * error, at), fontsize=8, color=colour, **where)
