"""One layer of docs/numerics.md in numpy: the independent reference of every device.

Nothing here knows blocks, buffers, sub-rows or memory layouts; weights are dense, with zeros where pruned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subrow.spec.formats import clamp, round_shift
from subrow.spec.isa import Instruction
from subrow.spec.winograd import TileKind, as_int, tap_order, tile

IntArray = NDArray[np.int64]


BAND_VALUES = 1 << 19
"""Transformed values, of 8 bytes, of a Winograd layer that are held at once; at least one row of tiles."""
LOWEST = -128
"""Pixels outside the image of a layer that takes the maximum of its windows."""


def _exact_matmul(u: IntArray, v: IntArray) -> IntArray:
    """u @ v; float64 is exact because acc_bits <= 40 bounds every partial sum."""
    return (u.astype(np.float64) @ v.astype(np.float64)).astype(np.int64)


def _padded(ins: Instruction, x: NDArray[np.int8], rows: int, columns: int) -> IntArray:
    """x with its border (zeros, or what no maximum takes), cut or extended to rows x columns."""
    c, h, w = x.shape
    border = LOWEST if ins.max_window else 0
    result = np.full((c, max(rows, h + ins.pad_top), max(columns, w + ins.pad_left)), border, np.int64)
    result[:, ins.pad_top : ins.pad_top + h, ins.pad_left : ins.pad_left + w] = x
    return result[:, :rows, :columns]


def _winograd(ins: Instruction, x: NDArray[np.int8], u: IntArray, v_bits: int) -> IntArray:
    """Y [K, conv_h, conv_w] of F(2x2,3x3) or F(4x4,3x3); u is [taps, K, C]."""
    t = tile(TileKind(ins.tile))
    th, tw = -(-ins.conv_h // t.m), -(-ins.conv_w // t.m)
    padded = _padded(ins, x, th * t.m + 2, tw * t.m + 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (t.alpha, t.alpha), axis=(1, 2))[:, :: t.m, :: t.m]
    band = max(1, BAND_VALUES // (max(u.shape[1:]) * t.taps * tw))  # rows of tiles at once
    bands = [_tiles(ins, windows[:, i : i + band], u, v_bits) for i in range(0, th, band)]
    return np.concatenate(bands, axis=1)[:, : ins.conv_h, : ins.conv_w]


def _tiles(ins: Instruction, windows: IntArray, u: IntArray, v_bits: int) -> IntArray:
    """Y [K, m * rows, m * columns] of tiles whose windows are [C, rows, columns, alpha, alpha]."""
    t = tile(TileKind(ins.tile))
    channels, th, tw = windows.shape[:3]
    bt, at = as_int(t.bt), as_int(t.at)
    rows, columns = map(list, zip(*tap_order(t.kind), strict=True))
    full = np.einsum("ia,cyxab,jb->ijcyx", bt, windows, bt, optimize=True)[rows, columns]
    ev = np.array(ins.ev[: t.taps]).reshape(-1, 1, 1, 1)
    v = clamp(round_shift(full, ev), v_bits)
    m = _exact_matmul(u, v.reshape(t.taps, channels, th * tw))
    square = np.zeros((t.alpha, t.alpha, *m.shape[1:]), np.int64)
    square[rows, columns] = m << np.array(ins.em[: t.taps]).reshape(-1, 1, 1)
    y = np.einsum("ai,ijkn,bj->kabn", at, square, at, optimize=True).reshape(-1, t.m, t.m, th, tw)
    return y.transpose(0, 3, 1, 4, 2).reshape(-1, th * t.m, tw * t.m)


def _direct(ins: Instruction, x: NDArray[np.int8], u: IntArray, v_bits: int) -> IntArray:
    """Y [K, conv_h, conv_w] of a direct or linear layer; u is [K, C, kernel_h, kernel_w] ([K, C, 1, 1]: max_window)."""
    s, h, w = ins.stride, ins.conv_h, ins.conv_w
    padded = _padded(ins, x, (h - 1) * s + ins.kernel_h, (w - 1) * s + ins.kernel_w)
    tap = 2 * (np.arange(h) % 2)[:, None] + np.arange(w) % 2  # position in the 2x2 quad
    ev, em = np.array(ins.ev[:4])[tap], np.array(ins.em[:4])[tap]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (ins.kernel_h, ins.kernel_w), axis=(1, 2))[:, ::s, ::s]
    if ins.max_window:
        windows = windows.max(axis=(3, 4), keepdims=True)
    y = np.zeros((u.shape[0], h * w), np.int64)
    for ky, kx in np.ndindex(windows.shape[3:]):
        v = clamp(round_shift(windows[..., ky, kx], ev), v_bits)
        y += _exact_matmul(u[:, :, ky, kx], v.reshape(len(x), -1))
    return y.reshape(-1, h, w) << em


def output_transform(
    ins: Instruction, x: NDArray[np.int8], u: NDArray[np.integer], v_bits: int
) -> IntArray:
    """Y [K, conv_h, conv_w] before the bias; arguments as in `layer`."""
    transform = _direct if ins.tile in (TileKind.DIRECT, TileKind.LINEAR) else _winograd
    return transform(ins, x, np.asarray(u, dtype=np.int64), v_bits)


def layer(
    ins: Instruction,
    x: NDArray[np.int8],
    u: NDArray[np.integer],
    bias: NDArray[np.integer],
    mult: NDArray[np.integer],
    shift: NDArray[np.integer],
    v_bits: int,
    residual: NDArray[np.int8] | None = None,
    negative: NDArray[np.integer] | None = None,
) -> NDArray[np.int8]:
    """Output [K, out_h, out_w] of one instruction for x [C, in_h, in_w].

    u is [taps, K, C] in hardware tap order, for a direct or linear layer [K, C, kernel_h, kernel_w] (with
    max_window [K, C, 1, 1]); grouped layers pass zeros outside their groups. bias, mult, shift and negative (the second
    multiplier; needed by leaky layers) are [K]; residual is [K, conv_h, conv_w].
    """
    y = output_transform(ins, x, u, v_bits)
    b, m, n = (np.asarray(p, dtype=np.int64)[:, None, None] for p in (bias, mult, shift))
    if ins.leaky:
        m = np.where(y + b < 0, np.asarray(negative, dtype=np.int64)[:, None, None], m)
    z = round_shift((y + b) * m, n)
    if residual is not None:
        z = z + round_shift(residual.astype(np.int64) * ins.res_mult, ins.res_shift)
    z = np.clip(z, ins.act_min, ins.act_max)
    if ins.pool:
        z = z[:, : 2 * ins.out_h, : 2 * ins.out_w].reshape(-1, ins.out_h, 2, ins.out_w, 2).max(axis=(2, 4))
    if ins.upsample:
        z = z.repeat(2, axis=1).repeat(2, axis=2)
    return z.astype(np.int8)
