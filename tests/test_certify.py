"""certify opens the last window for the pick alone, once, and says what was shown there and who may price."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipelines import certify, gate, ledger
from pipelines.errors import InputError
from pipelines.files import digest, read_json, read_table, write_json
from pipelines.manifest import GRAPH, Manifest
from pipelines.window import TRUTH
from tests.policies import tiny_policy
from tests.worlds import config, enter_shop

CHAMPION, CERTIFY = Path("models/champion.json"), Path("data/offers/certify.parquet")
INCUMBENT = Path("models/incumbent/pricing")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def judged() -> dict[str, Any]:
    """Return what certify writes of the challenger that is there now."""
    certify.main(config())
    found: dict[str, Any] = read_json(CHAMPION)
    return found


def verdict_of(found: dict[str, Any], name: str) -> str:
    """Return what one check says."""
    return next(str(c["verdict"]) for c in found["checks"] if c["name"] == name)


def promoted(name: str = "old one", **terms: Any) -> None:
    """Let the list-price policy price under another name, as an incumbent with other guardrails where given."""
    shutil.copytree("models/baselines/list_price", INCUMBENT)
    values = json.loads((INCUMBENT / "policy.json").read_text(encoding="utf-8"))
    values["terms"]["guardrails"] |= terms
    write_json(INCUMBENT / "policy.json", values | {"name": name})


def test_the_verdict_rests_on_the_facts_that_are_written(shop: Path) -> None:
    """champion.json has verdict, reason, checks and facts, of the very graph that is the challenger."""
    found = read_json(CHAMPION)
    assert ("linear", "list_price") == (found["pick"], found["incumbent"])
    assert digest(Path("models") / GRAPH) == found["graph_sha256"] == Manifest.read(Path("models")).graph_sha256
    assert found["verdict"] == gate.verdict([gate.Check(**c) for c in found["checks"]])
    facts = found["facts"]
    assert (800, 1, 0.95, 1.0) == tuple(facts[k] for k in ("offers", "challengers", "level", "fallback"))
    assert ("linear", "list_price", False) == tuple(facts[k] for k in ("challenger", "champion", "prices_already"))
    bought = read_table(CERTIFY)["bought"]
    assert bought.mean() == facts["purchase_rate"]
    assert 800 == found["scorecard"]["offers"]
    assert facts["single"] == read_json(Path("models/baselines/single.json"))["multiplier"]


def test_the_bound_is_one_sided_and_of_the_paired_difference(shop: Path) -> None:
    """It lies above the lower end of the two-sided interval of the same lead."""
    found = read_json(CHAMPION)
    for fact, metric in (("gain", "gain_over_champion"), ("personal", "gain_over_single")):
        lead, wide = found["facts"][fact], found["metrics"][metric]
        assert wide["per_1000"] == pytest.approx(1000 * lead["mean"])
        assert wide["low"] < 1000 * lead["lower"] < wide["per_1000"]
    assert found["sensitivity"]["doubly_robust"]["mean"] == pytest.approx(found["facts"]["gain"]["mean"])


def test_the_same_challenger_opens_the_window_once(shop: Path) -> None:
    """Judged again, its graph is no new look, and nothing of the verdict changes."""
    before = CHAMPION.read_bytes()
    assert 1 == judged()["facts"]["challengers"]
    assert before == CHAMPION.read_bytes()
    assert ["linear"] == [o.name for o in ledger.openings(ledger.LEDGER)]


def test_a_second_challenger_must_show_more(shop: Path) -> None:
    """Each further graph that opens the window raises the level of the bounds; another window begins anew."""
    before, window = read_json(CHAMPION)["facts"], certify.looked_at()
    ledger.opened(ledger.LEDGER, window, "another graph", "other")
    after = judged()["facts"]
    assert (2, 0.975) == (after["challengers"], after["level"])
    assert after["gain"]["lower"] < before["gain"]["lower"]
    assert after["gain"]["mean"] == before["gain"]["mean"]
    read_table(CERTIFY)[:-1].to_parquet(CERTIFY)
    assert 1 == judged()["facts"]["challengers"]


def test_the_window_is_counted_before_it_is_read(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks off after looking has looked."""
    shutil.copy("models/baselines/list_price/policy.onnx", "models/policy.onnx")
    shutil.copy("models/baselines/list_price/policy.json", "models/policy.json")

    def breaks(*_: Any) -> None:
        raise RuntimeError("the power went out")

    monkeypatch.setattr(certify, "read_certify", breaks)
    with pytest.raises(RuntimeError, match="power"):
        certify.main(config())
    assert ["linear", "list_price"] == [o.name for o in ledger.openings(ledger.LEDGER)]


