"""What ONNX files hold (external data, operators), read without the onnx package."""

from collections.abc import Iterator

# Field numbers of onnx.proto: the path from a model to its tensors, and the marks of a tensor with external data.
_MODEL = {7: "graph", 20: "training", 25: "function"}
_LEADS = {
    "model": _MODEL,
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_GRAPH, _NODE, _NODE_INPUT, _NODE_TYPE = 7, 1, 1, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64


def reads_other_files(content: bytes) -> bool:
    """Whether a tensor of an ONNX model is stored in another file; ValueError if `content` is not an ONNX model."""
    return _reads(memoryview(content), "model", 0)


def operators_of(content: bytes) -> list[tuple[str, tuple[str, ...]]]:
    """Type and inputs of each node of an ONNX model's graph, in order; ValueError if it is not an ONNX model."""
    graphs = [value for number, value in _fields(memoryview(content)) if number == _GRAPH]
    nodes = [value for graph in graphs for number, value in _graph_fields(graph) if number == _NODE]
    return [_operator(node) for node in nodes if isinstance(node, memoryview)]


def _graph_fields(graph: int | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    return _fields(graph) if isinstance(graph, memoryview) else iter(())


def _operator(node: memoryview) -> tuple[str, tuple[str, ...]]:
    found = [(number, bytes(value)) for number, value in _fields(node) if isinstance(value, memoryview)]
    names = tuple(value.decode("utf-8", "replace") for number, value in found if number == _NODE_INPUT)
    kind = next((value.decode("utf-8", "replace") for number, value in found if number == _NODE_TYPE), "")
    return kind, names


def _reads(part: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply for an ONNX model")
    for number, value in _fields(part):
        if kind == "tensor":
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1):
                return True
        elif (
            isinstance(value, memoryview) and number in _LEADS[kind] and _reads(value, _LEADS[kind][number], depth + 1)
        ):
            return True
    return False


def _fields(part: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): the integer of a varint, the content of bytes and messages, 0 for other types."""
    offset, end = 0, len(part)
    while offset < end:
        key, offset = _varint(part, offset)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, offset = _varint(part, offset)
            yield number, value
        elif wire == _BYTES:
            length, offset = _varint(part, offset)
            if length > end - offset:
                raise ValueError("it is no whole ONNX model: a field goes on past its end")
            yield number, part[offset : offset + length]
            offset += length
        elif wire in (_FIXED64, _FIXED32):
            yield number, 0
            offset += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"it is no ONNX model: a field has wire type {wire}")


def _varint(part: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(part):
            raise ValueError("it is no whole ONNX model: a number is cut off")
        byte = part[offset]
        value, offset = value | (byte & 0x7F) << shift, offset + 1
        if byte < 0x80:
            return value, offset
    raise ValueError("it is no ONNX model: a number has more than ten bytes")
