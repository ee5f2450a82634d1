"""A tagger in miniature: a real ONNX file of a few hundred bytes, with its list of tags, as the Hub's repositories hold them.

Written by hand, field by field of ONNX's protobuf (onnx.proto), so that the tests need nothing to make it with.
"""

from __future__ import annotations

import struct
from pathlib import Path

SIDE = 16
FLOAT, INT, INTS = 1, 2, 7  # TensorProto.FLOAT, AttributeProto.INT and INTS
# tag, its category, what of blue, green and red it wants (in the order of the model's input), and where it begins
TAGS = (
    ("general", 9, (0, 0, 0), 2.0),
    ("explicit", 9, (0, 0, 0), -2.0),
    ("blue_sky", 0, (1, 0, 0), -4.0),
    ("green_grass", 0, (0, 1, 0), -4.0),
    ("red_hair", 0, (0, 0, 1), -4.0),
    ("^_^", 0, (0, 0, 0), 1.0),
    ("red_(game)", 4, (0, 0, 1), -5.0),
)


def build(folder: Path, tags=TAGS, side: int = SIDE, batch: int = 0, layout: str = "BHWC", sigmoid: bool = True) -> Path:
    """The folder, with model.onnx and selected_tags.csv.  batch: pictures that the file takes at once; 0 for any number.

    The probability of a tag is the sigmoid of what it wants of the mean colour (in eighths of its range) and where it begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{number},{name},{category},1\n" for number, (name, category, _, _) in enumerate(tags))
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n" + rows, encoding="utf-8")
    (folder / "config.json").write_text("{}")
    shape = [batch or "batch_size", side, side, 3] if layout == "BHWC" else [batch or "batch_size", 3, side, side]
    wants = [want[channel] / 32 for channel in range(3) for *_, want, _ in tags]
    nodes = [
        _node("ReduceMean", ["input"], "mean", axes=[1, 2] if layout == "BHWC" else [2, 3], keepdims=0),
        _node("MatMul", ["mean", "wants"], "wanted"),
        _node("Add", ["wanted", "begins"], "output" if not sigmoid else "sum"),
        *([_node("Sigmoid", ["sum"], "output")] if sigmoid else []),
    ]
    graph = b"".join(_part(1, node) for node in nodes) + _part(2, b"tiny")
    graph += _part(5, _tensor("wants", [3, len(tags)], wants)) + _part(5, _tensor("begins", [len(tags)], [t[3] for t in tags]))
    graph += _part(11, _value("input", shape)) + _part(12, _value("output", [batch or "batch_size", len(tags)]))
    opset = _number(2, 13)
    (folder / "model.onnx").write_bytes(_number(1, 8) + _part(7, graph) + _part(8, opset))
    return folder


def _node(kind: str, inputs: list[str], output: str, **attributes) -> bytes:
    made = b"".join(_part(1, name.encode()) for name in inputs) + _part(2, output.encode()) + _part(4, kind.encode())
    for name, value in attributes.items():
        told = _part(8, b"".join(map(_varint, value))) + _number(20, INTS) if isinstance(value, list) else _number(3, value) + _number(20, INT)
        made += _part(5, _part(1, name.encode()) + told)
    return made


def _tensor(name: str, shape: list[int], values: list[float]) -> bytes:
    return b"".join(_number(1, n) for n in shape) + _number(2, FLOAT) + _part(8, name.encode()) + _part(9, struct.pack(f"<{len(values)}f", *values))


def _value(name: str, shape: list[int | str]) -> bytes:
    sides = b"".join(_part(1, _number(1, n) if isinstance(n, int) else _part(2, n.encode())) for n in shape)
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, FLOAT) + _part(2, sides)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])
