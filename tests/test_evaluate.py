"""evaluate measures a candidate's trial, as a policy on the select window, and logs what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import evaluate, scorecard
from pipelines.candidates import load_demand
from pipelines.demand import probability
from pipelines.errors import InputError
from pipelines.files import digest_folder, read_json, read_table
from pipelines.manifest import GRAPH, Manifest
from pipelines.window import TRUTH
from tests.worlds import candidate, config, enter_shop, without_mlflow

CARD, PLOTS = Path("models/scorecards/linear.json"), Path("models/plots/linear")


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """A folder in which all stages have run, and what MLflow would be given."""
    enter_shop(tmp_path, monkeypatch)
    return without_mlflow(monkeypatch)


def test_the_scorecard_names_the_exported_graph(logged: list) -> None:
    """Its digest, the name, and the check of the export are on it: by these `choose` knows what may serve."""
    manifest, card = Manifest.read(Path("models/candidates/linear")), read_json(CARD)
    assert (manifest.graph_sha256, manifest.data_sha256, "linear") == (
        card["graph_sha256"], card["data_sha256"], card["name"],
    )  # fmt: skip
    assert {k: manifest.check[k] for k in card["agreement"]} == card["agreement"]


def test_scorecard_and_plots_go_to_the_run_of_the_trained_candidate(logged: list) -> None:
    """The run is found by data and model, and gets the very card and folder that were written."""
    evaluate.main(config())
    about, what = logged
    manifest = Manifest.read(Path("models/candidates/linear"))
    expected = ("linear", manifest.data_sha256, digest_folder(Path("models/candidates/linear/demand")))
    assert expected == about[1:]
    assert (read_json(CARD), PLOTS) == what


def test_evaluating_again_changes_nothing_but_the_time(logged: list) -> None:
    """Same graph, same window, same numbers."""
    before = read_json(CARD)
    evaluate.main(config())
    after = read_json(CARD)
    assert before.pop("quote_microseconds") > 0 < after.pop("quote_microseconds")
    assert before == after


def test_likelihood_for_the_pick_is_of_the_trial_on_select(logged: list) -> None:
    """Balanced over the rungs, of the demand that learned on the fit window alone."""
    select = read_table(Path("data/offers/select.parquet"))
    curves = probability(load_demand(Path("models/candidates/linear/trial")), select)
    q = curves[np.arange(len(select)), select["rung"]]
    expected = scorecard.balanced_log_loss(select["bought"].to_numpy(), q, select["propensity"].to_numpy())
    assert expected == pytest.approx(read_json(CARD)["balanced_log_loss"])


def test_what_is_exported_is_not_what_is_judged(logged: list) -> None:
    """Another settled demand changes no number of the scorecard; another trial does."""
    before, folder = read_json(CARD), Path("models/candidates/linear")
    bent = candidate(read_table(Path("data/offers/fit.parquet")), bend=4.0)
    for part, same in (("demand", True), ("trial", False)):
        bent.save(folder / part)
        evaluate.main(config())
        after = read_json(CARD)
        assert same == all(before[k] == after[k] for k in ("log_loss", "profit_per_1000", "claimed_per_1000")), part


def test_evaluate_never_opens_the_certify_window(logged: list) -> None:
    """Without it, the same scorecard comes out, on the offers of select."""
    before = read_json(CARD)
    Path("data/offers/certify.parquet").unlink()
    evaluate.main(config())
    assert before | {"quote_microseconds": 0} == read_json(CARD) | {"quote_microseconds": 0}
    assert 400 == before["offers"]


def test_what_the_model_claims_stands_beside_what_it_earns(logged: list) -> None:
    """The optimism is the difference, whatever its sign."""
    card = read_json(CARD)
    assert card["claimed_per_1000"] - card["profit_per_1000"] == pytest.approx(card["optimism"])


def without_truth(found: Any) -> Any:
    """Return nested values without those that only the truth gives: true values, shares, what is kept of a gain."""
    if isinstance(found, list):
        return [without_truth(v) for v in found]
    if not isinstance(found, dict):
        return found
    told = ("true", "truth", "share_of_gain", "interval_holds_truth", "kept", "quote_microseconds")
    return {k: without_truth(v) for k, v in found.items() if not k.startswith(told)}


def test_the_truth_gives_nothing_but_true_values(logged: list) -> None:
    """Without data/truth/ the same scorecard comes out, with None for what only the truth knows."""
    before = read_json(CARD)
    TRUTH.unlink()
    evaluate.main(config())
    after = read_json(CARD)
    assert without_truth(before) == without_truth(after)
    assert (0 < before["true_profit_per_1000"]) > (after["true_profit_per_1000"] is not None)
    assert after["gain_over_list_price"] == before["gain_over_list_price"] | {"true_per_1000": None}


def test_a_graph_that_was_exchanged_is_refused(logged: list) -> None:
    """Nothing is written on a graph that the manifest does not know."""
    before = CARD.read_bytes()
    (Path("models/candidates/linear") / GRAPH).write_bytes(b"another")
    with pytest.raises(InputError, match="is not the graph of"):
        evaluate.main(config())
    assert before == CARD.read_bytes()


def test_a_crash_in_drawing_leaves_the_old_plots(logged: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither plots nor scorecard are half-written."""
    before = {p.name: p.read_bytes() for p in PLOTS.iterdir()}, CARD.read_bytes()

    def breaks(*_) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(evaluate.charts, "page", breaks)
    with pytest.raises(RuntimeError, match="no ink"):
        evaluate.main(config())
    assert before == ({p.name: p.read_bytes() for p in PLOTS.iterdir()}, CARD.read_bytes())
    assert ["linear"] == [p.name for p in PLOTS.parent.iterdir()]


def test_evaluate_must_know_which_candidate() -> None:
    """Without one the message shows how to name it."""
    with pytest.raises(InputError, match=r"which candidate\? e\.g\. python -m pipelines\.evaluate candidate=gbm"):
        evaluate.main(config(candidate=None))
