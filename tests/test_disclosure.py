"""Disclosures: which texts there are, and what keeps them from being wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.errors import InputError
from pipelines.serving.disclosure import FILE, Disclosures
from pipelines.serving.fields import RequestError


def test_the_shipped_texts() -> None:
    """New York's words are the statute's own; the European text tells of automated decision-making."""
    texts = Disclosures.read(FILE)
    assert "THIS PRICE WAS SET BY AN ALGORITHM USING YOUR PERSONAL DATA" == texts.text("us-ny")
    assert "automated decision-making" in texts.text(None)
    with pytest.raises(RequestError, match="is none of"):
        texts.text("mars")


def test_each_text_cites_its_law() -> None:
    """Every jurisdiction with a law names it and where it can be read."""
    for name, entry in yaml.safe_load(FILE.read_text())["jurisdictions"].items():
        assert entry["law"], name
        assert "none" == name or entry["source"].startswith("https://")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "jurisdictions is missing"),
        ("a: [", "cannot be read"),
        ("default: eu\njurisdictions: {eu: {text: hi}}", "jurisdictions.eu must have"),
        ("default: eu\njurisdictions: {eu: {law: l, source: s, asks: a, text: ' '}}", "jurisdictions.eu must have"),
        ("default: fr\njurisdictions: {eu: {law: l, source: s, asks: a, text: t}}", "none of its jurisdictions"),
    ],
)
def test_a_broken_file(tmp_path: Path, text: str, told: str) -> None:
    """A file without texts, or a default without one, keeps the endpoint from starting."""
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        Disclosures.read(tmp_path / "d.yaml")
    with pytest.raises(InputError, match="none of its jurisdictions"):
        Disclosures.read(FILE, "atlantis")
