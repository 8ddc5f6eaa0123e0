"""The configuration: every file composes, and what is wrong is named, with the nearest right one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipelines.config import Clean, Config, Gate, Split, load, stage
from pipelines.errors import InputError, nearest
from pipelines.pricing import Guardrails
from pipelines.sources import SOURCES

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def names(group: str) -> list[str]:
    """Return the choices of a group."""
    return sorted(p.stem for p in (CONF / group).glob("*.yaml"))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ to spoil."""
    return Path(shutil.copytree(CONF, tmp_path / "conf"))


def spoil(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("experiment", names("experiment"))
@pytest.mark.parametrize("guardrails", names("guardrails"))
@pytest.mark.parametrize("source", names("source"))
def test_every_file_composes(source: str, guardrails: str, experiment: str) -> None:
    """All sources with all guardrails and all experiments."""
    choices = [f"source={source}", f"guardrails={guardrails}", f"experiment={experiment}"]
    if experiment == "smoke" and source != "market":  # a small market is no small table of yours
        told = rf"is not a known setting of source={source}, .*smoke\.yaml sets it: .* for sources of the kind market;"
        with pytest.raises(InputError, match=told):
            load(choices, CONF)
        return
    cfg = load(choices, CONF)
    kind = str(OmegaConf.load(CONF / f"source/{source}.yaml").kind)
    assert (source, kind, SOURCES[kind]) == (cfg.source.name, cfg.source.kind, type(cfg.source))
    assert experiment == cfg.experiment
    assert set(cfg.candidates) == set(cfg.model) == set(names("model"))


def test_a_mistyped_setting_of_an_experiment_is_named_as_any_other(conf: Path) -> None:
    """It belongs to no source, so none is advised."""
    spoil(conf / "experiment/smoke.yaml", "shoppers: 1500", "shopers: 1500")
    with pytest.raises(
        InputError, match=r"^conf: source\.shopers is not a known setting \(did you mean 'shoppers'\?\)$"
    ):
        load(["experiment=smoke"], conf)


def test_the_three_sets_of_guardrails_are_as_announced() -> None:
    """default: cut 20 %, rise 10 %; discount_only: never above the list price; none: what was shown."""
    default, discount, none = (load([f"guardrails={n}"], CONF).guardrails for n in ("default", "discount_only", "none"))
    assert (0.20, 0.10) == (default.largest_cut, default.largest_rise)
    assert 0.0 == discount.largest_rise
    assert Guardrails(support=none.support) == none
    assert 1 == len({rails.support for rails in (default, discount, none)})


def test_lists_come_as_tuples() -> None:
    """So that the frozen values are frozen all the way down."""
    cfg = load(["guardrails.endings=[0.49,0.99]", "guardrails.rungs=[0.9,1.0]"], CONF)
    assert ((0.49, 0.99), (0.9, 1.0)) == (cfg.guardrails.endings, cfg.guardrails.rungs)
    assert isinstance(cfg.candidates, tuple)
    assert isinstance(cfg.source.rungs, tuple)
    assert isinstance(hash(cfg.guardrails), int)


def test_the_command_line_wins(conf: Path) -> None:
    """Over the experiment, which wins over groups, which win over config.yaml."""
    assert 21 == load(["experiment=smoke"], conf).source.days
    assert 5 == load(["experiment=smoke", "source.days=5"], conf).source.days
    spoil(conf / "config.yaml", "experiment: none", "experiment: smoke")
    assert 21 == load([], conf).source.days
    assert 56 == load(["experiment=none"], conf).source.days
    assert load([], CONF) == load([], CONF)


def test_keys_left_at_their_default_can_be_set() -> None:
    """A key that no file mentions but the schema knows; and values of every kind."""
    cfg = load(["candidate=gbm", "model.gbm.rounds=50", "guardrails.largest_cut=null", "seed=8"], CONF)
    assert ("gbm", 50, None, 8) == (cfg.candidate, cfg.model["gbm"].rounds, cfg.guardrails.largest_cut, cfg.seed)
    assert 50 == load(["++model.gbm.rounds=50"], CONF).model["gbm"].rounds


def test_fewer_candidates() -> None:
    """A shorter list leaves the others out; their mean may contend or not, and no candidate is left out of it."""
    cfg = load(["candidates=[gbm]", "contenders=[gbm]"], CONF)
    assert (("gbm",), ("gbm",), {"gbm"}) == (cfg.candidates, cfg.contenders, set(cfg.model))
    assert "ensemble" == load(["candidates=[gbm]", "contenders=[gbm, ensemble]", "candidate=ensemble"], CONF).candidate
    with pytest.raises(InputError, match=r"contenders=.* must be the candidates \['gbm'\], and 'ensemble'"):
        load(["candidates=[gbm]"], CONF)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sead=3", r"sead is not a known setting \(did you mean 'seed'\?\)"),
        ("gaurdrails=none", r"gaurdrails is not a known setting \(did you mean 'guardrails'\?\)"),
        ("gate.confidance=0.9", r"gate\.confidance is not a known setting \(did you mean 'confidence'\?\)"),
        ("guardrails.larges_cut=0.1", r"guardrails\.larges_cut is not.*'largest_cut'"),
        ("source.shopers=10", r"source\.shopers is not.*'shoppers'"),
        ("model.gbm.round=10", r"model\.gbm\.round is not.*'rounds'"),
        ("tracking.url=x", r"tracking\.url is not.*'uri'"),
        ("source.zzz=10", r"source\.zzz is not a known setting \(known: .*shoppers"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(override: str, message: str) -> None:
    """At the top, in a section, in a candidate's settings."""
    with pytest.raises(InputError, match=message):
        load([override], CONF)


def test_an_unknown_nested_key_is_named() -> None:
    """Two levels down, in the columns of an own table."""
    with pytest.raises(
        InputError, match=r"source\.columns\.shoper is not a known setting \(did you mean 'shopper'\?\)"
    ):
        load(["source=offers", "source.columns.shoper=id"], CONF)


def test_an_unknown_key_in_a_file_is_named(conf: Path) -> None:
    """In config.yaml and in a group's file as on the command line."""
    spoil(conf / "guardrails/default.yaml", "largest_cut:", "largest_cutt:")
    with pytest.raises(InputError, match=r"guardrails\.largest_cutt is not.*'largest_cut'"):
        load([], conf)
    spoil(conf / "config.yaml", "seed:", "seeed:")
    with pytest.raises(InputError, match=r"seeed is not.*'seed'"):
        load([], conf)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=soon", "seed"),
        ("seed=", "seed"),
        ("gate.confidence=high", r"gate\.confidence"),
        ("source.days=1.5", r"source\.days"),
        ("source.days=null", r"source\.days: null is no value for it"),
        ("guardrails.largest_cut=[0.1]", r"guardrails\.largest_cut"),
        ("guardrails.endings=[a]", r"guardrails\.endings"),
        ("guardrails.rungs=1", r"guardrails\.rungs"),
        ("model.gbm.rounds=many", r"model\.gbm\.rounds"),
        ("candidates=gbm", "candidates"),
        ("split=3", "split"),
        ("guardrails.minor_unit={a:1}", r"guardrails\.minor_unit"),
        ("tracking=[1]", "tracking"),
        ("model=3", "model"),
        ("model.gbm=3", r"model\.gbm"),
    ],
)
def test_a_wrong_type_names_its_key(override: str, key: str) -> None:
    """Whatever is put where something else belongs."""
    with pytest.raises(InputError, match=rf"conf: .*\b{key}\b") as error:
        load([override], CONF)
    assert 1 == len(str(error.value).splitlines())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("source=markt", r"source=markt: there is no .*conf/source/markt\.yaml \(did you mean 'market'\?\)"),
        ("guardrails=zzz", r"there is no .*zzz\.yaml \(known: default, discount_only, none\)"),
        ("experiment=smoky", r"there is no .*\(did you mean 'smoke'\?\)"),
        ("source=", r"source=: there is no"),
        ("candidate=gmb", r"candidate=gmb is not in contenders=.*did you mean 'gbm'\?"),
        ("candidates=[]", "candidates is empty"),
        ("candidates=[gbm,tree]", r"tree.*did you mean|tree.*known"),
        ("model.gbm.family=gmb", r"family 'gmb' does not exist \(did you mean 'gbm'\?\)"),
        ("source.kind=shop", r"source\.kind=shop is not a kind of source"),
        ("split.select=0.9", r"split: select=0\.9 and certify=.* must be positive and sum to less than 1"),
        ("gate.confidence=1", r"gate\.confidence=1\.0 must lie between"),
        ("source.rungs=[0.9,1.0,nan]", r"source\.rungs=\[0\.9, 1\.0, nan\]: nan is no rung"),
        ("source.rungs=[-inf,1.0]", r"source\.rungs=\[-inf, 1\.0\]: -inf is no rung"),
        ("clean.events_per_minute=0", r"clean\.events_per_minute=0"),
        ("guardrails.exploration=2", r"guardrails\.exploration=2\.0 must lie in"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(override: str, message: str) -> None:
    """A group, a candidate, a family, a value out of range."""
    with pytest.raises(InputError, match=message):
        load([override], CONF)


@pytest.mark.parametrize("override", ["seed", "candidate gbm", "", "=3", "seed=[1", "a b=3", "seed=${nope}"])
def test_what_is_no_override_is_refused(override: str) -> None:
    """Hydra's grammar is key=value; anything else is one clear message."""
    with pytest.raises(InputError) as error:
        load([override], CONF)
    assert 1 == len(str(error.value).splitlines())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "seed: [1"),
        ("guardrails/default.yaml", "largest_cut: : 3"),
        ("source/market.yaml", "\tkind: market"),
        ("model/linear.yaml", "- family"),
        ("model/linear.yaml", ""),
        ("config.yaml", ""),
        ("config.yaml", "just words"),
        ("experiment/none.yaml", "a: [b"),
        ("config.yaml", "- seed"),
        ("source/market.yaml", "- kind: market"),
        ("guardrails/default.yaml", "[largest_cut]"),
    ],
)
def test_a_file_that_is_no_settings_is_named(conf: Path, file: str, text: str) -> None:
    """Broken YAML, a list where keys belong, an empty file."""
    (conf / file).write_text(text, encoding="utf-8")
    stem = Path(file).stem
    with pytest.raises(InputError, match=rf"\b{stem}\b") as error:
        load([], conf)
    assert 1 == len(str(error.value).splitlines())


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("file", ["config.yaml", "source/market.yaml", "model/gbm.yaml", "experiment/none.yaml"])
def test_a_file_that_is_not_utf8_is_named(conf: Path, file: str, encoding: str) -> None:
    """As an editor on Windows may save it; the same letters in UTF-8 are fine, with or without its mark."""
    text = (conf / file).read_text(encoding="utf-8") + "# für später\n"
    (conf / file).write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=rf"{file} is not UTF-8 \(line \d+, .*\): save it as UTF-8$"):
        load([], conf)
    (conf / file).write_bytes(text.encode("utf-8-sig"))
    load([], conf)


