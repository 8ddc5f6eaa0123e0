"""The report page: complete, safe with any name, and honest about what is missing."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import gate, report, wording
from pipelines.drawing import Scale, Series, bar, plot, round_numbers, span
from pipelines.files import read_json, write_json

EVIL = '<script>alert("1")</script> & 国家 \' %'


def gain(middle: float, truth: float | None = None) -> dict[str, Any]:
    """Return a gain per 1,000 offers with an interval of ±100."""
    return {
        "per_1000": middle,
        "low": middle - 100,
        "high": middle + 100,
        "standard_error": 51.0,
        "true_per_1000": truth,
    }


def card(name: str, loss: float, **more: Any) -> dict[str, Any]:
    """Return a contender's scorecard."""
    return {
        "name": name, "offers": 4000, "balanced_log_loss": -loss, "picking_loss": loss,
        "profit_per_1000": 2800.0, "profit_low": 2500.0, "profit_high": 3100.0,
        "claimed_per_1000": 3000.0, "optimism": 200.0, "true_profit_per_1000": None,
        "share_cheaper": 0.7, "share_dearer": 0.1, "mean_price_change": -0.08, "fallback_share": 0.01,
        "guardrails": {"largest_rise": 0.05, "none": 0.95}, "calibration_error": 0.01, "effective_sample_size": 800.0,
        "largest_weight": 6.5, "price_sensitivity": {"p25": -4.2, "p50": -3.5, "p75": -2.8},
    } | more  # fmt: skip


def facts(verdict: str = "canary", **told: Any) -> dict[str, Any]:
    """Return the facts of a small run; all names are hostile."""
    explained = {
        "modes": {"full": {"label": "personal prices", "gain_over_list_price": gain(300.0), "share_cheaper": 0.7,
                           "share_dearer": 0.1}},
        "frontier": [{"setting": k, "label": k, "gain": gain(300.0), "cost": gain(c), "kept": kept,
                      "kept_by": "estimate", "modelled_per_1000": 2900.0}
                     for k, c, kept in (("none", 0.0, 1.0), ("configured", 40.0, 0.87))],
        "segments": {"segments": [{"rule": f"{EVIL} > 6.5", "offers": 4000, "share": 1.0, "multiplier": 0.9,
                                   "change": -0.1, "mean_personal_change": -0.08}],
                     "kept": {"truth": None, "model": 0.8, "estimate": None}},
    }  # fmt: skip
    cards = {EVIL: card(EVIL, 0.44, **explained), "linear": card("linear", 0.45)}
    rows = [{"decile": d, "multiplier": m, "predicted": 0.3 / m, "observed": None if m > 1 else 0.3, "rows": 20}
            for d in range(1, 11) for m in (0.8, 1.0, 1.2)]  # fmt: skip
    measured = {
        "champion": "list_price", "observational": False, "purchase_rate": 0.2, "level": 0.95, "challengers": 1,
        "fallback": 1.0,
        "gain": {"lower": 0.02}, "personal": {"lower": -0.1},
    } | told  # fmt: skip
    return {
        "champion": {
            "verdict": verdict, "pick": EVIL, "incumbent": "list_price", "reason": f"because {EVIL}",
            "checks": [{"name": "profit", "verdict": "canary", "reason": EVIL}], "facts": measured,
            "metrics": {"gain_over_champion": gain(120.0), "gain_over_single": gain(20.0)},
            "sensitivity": {
                "doubly_robust": {"mean": 0.12, "low": 0.02, "high": 0.22},
                "clipped": {"mean": 0.345, "low": 0.3, "high": 0.4},
                "self_normalised": {"mean": None, "low": None, "high": None},
            },
            "scorecard": card(EVIL, 0.43),
        },
        "choice": {"pick": EVIL, "balanced_log_loss": {EVIL: 0.44, "linear": 0.45}, "refused": {"dnn": EVIL}},
        "confidence": 0.95,
        "info": {"source": EVIL, "currency": EVIL, "ladder": [0.8, 1.0, 1.2], "fallback": 1.0, "assumptions": [EVIL],
                 "propensity_logged": True},
        "baselines": {"bounds": None, "policies": {
            "list_price": card("list_price", 0.5),
            "logged": {"profit_per_1000": 2600.0, "profit_low": 2500.0, "profit_high": 2700.0},
        }},
        "cards": cards,
        "overlap": {
            "propensity_logged": True,
            "rungs": [{"multiplier": m, "share": 1 / 3, "unsupported": u, "effective_sample_size": 1000.0}
                      for m, u in ((0.8, 0.0), (1.0, 0.0), (1.2, 0.9))],
            "balance": {"largest_before": 0.1, "largest_after": 0.05, "beyond_chance": 0.03, "worst": [
                {"column": EVIL, "multiplier": 0.8, "before": 0.1, "after": 0.05, "by_chance": 0.06}]},
            "findings": [{"verdict": "FAIL", "reason": EVIL}],
        },
        "plots": {"calibration": [{"predicted": 0.1, "observed": 0.12, "rows": 200}], "demand": rows,
                  "price_change": [{"middle": -0.1, "share": 0.7}, {"middle": 0.0, "share": 0.3}]},
    }  # fmt: skip


