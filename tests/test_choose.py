"""The verdict: every check can refuse and can pass, the worst decides, and likelihood picks the challenger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines import choose
from pipelines.choose import Check, checks, overall, pick, sentence
from pipelines.config import Gate
from pipelines.errors import InputError
from pipelines.files import digest, read_json, write_json
from pipelines.manifest import Manifest
from tests.policies import tiny_policy
from tests.worlds import config, enter_shop

GATE = Gate(confidence=0.95, calibration_error=0.1, effective_sample_size=300.0)
BASE_RATE = 0.2


def card(**changes) -> dict:
    """Return a scorecard that passes every check."""
    values = {
        "name": "gbm", "agreement": {"passed": True, "same_price": 1.0}, "valid_log_loss": 0.5, "offers": 1000,
        "calibration_error": 0.01, "effective_sample_size": 400.0, "price_sensitivity": {"p50": -2.0},
        "observational": False, "profit_per_1000": 100.0, "graph_sha256": "g",
        "mean_weight": {"mean": 1.01, "low": 0.97, "high": 1.05},
    }  # fmt: skip
    return values | changes


def gain(mean: float, error: float = 1.0) -> dict:
    """Return a difference in profit with its interval."""
    return {"per_1000": mean, "low": mean - 2 * error, "high": mean + 2 * error, "standard_error": error}


def verdicts(against: float = 5.0, error: float = 1.0, single: float = 3.0, **changes) -> dict[str, str]:
    """Return check -> verdict of a scorecard."""
    gains = {"incumbent": gain(against, error), "single": gain(single)}
    return {c.name: c.verdict for c in checks(card(**changes), gains, "list_price", GATE, BASE_RATE)}


GOOD = verdicts()


def test_a_good_challenger_passes_every_check() -> None:
    """The fixture that every refusal below differs from in one thing."""
    assert {"PASS"} == set(GOOD.values())
    assert {
        "graph", "calibration", "price effect", "evidence", "propensities", "overlap", "profit", "personal"
    } == set(GOOD)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "verdict", "changes"),
    [
        ("calibration", "REVIEW", {"calibration_error": 0.021}),
        ("price effect", "REVIEW", {"price_sensitivity": {"p50": -0.01}}),
        ("price effect", "REVIEW", {"price_sensitivity": {"p50": 0.4}}),
        ("overlap", "REVIEW", {"mean_weight": {"mean": 0.49, "low": 0.45, "high": 0.53}}),
        ("overlap", "REVIEW", {"mean_weight": {"mean": 1.2, "low": 1.1, "high": 1.3}}),
        ("evidence", "FAIL", {"effective_sample_size": 299.0}),
        ("profit", "FAIL", {"against": 1.0}),
        ("profit", "FAIL", {"against": 0.0}),
        ("profit", "FAIL", {"against": -5.0}),
        ("personal", "REVIEW", {"single": 0.0}),
        ("personal", "REVIEW", {"single": -3.0}),
    ],
)
def test_a_check_refuses_what_it_is_there_for(check: str, verdict: str, changes: dict) -> None:
    """One thing is wrong, and one check says so."""
    assert GOOD | {check: verdict} == verdicts(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean_weight": {"mean": 0.8, "low": 0.5, "high": 1.1}},
        {"calibration_error": 0.0199},
        {"effective_sample_size": 300.0},
        {"against": 2.01},
        {"single": 0.1},
    ],
)
def test_a_check_passes_what_is_just_good_enough(changes: dict) -> None:
    """On the right side of each bound, everything passes."""
    assert GOOD == verdicts(**changes)


@pytest.mark.parametrize("changes", [{}, {"against": -5.0}, {"against": 1.0}, {"effective_sample_size": 3.0}])
def test_prices_that_were_not_randomised_need_a_person(changes: dict) -> None:
    """Observational values neither prove a gain nor its absence: REVIEW, always."""
    gains = {"incumbent": gain(changes.pop("against", 5.0)), "single": gain(3.0)}
    found = checks(card(observational=True, **changes), gains, "list_price", GATE, BASE_RATE)
    assert "REVIEW" == overall(found)
    assert {"REVIEW"} == {c.verdict for c in found if c.name in ("propensities", "profit")}


def test_the_reasons_say_what_was_measured() -> None:
    """Numbers, bounds, the rival, and how many offers a gain of this size would take."""
    found = {c.name: c.reason for c in checks(
        card(calibration_error=0.5), {"incumbent": gain(1.0), "single": gain(3.0)}, "old", GATE, BASE_RATE
    )}  # fmt: skip
    assert "off by 0.5000 on average, 0.0200 is allowed" in found["calibration"]
    assert "+1.0 per 1,000 offers against old, interval -1.0 to +3.0" in found["profit"]
    assert (
        "not enough evidence; such a gain would show in about 7,849 test offers, 6,849 more than now" in found["profit"]
    )
    assert "+3.0 per 1,000 offers against the best single multiplier" in found["personal"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["PASS", "PASS"], "PASS"),
        (["PASS", "REVIEW", "PASS"], "REVIEW"),
        (["REVIEW", "FAIL", "PASS"], "FAIL"),
        (["FAIL"], "FAIL"),
    ],
)
def test_the_worst_verdict_decides(found: list[str], expected: str) -> None:
    """FAIL before REVIEW before PASS."""
    assert expected == overall([Check("a", v, "") for v in found])


def test_the_sentence_says_who_stays_and_why() -> None:
    """It holds the reasons of the worst verdict and no others."""
    found = [Check("profit", "PASS", "more"), Check("calibration", "REVIEW", "off"), Check("evidence", "FAIL", "few")]
    assert "old stays; new may not replace it: evidence: few" == sentence("FAIL", "new", "old", found)
    assert "old stays; new needs a person's decision: calibration: off" == sentence("REVIEW", "new", "old", found[:2])
    assert "new may replace old: more" == sentence("PASS", "new", "old", found[:1])


def test_likelihood_picks_not_promised_profit() -> None:
    """The candidate with the highest profit has a worse likelihood, and is not picked."""
    cards = {
        "rich": card(valid_log_loss=0.6, profit_per_1000=900.0),
        "likely": card(valid_log_loss=0.5, profit_per_1000=100.0),
    }
    assert "likely" == pick(cards)
    assert "likely" == pick(dict(reversed(cards.items())))


def test_a_graph_that_disagrees_is_never_picked() -> None:
    """However likely its Python model is; and if all disagree, that is one clear error."""
    lying = card(valid_log_loss=0.1, agreement={"passed": False, "same_price": 0.5})
    assert "honest" == pick({"lying": lying, "honest": card(valid_log_loss=0.9)})
    with pytest.raises(InputError, match=r"no candidate's graph agrees .* see check\.mismatches in models/candidates"):
        pick({"a": lying, "b": lying})


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def test_the_challenger_is_the_picked_graph(shop: Path) -> None:
    """champion.json has verdict, reason and checks, and models/policy.* are the candidate's own files."""
    choose.main(config())
    found = read_json(Path("models/champion.json"))
    assert ("linear", "list_price", {}) == (found["pick"], found["incumbent"], found["refused"])
    assert found["verdict"] == overall([Check(**c) for c in found["checks"]])
    assert found["graph_sha256"] == digest(Path("models/policy.onnx"))
    assert Manifest.read(Path("models")) == Manifest.read(Path("models/candidates/linear"))
    gains = found["metrics"]["gain_over_incumbent"]
    assert gains["low"] < gains["per_1000"] < gains["high"]


