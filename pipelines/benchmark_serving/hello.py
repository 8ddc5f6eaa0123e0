"""A bare ASGI application on the server of the endpoint, with its settings: what the server itself costs.

Usage: python -m pipelines.benchmark_serving.hello PORT
"""

from __future__ import annotations

import sys
from typing import Any

from pipelines.serving import workers
from pipelines.serving.settings import Settings

_BODY = b'{"hello": "world"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


class Hello:
    """The application. draining: what `workers.serve` sets when it is asked to stop."""

    draining = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer whatever is asked."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    settings = Settings(port=int(sys.argv[1]))
    application: Any = Hello()
    workers.serve(application, workers.listener(settings.host, settings.port), settings)