class Reading(HTMLParser):
    """What a browser would see: tags, attributes' values, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, and anything that it would fetch or run."""
        self.tags.append(tag)
        self.links += [v or "" for n, v in attrs if n in ("src", "href") or n.startswith("on")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        assert tag == self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data


def test_any_name_is_shown_as_it_is() -> None:
    """Sources, currencies, columns, candidates and reasons may hold tags, quotes and Chinese: text, never markup."""
    found = Reading(report.page(facts()))
    assert "script" not in found.tags
    assert found.text.count('alert("1")') >= 8
    assert "国家" in found.text
    assert [] == found.open


def test_the_page_needs_nothing_else() -> None:
    """No network, no script, no file: nothing is fetched or run."""
    page = report.page(facts())
    assert [] == Reading(page).links
    assert not re.search(r"@import|url\(|https?://", page)


@pytest.mark.parametrize("verdict", ["promote", "canary", "review", "reject"])
def test_the_verdict_comes_first_in_plain_words(verdict: str) -> None:
    """Before any table; with what stands in the way, if anything does: one reason of two checks is told once."""
    told, why = facts(verdict), f"Two offers are too few {EVIL}"
    told["champion"]["checks"] = [{"name": n, "verdict": verdict, "reason": why} for n in ("profit", "personal")]
    text = Reading(report.page(told)).text
    first = text[: text.index("What was checked")]
    assert wording.VERDICTS[verdict][0] in first
    assert int(verdict != "promote") == first.count(why)
    asked = "Earnings against what prices now, earnings against one price for all:"
    assert (verdict != "promote") == (asked in first)


def test_windows_drawn_at_random_are_not_later() -> None:
    """Without times nothing is told to be later or earlier; with them it is."""
    timed, drawn = facts(), facts()
    drawn["info"]["timed"] = False
    assert "later offers" in report.page(timed)
    page = report.page(drawn)
    assert "offers, set aside at random," in page
    assert not re.search("later offers|earlier offers", page)


def test_without_list_prices_the_page_speaks_of_prices() -> None:
    """Axes, rivals, price changes and what is not known: prices, and no list price anywhere."""
    told = facts(fallback=59.0, single=39.0, listed=False)
    told["info"] |= {"listed": False, "fallback": 59.0, "ladder": [39.0, 59.0, 99.0]}
    told["plots"]["price_change"] = [{"middle": 39 / 59 - 1, "share": 1.0}]
    page = report.page(told)
    assert "list price" not in page
    for text in (
        "the usual price (59)",
        "the best single price (39)",
        "<td>39</td><td>−34 %</td>",
        "below 39 or above",
    ):
        assert text in page


def test_empty_tables_are_a_sentence() -> None:
    """Nothing forbidden, one price for all, one segment, no gain to share, no column: a sentence for each."""
    told = facts()
    told["champion"]["scorecard"]["guardrails"] = {"none": 1.0}
    told["overlap"]["balance"]["worst"] = []
    card = told["cards"][EVIL]
    for row in card["frontier"]:
        row["kept"] = None
    text = Reading(report.page(told)).text
    for sentence in (
        "No guardrail forbade", "no share of it can be told", "no column by which shoppers", "No simple rule tells",
    ):  # fmt: skip
        assert sentence in text, sentence
    assert "gain left" not in text
    card |= {"share_cheaper": 0.0, "share_dearer": 0.0}
    assert "Nobody: all 4,000 offers are quoted the list price." in Reading(report.page(told)).text


def test_every_part_is_there() -> None:
    """The headings that a manager looks for, and the certified lower bound in its place."""
    text = Reading(report.page(facts())).text
    for part in (
        "What it would have earned", "What was tried", "How demand falls", "Who pays less, who more",
        "Other ways to use the same model", "What guardrails forbid", "Can the model be believed?",
        "Which prices were shown to whom", "What is not known",
    ):  # fmt: skip
        assert part in text, part
    assert "at least +20 with 95 % confidence" in text
    assert "at least −100 with 95 % confidence" in text
    assert "87 %" in text
    assert "+345" in text


def test_what_does_not_exist_is_not_invented() -> None:
    """Without a truth there are no such columns; an estimator without a number has no row; no modes, no section."""
    bare = facts()
    text = Reading(report.page(bare)).text
    assert "possible gain" not in text
    assert "self-normalised" not in text
    assert "None" not in text
    assert "nan" not in text
    for key in ("modes", "frontier", "segments"):
        del bare["cards"][EVIL][key]
    shorter = Reading(report.page(bare)).text
    assert "Other ways" not in shorter
    assert "What is not known" in shorter


def test_a_truth_is_shown_where_there_is_one() -> None:
    """Its columns, and a diamond in the pictures."""
    known = facts()
    known["baselines"]["bounds"] = {"perfect_per_1000": 3000.0, "best_single_per_1000": 2700.0}
    known["cards"][EVIL] |= {"true_profit_per_1000": 2777.0, "share_of_gain": 0.257}
    page = report.page(known)
    assert "2,777" in page
    assert "26 %" in page
    assert page.count('class="truth"') == 1 + report.page(facts()).count('class="truth"')


def test_numbers_below_nought_have_a_minus_sign_everywhere() -> None:
    """The gate's reasons, amounts, large ones too, and differences between groups: no hyphen before a digit."""
    told = facts(gain={"lower": -0.159}, personal={"lower": -2.345})
    reason = gate.Check("profit", "reject", f"{wording.number(-159, '+.1f')} per 1,000 offers")
    told["champion"]["checks"] = [vars(reason)]
    told["champion"]["metrics"] = {name: gain(-1234.0) for name in told["champion"]["metrics"]}
    told["overlap"] |= {"slope": {"estimate": -0.5, "standard_error": 0.1, "z": -5.0}}
    told["overlap"]["balance"]["worst"][0] |= {"before": -0.1, "after": -0.05}
    lost = {"profit_per_1000": -159.0, "profit_low": -1600.0, "profit_high": -1.5, "claimed_per_1000": -150.0}
    told["cards"][EVIL] |= lost
    told["champion"]["scorecard"] |= lost | {"price_sensitivity": {"p25": 0.1, "p50": 0.2, "p75": 0.3}}
    text = Reading(report.page(told)).text.replace(EVIL, "")
    assert [] == re.findall(r"(?<![\w-])-\d\S*", text)
    for shown in ("−159", "−1,600", "−1,234", "−2,345", "−0.10", "z = −5.0"):
        assert shown in text


def test_the_likeliest_contender_is_first_and_only_the_pick_is_marked() -> None:
    """Baselines stand before them, whatever their likelihood, and promise nothing."""
    found = report.tried(facts())
    assert ["the list price for everybody", "prices as they were", EVIL, "linear"] == [f["name"] for f in found]
    assert [False, False, True, False] == [f["picked"] for f in found]
    assert [False, False, True, True] == [f["contender"] for f in found]


def test_leads_are_per_thousand_offers() -> None:
    """Facts hold money per offer; the page speaks of 1,000."""
    found = report.certified(facts()["champion"])
    assert [20.0, -100.0] == [g["lower"] for g in found["gains"]]
    assert [120.0, 345.0] == [pytest.approx(s["per_1000"]) for s in found["sensitivity"]]


def test_what_is_not_known_names_the_gaps() -> None:
    """Assumptions, prices hardly shown, guessed propensities, and how many have looked."""
    plain = " ".join(report.unknown(facts()))
    assert EVIL in plain
    assert "Prices of 1.2 times the list price were hardly shown" in plain
    assert "Observational" not in plain
    assert "challengers have been tried" not in plain
    more = " ".join(report.unknown(facts(observational=True, challengers=3)))
    assert "Observational" in more
    assert "3 challengers have been tried" in more


def test_the_page_does_not_change_its_facts() -> None:
    """And the same facts give the same page."""
    told = facts()
    before = copy.deepcopy(told)
    assert report.page(told) == report.page(told)
    assert before == told


def test_it_is_written_from_the_files_of_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps in a plot's table stay gaps."""
    monkeypatch.chdir(tmp_path)
    told = facts()
    told["champion"]["pick"] = "linear"
    told["choice"]["balanced_log_loss"] = {"linear": 0.45}
    for path, values in {
        "models/choice.json": told["choice"], "data/offers/offers.json": told["info"],
        "models/scorecards/baselines.json": told["baselines"], "models/scorecards/linear.json": told["cards"]["linear"],
        "models/overlap/report.json": told["overlap"],
    }.items():  # fmt: skip
        write_json(Path(path), values)
    import pandas as pd

    Path("models/plots/linear").mkdir(parents=True)
    for name, rows in told["plots"].items():
        pd.DataFrame(rows).to_csv(f"models/plots/linear/{name}.csv", index=False)
    found = report.gather(told["champion"], 0.9)
    assert [None, None] == [found["plots"]["demand"][2]["observed"], found["plots"]["demand"][5]["observed"]]
    report.write(Path("models/report.html"), told["champion"], 0.9)
    text = Path("models/report.html").read_text(encoding="utf-8")
    assert "misses the truth in about 10 %" in text
    assert read_json(Path("models/choice.json")) == told["choice"]


def test_a_policy_that_was_no_contender_has_a_page_too() -> None:
    """Without plots and without a scorecard of its own; what was certified is shown."""
    told = facts()
    del told["cards"][EVIL]
    told["plots"] = {name: [] for name in report.PLOTS}
    text = Reading(report.page(told)).text
    assert "at least +20 with 95 % confidence" in text
    assert "How demand falls" not in text


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        ("1,234", wording.money(1234.4)), ("12.3", wording.money(12.34)), ("0", wording.money(-0.001)),
        ("–", wording.money(None)), ("+5", wording.signed(5.0)), ("−5", wording.signed(-5.0)),
        ("0", wording.signed(0.0)), ("the usual price (99)", wording.usual(99.0, False)),
        ("the usual price (0.9 times the list price)", wording.usual(0.9)), ("the list price", wording.usual(1.0)),
        ("the usual price (1)", wording.usual(1.0, False)),
        ("−12 %", wording.percent(-0.123)), ("–", wording.percent(None)), ("as usual", wording.moved(0.0)),
        ("+10 %", wording.moved(0.1)), ("−7.7 %", wording.changed(-0.0771)),
    ],
)  # fmt: skip
def test_numbers_are_for_reading(expected: str, shown: str) -> None:
    """Real minus signs, no false digits, a dash for nothing."""
    assert expected == shown