def test_the_gain_is_that_of_the_scorecard(shop: Path) -> None:
    """Against the list-price incumbent, choose and evaluate estimate the same difference."""
    card_ = read_json(Path("models/scorecards/linear.json"))
    found = read_json(Path("models/champion.json"))["metrics"]["gain_over_incumbent"]
    assert card_["gain_over_list_price"] == pytest.approx(found)


def test_a_refused_candidate_is_named(shop: Path) -> None:
    """Its scorecard says that the graph disagrees; another is picked, and champion.json says why."""
    found = read_json(Path("models/scorecards/linear.json"))
    lying = found | {"name": "gbm", "valid_log_loss": 0.0, "agreement": {**found["agreement"], "passed": False}}
    write_json(Path("models/scorecards/gbm.json"), lying)
    choose.main(config(candidates=("gbm", "linear")))
    champion = read_json(Path("models/champion.json"))
    assert "linear" == champion["pick"]
    assert "models/candidates/gbm/policy.json" in champion["refused"]["gbm"]


def test_where_none_may_serve_nothing_is_written(shop: Path) -> None:
    """The old challenger stays as it was."""
    before = {p.name: p.read_bytes() for p in Path("models").glob("*.*")}
    found = read_json(Path("models/scorecards/linear.json"))
    write_json(Path("models/scorecards/linear.json"), found | {"agreement": {**found["agreement"], "passed": False}})
    with pytest.raises(InputError, match="none may serve"):
        choose.main(config())
    assert before == {p.name: p.read_bytes() for p in Path("models").glob("*.*")}


def test_the_incumbent_is_the_promoted_policy(shop: Path) -> None:
    """What `promote` wrote for this source's model is the rival, and its name is in the reasons."""
    tiny_policy(Path("models/incumbent/pricing-offers"), name="other shop")
    assert Path("models/baselines/list_price") == choose.incumbent_folder("pricing")
    shutil.copytree("models/baselines/list_price", "models/incumbent/pricing")
    values = json.loads(Path("models/incumbent/pricing/policy.json").read_text(encoding="utf-8"))
    write_json(Path("models/incumbent/pricing/policy.json"), values | {"name": "old one"})
    choose.main(config())
    found = read_json(Path("models/champion.json"))
    assert "old one" == found["incumbent"]
    assert "against old one" in next(c["reason"] for c in found["checks"] if "profit" == c["name"])


def test_the_incumbent_may_be_the_pick_already(shop: Path) -> None:
    """It is then judged against the list price, not against itself, and the reason says so."""
    before = read_json(Path("models/champion.json"))
    shutil.copytree("models/candidates/linear", "models/incumbent/pricing")
    choose.main(config())
    found = read_json(Path("models/champion.json"))
    assert found["reason"].startswith("linear prices already; ")
    assert ("linear", "linear") == (found["pick"], found["incumbent"])
    assert before["metrics"] == found["metrics"]
    assert before["checks"] == found["checks"]


def test_an_incumbent_under_other_guardrails_is_a_matter_for_a_person(shop: Path) -> None:
    """It earned under rules that are no longer in force, so it fails no challenger, and the verdict says so."""
    shutil.copytree("models/candidates/linear", "models/incumbent/pricing")
    path = Path("models/incumbent/pricing/policy.json")
    values = json.loads(path.read_text(encoding="utf-8"))
    values["terms"]["guardrails"]["largest_cut"] = 0.5
    write_json(path, values | {"name": "old one"})
    choose.main(config())
    found = {c["name"]: c["verdict"] for c in read_json(Path("models/champion.json"))["checks"]}
    assert "REVIEW" == found["guardrails"]
    assert "FAIL" != found["profit"]


def test_a_missing_scorecard_is_named(shop: Path) -> None:
    """Which file, and which command makes it."""
    Path("models/scorecards/linear.json").unlink()
    with pytest.raises(InputError, match=r"linear\.json is missing: run `dvc repro`"):
        choose.main(config())
