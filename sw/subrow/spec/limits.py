"""Whether a HwConfig's engine may run an instruction: every limit of docs/hardware.md, and every address.

numpy alone, so that a board can check a Program before it gives any address to the hardware. hw/hls/check.h says the
same in C++, limit by limit and in the same order, for the emulator and whoever runs the HLS engine; a test holds the
two together. A Program that passes stays inside its buffers and memories whatever its weights, and no sum overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subrow.spec import isa
from subrow.spec.hwconfig import NARROW_BITS
from subrow.spec.timing.geometry import Geometry, Span
from subrow.spec.winograd import TAP_LANES, TileKind, output_tap_weights, tile

if TYPE_CHECKING:
    from subrow.spec.hwconfig import HwConfig
    from subrow.spec.isa import Instruction
    from subrow.spec.program import Program

Image = NDArray[np.uint8]
MAX_SHIFT = 47
RAM_BANKS = 8
PARAM_BYTES = 8


def exceeded(program: Program, hw: HwConfig) -> tuple[int, str] | None:
    """The first layer that must not run and why, or None. Raises ProgramError for bits beyond an instruction's end."""
    image, codes = program.image(), program.decoded()
    for number, ins in enumerate(codes):
        text = _instruction(ins, hw, len(codes)) or _memory(ins, hw, image.size, program.arena_bytes)
        text = text or _params(ins, hw, image)
        if text:
            return number, text
    for number, ins in enumerate(codes):
        if text := _sums(ins, hw, image):
            return number, text
    return None


def _instruction(ins: Instruction, hw: HwConfig, layers: int) -> str | None:
    """All that follows from the instruction alone."""
    return _fields(ins, hw, layers) or _reduction(ins, hw) or _blocks(ins, hw)


def _has_kernel(ins: Instruction) -> bool:
    return ins.tile in (TileKind.DIRECT, TileKind.LINEAR)


def _bad_linear(ins: Instruction) -> bool:
    """Four lanes share the one pixel of a linear layer, whose numbers are those of a direct layer."""
    same = all(len(set(values[:TAP_LANES])) == 1 for values in (ins.ev, ins.em))
    return ins.stride != 1 or bool(ins.max_window) or (ins.conv_h, ins.conv_w) != (1, 1) or not same


_SIZES = (
    "in_h", "in_w", "in_cb", "conv_h", "conv_w", "out_h", "out_w", "out_cb", "kgs", "pass_kgs", "kernel_h", "kernel_w",
    "red_words", "block_th", "block_tw", "blocks_y", "blocks_x",
)  # fmt: skip


def _fields(ins: Instruction, hw: HwConfig, layers: int) -> str | None:
    if ins.opcode != isa.OPCODE_LAYER:
        return "opcode is not 1"
    plain = ins.stride == 1 and (ins.kernel_h, ins.kernel_w) == (1, 1) and not ins.max_window
    if not 1 <= ins.stride <= 2 or not (_has_kernel(ins) or plain):
        return "stride is not 1 or 2, or a Winograd layer has a stride or a window"
    if ins.tile == TileKind.LINEAR and _bad_linear(ins):
        return (
            "a linear layer has a stride, max_window, more than one output pixel, or other exponents in each lane"
        )
    if not 1 <= ins.sub_s <= hw.sub_row:
        return "sub_s is outside 1..L"
    if ins.narrow_u and not hw.narrow_u:
        return "weights are in 4 bits, which this engine does not read"
    if any(getattr(ins, name) == 0 for name in _SIZES):
        return "a size is 0"
    return _outputs(ins, layers)


def _outputs(ins: Instruction, layers: int) -> str | None:
    shrink, grow = 2 if ins.pool else 1, 2 if ins.upsample else 1
    sizes = ins.conv_h * grow // shrink, ins.conv_w * grow // shrink
    if ins.pool and ins.upsample or (ins.out_h, ins.out_w) != sizes:
        return "out_h or out_w does not follow from conv_h, conv_w, pool and upsample"
    if ins.act_min > ins.act_max:
        return "act_min exceeds act_max"
    if ins.res_shift > MAX_SHIFT:
        return f"a shift exceeds {MAX_SHIFT}"
    if ins.layer_id >= layers:
        return "layer_id exceeds the number of layers"
    return None


