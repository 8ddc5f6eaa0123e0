"""export writes a policy that was checked, from a candidate that was saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines import export, graph
from pipelines.candidates import load_demand
from pipelines.demand import probability
from pipelines.errors import InputError
from pipelines.export import described
from pipelines.manifest import GRAPH, Manifest
from pipelines.pricing import Guardrails
from tests.worlds import config, enter_shop, offers

FOLDER = Path("models/candidates/linear")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all stages have run."""
    return enter_shop(tmp_path, monkeypatch)


def test_the_exported_graph_has_the_saved_demand(shop: Path) -> None:
    """The curves of the graph are those of the settled demand on disk, damping and all."""
    table = offers(100, 9)[0]
    expected = probability(load_demand(FOLDER / "demand"), table)
    found = graph.run(graph.session(FOLDER / GRAPH), table, ("demand",))
    np.testing.assert_allclose(expected, found["demand"], rtol=1e-6)


def test_the_exported_graph_has_the_impersonal_demand_too(shop: Path) -> None:
    """With personal = 0 its curves are those of the model that was fitted without personal columns."""
    table = offers(100, 9)[0].assign(personal=0.0)
    expected = probability(load_demand(Path("models/baselines/impersonal")), table)
    found = graph.run(graph.session(FOLDER / GRAPH), table, ("demand",))
    np.testing.assert_allclose(expected, found["demand"], rtol=1e-6)


def test_the_manifest_says_what_the_demand_is() -> None:
    """Shape or weights, and how much of the personal deviation is believed."""
    told = described({"shape": "probit-log", "damping": 0.42})
    assert "shape probit-log" in told
    assert "42% of the personal deviation" in told
    mean = described({"weights": {"gbm": 0.75, "dnn": 0.25}, "damping": 1.0})
    assert mean.startswith("mean of gbm (75%), dnn (25%)")


def test_a_guardrail_re_exports_and_never_retrains(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under other guardrails another graph is written beside the same demand."""
    before = Manifest.read(FOLDER)
    demand = {p.name: p.read_bytes() for p in (FOLDER / "demand").rglob("*.*")}
    export.main(config(guardrails=Guardrails(largest_rise=0.0, minor_unit=0.01)))
    assert before.graph_sha256 != Manifest.read(FOLDER).graph_sha256
    assert demand == {p.name: p.read_bytes() for p in (FOLDER / "demand").rglob("*.*")}
    assert "export linear: agrees with Python on 100.00% of 10,000 prices" in capsys.readouterr().out


def test_a_failed_check_is_said(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph is written with its mismatches, and the terminal says that it cannot be chosen."""
    from pipelines.candidates import linear

    faithful = linear.Model.graph
    monkeypatch.setattr(linear.Model, "graph", lambda m, z: faithful(linear.Model(m.a, m.b * 1.3), z))
    export.main(config())
    assert Manifest.read(FOLDER).check["passed"] is False
    assert "DISAGREES with Python and cannot be chosen" in capsys.readouterr().out


def test_export_must_know_which_candidate() -> None:
    """Without one the message shows how to name it."""
    with pytest.raises(InputError, match=r"which candidate\? e\.g\. python -m pipelines\.export candidate=gbm"):
        export.main(config(candidate=None))


def test_an_untrained_candidate_is_a_missing_file(shop: Path) -> None:
    """The message names the file and the command that makes it."""
    (FOLDER / "demand/undamped/model.json").unlink()
    with pytest.raises(InputError, match=r"model\.json is missing: run `dvc repro`"):
        export.main(config())
