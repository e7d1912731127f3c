"""Weights and parameters as the engine reads them: chunks of one output channel group (docs/hardware.md, Memory)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.emit.plan import LayerShape
from subrow.ir.graph import Node
from subrow.ir.weights import Quant, mask_of, negative_mult, split_sub_rows, tile_kind
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TAP_LANES, TileKind


@dataclass(frozen=True)
class PackedLayer:
    """A layer's chunks and the sizes that describe them."""

    data: NDArray[np.uint8]
    shape: LayerShape


def pack_layer(node: Node, hw: HwConfig) -> PackedLayer:
    """All chunks of a quantised conv node."""
    quant: Quant = node.attrs["quant"]
    k = len(quant.bias)
    kgs = -(-k // hw.channels)
    if node.attrs["groups"] > 1:
        values, index, kstep, v_words = _grouped(node, quant, hw)
        sub_s, implicit = 1, False
    else:
        values, index, sub_s, implicit = _sub_rows(node, quant, hw)
        kstep, v_words = 0, values.shape[2]
    taps, _, red_words = values.shape[:3]
    chunks = []
    words = 0
    for kg in range(kgs):
        part = slice(kg * hw.channels, (kg + 1) * hw.channels)
        v, i = (_to_words(_pad_channels(a[:, part], hw.channels), taps) for a in (values, index))
        words = len(v)
        chunks += [_params(quant, float(node.attrs.get("slope", 0)), part, hw), _words(v, None if implicit else i, hw)]
    data = np.concatenate(chunks)
    shape = LayerShape(kgs, sub_s, red_words, v_words, kstep, words, data.size // kgs, implicit)
    return PackedLayer(data, shape)


def _sub_rows(
    node: Node, quant: Quant, hw: HwConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, bool]:
    """(values, indices) [taps, K, words, s] with the kept weights first, s, and whether indices are implied."""
    _, c, kh, kw = node.params["weight"].shape
    area = kh * kw if tile_kind(node) is TileKind.DIRECT else 1
    rows = split_sub_rows(quant.u, c, area, hw.sub_row)
    dense = min(hw.sub_row, c)
    mask = mask_of(node, hw.sub_row)
    if mask is None:
        keep, s = None, dense
    else:
        keep = split_sub_rows(mask, c, area, hw.sub_row)
        s = max(1, int(keep.sum(axis=-1).max()))
    if keep is None or s >= dense:
        values = rows[..., :dense]
        return values, np.broadcast_to(np.arange(dense), values.shape), dense, True
    index = np.argsort(~keep, axis=-1, kind="stable")[..., :s]
    kept = np.take_along_axis(keep, index, axis=-1)
    values = np.where(kept, np.take_along_axis(rows, index, axis=-1), 0)
    return values, np.where(kept, index, 0), s, False


def _grouped(node: Node, quant: Quant, hw: HwConfig) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """(values, indices) [1, K, words, 1], v_kstep and v_words of a layer with one group for each channel.

    Where the channel blocks divide into whole groups of Pk, a group reads only its own blocks; else all of them.
    """
    k, _, kh, kw = node.params["weight"].shape
    area, in_cb = kh * kw, -(-k // hw.sub_row)
    own = in_cb % hw.channel_blocks == 0
    blocks = hw.channel_blocks if own else in_cb
    channel = np.arange(k)
    block = channel // hw.sub_row % blocks
    values = np.zeros((1, k, blocks, area, 1), np.int64)
    values[0, channel, block, :, 0] = quant.u[0]
    index = np.broadcast_to((channel % hw.sub_row)[np.newaxis, :, np.newaxis, np.newaxis], (1, k, blocks * area, 1))
    return values.reshape(1, k, blocks * area, 1), index, blocks * area if own else 0, in_cb * area


def _pad_channels(array: NDArray[np.int64], channels: int) -> NDArray[np.int64]:
    """[taps, channels, words, s] with zero rows for missing output channels."""
    missing = channels - array.shape[1]
    return np.pad(array, ((0, 0), (0, missing), (0, 0), (0, 0))) if missing else array


def _to_words(array: NDArray[np.int64], taps: int) -> NDArray[np.int64]:
    """[weight words, 4 * Pk] from [taps, Pk, words, s]: entry lane * Pk + k."""
    _, channels, words, s = array.shape
    if taps > 1:
        lanes = array.reshape(taps // TAP_LANES, TAP_LANES, channels, words, s)
        return lanes.transpose(0, 3, 4, 1, 2).reshape(-1, TAP_LANES * channels)
    steps = array[0].transpose(1, 2, 0).reshape(words * s, channels)
    missing = -len(steps) % TAP_LANES
    return np.pad(steps, ((0, missing), (0, 0))).reshape(-1, TAP_LANES * channels)


def _bits(values: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """[words, entries * bits]: each value's low bits, least significant first."""
    planes = (values[..., np.newaxis] >> np.arange(bits)) & 1
    return planes.astype(np.uint8).reshape(len(values), -1)


def _words(values: NDArray[np.int64], index: NDArray[np.int64] | None, hw: HwConfig) -> NDArray[np.uint8]:
    """Bytes of weight words, each padded to whole beats of the weight port."""
    columns = [_bits(values, hw.u_bits)]
    if index is not None:
        columns.append(_bits(index, hw.idx_bits))
    packed = np.packbits(np.concatenate(columns, axis=1), axis=1, bitorder="little")
    size = hw.weight_word_bytes(index is None)
    return np.pad(packed, ((0, 0), (0, size - packed.shape[1]))).ravel()


def _params(quant: Quant, slope: float, part: slice, hw: HwConfig) -> NDArray[np.uint8]:
    """Parameters of one output channel group: bias int32, mult uint16, shift and the multiplier of a leaky ReLU uint16.

    The second multiplier is a multiple of 64, so that the shift fits its six lowest bits.
    """
    record = np.zeros(hw.channels, np.dtype([("bias", "<i4"), ("mult", "<u2"), ("scale", "<u2")]))
    n = len(quant.bias[part])
    record["bias"][:n], record["mult"][:n] = quant.bias[part], quant.mult[part]
    record["scale"][:n] = quant.shift[part] + negative_mult(quant.mult[part], slope)
    return np.frombuffer(record.tobytes(), np.uint8)