def test_the_incumbent_is_the_promoted_policy(shop: Path) -> None:
    """What `promote` wrote for this source's model is the rival, by its name in the reasons; else the list price."""
    tiny_policy(Path("models/incumbent/pricing-offers"), name="other shop")
    assert certify.LIST_PRICE == certify.incumbent_folder("pricing")
    before = read_json(CHAMPION)
    promoted()
    assert INCUMBENT == certify.incumbent_folder("pricing")
    found = judged()
    assert ("old one", "old one") == (found["incumbent"], found["facts"]["champion"])
    assert "against old one" in next(c["reason"] for c in found["checks"] if "profit" == c["name"])
    assert before["facts"]["gain"] == found["facts"]["gain"]  # for it quotes the list price, too


def test_the_incumbent_may_be_the_pick_already(shop: Path) -> None:
    """It is then judged against the list price, not against itself, and the reason says so."""
    before = read_json(CHAMPION)
    shutil.copytree("models/candidates/linear", INCUMBENT)
    found = judged()
    assert found["reason"].startswith("linear prices already; ")
    assert ("linear", "linear", True) == (found["pick"], found["incumbent"], found["facts"]["prices_already"])
    assert before["metrics"] == found["metrics"]
    assert before["checks"] == found["checks"]


def test_the_same_prices_are_no_gain(shop: Path) -> None:
    """A challenger that quotes what the champion quotes is rejected, however sure its value is."""
    shutil.copytree("models/candidates/linear", INCUMBENT, ignore=shutil.ignore_patterns("trial", "demand"))
    proto = onnx.load(INCUMBENT / GRAPH)
    proto.doc_string = "other bytes, the same prices"
    onnx.save(proto, INCUMBENT / GRAPH)
    values = json.loads((INCUMBENT / "policy.json").read_text(encoding="utf-8"))
    write_json(INCUMBENT / "policy.json", values | {"name": "old one", "graph_sha256": digest(INCUMBENT / GRAPH)})
    found = judged()
    assert "reject" == found["verdict"] == verdict_of(found, "profit")
    assert "same prices as old one" in found["reason"]


def test_an_incumbent_under_other_guardrails_is_a_matter_for_a_person(shop: Path) -> None:
    """It earned under rules that are no longer in force, so it fails no challenger, and the verdict says so."""
    promoted(largest_cut=0.5)
    found = judged()
    assert "review" == verdict_of(found, "guardrails")
    assert "reject" != verdict_of(found, "profit")


@pytest.mark.parametrize(("anchored", "expected"), [(False, True), (True, False)])
def test_prices_that_nobody_drew_need_a_person(shop: Path, anchored: bool, expected: bool) -> None:
    """Without logged propensities the verdict is review, unless offers flagged as randomised anchor the comparison."""
    path = Path("data/offers/offers.json")
    write_json(path, read_json(path) | {"propensity_logged": False, "anchored": anchored})
    if anchored:
        for name in ("fit", "select", "certify"):
            table = read_table(Path(f"data/offers/{name}.parquet")).assign(randomised=1.0)
            table.to_parquet(f"data/offers/{name}.parquet")
    found = judged()
    assert expected == found["facts"]["observational"]
    assert expected == ("review" == verdict_of(found, "propensities"))
    if expected:
        assert found["verdict"] in ("review", "reject")
        assert "review" == verdict_of(found, "profit")


