"""The command lines of the benchmark: key=value words, and three options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError, nearest

_OPTIONS = ("--processes", "--fresh", "--folder")


@dataclass(frozen=True)
class Given:
    """What a command line says: settings by key, worker processes, whether to run anew, where the records are."""

    settings: dict[str, str]
    processes: int
    fresh: bool
    folder: Path


def read(words: Sequence[str], command: str, about: str, keys: tuple[str, ...], folder: Path) -> Given:
    """Return what `words` say; InputError for a word that is none of `keys` and no option. --help prints `about`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{command}", description=about, exit_on_error=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("settings", nargs="*", metavar="key=value", help=f"{', '.join(keys)}; all may be left out")
    parser.add_argument("--processes", default="2", help="worker processes, one thread each (2)")
    parser.add_argument("--fresh", action="store_true", help="run anew what is finished")
    parser.add_argument("--folder", type=Path, default=folder, help=f"where the records are ({folder})")
    try:
        found, unknown = parser.parse_known_intermixed_args(list(words))
    except argparse.ArgumentError as error:
        raise InputError(f"benchmark: {error}") from None
    if unknown:
        raise InputError(f"benchmark: {unknown[0]} is not an option{nearest(unknown[0], _OPTIONS)}")
    settings = {}
    for word in found.settings:
        key, _, value = word.partition("=")
        if not value:
            raise InputError(
                f"benchmark: {word!r} is not of the form key=value, e.g. seeds=3 (keys: {', '.join(keys)})"
            )
        if key not in keys:
            raise InputError(f"benchmark: {key} is not a setting{nearest(key, keys)}")
        settings[key] = value
    return Given(settings, whole("--processes", found.processes), found.fresh, found.folder)


def whole(name: str, text: str) -> int:
    """Return a positive whole number; InputError naming the setting otherwise."""
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"benchmark: {name}={text} must be a whole number of at least 1")
    return int(text)


def ended(run: Callable[[], int], what: str) -> int:
    """Return the exit status of a command: 0, 1 where something failed or was wrongly asked for, 130 if stopped.

    run: gives how many pieces failed. what: the pieces that are kept, in the plural.
    """
    try:
        return 1 if run() else 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; finished {what} are kept, the same command takes up the rest", file=sys.stderr)
        return 130
