"""Attaching: what an endpoint needs is made of the clean tables, and a state that knows more is not thrown away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attached import definitions
from test_owner import told

from pipelines.behaviour.attach import attach, main
from pipelines.behaviour.exported import FACTS, STATE
from pipelines.behaviour.facts import Facts
from pipelines.behaviour.measures import Event
from pipelines.errors import InputError
from pipelines.serving.owner import Definitions, Owner
from pipelines.tables import EVENTS

NOON = pd.Timestamp("2026-03-02 12:00", tz="UTC")
NOW = NOON.value // 1000


def _tables(views: int = 3) -> dict[str, pd.DataFrame]:
    """Return clean tables: so many views of one item, a minute apart from noon on."""
    usual = {"shopper_id": "u", "session_id": "s", "item_id": "i", "kind": "view", "channel": "web", "price": 5.0}
    rows = [{"event_id": f"e{n}", "time": NOON + pd.Timedelta(minutes=n), **usual} for n in range(views)]
    events = pd.DataFrame(rows).reindex(columns=list(EVENTS.columns)).astype({"time": "datetime64[us, UTC]"})
    items = pd.DataFrame(
        {"item_id": ["i"], "category": ["tea"], "title": ["Tea"], "list_price": [6.0], "unit_cost": 2.0}
    )
    signup = pd.Series([NOON - pd.Timedelta(days=1)]).astype("datetime64[us, UTC]")
    shoppers = pd.DataFrame({"shopper_id": ["u"], "signup": signup, "country": ["DE"]})
    return {"events": events, "items": items, "shoppers": shoppers}


def _context(folder: Path, later: int = 600) -> dict[str, Any]:
    async def run() -> Any:
        owner = Owner(folder)
        (found,) = await owner.contexts([("u", "i", "s", NOW + later * 1_000_000, {"list_price": 6.0})])
        await owner.close()
        return found

    return told(asyncio.run(run()))


def test_the_state_begins_with_the_log(tmp_path: Path) -> None:
    """Histories, items, shoppers and definitions are those of the tables; what lies in the future waits."""
    said = attach(tmp_path, definitions(), "EUR", _tables(5), NOW + 130 * 1_000_000)
    assert "1 items, 1 shoppers; state.db knows 3 events (2 lie in the future" in said
    found = _context(tmp_path)
    assert (3.0, "tea", "DE", 2 / 6) == tuple(found[n] for n in ("session_views", "category", "country", "cost_share"))
    assert found["days_since_signup"] == pytest.approx(1 + 600 / 86_400)
    assert "EUR" == Definitions.read(tmp_path).currency
    assert {"category", "list_price", "unit_cost"} == set(Facts(tmp_path / FACTS).items["i"])


def test_a_state_that_knows_more_is_kept(tmp_path: Path) -> None:
    """Attaching again renews items and shoppers only; --rebuild makes the state of the log again."""
    attach(tmp_path, definitions(), "EUR", _tables(1), NOW)

    async def one_more() -> None:
        owner = Owner(tmp_path)
        await owner.events([Event(NOW + 5_000_000, "live", "view", "u", "s", "i", {"price": 5.0})], NOW + 5_000_000)
        await owner.close()

    asyncio.run(one_more())
    tables = _tables(1)
    tables["items"]["category"] = "coffee"
    assert "stays as it is" in attach(tmp_path, definitions(), "EUR", tables, NOW)
    assert (2.0, "coffee") == (_context(tmp_path)["session_views"], _context(tmp_path)["category"])
    attach(tmp_path, definitions(), "EUR", tables, NOW, rebuild=True)
    assert 1.0 == _context(tmp_path)["session_views"]


def test_what_cannot_go_together_is_refused(tmp_path: Path) -> None:
    """A state in use is not replaced, nor kept under other definitions; nothing is written then."""
    attach(tmp_path, definitions(), "EUR", _tables(), NOW)
    owner = Owner(tmp_path)
    with pytest.raises(InputError, match="one process has the state at a time"):
        attach(tmp_path, definitions(), "EUR", _tables(), NOW, rebuild=True)
    asyncio.run(owner.close())
    other = replace(definitions(), forget={**definitions().forget, "session": "2d"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != STATE}
    with pytest.raises(InputError, match="written for other features"):
        attach(tmp_path, other, "EUR", _tables(), NOW)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != STATE}


def test_without_clean_tables_it_says_what_makes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with status 1 and one line."""
    with pytest.raises(SystemExit, match="1"):
        main(["--clean", str(tmp_path / "none"), "--to", str(tmp_path / "live")])
    assert "dvc repro" in capsys.readouterr().err
    assert not (tmp_path / "live").exists()