def test_demand_that_seems_to_rise_with_the_price_is_rejected(shop: Path) -> None:
    """Whatever the challenger earned, where the log's slope has the wrong sign something else moved the price."""
    path = Path("models/overlap/report.json")
    write_json(path, read_json(path) | {"slope": {"estimate": 0.9, "standard_error": 0.1, "z": 9.0}})
    found = judged()
    assert ("reject", "reject") == (found["verdict"], verdict_of(found, "slope"))
    assert "demand seems to rise with the price" in found["reason"]


def test_what_could_not_be_measured_needs_a_person(shop: Path) -> None:
    """Without a slope or a placebo the checks say so, and the file holds None."""
    path = Path("models/overlap/report.json")
    write_json(path, read_json(path) | {"slope": None, "placebo": None})
    found = judged()
    assert (None, None) == (found["facts"]["slope"], found["facts"]["placebo"])
    assert ["review", "review"] == [verdict_of(found, name) for name in ("slope", "placebo")]


def test_the_truth_gives_nothing_but_true_values(shop: Path) -> None:
    """Without data/truth/ the verdict, its facts and its checks are the same, and true values are None."""
    before = read_json(CHAMPION)
    assert before["metrics"]["gain_over_champion"]["true_per_1000"] is not None
    TRUTH.unlink()
    after = judged()
    for part in ("verdict", "reason", "checks", "facts", "sensitivity"):
        assert before[part] == after[part], part
    assert after["bounds"] is None
    assert {None} == {gain["true_per_1000"] for gain in after["metrics"].values()}
    assert after["scorecard"]["true_profit_per_1000"] is None


def test_a_claim_decides_nothing(shop: Path) -> None:
    """What the challenger's own model promises is on the scorecard, and no fact of the gate."""
    found = read_json(CHAMPION)
    assert found["scorecard"]["claimed_per_1000"] > 0
    assert not any("claim" in name or "optimism" in name for name in found["facts"])


def test_other_outcomes_give_another_verdict(shop: Path) -> None:
    """Where only what the list price asked was bought, the challenger's gain is gone and it is rejected."""
    table = read_table(CERTIFY)
    table.assign(bought=(table["rung"] == 2).astype(np.int64)).to_parquet(CERTIFY)
    found = judged()
    assert "reject" == found["verdict"]
    assert found["facts"]["gain"]["mean"] < 0


def test_an_exchanged_graph_is_refused_before_the_window_is_opened(shop: Path) -> None:
    """Nothing is counted and nothing written for a graph that its manifest does not know."""
    before = CHAMPION.read_bytes(), ledger.LEDGER.read_bytes()
    (Path("models") / GRAPH).write_bytes(b"another")
    with pytest.raises(InputError, match="is not the graph of"):
        certify.main(config())
    assert before == (CHAMPION.read_bytes(), ledger.LEDGER.read_bytes())


def test_numbers_without_a_word_in_json_are_none() -> None:
    """Infinite and undefined ones, however deep."""
    values = {"needed": float("inf"), "z": (1.0, float("nan")), "name": "x"}
    assert {"needed": None, "z": [1.0, None], "name": "x"} == certify.finite(values)


def test_another_column_is_no_new_window(shop: Path) -> None:
    """What a look reveals are outcomes: a feature more or less does not make them unseen."""
    before = certify.looked_at()
    read_table(CERTIFY).assign(another=1.0).to_parquet(CERTIFY)
    assert before == certify.looked_at()
    table = read_table(CERTIFY)
    table.assign(bought=1 - table["bought"]).to_parquet(CERTIFY)
    assert before != certify.looked_at()
