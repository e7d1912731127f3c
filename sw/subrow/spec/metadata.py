"""The JSON document of a Program file: what it says of tensors and layers, and how it is read without trust.

Every value has one type and one range; anything else is a ProgramError that names the field, the value and the range.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.spec.errors import ProgramError

KINDS = ("conv", "linear", "channelwise")
TILES = ("direct", "f2", "f4", "linear")
"""Names of the instruction's values of `tile`, in their order."""

MAX_SQUARE = 2  # pixels of a side of what space_to_depth takes together: a layer's largest stride
MAX_ARENA = (1 << 33) - 1  # offsets have 32 bits, and the last tensor lies behind one
_MAX_SIZE = 1 << 16  # of anything that an instruction's field of at most 12 bits counts in blocks of at most 16
_MAX_COUNT = 1 << 62
_MAX_TEXT = 500
_NORMAL = 2.0**-126, 2.0**127  # scales are handed on as float32


@dataclass(frozen=True)
class TensorInfo:
    """A network input or output in the arena: shape (C, H, W), real value = scale * integer, byte offset.

    row_bytes: from one row to the next where the tensor is a slice of a wider one's channels; 0: no gaps.
    space_to_depth: an input's squares of n x n pixels lie in memory as n * n * C channels of one pixel, in the order
    (C, row, column); 1: as they are.
    """

    name: str
    shape: tuple[int, int, int]
    scale: float
    offset: int
    row_bytes: int = 0
    space_to_depth: int = 1

    @property
    def stored(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the tensor in memory."""
        (c, h, w), n = self.shape, self.space_to_depth
        return c * n * n, -(-h // n), -(-w // n)

    def arranged(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """[..., *stored] from images [..., *shape]; pixels beyond the last row or column are 0."""
        (c, h, w), n = self.stored, self.space_to_depth
        if n == 1:
            return x
        lead, rows, columns = x.shape[:-2], n * h - x.shape[-2], n * w - x.shape[-1]
        full = np.pad(x, [*((0, 0) for _ in lead), (0, rows), (0, columns)])
        squares = full.reshape(*lead, h, n, w, n)
        return np.moveaxis(squares, (-3, -1), (-4, -3)).reshape(*lead[:-1], c, h, w)


@dataclass(frozen=True)
class LayerInfo:
    """What a person wants to know of an instruction; the engine never reads it.

    density is (s, L); macs are those of the direct dense convolution; details holds kernel, stride, channels, ….
    """

    name: str
    kind: str
    tile: str
    density: tuple[int, int]
    macs: int
    in_channels: int
    out_channels: int
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


def tensor_bytes(shape: tuple[int, ...], sub_row: int) -> int:
    """Bytes of a (C, H, W) tensor in the arena's layout [H][ceil(C / L)][W][L], int8, without gaps between its rows."""
    c, h, w = shape
    return h * -(-c // sub_row) * w * sub_row


def digest(document: Mapping[str, Any], instructions: NDArray[np.uint8], weights: NDArray[np.uint8]) -> str:
    """Hex SHA-256 over a metadata document (without its own digest) and both tensors."""
    h = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for array in (instructions, weights):
        h.update(str(array.shape).encode())
        h.update(np.ascontiguousarray(array).data)
    return h.hexdigest()


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def parse_json(text: str | bytes) -> Any:
    """A JSON document without NaN and infinity. Raises ValueError."""
    return json.loads(text, parse_constant=_constant)


def program_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of Program, but for its two tensors, from the metadata document. Raises ProgramError for each fault."""
    meta = _fields(document, "metadata", _PROGRAM)
    if not re.fullmatch(r"[A-Za-z0-9-]+", _text(meta["hw_name"], "hw_name")):
        raise _wrong("hw_name", meta["hw_name"], "letters, digits and '-'")
    if not re.fullmatch(r"[0-9a-f]{64}", _text(meta["hw_digest"], "hw_digest")):
        raise _wrong("hw_digest", meta["hw_digest"], "64 hexadecimal digits")
    return {
        "name": _text(meta["name"], "name"),
        "hw_name": meta["hw_name"],
        "hw_digest": meta["hw_digest"],
        "arena_bytes": _integer(meta["arena_bytes"], "arena_bytes", 1, MAX_ARENA),
        "inputs": _tensors(meta["inputs"], "inputs"),
        "outputs": _tensors(meta["outputs"], "outputs"),
        "layers": tuple(_layer(item, f"layers[{i}]") for i, item in enumerate(_list(meta["layers"], "layers"))),
    }


def check_tensor(info: TensorInfo) -> None:
    """Raises ProgramError unless the tensor's own values are in range."""
    at = f"tensor {info.name}"
    for size in info.shape:
        _integer(size, f"{at}: shape {list(info.shape)}", 1, _MAX_SIZE)
    _scale(info.scale, f"{at}: scale")
    _integer(info.offset, f"{at}: offset", 0, MAX_ARENA)
    _integer(info.row_bytes, f"{at}: row_bytes", 0, MAX_ARENA)
    _integer(info.space_to_depth, f"{at}: space_to_depth", 1, MAX_SQUARE)


_PROGRAM = (
    "format_version", "isa_version", "name", "hw_name", "hw_digest", "arena_bytes", "inputs", "outputs", "layers",
)  # fmt: skip
_TENSOR = tuple(f.name for f in dataclasses.fields(TensorInfo))
_LAYER = tuple(f.name for f in dataclasses.fields(LayerInfo))


def _wrong(at: str, value: object, limit: str) -> ProgramError:
    return ProgramError(f"{at} = {reprlib.repr(value)}: must be {limit}; compile the network again")


def _fields(value: object, at: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object with exactly these keys."""
    if not isinstance(value, dict):
        raise _wrong(at, value, "a JSON object")
    for key in keys:
        if key not in value:
            raise ProgramError(f"{at}: key {key!r} is missing; compile the network again")
    for key in value:
        if key not in keys:
            raise ProgramError(f"{at}: unknown key {reprlib.repr(key)}; known: {', '.join(keys)}")
    return value


def _list(value: object, at: str, size: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (size is not None and len(value) != size):
        raise _wrong(at, value, "a list" if size is None else f"a list of {size}")
    return value


def _text(value: object, at: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _MAX_TEXT:
        raise _wrong(at, value, f"a printable string of 1..{_MAX_TEXT} characters")
    return value


def _integer(value: object, at: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _wrong(at, value, f"an integer, {low}..{high}")
    return value


def _scale(value: object, at: str) -> float:
    if not isinstance(value, float) or not math.isfinite(value) or not _NORMAL[0] <= value <= _NORMAL[1]:
        raise _wrong(at, value, "a floating-point number above 0 that float32 holds")
    return value


def _tensors(value: object, at: str) -> tuple[TensorInfo, ...]:
    return tuple(_tensor(item, f"{at}[{i}]") for i, item in enumerate(_list(value, at)))


def _tensor(value: object, at: str) -> TensorInfo:
    item = _fields(value, at, _TENSOR)
    c, h, w = (_integer(n, f"{at}.shape", 1, _MAX_SIZE) for n in _list(item["shape"], f"{at}.shape", 3))
    offset = _integer(item["offset"], f"{at}.offset", 0, MAX_ARENA)
    row_bytes = _integer(item["row_bytes"], f"{at}.row_bytes", 0, MAX_ARENA)
    scale = _scale(item["scale"], f"{at}.scale")
    square = _integer(item["space_to_depth"], f"{at}.space_to_depth", 1, MAX_SQUARE)
    return TensorInfo(_text(item["name"], f"{at}.name"), (c, h, w), scale, offset, row_bytes, square)


def _layer(value: object, at: str) -> LayerInfo:
    item = _fields(value, at, _LAYER)
    for key, names in (("kind", KINDS), ("tile", TILES)):
        if item[key] not in names:
            raise _wrong(f"{at}.{key}", item[key], f"one of {', '.join(names)}")
    s, sub_row = (_integer(n, f"{at}.density", 1, _MAX_SIZE) for n in _list(item["density"], f"{at}.density", 2))
    return LayerInfo(
        name=_text(item["name"], f"{at}.name"), kind=item["kind"], tile=item["tile"], density=(s, sub_row),
        macs=_integer(item["macs"], f"{at}.macs", 1, _MAX_COUNT),
        in_channels=_integer(item["in_channels"], f"{at}.in_channels", 1, _MAX_SIZE),
        out_channels=_integer(item["out_channels"], f"{at}.out_channels", 1, _MAX_SIZE),
        details=_details(item["details"], f"{at}.details"),
    )  # fmt: skip


def _flag(value: object, at: str) -> None:
    if not isinstance(value, bool):
        raise _wrong(at, value, "true or false")


_FLAGS = ("pool", "relu", "residual")
_COUNTS = ("stride", "groups", "bits", "weight_bytes")
_LISTS = {"kernel": 2, "blocks": 2, "input": 3, "output": 3, "image_window": 3}


def _details(value: object, at: str) -> dict[str, Any]:
    """An open object: known keys have their types, others hold a number, a string or a list of them."""
    if not isinstance(value, dict):
        raise _wrong(at, value, "a JSON object")
    for key, item in value.items():
        place = f"{at}.{_text(key, at)}"
        if key in _FLAGS:
            _flag(item, place)
        elif key in _COUNTS:
            _integer(item, place, 1, _MAX_COUNT)
        elif key in _LISTS:
            for n in _list(item, place, _LISTS[key]):
                _integer(n, place, 1, _MAX_SIZE)
        elif any(isinstance(i, (list, dict)) for i in (item if isinstance(item, list) else [item])):
            raise _wrong(place, item, "a number, a string or a flat list")
    return value
