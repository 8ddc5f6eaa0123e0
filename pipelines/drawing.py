"""Small charts as inline SVG: they need no network, no script and no font file. All text is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

_WIDTH, _HEIGHT = 330, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
_TICKS = 5
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points (x, y) drawn as a line, as dots (`dots`), or both; a dot's area goes by its weight, if given."""

    points: tuple[Point, ...]
    line: bool = True
    dots: bool = False
    faint: bool = False
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Scale:
    """The stretch of numbers that a picture shows."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one; outside values at the edges."""
        return float(np.clip((value - self.low) / (self.high - self.low), 0.0, 1.0))

    @classmethod
    def over(cls, values: Sequence[float | None], zero: bool = False) -> Scale:
        """Return the scale that holds all finite values, with a little air; zero: and nought."""
        known = [v for v in values if v is not None and np.isfinite(v)] + ([0.0] if zero else [])
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        air = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
        return cls(0.0 if zero and low == 0 else low - air, high + air)


def plot(title: str, series: Sequence[Series], x: Scale, y: Scale, axes: tuple[str, str]) -> Markup:
    """Return a chart of lines and dots; axes: what x and y are. Percent on y, plain numbers on x."""
    parts = [_ticks(x, y), *(_drawn(one, x, y) for one in series)]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    across, up = (html.escape(text) for text in axes)
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{across}</text>')
    parts.append(f'<text x="11" y="{_HEIGHT / 2 - 10:.0f}" transform="rotate(-90 11 {_HEIGHT / 2 - 10:.0f})" '
                 f'text-anchor="middle">{up}</text>')  # fmt: skip
    name = html.escape(title)
    return Markup(f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}">'
                  f"<title>{name}</title>{''.join(parts)}</svg>")  # fmt: skip


def span(low: float, middle: float, high: float, scale: Scale, truth: float | None = None) -> Markup:
    """Return an interval as a bar with its estimate, the line of nought, and the truth as a diamond where known."""
    at = {n: 200 * scale.at(v) for n, v in (("low", low), ("middle", middle), ("high", high), ("zero", 0.0))}
    parts = [f'<rect class="reach" x="{at["low"]:.1f}" y="6" width="{max(at["high"] - at["low"], 1):.1f}" height="6"/>']
    if scale.low < 0 < scale.high:
        parts.insert(0, f'<line class="zero" x1="{at["zero"]:.1f}" x2="{at["zero"]:.1f}" y1="0" y2="18"/>')
    parts.append(f'<rect class="mid" x="{at["middle"] - 1.5:.1f}" y="3" width="3" height="12"/>')
    if truth is not None:
        t = 200 * scale.at(truth)
        parts.append(f'<path class="truth" d="M{t:.1f} 4l5 5l-5 5l-5 -5z"/>')
    return Markup(f'<svg class="span" viewBox="-6 0 212 18" aria-hidden="true">{"".join(parts)}</svg>')


def bar(share: float | None) -> Markup:
    """Return a share as a bar of that length; below nought and above one it is cut."""
    length = 0.0 if share is None else 100 * float(np.clip(share, 0.0, 1.0))
    rects = f'<rect class="back" width="100" height="10"/><rect width="{length:.1f}" height="10"/>'
    view = 'viewBox="0 0 100 10" preserveAspectRatio="none"'
    return Markup(f'<svg class="bar" {view} aria-hidden="true">{rects}</svg>')


def _place(point: Point, x: Scale, y: Scale) -> Point:
    across = _LEFT + x.at(point[0]) * (_WIDTH - _LEFT - _RIGHT)
    return across, _HEIGHT - _BOTTOM - y.at(point[1]) * (_HEIGHT - _TOP - _BOTTOM)


def _drawn(one: Series, x: Scale, y: Scale) -> str:
    kind, places = "faint" if one.faint else "main", [_place(p, x, y) for p in one.points]
    found = ""
    if one.line and places:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        found += f'<polyline class="{kind}" points="{path}"/>'
    if one.dots:
        weights = np.ones(len(places)) if one.weights is None else np.array(one.weights)
        sizes = 3.5 * np.sqrt(weights / max(weights.mean(), 1e-12)) if len(places) else []
        found += "".join(
            f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="{np.clip(r, 1.5, 7):.1f}"/>'
            for (a, b), r in zip(places, sizes, strict=True)
        )
    return found


def _ticks(x: Scale, y: Scale) -> str:
    parts = []
    for value in round_numbers(y):
        _, up = _place((x.low, value), x, y)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{up + 4:.1f}" text-anchor="end">{100 * value:.4g}%</text>')
    for value in round_numbers(x):
        across, _ = _place((value, y.low), x, y)
        parts.append(f'<text x="{across:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:.4g}</text>')
    return "".join(parts)


def round_numbers(scale: Scale) -> list[float]:
    """Return about five round numbers on a scale."""
    rough = (scale.high - scale.low) / _TICKS
    size = 10 ** np.floor(np.log10(rough))
    step = float(size * min((1, 2, 2.5, 5, 10), key=lambda s: abs(s * size - rough)))
    first = int(np.ceil(scale.low / step - 1e-9))
    last = int(np.floor(scale.high / step + 1e-9))
    return [round(k * step, 12) for k in range(first, last + 1)]