def _reduction(ins: Instruction, hw: HwConfig) -> str | None:
    if ins.kgs != -(-ins.out_cb // hw.channel_blocks):
        return "kgs is not ceil(out_cb / CB)"
    if ins.pass_kgs > ins.kgs or (ins.pass_kgs < ins.kgs and (not ins.resident or ins.v_kstep)):
        return "pass_kgs exceeds kgs, or is less although the weights do not stay or the layer is grouped"
    area = 1 if ins.max_window else ins.kernel_h * ins.kernel_w
    lanes = TAP_LANES if ins.tile == TileKind.LINEAR else 1  # that share the reduction
    fits = ins.v_words == -(-ins.in_cb * area // lanes) and ins.v_kstep in (0, ins.red_words)
    if not fits or (ins.kgs - 1) * ins.v_kstep + ins.red_words > ins.v_words:
        return "v_words, red_words and v_kstep disagree"
    steps = ins.red_words * ins.sub_s
    direct = ins.tile == TileKind.DIRECT
    if ins.chunk_words != (-(-steps // TAP_LANES) if direct else steps * tile(TileKind(ins.tile)).groups):
        return "chunk_words does not follow from red_words and sub_s"
    if (ins.pass_kgs if ins.resident else 1) * ins.chunk_words > hw.weight_words:
        return "weights exceed the weight ring"
    if (ins.pass_kgs if ins.resident else 2) > hw.param_groups:
        return "parameters exceed the parameter ring"
    return None


def _blocks(ins: Instruction, hw: HwConfig) -> str | None:
    g = Geometry(ins, hw)
    y, x = g.rows, g.columns
    if (len(y), len(x)) != (ins.blocks_y, ins.blocks_x):
        return "blocks_y or blocks_x does not cover the output exactly"
    if text := _q_counts(ins, hw, y, x):
        return text

    def most(size: Callable[[Span], int]) -> tuple[int, int]:
        return max(size(s) for s in y), max(size(s) for s in x)

    if min(s.inputs for s in (*y, *x)) < 1:
        return "a block has no input row or column inside the image"
    high, wide = most(lambda s: s.inputs)
    if -(-high // RAM_BANKS) * ins.in_cb * wide > (hw.act_words if ins.whole_a else hw.act_words // 2):
        return "a block's input exceeds the activation buffer"
    for used, (high, wide) in ((ins.residual, most(lambda s: s.conv)), (True, most(lambda s: s.out))):
        if used and high * wide * hw.channel_blocks > hw.out_words // 2:
            return "a block's output or residual exceeds its buffer"
    return None


def _q_counts(ins: Instruction, hw: HwConfig, y: list[Span], x: list[Span]) -> str | None:
    """Tile groups of the kinds of block that occur: inner ones, those of the last column, row, and the corner."""
    room = hw.v_words if ins.whole_v else hw.v_words // 2
    for row in range(0 if len(y) > 1 else 1, 2):
        for column in range(0 if len(x) > 1 else 1, 2):
            tiles = y[-1 if row else 0].tiles * x[-1 if column else 0].tiles
            q = ins.q_count[2 * row + column]
            if q != -(-tiles // hw.tiles):
                return "q_count does not follow from the block"
            if tile(TileKind(ins.tile)).groups * ins.v_words * q > room:
                return "a block's V exceeds its part of the V buffer"
    return None


def _memory(ins: Instruction, hw: HwConfig, image_bytes: int, arena_bytes: int) -> str | None:
    """Every address that the engine forms, against the buffers that it is given."""
    tensors = [  # offset, rows, bytes of a row, bytes from row to row, what lies outside
        (ins.in_offset, ins.in_h, ins.in_cb * ins.in_w * hw.sub_row, ins.in_row_bytes, "input"),
        (ins.out_offset, ins.out_h, ins.out_cb * ins.out_w * hw.sub_row, ins.out_row_bytes, "output"),
    ]
    if ins.residual:
        used = ins.out_cb * ins.conv_w * hw.sub_row
        tensors.append((ins.res_offset, ins.conv_h, used, ins.res_row_bytes, "residual"))
    rows = any(step < used or step % hw.sub_row for _, _, used, step, _ in tensors)
    if rows or ins.in_row_words != ins.in_cb * ins.in_w:
        return "a row size in bytes does not follow from its tensor"
    if any(offset % hw.sub_row for offset, *_ in tensors) or ins.weight_offset % hw.weight_bytes:
        return "an offset is not a multiple of its port's width"
    for offset, count, used, step, what in tensors:
        if offset + (count - 1) * step + used > arena_bytes:
            return f"the {what} lies outside the arena"
    if ins.weight_offset + ins.kgs * _chunk(ins, hw) > image_bytes:
        return "the weights lie outside the program image"
    return None


def _chunk(ins: Instruction, hw: HwConfig) -> int:
    return hw.chunk_bytes(ins.chunk_words, bool(ins.implicit_index), bool(ins.narrow_u))


def _chunks(ins: Instruction, hw: HwConfig, image: Image) -> Image:
    """uint8 [kgs, bytes of a chunk] of a layer that `_memory` has passed."""
    size = _chunk(ins, hw)
    return image[ins.weight_offset : ins.weight_offset + ins.kgs * size].reshape(ins.kgs, size)


def _params(ins: Instruction, hw: HwConfig, image: Image) -> str | None:
    shifts = _chunks(ins, hw, image)[:, 6 : hw.param_group_bytes : PARAM_BYTES] & 63
    return f"a shift exceeds {MAX_SHIFT}" if int(shifts.max()) > MAX_SHIFT else None


def _sums(ins: Instruction, hw: HwConfig, image: Image) -> str | None:
    """Sums at any input, for the weights in the image."""
    for chunk in _chunks(ins, hw, image):
        sums = _tap_sums(ins, hw, chunk)
        if int(sums.max()) >= 1 << (hw.acc_bits - 1):
            return "products can sum to more than acc_bits hold"
        bias = np.abs(chunk[: hw.param_group_bytes].reshape(-1, PARAM_BYTES)[:, :4].copy().view("<i4").astype(np.int64))
        if int((_y_bounds(ins, sums) + bias[:, 0]).max()) >= 1 << (hw.y_bits - 1):
            return "outputs can reach more than y_bits hold"
    return None


def _tap_sums(ins: Instruction, hw: HwConfig, chunk: Image) -> NDArray[np.int64]:
    """Largest |sum| of each tap and output channel, [taps, Pk]; the taps of a direct layer share their weights."""
    size = hw.weight_word_bytes(bool(ins.implicit_index), bool(ins.narrow_u))
    words = chunk[hw.param_group_bytes :][: ins.chunk_words * size].reshape(ins.chunk_words, size)
    u = _magnitudes(words, TAP_LANES * hw.channels, hw.stored_bits(bool(ins.narrow_u)))
    steps = ins.red_words * ins.sub_s
    if ins.tile == TileKind.DIRECT:  # the rest of the last word is never used
        sums = np.broadcast_to(u.reshape(-1, hw.channels)[:steps].sum(0, dtype=np.int64), (TAP_LANES, hw.channels))
    else:
        groups = tile(TileKind(ins.tile)).groups
        lanes = u.reshape(groups, steps, TAP_LANES, hw.channels).sum(1, dtype=np.int64)
        sums = lanes.reshape(groups * TAP_LANES, hw.channels)
    return sums * hw.v_max


def _magnitudes(words: Image, entries: int, bits: int) -> NDArray[np.int32]:
    """|weight| of the first `entries` fields of that many bits of each word, [words, entries]."""
    if bits in (8, 16):
        whole = np.ascontiguousarray(words[:, : entries * bits // 8])
        return np.abs(whole.view(np.int8 if bits == 8 else np.dtype("<i2")).astype(np.int32))
    if bits == NARROW_BITS:
        pairs = words[:, : entries // 2]
        return np.abs((np.stack((pairs & 15, pairs >> 4), -1).reshape(len(words), entries) ^ 8).astype(np.int32) - 8)
    flags = np.unpackbits(words[:, : -(-entries * bits // 8)], axis=1, bitorder="little")[:, : entries * bits]
    places = np.int32(1) << np.arange(bits, dtype=np.int32)
    places[-1] = -places[-1]  # two's complement
    return np.abs(flags.reshape(len(words), entries, bits).astype(np.int32) @ places)


def _y_bounds(ins: Instruction, sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest |Y| of each output channel, [Pk]; below 2^63 for sums below 2^39."""
    shifts = np.array(ins.em[: len(sums)], np.int64)[:, None]
    return (output_tap_weights(TileKind(ins.tile)) @ (sums << shifts)).max(0)
