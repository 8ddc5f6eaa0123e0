"""The configuration of a run: composed by Hydra from ``conf/``, checked, and given as frozen values.

``conf/config.yaml`` names a choice for each group as a plain key (``source: market``), because DVC tracks plain
keys; `load` hands these choices to Hydra as its defaults list. Order: config.yaml, groups, experiment, command line.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipelines.behaviour.definitions import Feature, FeatureSet
from pipelines.errors import InputError, nearest
from pipelines.pricing import Guardrails
from pipelines.quality_limits import Quality
from pipelines.sources import SOURCES, Source
from pipelines.typed import example, one_line, refuse_unknown, section, typed

CONF = Path("conf")
ENSEMBLE = "ensemble"  # the contender that averages the candidates


@dataclass(frozen=True)
class Split:
    """How offers are cut by time: the last `certify` share, before it the `select` share, the rest to fit on."""

    select: float = 0.15
    certify: float = 0.40

    def __post_init__(self) -> None:
        """Refuse shares that leave no window of its own to each."""
        if not (0 < self.select < 1 and 0 < self.certify < 1 and self.select + self.certify < 1):
            raise InputError(
                f"split: select={self.select} and certify={self.certify} must be positive and sum to less than 1, "
                "so that something is left to fit on"
            )


@dataclass(frozen=True)
class Clean:
    """From when on `clean` takes a session for a machine's: more views, searches and carts within one minute."""

    events_per_minute: int = 60

    def __post_init__(self) -> None:
        """Refuse a limit that no visit could keep."""
        if self.events_per_minute < 1:
            raise InputError(f"clean.events_per_minute={self.events_per_minute} must be at least 1")


@dataclass(frozen=True)
class Gate:
    """What a challenger must show before it may price live traffic."""

    confidence: float = 0.95
    calibration_error: float = 0.10
    agreement: float = 0.999
    effective_sample_size: float = 300.0
    support: float = 0.005
    unsupported: float = 0.05

    def __post_init__(self) -> None:
        """Refuse levels that are no probability."""
        if not 0.5 < self.confidence < 1:
            raise InputError(f"gate.confidence={self.confidence} must lie between 0.5 and 1")
        if self.calibration_error <= 0 or self.effective_sample_size < 0:
            raise InputError(
                f"gate.calibration_error={self.calibration_error} must be positive and "
                f"gate.effective_sample_size={self.effective_sample_size} not negative"
            )
        if not (0 <= self.support < 1 and 0 <= self.unsupported <= 1):
            raise InputError(
                f"gate.support={self.support} must lie in [0, 1) and gate.unsupported={self.unsupported} in [0, 1]"
            )
        if not 0 < self.agreement <= 1:
            raise InputError(f"gate.agreement={self.agreement} must lie in (0, 1]")


@dataclass(frozen=True)
class Tracking:
    """Where MLflow keeps runs and registered models."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "pricewright"


@dataclass(frozen=True)
class EngineSettings:
    """What makes features of an event log: which engine (conf/engine/), and what it may use of the machine.

    memory: as DuckDB writes it (4GB); more goes to disk. DuckDB: threads; rows: a longer log is worked on in parts of
    about so many events. Spark: master; partitions: parts of a shuffle; settings: more of Spark's own, by their names.
    """

    name: str = "duckdb"
    threads: int = 2
    memory: str = "4GB"
    rows: int = 2_000_000
    master: str = "local[2]"
    partitions: int = 64
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a machine without a thread, parts without a row, and settings of another engine."""
        if self.threads < 1 or self.rows < 1 or self.partitions < 1:
            raise InputError(
                f"engine.threads={self.threads}, engine.rows={self.rows} and engine.partitions={self.partitions} must "
                "be at least 1"
            )
        if re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", self.memory) is None:
            raise InputError(f"engine.memory={self.memory!r} must be a number with its unit, such as 4GB")
        others = {"duckdb": ("master", "partitions", "settings"), "spark": ("threads", "rows")}
        for f in dataclasses.fields(self):
            usual = {} if f.name == "settings" else f.default
            if f.name in others.get(self.name, ()) and getattr(self, f.name) != usual:
                raise InputError(
                    f"engine.{f.name} is no setting of engine={self.name}; those are in conf/engine/{self.name}.yaml"
                )


