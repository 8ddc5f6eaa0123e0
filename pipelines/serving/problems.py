"""Refusals as RFC 9457 asks for them (problem+json): what is wrong, in which field; nothing of the inside."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

TITLES = {
    400: "Malformed request",
    401: "Key missing or unknown",
    403: "Key without this scope",
    404: "Not here",
    405: "No such method here",
    408: "Request too slow",
    413: "Body too large",
    422: "A value cannot be taken",
    500: "Internal error",
    426: "WebSocket wanted",
    503: "Busy",
}
MEDIA = b"application/problem+json"


class Problem(Exception):  # noqa: N818  # as RFC 9457 calls it
    """A refusal: status, what is wrong in a sentence, and the field where there is one."""

    def __init__(
        self, status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.headers = status, detail, field, headers or {}

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        told = {"title": TITLES[self.status], "status": self.status, "field": self.field, "detail": self.detail}
        return orjson.dumps(told)
