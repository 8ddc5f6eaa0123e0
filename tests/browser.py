"""A headless Chromium for tests, spoken to over its debugging protocol; nothing is downloaded."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip


class Tab:
    """One page that is open. troubles: what its console complained of."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._ids, self.troubles = connection, itertools.count(1), list[str]()
        self.call("Runtime.enable")
        self.call("Log.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        mine = next(self._ids)
        self._connection.send(json.dumps({"id": mine, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._connection.recv(timeout=30))
            if told.get("method") == "Log.entryAdded":
                self.troubles.append(told["params"]["entry"]["text"])
            elif told.get("method") == "Runtime.exceptionThrown":
                self.troubles.append(str(told["params"]["exceptionDetails"]))
            elif told.get("id") == mine:
                assert "error" not in told, told
                return told["result"]

    def run(self, script: str) -> Any:
        """Return what an expression of JavaScript is."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.05)
        raise TimeoutError(script)

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened(url: str, profile: Path, width: int = 1280, height: int = 1000) -> Iterator[Tab]:
    """Give a tab on `url`; profile: an empty folder."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found, end = profile / "DevToolsActivePort", time.monotonic() + 30
        while not (found.is_file() and found.read_text().strip()) and time.monotonic() < end:
            time.sleep(0.05)
        port = found.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            tabs = json.load(answer)
        page = next(tab for tab in tabs if tab["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            tab.call("Page.navigate", url=url)
            yield tab
    finally:
        process.terminate()
        process.wait(20)