def test_an_interval_lies_where_its_numbers_say() -> None:
    """On a scale from 0 to 100 that is 200 wide; what is outside is cut."""
    found = span(25.0, 50.0, 75.0, Scale(0.0, 100.0))
    assert 'class="reach" x="50.0" y="6" width="100.0"' in found
    assert 'class="mid" x="98.5"' in found
    assert "truth" not in found
    assert "zero" not in found
    assert "zero" in span(-25.0, 0.0, 25.0, Scale(-50.0, 50.0), truth=900.0)


def test_bars_stay_in_their_box() -> None:
    """Below nought and above one they are cut, and nothing is an empty bar."""
    for share, width in ((-0.5, "0.0"), (0.5, "50.0"), (7.0, "100.0"), (None, "0.0")):
        assert f'width="{width}" height="10"/></svg>' in bar(share)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.7, 1.3), (40.0, 500.0), (-3.0, 1e-3), (1e5, 1.2e5)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    """Three to nine of them, inside the scale, evenly spaced."""
    found = round_numbers(Scale(low, high))
    assert 3 <= len(found) <= 9
    assert low - 1e-9 <= found[0] < found[-1] <= high + 1e-9
    np.testing.assert_allclose(np.diff(found), found[1] - found[0])


def test_a_scale_always_has_a_length() -> None:
    """One value, none, or unknown ones."""
    for values in ([5.0], [], [None, float("nan")], [0.0], [-2.0, -2.0]):
        scale = Scale.over(values)
        assert scale.low < scale.high
        assert 0 <= scale.at(5.0) <= 1


def test_a_plot_escapes_its_words() -> None:
    """Titles and axes are text."""
    found = plot(EVIL, [Series(((0.5, 0.5),), dots=True, weights=(0.0,))], Scale(0, 1), Scale(0, 1), (EVIL, EVIL))
    assert "<script>" not in found
    assert 4 == found.count("&lt;script&gt;")
