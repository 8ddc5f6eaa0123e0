"""A graph whose numbers come as one input: to hand each over by itself takes as long as a sixth of the graph.

The file of a policy has an input of its own for each field. Here its verified bytes get a node in front, which splits a
table of all numbers into those inputs; all else is left as it is, and so is every answer, to the last bit.

Sources: onnx.proto (ONNX 1.23), `Split` of operator set 18, and the wire format of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.serving.anatomy import OddGraphError, fields

NUMBERS = "all numbers"  # the one input, (N, number of numbers)
_MODEL_GRAPH, _MODEL_OPSET, _OPSET_DOMAIN, _OPSET_VERSION = 7, 8, 1, 2
_NODE, _INPUT, _NAME, _TYPE = 1, 11, 1, 2  # of a graph; of a value
_TENSOR, _ELEMENT = 1, 1  # of a type
_DOUBLE, _STRING = 11, 8
_KINDS = {_DOUBLE: "number", _STRING: "word"}
_SPLIT = 18  # the first operator set whose `Split` is told how many parts there are


def inputs(content: bytes) -> dict[str, str]:
    """Return the inputs of a graph and what each is: number, word, or ONNX's own code of another type."""
    start, end = _one(content, 0, len(content), _MODEL_GRAPH)
    return dict(_described(content, *place) for field, _, *place in fields(content, start, end) if field == _INPUT)


def packed(content: bytes, numbers: Sequence[str]) -> bytes:
    """Return the graph with `numbers`, all of its inputs that are numbers, as the columns of one input.

    Raises OddGraphError for a graph of an older operator set.
    """
    if (version := _version(content)) < _SPLIT:
        raise OddGraphError(f"its operator set is {version}, and {_SPLIT} is the oldest that serves: export it again")
    begun, end = _one(content, 0, len(content), _MODEL_GRAPH)
    kept = [
        content[tag:stop]
        for field, tag, start, stop in fields(content, begun, end)
        if field != _INPUT or _described(content, start, stop)[0] not in numbers
    ]
    graph = b"".join((_told(_NODE, _split(numbers)), *kept, _told(_INPUT, _table(len(numbers)))))
    return b"".join(
        _told(_MODEL_GRAPH, graph) if field == _MODEL_GRAPH else content[tag:stop]
        for field, tag, _, stop in fields(content, 0, len(content))
    )


def _described(content: bytes, start: int, end: int) -> tuple[str, str]:
    """Return name and kind of a value."""
    found = {field: place for field, _, *place in fields(content, start, end)}
    start, end = found[_TYPE]
    for field, _, at, _ in fields(content, *_one(content, start, end, _TENSOR)):
        if field == _ELEMENT:
            name = content[slice(*found[_NAME])].decode()
            return name, _KINDS.get(content[at], str(content[at]))
    raise OddGraphError("it has an input without a type")


def _version(content: bytes) -> int:
    """Return the version of ONNX's own operator set, 0 where none is named."""
    for field, _, start, end in fields(content, 0, len(content)):
        if field == _MODEL_OPSET:
            told = {inner: content[at:stop] for inner, _, at, stop in fields(content, start, end)}
            if not told.get(_OPSET_DOMAIN):
                return int(told[_OPSET_VERSION][0])  # below 128, it is one byte
    return 0


def _one(content: bytes, start: int, end: int, wanted: int) -> tuple[int, int]:
    places = [(at, stop) for field, _, at, stop in fields(content, start, end) if field == wanted]
    if len(places) != 1:
        raise OddGraphError(f"it has {len(places)} fields {wanted} where there must be one")
    return places[0]


def _split(names: Sequence[str]) -> bytes:
    """Return the node that splits the table into its columns."""
    parts = [_told(1, NUMBERS.encode()), *(_told(2, name.encode()) for name in names), _told(4, b"Split")]
    return b"".join((*parts, _told(5, _attribute("axis", 1)), _told(5, _attribute("num_outputs", len(names)))))


def _attribute(name: str, value: int) -> bytes:
    return _told(1, name.encode()) + _number(3, value) + _number(20, 2)  # 2: an integer


def _table(columns: int) -> bytes:
    """Return the input of the table: doubles, N rows."""
    shape = _told(1, _told(2, b"N")) + _told(1, _number(1, columns))
    return _told(_NAME, NUMBERS.encode()) + _told(_TYPE, _told(_TENSOR, _number(_ELEMENT, _DOUBLE) + _told(2, shape)))


def _told(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))
