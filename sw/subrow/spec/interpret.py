"""A Program run layer by layer with the numpy reference: the independent walk that devices are verified against.

It reads nothing but the Program image and the inputs: weights and parameters are decoded from the bytes as
docs/hardware.md describes them, tensors live in an arena at the instructions' own offsets, and the numbers come from
spec.reference. It shares no code with the compiler's packing or with any device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.spec import reference
from subrow.spec.errors import ProgramError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.program import Program
from subrow.spec.winograd import TAP_LANES, TileKind, tile

IntArray = NDArray[np.int64]
_PARAMETERS = np.dtype([("bias", "<i4"), ("mult", "<u2"), ("scale", "<u2")])


@dataclass(frozen=True)
class LayerWeights:
    """Integers of one layer in the layout of reference.layer; K and C are whole blocks of L channels."""

    u: IntArray
    bias: IntArray
    mult: IntArray
    shift: IntArray
    negative: IntArray


def decode_weights(ins: Instruction, image: NDArray[np.uint8], hw: HwConfig) -> LayerWeights:
    """The dense weights and parameters of an instruction, from the bytes at the program base."""
    groups = tile(TileKind(ins.tile)).groups
    direct = ins.tile == TileKind.DIRECT
    steps = groups * ins.red_words * ins.sub_s
    words = -(-steps // TAP_LANES) if direct else steps
    if words != ins.chunk_words:
        raise ProgramError(f"layer {ins.layer_id}: chunk_words {ins.chunk_words}, the reduction needs {words}")
    implicit, narrow = bool(ins.implicit_index), bool(ins.narrow_u)
    if narrow and not hw.narrow_u:
        raise ProgramError(f"layer {ins.layer_id}: weights in 4 bits, HwConfig {hw.name} has narrow_u = false")
    first, word_bytes = hw.param_group_bytes, hw.weight_word_bytes(implicit, narrow)
    chunk = hw.chunk_bytes(words, implicit, narrow)
    end = ins.weight_offset + ins.kgs * chunk
    if end > image.size:
        raise ProgramError(f"layer {ins.layer_id}: weights end at byte {end}, the Program image has {image.size}")
    chunks = image[ins.weight_offset : end].reshape(ins.kgs, chunk)
    parameters = np.ascontiguousarray(chunks[:, :first]).view(_PARAMETERS).ravel()
    taps = 1 if direct else TAP_LANES * groups
    u = np.zeros((taps, ins.kgs, hw.channels, ins.v_words, hw.sub_row), np.int64)
    for kg in range(ins.kgs):
        raw = chunks[kg, first : first + words * word_bytes].reshape(words, word_bytes)
        values, index = (_by_tap(ins, a, groups) for a in _entries(raw, hw, implicit, narrow))
        if implicit:
            index = np.broadcast_to(np.arange(ins.sub_s), values.shape)
        # [taps, Pk, red_words, sub_s]; unused places of a short sub-row add a zero to channel 0
        part = np.zeros((*values.shape[:3], hw.sub_row), np.int64)
        np.add.at(part, (*np.indices(values.shape)[:3], index), values)
        own = kg * ins.v_kstep
        u[:, kg, :, own : own + ins.red_words] = part
    count = ins.out_cb * hw.sub_row
    u = u.reshape(taps, ins.kgs * hw.channels, ins.v_words, hw.sub_row)[:, :count]
    if ins.tile == TileKind.LINEAR:  # word i of the reduction is lane i % 4 of V word i / 4
        words = ins.in_cb * ins.kernel_h * ins.kernel_w
        u = u.transpose(1, 2, 0, 3).reshape(1, count, -1, hw.sub_row)[:, :, :words]
    if ins.tile in (TileKind.DIRECT, TileKind.LINEAR):  # word (cb, ky, kx), place l: channel cb * L + l
        kernel = (1, 1) if ins.max_window else (ins.kernel_h, ins.kernel_w)
        window = u[0].reshape(count, ins.in_cb, *kernel, hw.sub_row).transpose(0, 1, 4, 2, 3)
        u = window.reshape(count, ins.in_cb * hw.sub_row, *kernel)
    else:
        u = u.reshape(taps, count, ins.in_cb * hw.sub_row)
    bias, mult, scale = (parameters[name][:count].astype(np.int64) for name in ("bias", "mult", "scale"))
    return LayerWeights(u, bias, mult, scale % 64, scale // 64 * 64)


def _entries(raw: NDArray[np.uint8], hw: HwConfig, implicit: bool, narrow: bool) -> tuple[IntArray, IntArray]:
    """Weights and indices [words, lane, Pk] of weight words."""
    bits = np.unpackbits(raw, axis=1, bitorder="little").astype(np.int64)
    entries, width = TAP_LANES * hw.channels, 4 if narrow else hw.u_bits
    weights = bits[:, : entries * width].reshape(len(raw), TAP_LANES, hw.channels, width)
    powers = np.int64(1) << np.arange(width, dtype=np.int64)
    powers[-1] = -powers[-1]
    values = weights @ powers
    if implicit:
        return values, np.zeros_like(values)
    low = entries * width
    index = bits[:, low : low + entries * hw.idx_bits].reshape(len(raw), TAP_LANES, hw.channels, hw.idx_bits)
    return values, index @ (np.int64(1) << np.arange(hw.idx_bits, dtype=np.int64))


def _by_tap(ins: Instruction, entries: IntArray, groups: int) -> IntArray:
    """[words, lane, Pk] -> [taps, Pk, red_words, sub_s]."""
    channels = entries.shape[2]
    if ins.tile == TileKind.DIRECT:  # step i is lane i % 4 of word i / 4, for all four taps
        steps = entries.reshape(-1, channels)[: ins.red_words * ins.sub_s]
        return steps.reshape(ins.red_words, ins.sub_s, channels).transpose(2, 0, 1)[np.newaxis]
    shaped = entries.reshape(groups, ins.red_words, ins.sub_s, TAP_LANES, channels)
    return shaped.transpose(0, 3, 4, 1, 2).reshape(groups * TAP_LANES, channels, ins.red_words, ins.sub_s)


PART_WEIGHTS = 1 << 20
"""Weights that an Interpreter which keeps none decodes at once, as 8-byte integers; at least one chunk's."""


