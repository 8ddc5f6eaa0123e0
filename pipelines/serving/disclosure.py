"""Disclosures: what a shopper must be told where a price was made with personal data, by jurisdiction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.errors import InputError
from pipelines.serving.fields import RequestError

FILE = Path("conf/serving/disclosure.yaml")
_SHIPPED = Path(__file__).parents[2] / FILE
_KEYS = {"law", "source", "asks", "text"}


@dataclass(frozen=True)
class Disclosures:
    """The texts, and the jurisdiction that holds where a request names none."""

    default: str
    texts: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse a default without a text."""
        if self.default not in self.texts:
            raise InputError(f"{FILE}: default: {self.default!r} is none of its jurisdictions, {sorted(self.texts)}")

    @classmethod
    def read(cls, path: Path | None = None, default: str | None = None) -> Self:
        """Return the texts of `path`; `default` replaces the file's own. Without a path: conf/serving/disclosure.yaml.

        Raises InputError where an entry lacks its text, or cites no law for it.
        """
        import yaml

        path = path or (FILE if FILE.is_file() else _SHIPPED)
        try:
            values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{path} cannot be read ({error}): it holds the texts that the law asks for") from None
        entries = values.get("jurisdictions") if isinstance(values, dict) else None
        if not isinstance(entries, dict) or not entries:
            raise InputError(f"{path}: jurisdictions is missing or empty: give at least one, with law, source and text")
        for name, entry in entries.items():
            keys = set(entry) if isinstance(entry, dict) else set()
            if keys != _KEYS or not all(isinstance(entry[k], str) for k in _KEYS) or not entry["text"].strip():
                raise InputError(
                    f"{path}: jurisdictions.{name} must have the texts {sorted(_KEYS)}, not {sorted(keys)}"
                )
        return cls(default or str(values.get("default")), {str(n): e["text"].strip() for n, e in entries.items()})

    def text(self, jurisdiction: str | None) -> str:
        """Return the text of `jurisdiction`, or of the default; RequestError where there is none."""
        if jurisdiction is None:
            return self.texts[self.default]
        if jurisdiction not in self.texts:
            raise RequestError("jurisdiction", f"is none of {sorted(self.texts)}")
        return self.texts[jurisdiction]
