"""Numbers of a model as the words of ports and RAMs, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BYTES = (8, 16, 32, 64)


def pack_rows(values: ArrayLike, bits: int) -> list[int]:
    """One word per row: the row's numbers as bit fields of `bits` bits in two's complement, the first one lowest."""
    array = np.asarray(values)
    if not array.size:
        return []
    rows = array.reshape(len(array), -1)
    if bits in BYTES:
        raw = np.ascontiguousarray(rows.astype(f"<i{bits // 8}"))
    else:
        fields = rows.astype(np.int64)[..., None] >> np.arange(bits) & 1
        raw = np.packbits(fields.astype(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in raw]


def pack(values: ArrayLike, bits: int) -> int:
    """All numbers as one word."""
    return pack_rows(np.asarray(values).reshape(1, -1), bits)[0]


def byte_words(data: NDArray[np.uint8], width: int) -> list[int]:
    """Bytes as words of `width` bytes, little endian."""
    raw = data.tobytes()
    assert len(raw) % width == 0, f"{len(raw)} bytes are not whole words of {width}"
    return [int.from_bytes(raw[i : i + width], "little") for i in range(0, len(raw), width)]


def ahead(a: int, b: int, bits: int = 16) -> int:
    """a - b of two free-running counters."""
    return (a - b) & ((1 << bits) - 1)