@pytest.mark.parametrize(("given", "example"), [("linear", "[linear]"), ("{linear: 1}", "[x]")])
def test_candidates_are_a_list(conf: Path, given: str, example: str) -> None:
    """One candidate is a list too; its letters are none."""
    spoil(conf / "config.yaml", "candidates: [linear, forest, gbm, dnn]", f"candidates: {given}")
    with pytest.raises(InputError) as error:
        load([], conf)
    assert f"{conf / 'config.yaml'}: candidates must be a list, e.g. {example}" == str(error.value)


@pytest.mark.parametrize(
    ("source", "setting", "message"),
    [
        ("offers", "personal: age", "source.personal must be a list, e.g. [age]"),
        ("offers", "rungs: 0.8", "source.rungs must be a list, e.g. [0.8]"),
        ("offers", "protected:", "source.protected must be a list, e.g. [x], or [] for none"),
        ("offers", "columns:", "source.columns must hold lines, name: value, but it holds nothing"),
        ("events", "columns: price", "source.columns must hold lines, name: value, but it holds 'price'"),
        ("events", "kinds: [view]", "source.kinds must hold lines, name: value, but it holds ['view']"),
        ("events", "ignored: Heartbeat", "source.ignored must be a list, e.g. [Heartbeat]"),
    ],
)
def test_a_list_and_a_section_are_asked_for_in_plain_words(conf: Path, source: str, setting: str, message: str) -> None:
    """And no class of ours or of a library is named."""
    (conf / f"source/{source}.yaml").write_text(f"kind: {source}\n{setting}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load([f"source={source}"], conf)
    assert f"conf: {message}" == str(error.value)


def test_what_may_be_null_may(conf: Path) -> None:
    """A list that has a meaning when it is absent is no mistake."""
    (conf / "source/offers.yaml").write_text("kind: offers\nrungs: null\nnumeric: null\n", encoding="utf-8")
    assert load(["source=offers"], conf).source.rungs is None


def test_a_listed_candidate_needs_a_file(conf: Path) -> None:
    """And the message says which one is missing."""
    (conf / "model/gbm.yaml").unlink()
    with pytest.raises(InputError, match=r"model=gbm: there is no .*gbm\.yaml"):
        load([], conf)


def test_elsewhere_there_is_no_configuration(tmp_path: Path) -> None:
    """Run in the wrong folder, the message says which is the right one."""
    with pytest.raises(InputError, match=r"config\.yaml is missing: run from the top folder of the project"):
        load([], tmp_path / "conf")


@pytest.mark.parametrize("module", ["scoreboard", "export"])
def test_an_error_is_one_line_and_status_one(module: str) -> None:
    """Run as a user runs it: nothing on stdout, one line on stderr, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", f"pipelines.{module}", "sead=3"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (1, "") == (done.returncode, done.stdout)
    assert ["error: conf: sead is not a known setting (did you mean 'seed'?)"] == done.stderr.splitlines()


def test_a_stage_tells_users_errors_and_raises_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """InputError ends in a line and status 1; a defect keeps its traceback."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["stage", "seed=4"])
    seen: list[Config] = []
    stage(seen.append)
    assert 4 == seen[0].seed

    def refuses(cfg: Config) -> None:
        raise InputError("no such thing")

    with pytest.raises(SystemExit) as status:
        stage(refuses)
    assert (1, "error: no such thing\n") == (status.value.code, capsys.readouterr().err)

    def breaks(cfg: Config) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stage(breaks)


def test_help_says_what_a_stage_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The module's docstring and the grammar of overrides; nothing runs."""
    from pipelines import export

    monkeypatch.setattr(sys, "argv", ["export", "--help"])
    stage(export.main)
    out = capsys.readouterr().out
    assert out.startswith("export: a trained candidate -> one ONNX policy graph")
    assert "key=value" in out


@pytest.mark.parametrize(
    ("cls", "values", "named"),
    [
        (Split, {"select": 0.0}, "select=0.0"),
        (Split, {"select": 0.5, "certify": 0.5}, "sum to less than 1"),
        (Split, {"certify": -0.1}, "certify=-0.1"),
        (Gate, {"confidence": 0.5}, "confidence=0.5"),
        (Gate, {"agreement": 0.0}, "agreement=0.0"),
        (Gate, {"agreement": 1.1}, "agreement=1.1"),
        (Gate, {"support": 1.0}, "support=1.0"),
        (Gate, {"unsupported": -0.1}, "unsupported=-0.1"),
        (Clean, {"events_per_minute": 0}, "events_per_minute=0"),
    ],
)
def test_values_refuse_nonsense_at_birth(cls: type, values: dict, named: str) -> None:
    """The message names the value."""
    with pytest.raises(InputError, match=named):
        cls(**values)


def test_the_nearest_word() -> None:
    """One hint where one is near, else all that is known."""
    assert " (did you mean 'market'?)" == nearest("markt", ["market", "offers"])
    assert " (known: market, offers)" == nearest("zzz", ["offers", "market"])
