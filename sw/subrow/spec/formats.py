"""Fixed-point rules: one rounding, one clamp, for every device (docs/numerics.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subrow.spec.errors import QuantisationError

IntArray = NDArray[np.int64]


def signed_max(bits: int) -> int:
    """Largest magnitude of the symmetric signed format: 127 for 8 bits."""
    if not 2 <= bits <= 62:
        raise QuantisationError(f"format width {bits} bits is outside 2..62")
    return (1 << (bits - 1)) - 1


def bits_for(bound: int) -> int:
    """Bits of a two's-complement number that can hold every value in [-bound, bound]."""
    if bound < 0:
        raise QuantisationError(f"bound {bound} is negative")
    return bound.bit_length() + 1


def round_shift(x: IntArray, shift: IntArray | int) -> IntArray:
    """Arithmetic right shift after adding half: floor(x / 2**shift + 1/2). shift = 0 returns x."""
    s = np.asarray(shift, dtype=np.int64)
    if s.size and (s.min() < 0 or s.max() > 62):
        raise QuantisationError(f"shift range {s.min()}..{s.max()} is outside 0..62")
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), 0)
    return (np.asarray(x, dtype=np.int64) + half) >> s


def clamp(x: IntArray, bits: int) -> IntArray:
    """Symmetric clamp to +-(2**(bits-1) - 1)."""
    limit = signed_max(bits)
    return np.clip(x, -limit, limit)


def scale_to_fixed(scale: float, mult_bits: int = 16, max_shift: int = 47) -> tuple[int, int]:
    """(mult, shift) with mult / 2**shift nearest to scale; mult is normalised to exactly mult_bits where possible.

    A scale too small for max_shift loses mult bits, down to (0, max_shift); one too large raises QuantisationError.
    """
    if not np.isfinite(scale) or scale < 0:
        raise QuantisationError(f"requantisation scale {scale} is not a finite number >= 0")
    if scale == 0:
        return 0, 0
    mantissa, exponent = np.frexp(scale)  # scale = mantissa * 2**exponent, mantissa in [0.5, 1)
    shift = mult_bits - int(exponent)
    mult = round(float(mantissa) * (1 << mult_bits))
    if mult == 1 << mult_bits:
        mult, shift = mult >> 1, shift - 1
    if shift > max_shift:
        mult, shift = mult >> (shift - max_shift) if shift - max_shift < 63 else 0, max_shift
    if shift < 0:
        raise QuantisationError(f"requantisation scale {scale} exceeds the largest representable 2**{mult_bits} - 1")
    return mult, shift
