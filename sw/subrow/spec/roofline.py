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

    input, output, weights: beats on the activation read port, on the write port, on the weight port. memory: all
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
    """Bytes of a layer's beats: activations read (residual included) and written, weights with parameters."""

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
        input=moved.read / hw.act_port_bytes,
        output=moved.written / hw.act_port_bytes,
        weights=moved.weights / hw.weight_bytes,
        memory=moved.total / hw.bytes_per_cycle,
        transform=max(read, written),
        compute=tile_groups(ins) * g.tile.groups * g.steps * ins.kgs,
    )


def traffic(ins: Instruction, hw: HwConfig) -> Traffic:
    """Bytes that one layer moves through memory, from its instruction alone."""
    g = Geometry(ins, hw)
    read = sum(g.input_runs(b).beats for b in g.blocks) * len(g.passes)
    written = sum(g.output_runs(b, kg).beats for b in g.blocks for kg in range(ins.kgs))
    if ins.residual:
        read += sum(g.residual_runs(b, kg).beats for b in g.blocks for kg in range(ins.kgs))
    return Traffic(
        read=read * hw.act_port_bytes,
        written=written * hw.act_port_bytes,
        weights=g.chunks * g.chunk_beats * hw.weight_bytes,
    )


def tile_groups(ins: Instruction) -> int:
    """Tile groups of all blocks of a pass: interior, last column, last row, last row and column."""
    ny, nx, q = ins.blocks_y, ins.blocks_x, ins.q_count
    return int((ny - 1) * ((nx - 1) * q[0] + q[1]) + (nx - 1) * q[2] + q[3])
