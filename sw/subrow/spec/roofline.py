"""How many cycles each resource of the engine needs for a layer, at the very least: which of them bounds it.

A layer takes longer than its largest figure by what nothing hides: the first rows in, the last pixels out, the turn
from one block to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.winograd import Tile, TileKind
from subrow.spec.winograd import tile as tile_of


@dataclass(frozen=True)
class Roofline:
    """Cycles in which a resource is busy if nothing ever makes it wait.

    input, output, weights: words on the activation read port, on the write port, beats on the weight port. memory: all
    bytes at the memory's bandwidth. transform: the input or the output transform, whichever needs more. compute: array
    steps.
    """

    input: float
    output: float
    weights: float
    memory: float
    transform: float
    compute: float

    @property
    def bound(self) -> str:
        """Name of the largest figure, the first one of equals."""
        return max((f.name for f in fields(self)), key=lambda name: getattr(self, name))

    @property
    def memory_cycles(self) -> float:
        """Cycles of the busiest port, or of the memory behind them."""
        return max(self.input, self.output, self.weights, self.memory)

    @property
    def memory_bound(self) -> bool:
        """Whether moving data takes as long as computing, or longer."""
        return self.memory_cycles >= max(self.compute, self.transform)


@dataclass(frozen=True)
class Traffic:
    """Bytes that a layer moves: activations read (residual included) and written, weights with parameters."""

    read: int
    written: int
    weights: int

    @property
    def total(self) -> int:
        return self.read + self.written + self.weights


def roofline(ins: Instruction, hw: HwConfig) -> Roofline:
    """Least cycles of one layer on each resource, from its instruction alone."""
    t = tile_of(TileKind(ins.tile))
    passes = -(-ins.kgs // ins.pass_kgs)
    tiles = -(-ins.conv_h // t.m) * -(-ins.conv_w // t.m)
    read = tiles * ins.v_words * window_cycles(t) * passes
    written = tiles * ins.out_cb * max(t.groups, t.m**2)
    moved = traffic(ins, hw)
    return Roofline(
        input=moved.read / hw.act_word_bytes,
        output=moved.written / hw.act_word_bytes,
        weights=moved.weights / hw.weight_bytes,
        memory=moved.total / hw.bytes_per_cycle,
        transform=max(read, written),
        compute=_tile_groups(ins) * t.groups * ins.red_words * ins.sub_s * ins.kgs,
    )


def window_cycles(t: Tile) -> int:
    """Cycles of the input transform for one window: columns read or tap groups written, whichever are more."""
    return max(t.alpha, t.groups)


def traffic(ins: Instruction, hw: HwConfig) -> Traffic:
    """Bytes that one layer moves through memory, from its instruction alone."""
    passes = -(-ins.kgs // ins.pass_kgs)
    words = sum(_spans(ins, 0)) * sum(_spans(ins, 1)) * ins.in_cb * passes
    words += ins.conv_h * ins.conv_w * ins.out_cb if ins.residual else 0
    chunk = hw.param_group_bytes + ins.chunk_words * hw.weight_word_bytes(bool(ins.implicit_index))
    times = 1 if ins.resident else ins.blocks_y * ins.blocks_x
    return Traffic(
        read=words * hw.act_word_bytes,
        written=ins.out_h * ins.out_w * ins.out_cb * hw.act_word_bytes,
        weights=chunk * ins.kgs * times,
    )


def _tile_groups(ins: Instruction) -> int:
    """Tile groups of all blocks: interior, last column, last row, last row and column."""
    ny, nx, q = ins.blocks_y, ins.blocks_x, ins.q_count
    return int((ny - 1) * ((nx - 1) * q[0] + q[1]) + (nx - 1) * q[2] + q[3])


def _spans(ins: Instruction, axis: int) -> list[int]:
    """Input rows or columns inside the image that each block reads."""
    t = tile_of(TileKind(ins.tile))
    conv, size = ((ins.conv_h, ins.in_h), (ins.conv_w, ins.in_w))[axis]
    block, blocks = ((ins.block_th, ins.blocks_y), (ins.block_tw, ins.blocks_x))[axis]
    pad, kernel = ((ins.pad_top, ins.kernel_h), (ins.pad_left, ins.kernel_w))[axis]
    ext = kernel if t.alpha == t.m else 3
    result = []
    for b in range(blocks):
        n = min(block, math.ceil(conv / t.m) - b * block)
        start = b * block * t.m * ins.stride - pad
        end = start + (n * t.m - 1) * ins.stride + ext
        result.append(min(end, size) - max(start, 0))
    return result
