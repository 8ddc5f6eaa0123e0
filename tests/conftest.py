"""Settings of all tests, and the folders that many of them need."""

from pathlib import Path

import pytest
from hypothesis import settings
from policies import tiny_policy

# The same examples in every run: a red test is a change, not chance.
settings.register_profile("pricewright", derandomize=True, deadline=None)
settings.load_profile("pricewright")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small policy of all kinds of input."""
    made: Path = tmp_path_factory.mktemp("policy")
    tiny_policy(made)
    return made


@pytest.fixture
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty folder, and work in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
