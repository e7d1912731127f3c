"""Weight layouts and integer parameters that compression, quantisation and emission share.

A direct layer reduces over (channel block, window row, window column, channel in the block); a block has L channels,
the last one as many as are left. `u` of a direct layer stands in that order; a Winograd layer's is [taps, K, C].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.ir.graph import Node, pair
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind, transform_weights

TILES = {"direct": TileKind.DIRECT, "f2": TileKind.F2, "f4": TileKind.F4}


def weight_bits(node: Node, hw: HwConfig) -> int:
    """Bits of a conv node's integer weights, sign included."""
    return int(node.attrs.get("bits", hw.u_bits))


@dataclass(frozen=True)
class Quant:
    """A layer in integers (docs/numerics.md).

    Scales: real = scale * integer. u [taps, K, C'] in the layout of the parameter `u`; bias, mult and shift have one
    entry for each output channel, ev and em one for each tap. sub_row is the L of a direct layer's order.
    """

    in_scale: float
    out_scale: float
    u: NDArray[np.int64]
    bias: NDArray[np.int64]
    mult: NDArray[np.int64]
    shift: NDArray[np.int64]
    ev: tuple[int, ...]
    em: tuple[int, ...]
    res_mult: int
    res_shift: int
    act_min: int
    act_max: int
    sub_row: int


NEGATIVE_STEP, NEGATIVE_BITS = 64, 10
"""The second multiplier of a channel, for sums below 0: a multiple of NEGATIVE_STEP, of which it has NEGATIVE_BITS."""


def negative_mult(mult: NDArray[np.int64], slope: float) -> NDArray[np.int64]:
    """The second multipliers of a leaky ReLU: slope times the first ones, as near as they come."""
    steps = np.rint(mult * slope / NEGATIVE_STEP).astype(np.int64)
    return NEGATIVE_STEP * np.minimum(steps, (1 << NEGATIVE_BITS) - 1)


def tile_kind(node: Node) -> TileKind:
    """The tile of a conv node; direct when none was chosen."""
    return TILES[node.attrs.get("tile", "direct")]


def may_be_winograd(node: Node) -> bool:
    """Whether a conv node can run in the Winograd domain: 3x3, stride 1, one group, more than one output pixel."""
    single = pair(node.attrs["stride"]) == (1, 1) and node.attrs["groups"] == 1
    return node.params["weight"].shape[2:] == (3, 3) and single and not node.attrs.get("linear")


def reduction_order(channels: int, kernel: tuple[int, int], sub_row: int) -> NDArray[np.int64]:
    """Positions in a flat [channels, kh, kw] array in the engine's reduction order."""
    area = kernel[0] * kernel[1]
    flat = np.arange(channels * area, dtype=np.int64).reshape(channels, area)
    return np.concatenate([flat[c : c + sub_row].T.ravel() for c in range(0, channels, sub_row)])


def to_reduction(weight: NDArray[Any], sub_row: int) -> NDArray[Any]:
    """[1, K, C * kh * kw] in reduction order from [K, C, kh, kw]."""
    k, c, kh, kw = weight.shape
    return weight.reshape(k, -1)[:, reduction_order(c, (kh, kw), sub_row)][np.newaxis]


def from_reduction(u: NDArray[Any], shape: tuple[int, ...], sub_row: int) -> NDArray[Any]:
    """[K, C, kh, kw] = shape from [1, K, C * kh * kw]: the inverse of to_reduction."""
    k, c, kh, kw = shape
    result = np.empty((k, c * kh * kw), dtype=u.dtype)
    result[:, reduction_order(c, (kh, kw), sub_row)] = u[0]
    return result.reshape(shape)


def real_u(node: Node, sub_row: int) -> NDArray[np.float64]:
    """The node's weights in its own domain and layout: the parameter `u` if there is one, else from `weight`."""
    kind, weight = tile_kind(node), node.params["weight"]
    if "u" in node.params:
        return _relayout(node, node.params["u"].astype(np.float64), sub_row)
    if kind is TileKind.DIRECT:
        return to_reduction(weight.astype(np.float64), sub_row)
    return transform_weights(kind, weight)


def mask_of(node: Node, sub_row: int) -> NDArray[np.bool_] | None:
    """The pruning mask in the layout of real_u, or None for a dense layer."""
    mask = node.params.get("mask")
    return None if mask is None else _relayout(node, mask, sub_row)


def _relayout(node: Node, u: NDArray[Any], sub_row: int) -> NDArray[Any]:
    """u in the reduction order of another L; Winograd layers have only one order."""
    own = node.attrs.get("density", (sub_row, sub_row))[1]
    if tile_kind(node) is not TileKind.DIRECT or own == sub_row:
        return u
    return to_reduction(from_reduction(u, node.params["weight"].shape, own), sub_row)


def split_sub_rows(u: NDArray[Any], channels: int, area: int, sub_row: int) -> NDArray[Any]:
    """[taps, K, words, L] from [taps, K, channels * area] in reduction order; short last sub-rows get zeros."""
    taps, k = u.shape[:2]
    full = channels // sub_row
    body = u[:, :, : full * area * sub_row].reshape(taps, k, full * area, sub_row)
    rest = channels - full * sub_row
    if not rest:
        return body
    tail = np.zeros((taps, k, area, sub_row), dtype=u.dtype)
    tail[..., :rest] = u[:, :, full * area * sub_row :].reshape(taps, k, area, rest)
    return np.concatenate([body, tail], axis=2)


def join_sub_rows(rows: NDArray[Any], channels: int, area: int, sub_row: int) -> NDArray[Any]:
    """The inverse of split_sub_rows: drops the padding of short sub-rows."""
    taps, k = rows.shape[:2]
    full = channels // sub_row
    body = rows[:, :, : full * area].reshape(taps, k, -1)
    rest = channels - full * sub_row
    if not rest:
        return body
    tail = rows[:, :, full * area :, :rest].reshape(taps, k, -1)
    return np.concatenate([body, tail], axis=2)