@dataclass(frozen=True)
class Config:
    """Everything that one run is decided by."""

    source: Source
    guardrails: Guardrails
    model: dict[str, Any]
    candidates: tuple[str, ...]
    seed: int
    contenders: tuple[str, ...] = ()
    candidate: str | None = None
    experiment: str = "none"
    features: FeatureSet = field(default_factory=FeatureSet)
    engine: EngineSettings = field(default_factory=EngineSettings)
    clean: Clean = field(default_factory=Clean)
    quality: Quality = field(default_factory=Quality)
    split: Split = field(default_factory=Split)
    gate: Gate = field(default_factory=Gate)
    tracking: Tracking = field(default_factory=Tracking)

    def __post_init__(self) -> None:
        """Refuse a candidate that is not on the list."""
        if not self.candidates:
            raise InputError("candidates is empty: name at least one of conf/model/ in conf/config.yaml")
        if not self.contenders:
            object.__setattr__(self, "contenders", self.candidates)
        if set(self.contenders) - {ENSEMBLE} != set(self.candidates):
            raise InputError(
                f"contenders={list(self.contenders)} of conf/config.yaml must be the candidates "
                f"{list(self.candidates)}, and {ENSEMBLE!r} if their mean is to contend too"
            )
        if self.candidate is not None and self.candidate not in self.contenders:
            raise InputError(
                f"candidate={self.candidate} is not in contenders={list(self.contenders)} of conf/config.yaml"
                f"{nearest(self.candidate, self.contenders)}"
            )


def load(overrides: Sequence[str] = (), conf: Path = CONF) -> Config:
    """Return the checked configuration of `conf` with `overrides` in Hydra's grammar (``model.gbm.rounds=50``).

    Raises InputError naming the key, the file or the choice that is wrong, and the nearest right one.
    """
    given = [text for text in overrides if "=" in text]
    if len(given) < len(overrides):
        raise InputError(f"{[t for t in overrides if '=' not in t]}: an override has the form key=value")
    return _checked(_compose(given, conf), conf)


def family(settings: DictConfig | dict[str, Any], where: str = "model") -> Any:
    """Return the module of `pipelines.candidates` that a candidate's settings belong to."""
    known = sorted(p.stem for p in Path(__file__).parent.glob("candidates/[a-z]*.py"))
    name = section(settings, where).get("family")
    if name not in known:
        raise InputError(f"conf: {where}.family {name!r} does not exist{nearest(str(name), known)}")
    return importlib.import_module(f"pipelines.candidates.{name}")


def _compose(overrides: list[str], conf: Path) -> DictConfig:
    if not (conf / "config.yaml").is_file():
        raise InputError(f"{conf / 'config.yaml'} is missing: run from the top folder of the project")
    plain = _settings(conf / "config.yaml")
    groups = ("source", "features", "engine", "guardrails", "experiment")
    command = dict(text.split("=", 1) for text in overrides)
    choice = {g: command.get(g, OmegaConf.select(plain, g)) for g in groups}
    if None in choice.values():
        absent = [f"{g} (one of {conf / g}/)" for g, name in choice.items() if name is None]
        raise InputError(f"{conf / 'config.yaml'} does not name {', '.join(absent)}")
    listed = OmegaConf.select(plain, "candidates") or []
    if not isinstance(listed, ListConfig):
        raise InputError(f"{conf / 'config.yaml'}: candidates must be a list, e.g. [{example(listed)}]")
    names = [str(c) for c in listed]
    for group, name in [*choice.items(), *(("model", n) for n in names)]:
        _exists(conf, group, str(name))
        _settings(conf / group / f"{name}.yaml")
    rest = [text for text in overrides if text.split("=", 1)[0] not in groups]
    defaults = [
        f"+source={choice['source']}",
        f"+features={choice['features']}",
        f"+engine={choice['engine']}",
        f"+guardrails={choice['guardrails']}",
        *(f"+model@model.{name}={name}" for name in names),
        f"+experiment={choice['experiment']}",
    ]
    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            cfg = compose("config", overrides=[*defaults, *(_addable(text) for text in rest)])
        OmegaConf.resolve(cfg)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise InputError(f"{conf}: {one_line(error)}") from error
    OmegaConf.set_struct(cfg, False)
    cfg.experiment = str(choice["experiment"])
    for group in ("source", "features", "engine"):
        cfg[group].name = str(choice[group])
    return cfg


def _settings(file: Path) -> DictConfig:
    """Return what a file of conf/ holds; one that is no UTF-8, no YAML or no settings is refused by its name."""
    try:
        plain = OmegaConf.load(file)
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(
            f"{file} is not UTF-8 (line {line}, perhaps a letter such as ä or é): save it as UTF-8"
        ) from None
    except Exception as error:
        raise InputError(f"{file} is not valid YAML: {one_line(error)}") from error
    if not isinstance(plain, DictConfig):
        raise InputError(f"{file} must hold settings (key: value), not a list; take the dashes out")
    return plain