def parts_of(ins: Instruction, hw: HwConfig) -> Iterator[Instruction]:
    """A layer as instructions of some of its output channels each, with about PART_WEIGHTS weights and outputs at most.

    A layer whose weight chunks read different channels (v_kstep) is small and stays whole.
    """
    kind = TileKind(ins.tile)
    taps = ins.kernel_h * ins.kernel_w if kind in (TileKind.DIRECT, TileKind.LINEAR) else tile(kind).taps
    most = max(ins.in_cb * hw.sub_row * taps, ins.conv_h * ins.conv_w)
    groups = max(1, PART_WEIGHTS // (most * hw.channels))
    if ins.v_kstep or groups >= ins.kgs:
        yield ins
        return
    blocks = hw.channels // hw.sub_row  # of output channels in a chunk
    chunk = hw.chunk_bytes(ins.chunk_words, bool(ins.implicit_index), bool(ins.narrow_u))
    for first in range(0, ins.kgs, groups):
        count = min(groups, ins.kgs - first)
        yield _changed(
            ins, kgs=count, weight_offset=ins.weight_offset + first * chunk,
            out_cb=min(count * blocks, ins.out_cb - first * blocks),
        )  # fmt: skip


def _changed(ins: Instruction, **values: int) -> Instruction:
    return Instruction({**ins.values, **values})


class Interpreter:
    """Runs one Program with the reference; weights are decoded once, or, with keep False, again for each image and in
    parts: then a layer takes the memory of its tensors and of PART_WEIGHTS, whatever the size of the network.
    """

    def __init__(self, program: Program, hw: HwConfig, keep: bool = True) -> None:
        program.check_hardware(hw)
        self.program, self.hw = program, hw
        self.instructions = program.decoded()
        self._kept: list[LayerWeights] | None = None
        if keep:
            image = program.image()
            self._kept = [decode_weights(ins, image, hw) for ins in self.instructions]

    def layers(self, inputs: Mapping[str, NDArray[np.int8]]) -> Iterator[NDArray[np.int8]]:
        """The output of every layer for one image [C, H, W] by input name: [out_cb * L, out_h, out_w], in order."""
        return self._layers(np.zeros(self.program.arena_bytes, np.int8), inputs)

    def run(self, inputs: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
        """The network's outputs [C, H, W] by name, for one image [C, H, W] by input name."""
        arena = np.zeros(self.program.arena_bytes, np.int8)
        for _ in self._layers(arena, inputs):
            pass
        result = {}
        for t in self.program.outputs:
            c, h, w = t.shape
            size = -(-c // self.hw.sub_row), h, w
            used = size[0] * w * self.hw.sub_row
            result[t.name] = self._read(arena, t.offset, size, t.row_bytes or used)[:c]
        return result

    def _layers(
        self, arena: NDArray[np.int8], inputs: Mapping[str, NDArray[np.int8]]
    ) -> Iterator[NDArray[np.int8]]:
        for info in self.program.inputs:
            self._write(arena, info.offset, _arranged(inputs[info.name], info.space_to_depth), 0)
        for number, ins in enumerate(self.instructions):
            x = self._read(arena, ins.in_offset, (ins.in_cb, ins.in_h, ins.in_w), ins.in_row_bytes)
            residual = None
            if ins.residual:
                residual = self._read(arena, ins.res_offset, (ins.out_cb, ins.conv_h, ins.conv_w), ins.res_row_bytes)
            y = self._layer(ins, self._kept[number], x, residual) if self._kept else self._in_parts(ins, x, residual)
            self._write(arena, ins.out_offset, y, ins.out_row_bytes)
            yield y

    def _layer(
        self, ins: Instruction, w: LayerWeights, x: NDArray[np.int8], residual: NDArray[np.int8] | None
    ) -> NDArray[np.int8]:
        return reference.layer(ins, x, w.u, w.bias, w.mult, w.shift, self.hw.v_bits, residual, w.negative)

    def _in_parts(
        self, ins: Instruction, x: NDArray[np.int8], residual: NDArray[np.int8] | None
    ) -> NDArray[np.int8]:
        """The layer's output, some channels after the others."""
        base, found, channel = self.program.weight_base, [], 0
        for part in parts_of(ins, self.hw):
            placed = _changed(part, weight_offset=part.weight_offset - base)  # the image need not be built
            count = part.out_cb * self.hw.sub_row
            added = None if residual is None else residual[channel : channel + count]
            found.append(self._layer(part, decode_weights(placed, self.program.weights, self.hw), x, added))
            channel += count
        return np.concatenate(found)

    def _read(
        self, arena: NDArray[np.int8], offset: int, size: tuple[int, int, int], row_bytes: int
    ) -> NDArray[np.int8]:
        """[blocks * L, h, w] from h rows [blocks][w][L] that begin row_bytes apart."""
        blocks, h, w = size
        lanes = self.hw.sub_row
        words = _rows(arena, offset, h, blocks * w * lanes, row_bytes).reshape(h, blocks, w, lanes)
        return words.transpose(1, 3, 0, 2).reshape(blocks * lanes, h, w).copy()

    def _write(self, arena: NDArray[np.int8], offset: int, x: NDArray[np.int8], row_bytes: int) -> None:
        """x [c, h, w] as rows [blocks][w][L] that begin row_bytes apart; 0: one right behind the other."""
        c, h, w = x.shape
        lanes = self.hw.sub_row
        blocks = -(-c // lanes)
        full = np.zeros((blocks * lanes, h, w), np.int8)
        full[:c] = x
        words = full.reshape(blocks, lanes, h, w).transpose(2, 0, 3, 1)
        used = blocks * w * lanes
        _rows(arena, offset, h, used, row_bytes or used)[:] = words.reshape(h, used)


def _arranged(x: NDArray[np.int8], n: int) -> NDArray[np.int8]:
    """An image [C, H, W] as docs/program-format.md has it in memory: channel (c * n + dy) * n + dx has the pixels
    (n * y + dy, n * x + dx) of channel c.
    """
    c, h, w = x.shape
    result = np.zeros((c * n * n, -(-h // n), -(-w // n)), np.int8)
    for dy, dx in np.ndindex(n, n):
        part = x[:, dy::n, dx::n]
        result[dy * n + dx :: n * n, : part.shape[1], : part.shape[2]] = part
    return result


def _rows(arena: NDArray[np.int8], offset: int, h: int, used: int, row_bytes: int) -> NDArray[np.int8]:
    """The first `used` bytes of h rows that begin row_bytes apart, as a writable view [h, used]."""
    if row_bytes < used or offset + (h - 1) * row_bytes + used > arena.size:
        raise ProgramError(f"{h} rows of {used} bytes, {row_bytes} apart, at {offset}: outside {arena.size} bytes")
    return np.lib.stride_tricks.as_strided(arena[offset:], (h, used), (row_bytes, 1))
