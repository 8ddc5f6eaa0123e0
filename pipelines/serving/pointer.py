"""What `deploy` tells the endpoint: small JSON files in models/live/, each replaced as a whole.

current.json and shadow.json name the folder beside them that is to quote, or to price unseen. refused.json says why the
registry's champion is not in current.json; it is there only as long as that is so.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pipelines.files import write_json
from pipelines.serving.trust import UntrustedError

LIVE: Final = Path("models/live")
CURRENT, SHADOW, REFUSED = "current.json", "shadow.json", "refused.json"
_LARGEST: Final = 16 << 10  # bytes
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Pointer:
    """What a pointer says: which folder beside it holds which version of which registered model, and its graph."""

    folder: str
    version: str
    model: str
    graph_sha256: str

    def __post_init__(self) -> None:
        """Refuse what is no text, and a folder that lies elsewhere."""
        for name in ("folder", "version", "model", "graph_sha256"):
            if not isinstance(getattr(self, name), str):
                raise UntrustedError("pointer", f"the pointer's {name} is {getattr(self, name)!r}, which is no text")
        if self.folder in ("", ".", "..") or "/" in self.folder or "\0" in self.folder:
            raise UntrustedError("pointer", f"the pointer's folder {self.folder[:60]!r} is not one beside it")

    @classmethod
    def read(cls, path: Path) -> Pointer:
        """Return what a file says; UntrustedError where it is no pointer, FileNotFoundError where it is missing."""
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        try:
            if len(content) > _LARGEST:
                raise ValueError(f"it is larger than {_LARGEST} bytes")
            values = json.loads(content)
            return cls(*(values[name] for name in ("folder", "version", "model", "graph_sha256")))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UntrustedError("pointer", f"{path} is no pointer ({error!r}): deploy again") from None

    def write(self, path: Path) -> None:
        """Replace the file at once."""
        write_json(path, asdict(self))


@dataclass(frozen=True)
class Refusal:
    """Something that was not put in place: a short code for counters, the whole reason, when, and which version."""

    code: str
    reason: str
    at: float
    version: str | None

    def write(self, path: Path) -> None:
        """Replace the file at once."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Refusal:
        """Return what a file says; of one that says nothing, that it does."""
        try:
            with path.open("rb") as file:
                values = json.loads(file.read(_LARGEST))
            version = values["version"]
            return cls(str(values["code"]), str(values["reason"]), float(values["at"]), version and str(version))
        except (OSError, ValueError, KeyError, TypeError) as error:
            return cls("error", f"{path}: {error!r}", time.time(), None)


def stamp_of(path: Path) -> Stamp:
    """Return what changes whenever a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
