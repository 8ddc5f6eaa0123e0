"""The scoreboard: a row for every policy, a dash for what nobody knows, the verdict, and what to do next."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines import scoreboard
from pipelines.errors import InputError
from pipelines.files import read_json, write_json
from tests.worlds import config, enter_shop, info

BARE = {"offers": 400, "profit_per_1000": 1234.4, "profit_low": 1200.0, "profit_high": -5.0}
FULL = BARE | {
    "picking_loss": 0.51234, "claimed_per_1000": 1321.6, "calibration_error": 0.0123,
    "price_sensitivity": {"p50": -2.345}, "true_profit_per_1000": 1250.0, "share_of_gain": 0.634,
    "quote_microseconds": 81.6, "agreement": {"passed": True},
}  # fmt: skip


def printed(table) -> list[str]:
    """Return the lines that a terminal of the usual width would show."""
    console = Console(width=140, file=io.StringIO(), highlight=False, soft_wrap=True)
    console.print(table)
    return console.file.getvalue().splitlines()


def baselines(**changes) -> dict:
    """Return scorecards of the baselines without a truth."""
    policies = dict.fromkeys(("list_price", "single", "logged", "imitation", "no_personal"), BARE)
    policies["single"] = BARE | {"multiplier": 0.85}
    return {"policies": policies, "bounds": None} | changes


def test_a_row_shows_every_number() -> None:
    """Rounded for people."""
    expected = ["gbm", "0.5123", "0.0123", "−2.35", "1,234  1,200 … −5", "1,322", "1,250", "63 %", "82"]
    found = scoreboard.row("gbm", FULL | {"price_sensitivity": {"p50": -2.346}})
    assert expected == found


def test_a_dash_stands_for_what_nobody_knows() -> None:
    """A baseline has no log loss; outside a simulation there is no truth; nought is a number."""
    assert ["list", "–", "–", "–", "1,234  1,200 … −5", "–", "–", "–", "–"] == scoreboard.row("list", BARE)
    nought = scoreboard.row("x", FULL | {"share_of_gain": None, "true_profit_per_1000": None, "picking_loss": 0.0})
    assert ["0.0000", "–", "–"] == [nought[1], nought[6], nought[7]]
    assert "0.4525" == scoreboard.row("list", BARE | {"balanced_log_loss": 0.45249})[1]  # it was fitted to nothing
    assert "−20 %" == scoreboard.row("x", FULL | {"share_of_gain": -0.2})[7]


def test_every_policy_has_a_row() -> None:
    """Baselines, the perfect policy where it is known, candidates; one whose graph disagrees is marked."""
    cards = {"gbm": FULL, "dnn": FULL | {"agreement": {"passed": False}}}
    bounds = {"perfect_per_1000": 2000.0, "best_single_per_1000": 1500.0}
    lines = "\n".join(printed(scoreboard.table(cards, baselines(bounds=bounds), info(), 0.95)))
    for text in (
        "list price", "best single price (0.85)", "prices as logged", "imitation of past prices", "nothing personal",
        "perfect (knows the truth)", "2,000", "gbm", "dnn (graph disagrees)",
        "trial policies on 400 offers of the select window",
        "doubly robust, 95% interval", "EUR",
    ):  # fmt: skip
        assert text in lines
    assert 1 == lines.count("(graph disagrees)")
    assert "perfect" not in "\n".join(printed(scoreboard.table(cards, baselines(), info(), 0.95)))


def test_no_number_is_cut_off() -> None:
    """Everything fits the width that is printed where there is no terminal."""
    lines = printed(scoreboard.table({"forest": FULL}, baselines(), info(), 0.95))
    assert max(len(line) for line in lines) <= 140
    assert "…" in "".join(lines)
    for text in ("0.5123", "1,234  1,200 … −5", "63 %"):
        assert sum(text in line for line in lines) >= 1


def test_observational_values_carry_the_mark() -> None:
    """In the head of the column, for all rows, and only then."""
    for logged, anchored, expected in ((True, False, False), (False, True, False), (False, False, True)):
        about = info(propensity_logged=logged, anchored=anchored)
        lines = "\n".join(printed(scoreboard.table({"gbm": FULL}, baselines(), about, 0.9)))
        assert expected == ("OBSERVATIONAL" in lines)
        assert "90% interval" in lines


def lead(mean: float, lower: float) -> dict[str, float]:
    """Return a lead in money per offer."""
    return {"mean": mean, "lower": lower}


def judged(**changes) -> dict:
    """Return what `certify` wrote of a challenger that needs a person."""
    facts = {
        "champion": "list_price", "offers": 800, "challengers": 2, "level": 0.975, "fallback": 1.0, "single": 0.9,
        "gain": lead(0.0213, -0.004), "personal": lead(0.0012, -0.02),
    }  # fmt: skip
    return {
        "pick": "gbm", "verdict": "review", "reason": "the list price stays; gbm needs a person's decision",
        "checks": [{"name": "profit", "verdict": "review", "reason": "observational"}],
        "facts": facts | changes,
        "metrics": {"gain_over_champion": {"true_per_1000": 25.0}, "gain_over_single": {"true_per_1000": None}},
    }  # fmt: skip


def test_the_verdict_the_checks_and_the_assumptions_are_said() -> None:
    """Who prices, who wants to, how often the window was opened, why not, who was refused, what was assumed."""
    choice = {"refused": {"dnn": "graph and Python disagree"}}
    assert [
        "Champion: list_price. Challenger: gbm, judged on 800 offers of the certify window, which 2 challengers have "
        "opened.",
        "review: the list price stays; gbm needs a person's decision.",
        "  +21.3 per 1,000 offers over the list price, lower bound −4.0 (one-sided, 97.5 %); the truth is +25.0",
        "  +1.2 per 1,000 offers over the best single price (0.9 times the list price), lower bound −20.0 "
        "(one-sided, 97.5 %)",
        "  review  profit: observational",
        "  refused dnn: graph and Python disagree",
        "Assumed:",
        "  - Costs are guessed.",
    ] == scoreboard.verdict_lines(judged(), choice, info(), "list_price")
    assert "Assumed:" not in scoreboard.verdict_lines(judged(), choice, info(assumptions=()), "list_price")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"champion": "old"}, "offers over old, "),
        ({"fallback": 0.9}, "offers over the usual price (0.9 times the list price), "),
    ],
)
def test_the_gain_names_its_rival(facts: dict, told: str) -> None:
    """A promoted policy by its name, and the usual price where the list price is no rung."""
    assert told in scoreboard.gain_lines(judged(**facts))[0]


def test_a_line_per_way_to_price() -> None:
    """What it earns and gains, and the share where the truth is known; without modes there is no line."""
    gain = {"per_1000": 994.1, "low": -38.0, "high": 1949.6}
    card = {"label": "discounts only", "profit_per_1000": 3313.2, "gain_over_list_price": gain}
    assert [
        "Ways to price by gbm, on the select window:",
        "  discounts only: 3,313 per 1,000 offers, +994 (−38 … +1,950) over the usual price",
        "  discounts only: 3,313 per 1,000 offers, +994 (−38 … +1,950) over the usual price, 57 % of the possible gain",
    ] == scoreboard.mode_lines({"one": card, "two": card | {"share_of_gain": 0.567}}, "gbm")
    assert [] == scoreboard.mode_lines({}, "gbm")


def test_three_commands_to_go_on_with() -> None:
    """The last one serves the source's own model."""
    head, *commands = scoreboard.next_commands("pricing-offers")
    assert "Next:" == head
    assert 3 == len(commands)
    for text, line in zip(("mlflow ui", "make serve", "models:/pricing-offers@champion"), commands, strict=True):
        assert text in line


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def test_the_board_of_a_run(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table, verdict and commands, from the files of the stages; the list price prices until one is promoted."""
    scoreboard.main(config())
    out = capsys.readouterr().out
    champion = read_json(Path("models/champion.json"))
    for text in ("linear", "best single price", "perfect", "Champion: list_price.", champion["reason"], "Next:"):
        assert text in out
    assert 3 == sum(word in out for word in ("mlflow ui", "make serve", "models:/pricing@champion"))
    assert "Ways to price by linear, on the select window:" in out
    assert "Report: models/report.html" in out
    scoreboard.REPORT.unlink()
    write_json(Path("models/incumbent/pricing/policy.json"), {"name": "linear"})
    scoreboard.main(config())
    out = capsys.readouterr().out
    assert "Champion: linear." in out
    assert "Report:" not in out


@pytest.mark.parametrize(
    "file", ["data/offers/offers.json", "models/choice.json", "models/champion.json", "models/scorecards/linear.json"]
)
def test_before_a_run_there_is_no_board(shop: Path, file: str) -> None:
    """The message names the file that is missing, and the command."""
    Path(file).unlink()
    with pytest.raises(InputError, match=rf"{Path(file).name} is missing: run `dvc repro`"):
        scoreboard.main(config())
