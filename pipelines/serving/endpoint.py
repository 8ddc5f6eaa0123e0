"""The thin endpoint: one JSON object of plain named fields in, one quote out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving.runtime import Policy, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_BODY = 64 * 1024  # bytes


def app(policy: Policy) -> Starlette:
    """Return the ASGI application that quotes by `policy`: POST /quote, GET /live, GET /policy."""
    manifest = _json(asdict(policy.manifest))

    async def quote(request: Request) -> Response:
        return _json(policy.quote([_parsed(await _body(request))])[0])

    async def live(_: Request) -> Response:
        return _json({"live": True, "policy": policy.manifest.name, "digest": policy.digest})

    async def describe(_: Request) -> Response:
        return manifest

    return Starlette(
        routes=[
            Route("/quote", quote, methods=["POST"]),
            Route("/live", live, methods=["GET"]),
            Route("/policy", describe, methods=["GET"]),
        ],
        exception_handlers={RequestError: _refused, HTTPException: _problem},
    )


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8, or an endless integer
        raise HTTPException(400, f"the body is not JSON: {error}") from error


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _json({"title": "The request cannot be priced", "field": error.field, "detail": error.detail}, 422)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {400: "Malformed request", 404: "No such path", 405: "No such method here", 413: "Body too large"}
    content = {"title": title.get(error.status_code, "Error"), "field": None, "detail": error.detail}
    return _json(content, error.status_code, error.headers)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    media = "application/json" if status < 400 else "application/problem+json"
    return Response(text.encode(), status, headers, media)
