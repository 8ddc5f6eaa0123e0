"""API keys: who may do what, and that keys are never stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from live import asking, endpoint
from policies import REQUEST, tiny_policy

from pipelines.errors import InputError
from pipelines.serving import access
from pipelines.serving.access import Access
from pipelines.serving.runtime import Policy


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_scopes(tmp_path: Path, keys: Path) -> None:
    """No key and a wrong one: 401. A key without the scope: 403. Admin may do everything; /live is everybody's."""
    shop, till, admin = (access.add(keys, n, (s,)) for n, s in (("s", "quote"), ("t", "outcomes"), ("a", "admin")))
    tiny_policy(tmp_path / "policy")
    ask = asking(endpoint(Policy.load(tmp_path / "policy"), access=Access.read(keys)))
    for given, status in (
        ({}, 401), ({"X-API-Key": "no"}, 401), ({"X-API-Key": shop[:-1]}, 401), ({"X-API-Key": till}, 403),
        ({"X-API-Key": shop}, 200), ({"Authorization": f"bearer {shop}"}, 200), ({"X-API-Key": admin}, 200),
    ):  # fmt: skip
        assert status == ask("POST", "/quote", json=REQUEST, headers=given).status_code
    assert 403 == ask("GET", "/metrics", headers={"X-API-Key": shop}).status_code
    assert 200 == ask("GET", "/metrics", headers={"X-API-Key": admin}).status_code
    assert 404 == ask("POST", "/outcomes", json={}, headers={"X-API-Key": till}).status_code
    assert "Bearer" in ask("POST", "/quote", json=REQUEST).headers["www-authenticate"]
    assert [200] * 4 == [ask("GET", path).status_code for path in ("/live", "/ready", "/", "/docs")]


def test_a_key_is_shown_once_and_kept_as_a_digest(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the key; the file, which only its owner may read, holds no trace of it."""
    access.main([str(keys), "checkout", "--scopes", "quote,outcomes"])
    key = capsys.readouterr().out.strip()
    assert key not in keys.read_text()
    assert ["quote", "outcomes"] == json.loads(keys.read_text())["checkout"]["scopes"]
    assert 0o600 == keys.stat().st_mode & 0o777
    with pytest.raises(SystemExit):
        access.main([str(keys), "checkout"])
    assert "has a key called 'checkout' already" in capsys.readouterr().err


_NO_SCOPE = f'{{"a": {{"sha256": "{64 * "0"}", "scopes": ["root"]}}}}'
_SHORT = '{"a": {"sha256": "00", "scopes": ["quote"]}}'


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1}', '{"a": {"sha256": "xy", "scopes": []}}', "{}", _SHORT, _NO_SCOPE]
)
def test_a_broken_file(keys: Path, text: str) -> None:
    """A file that holds no usable key keeps the endpoint from starting, rather than opening it to all."""
    keys.write_text(text)
    with pytest.raises(InputError, match=str(keys)):
        Access.read(keys)
    with pytest.raises(InputError):
        access.add(keys.with_name("new.json"), "name", ("root",))
