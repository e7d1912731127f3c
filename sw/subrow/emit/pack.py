"""Weights and parameters as the engine reads them: chunks of one output channel group (docs/hardware.md, Memory)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.emit.plan import Density, LayerShape, engine_tile
from subrow.ir.graph import Node
from subrow.ir.weights import Quant, from_reduction, mask_of, negative_mult, split_sub_rows, tile_kind
from subrow.spec.errors import QuantisationError
from subrow.spec.formats import signed_max
from subrow.spec.hwconfig import NARROW_BITS, HwConfig
from subrow.spec.winograd import TAP_LANES, TileKind


def density_of(node: Node, hw: HwConfig) -> Density | None:
    """(most weights that a sub-row keeps, L) of a pruned conv node, None for a dense one."""
    mask = mask_of(node, hw.sub_row)
    if mask is None:
        return None
    return max(1, int(_sub_rows(node, mask, hw).sum(axis=-1).max())), hw.sub_row


def pack_layer(node: Node, shape: LayerShape, hw: HwConfig) -> NDArray[np.uint8]:
    """All chunks of a quantised conv node, whose `shape_of` this is.

    Raises QuantisationError when its weights do not fit the bits in which they are to be stored.
    """
    quant: Quant = node.attrs["quant"]
    if shape.narrow and np.abs(quant.u).max(initial=0) > signed_max(NARROW_BITS):
        raise QuantisationError(
            f"layer {node.name}: weight {np.abs(quant.u).max()} exceeds the {NARROW_BITS} bits that it is stored in, "
            "quantise the network again with these bits"
        )
    values, index = _grouped(node, quant, shape, hw) if node.attrs["groups"] > 1 else _plain(node, quant, shape, hw)
    if engine_tile(node, hw) is TileKind.LINEAR:
        values, index = _on_lanes(values), _on_lanes(index)
    taps = len(values)
    chunks = []
    for kg in range(shape.kgs):
        part = slice(kg * hw.channels, (kg + 1) * hw.channels)
        v, i = (_to_words(_pad_channels(a[:, part], hw.channels), taps) for a in (values, index))
        words = _words(v, None if shape.implicit_index else i, shape.narrow, hw)
        chunks += [_params(quant, float(node.attrs.get("slope", 0)), part, hw), words]
    return np.concatenate(chunks)


def _sub_rows(node: Node, array: NDArray[Any], hw: HwConfig) -> NDArray[Any]:
    """[taps, K, words, L] of an array in the layout of a node's weights."""
    _, c, kh, kw = node.params["weight"].shape
    return split_sub_rows(array, c, kh * kw if tile_kind(node) is TileKind.DIRECT else 1, hw.sub_row)


def _plain(
    node: Node, quant: Quant, shape: LayerShape, hw: HwConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(values, indices) [taps, K, words, s] of a layer with one group, the kept weights first."""
    rows, mask = _sub_rows(node, quant.u, hw), mask_of(node, hw.sub_row)
    if mask is None or shape.implicit_index:
        values = rows[..., : shape.sub_s]
        return values, np.broadcast_to(np.arange(shape.sub_s), values.shape)
    keep = _sub_rows(node, mask, hw)
    index = np.argsort(~keep, axis=-1, kind="stable")[..., : shape.sub_s]
    kept = np.take_along_axis(keep, index, axis=-1)
    values = np.where(kept, np.take_along_axis(rows, index, axis=-1), 0)
    return values, np.where(kept, index, 0)


def _grouped(
    node: Node, quant: Quant, shape: LayerShape, hw: HwConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(values, indices) [1, K, words, s] of a layer of several groups: a sub-row holds the channels of one group.

    An output channel group reads the words from kg * v_kstep on. The other groups' channels in them get no steps, or
    zeros where every step has its own channel (implicit indices).
    """
    k, inputs, kh, kw = node.params["weight"].shape
    area, sub_row = kh * kw, hw.sub_row
    weight = from_reduction(quant.u, node.params["weight"].shape, sub_row).reshape(k, inputs, area)
    out = np.arange(k)[:, np.newaxis]
    channel = out // (k // node.attrs["groups"]) * inputs + np.arange(inputs)  # [K, inputs]: read by each output
    block = channel // sub_row - out // hw.channels * (shape.v_kstep // area)
    lane = channel % sub_row
    step = lane if shape.implicit_index else np.minimum(lane, np.arange(inputs))  # place among the group's channels
    values, index = np.zeros((2, k, shape.red_words // area, area, shape.sub_s), np.int64)
    values[out, block, :, step] = weight
    index[out, block, :, step] = lane[..., np.newaxis]
    size = 1, k, shape.red_words, shape.sub_s
    return values.reshape(size), index.reshape(size)


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


def _on_lanes(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """[4, K, words, s] from [1, K, words, s] of a linear layer: its lanes take words in turn, the last ones zeros."""
    _, k, words, s = array.shape
    full = np.pad(array[0], ((0, 0), (0, -words % TAP_LANES), (0, 0)))
    return full.reshape(k, -1, TAP_LANES, s).transpose(2, 0, 1, 3)


def _bits(values: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """[words, entries * bits]: each value's low bits, least significant first."""
    low = np.ascontiguousarray(values.astype("<i2"))[..., np.newaxis].view(np.uint8)
    return np.unpackbits(low, axis=-1, count=bits, bitorder="little").reshape(len(values), -1)


def _words(
    values: NDArray[np.int64], index: NDArray[np.int64] | None, narrow: bool, hw: HwConfig
) -> NDArray[np.uint8]:
    """Bytes of a chunk's weight words, each padded to whole units of 8 bytes, all together to whole beats."""
    columns = [_bits(values, hw.stored_bits(narrow))]
    if index is not None:
        columns.append(_bits(index, hw.idx_bits))
    packed = np.packbits(np.concatenate(columns, axis=1), axis=1, bitorder="little")
    size = hw.weight_word_bytes(index is None, narrow)
    words = np.pad(packed, ((0, 0), (0, size - packed.shape[1]))).ravel()
    return np.pad(words, (0, -words.size % hw.weight_bytes))


def _params(quant: Quant, slope: float, part: slice, hw: HwConfig) -> NDArray[np.uint8]:
    """Parameters of one output channel group: bias int32, mult uint16, shift and the multiplier of a leaky ReLU uint16.

    The second multiplier is a multiple of 64, so that the shift fits its six lowest bits.
    """
    record = np.zeros(hw.channels, np.dtype([("bias", "<i4"), ("mult", "<u2"), ("scale", "<u2")]))
    n = len(quant.bias[part])
    record["bias"][:n], record["mult"][:n] = quant.bias[part], quant.mult[part]
    record["scale"][:n] = quant.shift[part] + negative_mult(quant.mult[part], slope)
    return np.frombuffer(record.tobytes(), np.uint8)
