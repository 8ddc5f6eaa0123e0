"""A candidate made into a policy: graph, check and manifest belong together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipelines import graph
from pipelines.candidates import Candidate, linear
from pipelines.errors import InputError
from pipelines.files import digest, write_json
from pipelines.manifest import GRAPH, Manifest
from pipelines.packing import OUTPUTS, SINGLE, git_commit, pack, priced, registered_name, terms_of
from pipelines.policy import KNOTS, LADDER, QUOTE
from pipelines.pricing import Guardrails
from pipelines.serving.fields import RequestError
from pipelines.serving.runtime import Policy
from tests.worlds import LADDER as RUNGS
from tests.worlds import candidate, config, info, knowledge, offers


def packed(folder: Path, model: Candidate, **changes) -> Manifest:
    """Return the manifest of a candidate packed into `folder`."""
    cfg, table = config(**changes), offers(300)[0]
    folder.mkdir(parents=True, exist_ok=True)
    return pack(folder, cfg, info(), table, knowledge(model), terms_of(cfg, info()), "linear", "linear", "a line")


@dataclasses.dataclass(frozen=True)
class Lying(linear.Model):
    """A model whose graph is not what it computes in Python."""

    def graph(self, z):
        """Return a graph with another slope."""
        return linear.Model(self.a, 1.2 * self.b).graph(z)


def test_a_policy_is_packed_and_may_serve(tmp_path: Path) -> None:
    """The check passes, and the manifest that was written is the one returned."""
    manifest = packed(tmp_path, candidate(offers(300)[0]))
    assert manifest.check["passed"] is True
    assert manifest == Manifest.read(tmp_path)
    assert manifest.graph_sha256 == digest(tmp_path / GRAPH)
    assert ("d" * 64, "pricing", "market", "EUR") == (
        manifest.data_sha256, manifest.model, manifest.source, manifest.currency,
    )  # fmt: skip
    assert "a line" == manifest.demand


def test_the_manifest_names_what_the_graph_takes_and_gives(tmp_path: Path) -> None:
    """Inputs and outputs one for one, with kinds, and with the ranges and words that were learned."""
    model = candidate(offers(300)[0])
    manifest = packed(tmp_path, model)
    session = graph.session(tmp_path / GRAPH)
    kinds = {i.name: "word" if i.type == "tensor(string)" else "number" for i in session.get_inputs()}
    assert kinds == {f.name: f.kind for f in manifest.inputs}
    assert len(kinds) == len(manifest.inputs)
    assert {*QUOTE, *LADDER, *KNOTS} == set(OUTPUTS) == {o.name for o in session.get_outputs()}
    fields = {f.name: f for f in manifest.inputs}
    assert ["list_price"] == [n for n, f in fields.items() if f.required]
    assert {"age", "country"} == {n for n, f in fields.items() if f.personal}
    assert 0 <= fields["age"].low < fields["age"].high <= 1
    assert fields["list_price"].low < fields["list_price"].high
    assert {"DE", "FR", "中国"} == set(fields["country"].words)


def test_a_graph_that_lies_is_packed_but_may_not_serve(tmp_path: Path) -> None:
    """The manifest says that the check failed, and lists where; the graph is there to be looked into."""
    model = candidate(offers(300)[0])
    lying = dataclasses.replace(model, model=Lying(model.model.a, model.model.b))
    check = Manifest.read(packed(tmp_path, lying) and tmp_path).check
    assert check["passed"] is False
    assert 20 == len(check["mismatches"])


def test_a_model_without_an_answer_may_not_serve(tmp_path: Path) -> None:
    """Coefficients that are NaN in Python and graph alike are a failed check, and no crash."""
    model = candidate(offers(300)[0])
    model.model.a[:] = np.nan
    assert packed(tmp_path, model).check["passed"] is False


def test_packing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """Same candidate, same terms: same graph, so that nothing is registered twice."""
    once, again = (packed(tmp_path / n, candidate(offers(300)[0])) for n in "ab")
    assert once.graph_sha256 == again.graph_sha256


def test_another_guardrail_is_another_graph(tmp_path: Path) -> None:
    """Guardrails are in the graph, not beside it."""
    once = packed(tmp_path / "a", candidate(offers(300)[0]))
    again = packed(tmp_path / "b", candidate(offers(300)[0]), guardrails=Guardrails(largest_cut=0.1, minor_unit=0.01))
    assert once.graph_sha256 != again.graph_sha256
    assert 0.1 == again.terms.guardrails.largest_cut


def test_the_fallback_that_baselines_found_takes_the_list_prices_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the list price is a rung it stays; where it is none, nothing is priced before the other is known."""
    monkeypatch.chdir(tmp_path)
    assert 1.0 == priced(info()).fallback
    unknown = info(ladder=(0.8, 0.9, 1.1), fallback=None)
    with pytest.raises(InputError, match="not known yet"):
        terms_of(config(), unknown)
    with pytest.raises(InputError):
        priced(unknown)
    write_json(SINGLE, {"multiplier": 0.9})
    assert 0.9 == priced(unknown).fallback == terms_of(config(), priced(unknown)).fallback


