"""Settings: options, environment, defaults, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.serving.settings import Settings, read


def test_an_option_wins_over_the_environment() -> None:
    """Options come first, then PRICEWRIGHT_…, then the defaults."""
    environment = {"PRICEWRIGHT_PORT": "81", "PRICEWRIGHT_DRAIN_DELAY": "2.5", "PRICEWRIGHT_POLICY": "p", "PORT": "7"}
    assert Settings() == read([], {})
    assert Settings(watch=True, quote_key=None, log=None) == read(
        ["--watch", "--log", "none"], {"PRICEWRIGHT_QUOTE_KEY": "none", "PRICEWRIGHT_LOG": "elsewhere"}
    )
    assert Settings(port=82, drain_delay=2.5, policy=Path("p")) == read(["--port", "82"], environment)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"PRICEWRIGHT_PORT": "70000"}, "--port 70000 must lie between 0 and 65535"),
        ({"PRICEWRIGHT_PORT": "http"}, "PRICEWRIGHT_PORT: 'http' is no port"),
        ({"PRICEWRIGHT_WORKERS": "0"}, "--workers 0 must"),
        ({"PRICEWRIGHT_DEADLINE": "nan"}, "finite"),
        ({"PRICEWRIGHT_DRAIN_DELAY": "-1"}, "--drain-delay -1 must"),
        ({"PRICEWRIGHT_SYNC": "never"}, "--sync never must be interval or each"),
        ({"PRICEWRIGHT_UNSIGNED": "1"}, "--unsigned belongs to --policy"),
        ({"PRICEWRIGHT_WATCH": "1", "PRICEWRIGHT_POLICY": "p"}, "give one of them"),
        ({"PRICEWRIGHT_UNSIGNED": "perhaps"}, "PRICEWRIGHT_UNSIGNED='perhaps' must be true or false"),
        ({"PRICEWRIGHT_PROT": "80"}, "PRICEWRIGHT_PROT is no setting: did you mean PRICEWRIGHT_PORT"),
        ({"PRICEWRIGHT_SHADOW": "1", "PRICEWRIGHT_WATCH": "0"}, "--shadow belongs to --watch"),
    ],
)
def test_refusals(environment: dict[str, str], told: str) -> None:
    """A value that nothing can run with is named with its option."""
    with pytest.raises(InputError, match=told):
        read([], environment)


@pytest.mark.parametrize(
    ("text", "meant"), [("1", True), ("Yes", True), ("ON", True), ("False", False), ("off", False)]
)
def test_a_switch_in_the_environment_means_what_it_says(text: str, meant: bool) -> None:
    """However it is spelled; and variables that a cluster sets for a service of this name are none of ours."""
    environment = {"PRICEWRIGHT_UNSIGNED": text, "PRICEWRIGHT_POLICY": "p", "PRICEWRIGHT_SERVICE_PORT": "80"}
    environment["PRICEWRIGHT_PORT"] = "tcp://10.0.0.1:8000"
    assert meant is read([], environment).unsigned


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows each option with its default, and none of those that workers are started with."""
    with pytest.raises(SystemExit):
        read(["--help"], {})
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in ("policy", "workers", "queue", "deadline", "keys", "drain-delay"))
    assert "127.0.0.1" in shown
    assert "--lifeline" not in shown
