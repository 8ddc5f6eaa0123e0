"""Limits of a request's body: size, time, depth."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipelines.serving.limits import Gone, parsed, read
from pipelines.serving.problems import Problem


def _read(*parts: bytes | None, most: int = 10, seconds: float = 5.0) -> bytes:
    """Read a body that comes in parts; None: the caller hangs up, and after the last part nothing more comes."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": part != parts[-1]}

    return asyncio.run(read(receive, most, seconds))


def test_a_body_in_parts() -> None:
    """However it comes, it is whole."""
    assert b"abcdef" == _read(b"abc", b"d", b"ef")
    assert b"" == _read(b"")


@pytest.mark.parametrize("parts", [(b"x" * 11,), (b"x" * 6, b"y" * 6, b"z"), (b"x" * 11, b"y", b"z")])
def test_too_large(parts: tuple[bytes, ...]) -> None:
    """One byte too many is refused as soon as it is there, and the connection ends."""
    with pytest.raises(Problem) as refused:
        _read(*parts)
    assert (413, "close") == (refused.value.status, refused.value.headers["Connection"])


def test_too_slow_and_gone() -> None:
    """A body that does not come is 408; a caller that hung up is nobody to answer."""
    with pytest.raises(Problem) as refused:
        asyncio.run(read(lambda: asyncio.Event().wait(), 10, 0.01))
    assert 408 == refused.value.status
    for parts in ((None,), (b"abc", None)):
        with pytest.raises(Gone):
            _read(*parts)


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b"1", True),
        (b'"[[[[[["', True),
        (b"[[[]]]", True),
        (b"[[[[]]]]", False),
        (b'{"a":{"b":{"c":1}}}', True),
        (b'{"a":{"b":{"c":[]}}}', False),
        (b'[{"a":1},{"b":2},{"c":[3]},{"d":4}]', True),
        (b'[1,[2,[3]],{"a":{"b":[]}}]', False),
    ],
)
def test_depth(body: bytes, fits: bool) -> None:
    """Levels are counted exactly, whatever stands in texts and beside."""
    if fits:
        parsed(body, 3)
        return
    with pytest.raises(Problem, match="deeper than 3 levels"):
        parsed(body, 3)
