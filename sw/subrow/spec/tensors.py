"""safetensors files of byte arrays, read without trust and without a library that boards lack.

A file is 8 bytes (length of the header, little endian), a JSON header {name: {dtype, shape, data_offsets}} with text
under `__metadata__`, and the arrays' bytes one after the other. Only dtype U8 exists here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.spec.metadata import parse_json

Bytes = NDArray[np.uint8]
_LENGTH = 8
_KEYS = {"dtype", "shape", "data_offsets"}


def header_of(data: bytes) -> dict[str, Any]:
    """The JSON header. Raises ValueError when it is truncated or no JSON object."""
    if len(data) < _LENGTH:
        raise ValueError(f"{len(data)} bytes is too short: truncated")
    size = int.from_bytes(data[:_LENGTH], "little")
    if size > len(data) - _LENGTH:
        raise ValueError(f"header says {size} bytes, file has {len(data) - _LENGTH}: truncated")
    header = parse_json(data[_LENGTH : _LENGTH + size])
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    return header


def read(data: bytes) -> dict[str, Bytes]:
    """uint8 arrays by name, views of `data` that cannot be written to.

    Raises ValueError unless every array is U8, its shape has the bytes that its offsets say, and the arrays follow one
    another without gaps or overlaps to the end of the file.
    """
    header = {name: item for name, item in header_of(data).items() if name != "__metadata__"}
    start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    places = sorted((*_entry(name, item), name) for name, item in header.items())
    at, result = 0, {}
    for low, high, shape, name in places:
        if low != at:
            raise ValueError(f"tensor {name!r} starts at byte {low}, the one before ends at {at}")
        if high > len(data) - start:
            raise ValueError(f"tensor {name!r} ends at byte {high} of {len(data) - start}")
        result[name] = np.frombuffer(data, np.uint8, high - low, start + low).reshape(shape)
        at = high
    if at != len(data) - start:
        raise ValueError(f"{len(data) - start - at} bytes follow the last tensor")
    return result


def _entry(name: str, item: Any) -> tuple[int, int, tuple[int, ...]]:
    """First byte, end and shape of an array that the header describes."""
    if not isinstance(item, dict) or set(item) != _KEYS or item["dtype"] != "U8":
        raise ValueError(f"tensor {name!r} is not an array of U8")
    shape, offsets = item["shape"], item["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"tensor {name!r}: shape and offsets must be lists of numbers from 0 on")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape):
        raise ValueError(f"tensor {name!r}: bytes {offsets} do not hold the shape {shape}")
    return offsets[0], offsets[1], tuple(shape)


def write(arrays: Mapping[str, Bytes], metadata: Mapping[str, str]) -> bytes:
    """A file of uint8 arrays; the header is padded, so that the arrays start at a multiple of 8."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "U8", "shape": list(array.shape), "data_offsets": [at, at + array.size]}
        at += array.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, *parts])