def _addable(override: str) -> str:
    """Let Hydra add a key that the files leave at its default; the schema then refuses keys that do not exist."""
    return override if override[0] in "+~" else "++" + override


def _exists(conf: Path, group: str, name: str) -> None:
    known = [p.stem for p in (conf / group).glob("*.yaml")]
    if name not in known:
        raise InputError(f"{group}={name}: there is no {conf / group / name}.yaml{nearest(name, known)}")


def _checked(cfg: DictConfig, conf: Path) -> Config:
    kind = str(cfg.source.get("kind"))
    if kind not in SOURCES:
        raise InputError(f"source.kind={kind} is not a kind of source{nearest(kind, list(SOURCES))}")
    _refuse_experiment_of_another_source(cfg, conf, kind)
    model = {
        str(name): typed(family(s, f"model.{name}").Settings, s, f"model.{name}")
        for name, s in section(cfg.get("model", {}), "model").items()
        if name in cfg.candidates
    }
    refuse_unknown(Config, cfg, "", deep=False)
    parts: dict[str, Any] = {
        "source": typed(SOURCES[kind], cfg.source, "source"),
        "features": _feature_set(cfg.features),
        "engine": typed(EngineSettings, cfg.engine, "engine"),
        "guardrails": typed(Guardrails, cfg.guardrails, "guardrails"),
        "model": model,
    }
    sections = {"clean": Clean, "quality": Quality, "split": Split, "gate": Gate, "tracking": Tracking}
    for name, cls in sections.items():
        parts[name] = typed(cls, cfg.get(name, {}), name)
    scalars = typed(_Scalars, {k: v for k, v in cfg.items() if k not in parts}, "")
    for name in set(scalars.candidates) - set(model):
        _exists(conf, "model", name)
        raise InputError(f"candidates: {name} is not listed in {conf / 'config.yaml'}; add it there")
    return Config(**parts, **{f.name: getattr(scalars, f.name) for f in dataclasses.fields(scalars)})


def _refuse_experiment_of_another_source(cfg: DictConfig, conf: Path, kind: str) -> None:
    """Refuse an experiment with settings that this kind of source has not, where another kind has them all."""
    file = conf / "experiment" / f"{cfg.experiment}.yaml"
    set_there = {str(key) for key in _settings(file).get("source") or ()}
    having = {name: set(typing.get_type_hints(cls)) for name, cls in SOURCES.items()}
    strange = sorted(set_there - having[kind])
    fitting = [name for name, known in having.items() if set_there <= known]
    if strange and fitting:
        raise InputError(
            f"conf: source.{strange[0]} is not a known setting of source={cfg.source.name}, but {file} sets it: "
            f"experiment={cfg.experiment} is for sources of the kind {' or '.join(fitting)}; choose another experiment "
            "(none), or another source"
        )


def _feature_set(values: Any) -> FeatureSet:
    """Return the definitions of conf/features/, each checked; an error names the feature and the key."""
    defined: dict[str, Feature] = {}
    for name, settings in section(section(values, "features").get("define", {}), "features.define").items():
        where = f"features.define.{name}"
        try:
            defined[str(name)] = typed(Feature, settings, where)
        except InputError as error:
            told = str(error)
            raise InputError(told if told.startswith("conf: ") else f"conf: {where}.{told}") from None
    if not defined:
        raise InputError("conf: features.define is empty: name at least one feature")
    rest = {key: value for key, value in values.items() if key != "define"}
    return typing.cast("FeatureSet", typed(FeatureSet, {**rest, "define": defined}, "features"))


@dataclass(frozen=True)
class _Scalars:
    """The top-level keys that are not sections."""

    candidates: tuple[str, ...]
    seed: int
    contenders: tuple[str, ...] = ()
    candidate: str | None = None
    experiment: str = "none"


def stage(main: Callable[[Config], None]) -> None:
    """Run one stage from the command line: compose its config, run it, tell a user's error in one line.

    Exit status: 0 done, 1 for an error that the user can mend. A defect of ours still shows its traceback.
    """
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print((sys.modules[main.__module__].__doc__ or "").strip())
        print("\nOverrides: key=value, in Hydra's grammar, e.g. seed=8 model.gbm.rounds=50. Keys: see conf/.")
        return
    try:
        main(load(words))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
