"""Settings of the endpoint: from options, else from PRICEWRIGHT_… environment variables, else as they stand here."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipelines.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What an endpoint is started with; `python -m pipelines.serving --help` says what each means.

    policy, unsigned: one folder to quote by, whatever is deployed, and whether it may lack a signature. quote_key, log:
    None: quotes are not signed, not logged. deadline, bucket, drain, drain_delay: seconds. watch, shadow: follow the
    registry in a process beside the workers, its challenger too. worker: which of the workers this process is. shared:
    the folder that they share while they run. lifeline: a pipe of the process that started this worker; it closes when
    that one is gone.
    """

    policy: Path | None = None
    unsigned: bool = False
    public_key: Path = Path("keys/policy.pub")
    secret: Path = Path("keys/shoppers.secret")
    quote_key: Path | None = Path("keys/quotes.key")
    log: Path | None = Path("data/decisions")
    sync: str = "interval"
    bucket: float = 86_400.0
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    queue: int = 16
    pages: int = 8
    deadline: float = 1.0
    validity: int = 900
    jurisdiction: str | None = None
    keys: Path | None = None
    features: Path | None = None
    patience: float = 0.25
    sockets: int = 1000
    origins: str = ""
    drain: float = 20.0
    drain_delay: float = 0.0
    watch: bool = False
    shadow: bool = False
    worker: int = 0
    shared: Path | None = None
    lifeline: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no endpoint can run with, naming the option and the value."""
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"--{name.replace('_', '-')} {value:g} must lie between {least:g} and {most:g}")
        if self.sync not in ("interval", "each"):
            raise InputError(f"--sync {self.sync} must be interval or each")
        if self.unsigned and self.policy is None:
            raise InputError("--unsigned belongs to --policy: what is promoted and deployed is signed")
        if self.watch and self.policy is not None:
            raise InputError("--policy quotes by one folder, and --watch by what the registry says: give one of them")
        if self.shadow and not self.watch:
            raise InputError("--shadow belongs to --watch, which brings the challenger here")


_RANGES = (
    ("port", 0, 65535), ("workers", 1, 256), ("queue", 1, 10_000), ("pages", 1, 1000), ("deadline", 0.001, 600),
    ("validity", 1, 30 * 86_400), ("bucket", 1, 366 * 86_400), ("patience", 0.001, 60), ("sockets", 0, 100_000),
    ("drain", 0.1, 600), ("drain_delay", 0, 600),
)  # fmt: skip


def _file(text: str) -> Path | None:
    return None if text == "none" else Path(text)


_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "policy": (Path, "signed folder to quote by (default: what was deployed, else promoted, else the list price)"),
    "public_key": (Path, "by which policies are trusted; `python -m pipelines.promote` writes it"),
    "secret": (Path, "of chance and of shoppers' pseudonyms: 64 hexadecimal digits, the same on every machine"),
    "quote_key": (_file, "private key that quotes are signed with, its public one beside it (.pub); none: unsigned"),
    "log": (_file, "folder of the decision log; none: nothing is logged, and outcomes are refused"),
    "sync": (str, "interval: a logged record survives kill -9; each: a power cut as well"),
    "bucket": (float, "seconds in which chance gives a shopper the same price of an item"),
    "host": (str, "where to listen; nothing but this machine reaches the default"),
    "port": (int, "0: any free one"),
    "workers": (int, "processes, with one ONNX thread each"),
    "queue": (int, "requests that a worker holds at most; beyond them it answers 503"),
    "pages": (int, "of these, POST /quotes"),
    "deadline": (float, "seconds after which the list price is quoted, where a request's X-Deadline-Ms says no other"),
    "validity": (int, "seconds for which a quoted price is honoured"),
    "jurisdiction": (str, "whose disclosure is told where a request names none: a key of conf/serving/disclosure.yaml"),
    "keys": (Path, "file of API keys (python -m pipelines.serving.access makes one); without it none is asked for"),
    "features": (
        Path,
        "folder that `python -m pipelines.behaviour.attach` wrote: contexts by ids and events; without it neither",
    ),
    "patience": (float, "seconds in which the feature state must answer, or the list price is quoted"),
    "sockets": (int, "WebSockets of a worker at most"),
    "origins": (str, "other sites whose pages may open WebSockets, with commas: https://shop.example"),
    "drain": (float, "seconds that requests in flight get to finish after SIGTERM"),
    "drain_delay": (float, "seconds to go on answering after SIGTERM with /ready at 503, until balancers have noticed"),
}
_SWITCHES = {
    "unsigned": "let --policy be a folder without a signature, for trying things out",
    "watch": "start `python -m pipelines.deploy --watch` beside the workers: a promoted policy quotes within seconds",
    "shadow": "with --watch: let the challenger price the same requests, unseen and logged",
}
_OTHERS = ("PRICEWRIGHT_WHO", "PRICEWRIGHT_SIGNING_KEY")  # of other commands
_ANSWERS = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("0", "false", "no", "off"), False)}
_INTERNAL: dict[str, Callable[[str], Any]] = {"worker": int, "shared": Path, "lifeline": int}


def read(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a command line. Raises InputError; --help prints and exits."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.serving",
        description="Answers requests for prices: POST /quote and /quotes. Its page is at /, its API at /docs.",
        argument_default=argparse.SUPPRESS,
        epilog="Each option may be set as PRICEWRIGHT_ and its name, e.g. PRICEWRIGHT_DRAIN_DELAY; the option wins.",
    )
    for name, (kind, text) in _OPTIONS.items():
        default, words = getattr(Settings, name), name.replace("_", "-")
        shown, metavar = "" if default is None else f" (default: {default})", kind.__name__.strip("_").upper()
        parser.add_argument(f"--{words}", type=_checked(kind, words), help=text + shown, metavar=metavar)
    for name, text in _SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    for name, kind in _INTERNAL.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    # a cluster sets the port of a service of this name, as an address
    environment = {name: value for name, value in environment.items() if not value.startswith(("tcp://", "udp://"))}
    known = [*(f"PRICEWRIGHT_{name.upper()}" for name in (*_OPTIONS, *_SWITCHES)), *_OTHERS]
    for name in environment.keys() - {*known}:
        # only what looks like one of them, for a cluster sets more variables that begin so
        if name.startswith("PRICEWRIGHT_") and (close := get_close_matches(name, known, n=1, cutoff=0.93)):
            raise InputError(f"{name} is no setting: did you mean {close[0]}?")
    for name, (kind, _) in _OPTIONS.items():
        variable = f"PRICEWRIGHT_{name.upper()}"
        if name not in given and environment.get(variable):
            try:
                given[name] = _checked(kind, name)(environment[variable])
            except argparse.ArgumentTypeError as error:
                raise InputError(f"{variable}: {error}") from None
    for name in _SWITCHES:
        variable = f"PRICEWRIGHT_{name.upper()}"
        if name not in given and environment.get(variable):
            meant = _ANSWERS.get(environment[variable].strip().casefold())
            if meant is None:
                raise InputError(f"{variable}={environment[variable]!r} must be true or false")
            given[name] = meant
    return Settings(**given)


def _checked(kind: Callable[[str], Any], name: str) -> Callable[[str], Any]:
    def check(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {name}: expected a number") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text!r} is no {name}: expected a finite number")
        return value

    return check
