"""The benchmark's records as one table: methods x worlds, mean ± standard error over seeds, and how the gate did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from pipelines.wording import number

Record = dict[str, Any]
CHOSEN = "choose"
NONE = "–"


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its standard error (NaN for one seed), in percent."""

    mean: float
    error: float
    seeds: int

    @classmethod
    def of(cls, shares: Sequence[float | None]) -> Mean | None:
        """Return the mean of shares in percent; None where there are none."""
        known = [100 * s for s in shares if s is not None]
        if not known:
            return None
        error = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
        return cls(float(np.mean(known)), error, len(known))

    def text(self, digits: int = 0) -> str:
        """Return mean ± standard error."""
        mean = number(self.mean, f".{digits}f")
        return mean if np.isnan(self.error) else f"{mean} ± {self.error:.{digits}f}"


@dataclass(frozen=True)
class Row:
    """One line of the table: its label, and what it says of the records of one world."""

    label: str
    cell: Callable[[list[Record]], str]


def methods(records: Sequence[Record]) -> dict[str, Callable[[Record], Record | None]]:
    """Return how to find each method's scores in a record, by name, in the order of the table."""
    names = list(dict.fromkeys(name for r in records for name in r["contenders"]))
    others = list(dict.fromkeys(name for r in records for name in r["rivals"]))
    found: dict[str, Callable[[Record], Record | None]] = {n: _in("contenders", n) for n in names}
    found[CHOSEN] = lambda r: r[CHOSEN]
    found["choose, as run"] = lambda r: r["as_run"]
    return found | {n: _in("rivals", n) for n in others}


def _in(part: str, name: str) -> Callable[[Record], Record | None]:
    return lambda r: r[part].get(name)


def shares(records: Sequence[Record], find: Callable[[Record], Record | None]) -> Mean | None:
    """Return the mean capture of a method in one world."""
    return Mean.of([(find(r) or {}).get("capture") for r in records])


def _method(find: Callable[[Record], Record | None]) -> Callable[[list[Record]], str]:
    """Return the cell of a method: its capture, or where nothing is to be gained the gain, marked with an asterisk."""

    def cell(records: list[Record]) -> str:
        captured = shares(records, find)
        if captured is not None:
            return captured.text()
        lost = Mean.of([(find(r) or {}).get("lost") for r in records])
        return NONE if lost is None else Mean(-lost.mean, lost.error, lost.seeds).text(1) + " *"

    return cell


def _count(key: str) -> Callable[[list[Record]], str]:
    def cell(records: list[Record]) -> str:
        known = [bool(r[key]) for r in records if r[key] is not None]
        return f"{sum(known)} of {len(known)}"

    return cell


def _share(find: Callable[[Record], float | None], digits: int) -> Callable[[list[Record]], str]:
    def cell(records: list[Record]) -> str:
        found = Mean.of([find(r) for r in records])
        return NONE if found is None else found.text(digits)

    return cell


def kept(records: Sequence[Record]) -> Mean | None:
    """Return the share of the best contender's gain that the pick keeps, over all records that have any to keep.

    The mean of the ratios would be ruled by runs with hardly a gain; this is the ratio of the means over worlds.
    """
    known = [(r[CHOSEN]["capture"], r["contenders"][r["best"]]["capture"]) for r in records]
    pairs = np.array([(c, b) for c, b in known if c is not None and b is not None])
    if not len(pairs) or pairs[:, 1].mean() <= 0:
        return None
    ratio = pairs[:, 0].mean() / pairs[:, 1].mean()
    left = pairs[:, 0] - ratio * pairs[:, 1]
    error = left.std(ddof=1) / np.sqrt(len(left)) / pairs[:, 1].mean() if len(left) > 1 else float("nan")
    return Mean(100 * float(ratio), 100 * float(error), len(pairs))


def _kept(records: list[Record]) -> str:
    found = kept(records)
    return NONE if found is None else found.text()


def rows(records: Sequence[Record]) -> tuple[list[Row], list[Row]]:
    """Return the rows of shares, and those of what was picked and how the gate judged it."""
    first = [Row(name, _method(find)) for name, find in methods(records).items()]
    second = [
        Row("possible gain, %", _share(lambda r: r["headroom"], 1)),
        Row("gain over single, %", _share(lambda r: -r[CHOSEN]["lost"], 1)),
        Row("regret, % of profit", _share(lambda r: r["regret"], 2)),
        Row("keeps of the best, %", _kept),
        Row("promoted", _count("promoted")),
        Row("promoted wrongly", _count("false_promotion")),
        Row("interval holds truth", _count("covers")),
        Row("minutes per run", lambda found: f"{np.mean([r['seconds']['total'] for r in found]) / 60:.1f}"),
        Row("offers learned from", lambda found: f"{found[0]['n']:,}"),
        Row("seeds", lambda found: str(len(found))),
    ]
    return first, second


def by_world(records: Sequence[Record], worlds: Sequence[str]) -> dict[str, list[Record]]:
    """Return the records of each world that has any, in the order of `worlds`."""
    found = {name: [r for r in records if r["world"] == name] for name in worlds}
    return {name: those for name, those in found.items() if those}


def cells(records: Sequence[Record], worlds: Sequence[str]) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """Return the worlds, and the two blocks of the table, each line with its label first."""
    groups = by_world(records, worlds)
    blocks = [[[row.label, *(row.cell(g) for g in groups.values())] for row in part] for part in rows(records)]
    return list(groups), blocks[0], blocks[1]


def on_screen(records: Sequence[Record], worlds: Sequence[str]) -> Table:
    """Return the table for a terminal."""
    names, first, second = cells(records, worlds)
    table = Table(
        title="share of the possible gain captured, %: mean ± standard error over seeds", title_justify="left"
    )
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for line in first:
        table.add_row(*line, style="bold" if line[0] == CHOSEN else "")
    table.add_section()
    for line in second:
        table.add_row(*line)
    return table


_STAR = "\\*"
FOOTNOTE = f"{_STAR} nothing to gain there: the gain in % of the best single rung's profit instead."


def as_markdown(records: Sequence[Record], worlds: Sequence[str], command: str) -> str:
    """Return the table as Markdown, dated, with the command that made it."""
    names, first, second = cells(records, worlds)
    dates = sorted(r["made"][:10] for r in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    lines = [
        f"`{command}`, {when}. Share of the possible gain captured, %: mean ± standard error over seeds.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for label, *found in first:
        mark = "**" if label == CHOSEN else ""
        line = [f"{mark}{cell.replace('*', _STAR)}{mark}" for cell in (label, *found)]
        lines.append("| " + " | ".join(line) + " |")
    lines += ["| | " + " | ".join("" for _ in names) + " |", *("| " + " | ".join(line) + " |" for line in second)]
    text = "\n".join(lines)
    return "\n\n".join(filter(None, (text, FOOTNOTE if _STAR in text else "", overall(records)))) + "\n"


def overall(records: Sequence[Record]) -> str:
    """Return what holds over all worlds, in a sentence."""
    found, those = kept(records), list(records)
    share = f"the pick keeps {found.text(1)} % of the best contender's gain; " if found else ""
    return (
        f"Over all worlds: {share}95 % intervals hold the truth in {_count('covers')(those)} runs; "
        f"promoted wrongly in {_count('false_promotion')(those)}."
    )
