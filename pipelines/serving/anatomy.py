"""What is in an ONNX file, read from its bytes before any runtime sees them: plain operators and their own numbers.

A walk over the protobuf that knows the few fields that `export` writes and refuses every other one. Not the `onnx`
package: its import takes a tenth of the time that the endpoint has to become ready.

Sources: onnx.proto (ONNX 1.23), and the wire format of Protocol Buffers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")  # every operator in them is part of ONNX itself
_DEEPEST: Final = 32  # messages within messages; a policy needs about eight
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message -> field number -> the message in it; "" for a value that means nothing here, "domain" and "here" for checks.
_KNOWN: Final[dict[str, dict[int, str]]] = {
    "model": {**dict.fromkeys((1, 2, 3, 4, 5, 6, 14), ""), 7: "graph", 8: "opset"},
    "opset": {1: "domain", 2: ""},
    "graph": {**dict.fromkeys((2, 10, 16), ""), 1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {**dict.fromkeys((1, 2, 3, 4, 6, 9), ""), 5: "attribute", 7: "domain"},
    "attribute": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), ""), 5: "tensor", 6: "graph", 10: "tensor", 11: "graph",
    },
    "tensor": {**dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16), ""), 14: "here"},
    "value": {1: "", 2: "type", 3: "", 4: ""},
    "type": {1: "", 6: ""},
}  # fmt: skip
# Fields that a user of ONNX knows by name, so that a refusal can say it.
_NAMED: Final = {
    ("model", 20): "training information",
    ("model", 25): "functions of its own",
    ("model", 26): "a device configuration",
    ("graph", 14): "quantisation annotations",
    ("graph", 15): "sparse weights",
    ("tensor", 3): "a tensor in segments",
    ("tensor", 13): "weights in another file (external data)",
    ("type", 4): "a sequence",
    ("type", 5): "a map",
    ("type", 7): "an opaque type",
}
# Long lists of an attribute, such as the nodes of a forest, are not packed: one tag per number.
_RUNS: Final = {
    0x3D: re.compile(rb"(?:\x3d.{4})++", re.DOTALL),
    0x40: re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])++"),
}


class OddGraphError(Exception):
    """An ONNX file that holds what a policy never holds, or that is no ONNX file."""


def inspect(content: bytes) -> None:
    """Raise OddGraphError unless the file is one graph of ONNX's own operators with all weights in it.

    Whatever is not known is refused, in branches too; fields that come twice are all looked at.
    """
    if not _message(content, 0, len(content), "model", 0):
        raise OddGraphError("it holds no graph")


def fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield what a message in content[at:end] holds: field number, and where its tag, its value and the next begin."""
    while at < end:
        tag, start = _varint(content, at, end, most=2)
        stop, inner = _value(content, start, end, tag & 7)
        yield tag >> 3, at, inner, stop
        at = stop


def _message(content: bytes, at: int, end: int, kind: str, depth: int) -> bool:
    """Check one message in content[at:end]; return whether a graph was in it."""
    if depth > _DEEPEST:
        raise OddGraphError(f"it is nested more than {_DEEPEST} deep")
    known, found = _KNOWN[kind], False
    while at < end:
        run = _RUNS.get(content[at]) if kind == "attribute" else None
        if run is not None and (whole := run.match(content, at, end)):
            at = whole.end()
            continue
        tag, at = _varint(content, at, end, most=2)  # the largest field number known takes two bytes
        field, wire = tag >> 3, tag & 7
        inside = known.get(field)
        if inside is None:
            raise OddGraphError(f"it holds {_NAMED.get((kind, field), f'an unknown field {field} of a {kind}')}")
        at, start = _value(content, at, end, wire)
        if inside in _KNOWN:
            if wire != _BYTES:
                raise OddGraphError(f"field {field} of a {kind} is no message")
            _message(content, start, at, inside, depth + 1)
            found = found or inside == "graph"
        elif inside:
            _check(inside, content[start:at])
    return found


def _check(kind: str, value: bytes) -> None:
    if kind == "domain" and value not in _SPELT:
        shown = value[:40].decode("utf-8", "replace")
        raise OddGraphError(f"it uses operators of the domain {shown!r}, which are not ONNX's own")
    if kind == "here" and value != b"\x00":
        raise OddGraphError("it holds weights in another file (external data)")


_SPELT: Final = frozenset(name.encode() for name in DOMAINS)


def _value(content: bytes, at: int, end: int, wire: int) -> tuple[int, int]:
    """Return where a value ends, and where its content starts."""
    if wire == _VARINT:
        return _varint(content, at, end, most=10)[1], at
    if wire == _BYTES:
        size, at = _varint(content, at, end, most=5)
    elif wire in (_FIXED32, _FIXED64):
        size = 4 if wire == _FIXED32 else 8
    else:
        raise OddGraphError(f"wire type {wire} at byte {at}: it is no ONNX file")
    if at + size > end:
        raise OddGraphError(f"a value at byte {at} is longer than what holds it: it is damaged, or no ONNX file")
    return at + size, at


def _varint(content: bytes, at: int, end: int, most: int) -> tuple[int, int]:
    value = 0
    for place in range(most):
        if at >= end:
            raise OddGraphError(f"it ends within a number at byte {at}: it is damaged, or no ONNX file")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at
    raise OddGraphError(f"a number before byte {at} is too long: it is damaged, or no ONNX file")
