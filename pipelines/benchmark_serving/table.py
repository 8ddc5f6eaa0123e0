"""The benchmark of serving as one table: what each server does, and beside it what the endpoint is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]
Records = Mapping[str, Row]
NONE = "–"
COLUMNS = ("what", "requests/s", "quotes/s", "p50 ms", "p99 ms", "CPU µs", "memory MB", "start s", "failed", "targets")
NAMES = {
    "graph": "in process: parse, graph, serialise", "hello": "bare ASGI hello", "thin": "endpoint, single quotes",
    "pages": "endpoint, pages of 200", "lone": "endpoint, one caller", "lone-pages": "endpoint, one caller, pages",
    "mlflow": "mlflow models serve", "bentoml": "BentoML", "litserve": "LitServe",
    "overload": "endpoint, 3 x overload", "swaps": "endpoint, hot swaps",
}  # fmt: skip
RIVALS = ("mlflow", "bentoml", "litserve")
_SLOW = 200.0  # requests/s of MLflow up to which the endpoint is held to 20 times as many


@dataclass(frozen=True)
class Target:
    """What a part is held to. found: the figure, as told; met: whether it is as it should be."""

    part: str
    what: str
    found: str
    met: bool

    def __str__(self) -> str:
        """Return it as a cell tells it."""
        return f"{'met' if self.met else 'MISSED'}: {self.found} ({self.what})"


def targets(records: Records) -> list[Target]:
    """Return what can be judged of the parts that were measured."""
    good = {name: row for name, row in records.items() if not row.get("error")}
    thin, found = good.get("thin"), list[Target]()

    def judged(part: str, value: float, least: float | None, most: float | None, what: str, told: str) -> None:
        met = (least is None or value >= least) and (most is None or value <= most)
        found.append(Target(part, what, told, met))

    if thin:
        on = all(thin.get(what) for what in ("signed", "logged", "counted"))
        found.append(Target("thin", "switched on", "signed, logged, counted" if on else "not all switched on", on))
        tail = thin["p99"] / thin["p50"]
        judged("thin", tail, None, 5, "at most 5", f"p99 {tail:.1f} x p50")
        judged("thin", thin["started"], None, 1.5, "at most 1.5 s", f"ready in {thin['started']:.2f} s")
        judged("thin", thin["memory"], None, 150, "at most 150 MB", f"{thin['memory']:.0f} MB")
    if thin and "graph" in good:
        share, cost = thin["rate"] / good["graph"]["rate"], good["graph"]["processor"] / thin["processor"]
        judged("thin", share, 0.5, None, "at least 0.5", f"{share:.2f} of in process; {cost:.2f} by CPU")
    for name in RIVALS:
        if thin and name in good:
            least = 20 if name == "mlflow" and good[name]["rate"] <= _SLOW else 5
            times = thin["rate"] / good[name]["rate"]
            judged(name, times, least, None, f"at least {least}", f"the endpoint answers {times:.1f} x as many")
    for single, page in (("thin", "pages"), ("lone", "lone-pages")):
        if single in good and page in good:
            one, many = good[single], good[page]
            times = many["rate"] * many["quotes"] / one["rate"]
            cost = one["processor"] / many["processor"] * many["quotes"]
            judged(page, times, 10, None, "at least 10", f"{times:.1f} x the quotes/s of singles; {cost:.1f} by CPU")
    if lone := good.get("lone"):
        judged("lone", lone["p50"], None, 0.001, "at most 1 ms", f"p50 {_ms(lone['p50'])} ms")
    return [*found, *_under_stress(good)]


def _under_stress(good: Records) -> list[Target]:
    found = []
    if over := good.get("overload"):
        normal, back = over["normal_p99"], over["recovery"]
        times = (over["p99"] or float("inf")) / normal
        refusal = f"{_ms(over['refusal_p50'])}, p99 {_ms(over['refusal_p99'])}"
        found += [
            Target("overload", "at most 3", f"accepted p99 {times:.1f} x normal ({_ms(normal)} ms)", times <= 3),
            Target("overload", "the rest 503, fast", f"{over['refused']:.0%} 503 in {refusal} ms", over["failed"] == 0),
            Target("overload", "within 2 s", "no recovery seen" if back is None else f"well after {back:.2f} s",
                   back is not None and back <= 2),
        ]  # fmt: skip
    if swaps := good.get("swaps"):
        none = swaps["failed"] == 0
        found += [
            Target("swaps", "none", f"{swaps['failed']} of {swaps['requests']:,} failed, {swaps['swaps']} swaps", none),
            Target("swaps", "at most 10 %", f"memory {swaps['growth']:+.1%}", swaps["growth"] <= 0.10),
        ]
    return found


def rows(records: Records) -> list[tuple[str, ...]]:
    """Return the lines of the table, in the order of NAMES."""
    held, lines = targets(records), []
    for name, row in records.items():
        judged = "; ".join(str(target) for target in held if target.part == name) or NONE
        if row.get("error"):
            lines.append((NAMES[name], *[NONE] * (len(COLUMNS) - 2), str(row["error"])))
            continue
        lines.append((
            NAMES[name], f"{row['rate']:,.0f}", f"{row['rate'] * row['quotes']:,.0f}" if "quotes" in row else NONE,
            _ms(row["p50"]), _ms(row["p99"]), f"{1e6 * row['processor']:,.0f}" if "processor" in row else NONE,
            f"{row['memory']:.0f}" if "memory" in row else NONE, f"{row['started']:.2f}" if "started" in row else NONE,
            f"{row['failed']:,}", judged,
        ))  # fmt: skip
    return lines


def _ms(seconds: float | None) -> str:
    return NONE if seconds is None else f"{1e3 * seconds:.2f}"


def on_screen(records: Records) -> Table:
    """Return the table for a terminal."""
    table = Table(title="serving one policy", show_lines=True)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("what", "targets") else "right")
    for row in rows(records):
        table.add_row(*row)
    return table


def as_markdown(records: Records, about: str) -> str:
    """Return the table with what it means, as Markdown."""
    lines = [
        "# Serving one policy", "", about, "",
        "One worker, 8 connections (one caller: 1), all on one machine with the client. CPU µs: of all processes of",
        "the server, for a request; it says what a server costs where other work takes the processors. Memory:",
        "resident, of the largest process. Start: from the start of the process to its first answer, the middle of",
        "three.", "",
        "| " + " | ".join(COLUMNS) + " |",
        "| " + " | ".join("---" if name in ("what", "targets") else "---:" for name in COLUMNS) + " |",
        *("| " + " | ".join(row) + " |" for row in rows(records)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