def test_the_terms_of_a_policy() -> None:
    """The ladder shown, cut down to the guardrails' rungs, or to the one rung of a baseline."""
    assert RUNGS == terms_of(config(), info()).ladder
    few = config(guardrails=Guardrails(rungs=(0.9, 1.0)))
    assert (0.9, 1.0) == terms_of(few, info()).ladder
    assert (1.0,) == terms_of(few, info(), (1.0,)).ladder
    found = terms_of(config(), info(cost_share=0.4, fallback=0.9))
    assert (0.9, 0.4, RUNGS) == (found.fallback, found.cost_share, found.knots)
    with pytest.raises(InputError, match="never shown"):
        terms_of(config(guardrails=Guardrails(rungs=(0.7,))), info())


@pytest.mark.parametrize(
    ("source", "expected"),
    [("market", "pricing"), ("online_retail", "pricing-online_retail"), ("offers", "pricing-offers")],
)
def test_each_source_has_its_own_registered_model(source: str, expected: str) -> None:
    """So that a policy of one shop never replaces that of another."""
    assert expected == registered_name(source)


def test_outside_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy without history still packs."""
    monkeypatch.chdir(tmp_path)
    assert "unknown" == git_commit()


def test_guardrails_that_forbid_every_rung_are_refused() -> None:
    """Shares of the list price mean nothing on a ladder of absolute prices, and the message says what to set."""
    found = dataclasses.replace(info(), ladder=(19.0, 39.0))
    narrow = dataclasses.replace(config(), guardrails=Guardrails(largest_cut=0.2, largest_rise=0.1))
    with pytest.raises(InputError, match="set `guardrails: none`"):
        terms_of(narrow, dataclasses.replace(found, listed=False))
    with pytest.raises(InputError, match="are both in the same unit"):  # cents and euros, say: no guardrail must go
        terms_of(narrow, found)


def test_the_last_resort_keeps_the_guardrails() -> None:
    """Where the list price is no rung, the fallback is the nearest rung to the best one that the guardrails leave."""
    alone = info(ladder=(0.8, 0.9, 1.1, 1.2), fallback=1.2)
    never_more = config(guardrails=Guardrails(largest_cut=0.2, largest_rise=0.0))
    assert 0.9 == terms_of(never_more, alone).fallback
    assert 1.2 == terms_of(config(guardrails=Guardrails()), alone).fallback
    assert 1.0 == terms_of(never_more, info()).fallback


def test_without_list_prices_the_policy_says_so_and_takes_none(tmp_path: Path) -> None:
    """The manifest, and by it the live policy: a request needs no list price, and any but 1 is refused."""
    model, unlisted = candidate(offers(400)[0]), info(listed=False)
    terms = terms_of(config(), unlisted)
    pack(tmp_path, config(), unlisted, offers(300)[0], knowledge(model), terms, "linear", "linear", "-")
    assert not Manifest.read(tmp_path).listed
    assert {"list_price": False} == {
        f.name: f.required for f in Manifest.read(tmp_path).inputs if f.name == "list_price"
    }
    policy = Policy.load(tmp_path)
    assert policy.quote([{"unit_cost": 0.5}]) == policy.quote([{"unit_cost": 0.5, "list_price": 1}])
    with pytest.raises(RequestError, match="leave list_price out"):
        policy.quote([{"list_price": 59}])
