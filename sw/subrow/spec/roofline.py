"""How many cycles each resource of the engine needs for a layer, at the very least: which of them bounds it.

A layer takes longer than its largest figure by what nothing hides: the first rows in, the last pixels out, the turn
from one block to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.timing.geometry import Geometry


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
    g, moved = Geometry(ins, hw), traffic(ins, hw)
    tiles = -(-ins.conv_h // g.tile.m) * -(-ins.conv_w // g.tile.m)
    read = tiles * g.tile_cycles * len(g.passes)
    written = tiles * ins.out_cb * max(g.tile.groups, g.tile.m**2)
    return Roofline(
        input=moved.read / hw.act_word_bytes,
        output=moved.written / hw.act_word_bytes,
        weights=moved.weights / hw.weight_bytes,
        memory=moved.total / hw.bytes_per_cycle,
        transform=max(read, written),
        compute=tile_groups(ins) * g.tile.groups * g.steps * ins.kgs,
    )


def traffic(ins: Instruction, hw: HwConfig) -> Traffic:
    """Bytes that one layer moves through memory, from its instruction alone."""
    g = Geometry(ins, hw)
    words = sum(y.inputs for y in g.rows) * sum(x.inputs for x in g.columns) * ins.in_cb * len(g.passes)
    words += ins.conv_h * ins.conv_w * ins.out_cb if ins.residual else 0
    return Traffic(
        read=words * hw.act_word_bytes,
        written=ins.out_h * ins.out_w * ins.out_cb * hw.act_word_bytes,
        weights=g.chunks * g.chunk_beats * hw.weight_bytes,
    )


def tile_groups(ins: Instruction) -> int:
    """Tile groups of all blocks of a pass: interior, last column, last row, last row and column."""
    ny, nx, q = ins.blocks_y, ins.blocks_x, ins.q_count
    return int((ny - 1) * ((nx - 1) * q[0] + q[1]) + (nx - 1) * q[2] + q[3])
