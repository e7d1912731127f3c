"""The loop nest of one instruction, as the units of the engine walk it (docs/hardware.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.timing.segments import Segments
from subrow.spec.winograd import TAP_LANES, Tile, TileKind
from subrow.spec.winograd import tile as tile_of


@dataclass(frozen=True)
class Span:
    """One block along one axis: tiles, first input pixel (negative in the padding), input, conv and output pixels."""

    tiles: int
    origin: int
    first: int
    inputs: int
    conv_first: int
    conv: int
    out: int


@dataclass(frozen=True)
class Axis:
    """One axis of a layer, in pixels: conv and stored outputs, inputs, padding before them, window (3 for Winograd)."""

    conv: int
    out: int
    size: int
    pad: int
    ext: int


def spans_of(axis: Axis, t: Tile, stride: int, pool: bool, block: int) -> list[Span]:
    """An axis cut into blocks of `block` tiles, the last one shorter where they do not divide."""
    m, tiles = t.m, -(-axis.conv // t.m)
    spans = []
    for first in range(0, tiles, block):
        n = min(block, tiles - first)
        origin = first * m * stride - axis.pad
        low, high = max(origin, 0), min(origin + (n * m - 1) * stride + axis.ext, axis.size)
        pixels = min(n * m, axis.conv - first * m)
        outputs = min(n * m // 2, axis.out - first * m // 2) if pool else pixels
        spans.append(Span(n, origin, low, high - low, first * m, pixels, max(outputs, 0)))
    return spans


@dataclass(frozen=True)
class Block:
    """A block of one pass: its spans, tile groups, and what to do at its end."""

    y: Span
    x: Span
    q: int
    pass_end: bool


@dataclass(frozen=True)
class Pass:
    """A pass over all blocks with output channel groups kg0 .. kg0 + kgs - 1."""

    kg0: int
    kgs: int


@dataclass(frozen=True)
class Geometry:
    """Everything that the model needs of one instruction on one HwConfig; counts in words, steps or cycles."""

    ins: Instruction
    hw: HwConfig

    @cached_property
    def tile(self) -> Tile:
        return tile_of(TileKind(self.ins.tile))

    @property
    def direct(self) -> bool:
        return self.tile.kind is TileKind.DIRECT

    @property
    def linear(self) -> bool:
        return self.tile.kind is TileKind.LINEAR

    def _window(self, kernel: int) -> int:
        """Rows or columns of a window whose instruction says `kernel`."""
        return kernel if self.direct or self.linear else 3

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        size = self.ins.pass_kgs
        return tuple(Pass(k, min(size, self.ins.kgs - k)) for k in range(0, self.ins.kgs, size))

    @cached_property
    def rows(self) -> list[Span]:
        """The block rows."""
        ins = self.ins
        axis = Axis(ins.conv_h, ins.out_h, ins.in_h, ins.pad_top, self._window(ins.kernel_h))
        return spans_of(axis, self.tile, ins.stride, bool(ins.pool), ins.block_th)

    @cached_property
    def columns(self) -> list[Span]:
        """The block columns."""
        ins = self.ins
        axis = Axis(ins.conv_w, ins.out_w, ins.in_w, ins.pad_left, self._window(ins.kernel_w))
        return spans_of(axis, self.tile, ins.stride, bool(ins.pool), ins.block_tw)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of one pass, in order."""
        result = []
        for y in self.rows:
            for x in self.columns:
                end_y, end_x = y is self.rows[-1], x is self.columns[-1]
                result.append(Block(y, x, self.ins.q_count[2 * end_y + end_x], end_y and end_x))
        return tuple(result)

    @cached_property
    def steps(self) -> int:
        """Array steps of one tap group."""
        return self.ins.red_words * self.ins.sub_s

    @cached_property
    def word_bytes(self) -> int:
        return self.hw.weight_word_bytes(bool(self.ins.implicit_index), bool(self.ins.narrow_u))

    def word_beats(self, words: int) -> int:
        """Beats that hold the first `words` words of a chunk."""
        return -(-words * self.word_bytes // self.hw.weight_bytes)

    @cached_property
    def param_beats(self) -> int:
        return self.hw.param_group_bytes // self.hw.weight_bytes

    @cached_property
    def chunk_beats(self) -> int:
        """Beats of one output channel group: parameters, then weights."""
        return self.param_beats + self.word_beats(self.ins.chunk_words)

    @cached_property
    def chunks(self) -> int:
        """Chunks that wfetch reads for the layer."""
        return self.ins.kgs * (1 if self.ins.resident else self.ins.blocks_y * self.ins.blocks_x)

    @cached_property
    def nk(self) -> int:
        """Words of the M buffer that a tap group fills: the cycles of its drain."""
        return self.hw.tiles * self.hw.channel_blocks

    @cached_property
    def window(self) -> int:
        """Cycles of the input transform for one window: columns read or groups written, whichever are more.

        Also its row steps: one for each tap group, of a direct layer one for each row. A linear layer reads the four
        words of a V word one by one.
        """
        return TAP_LANES if self.linear else max(self.tile.alpha, self.tile.groups)

    @cached_property
    def reads(self) -> int:
        """Words that the output transform reads for one tile: the halves of its rows, for F4 also taps 4, 5."""
        return {TileKind.DIRECT: 2, TileKind.F2: 4, TileKind.F4: 15, TileKind.LINEAR: 2}[self.tile.kind]

    @cached_property
    def tile_cycles(self) -> int:
        """Cycles of the input transform for one tile."""
        windows = self.ins.v_words if self.linear else self.ins.in_cb * self.ins.kernel_h * self.ins.kernel_w
        return self.window * windows

    def kbs(self, kg: int) -> int:
        """Channel blocks of output channel group kg."""
        return min(self.hw.channel_blocks, self.ins.out_cb - kg * self.hw.channel_blocks)


    # ---- memory ---------------------------------------------------------------------------------------------------
    def input_runs(self, block: Block) -> Segments:
        """Input of a block; one as wide as the tensor asks for whole rows of all channel blocks."""
        ins, columns = self.ins, block.x.inputs
        per_row, words = (1, ins.in_cb * columns) if columns == ins.in_w else (ins.in_cb, columns)
        row_words = ins.in_row_bytes // self.hw.act_word_bytes
        first = ins.in_offset // self.hw.act_word_bytes + block.y.first * row_words + block.x.first
        return Segments(first, block.y.inputs, row_words, per_row, ins.in_w, words, self.hw.act_port_words)

    def residual_runs(self, block: Block, kg: int) -> Segments:
        """Residual of a block and output channel group."""
        ins = self.ins
        row_words = ins.res_row_bytes // self.hw.act_word_bytes
        first = ins.res_offset // self.hw.act_word_bytes + block.y.conv_first * row_words + block.x.conv_first
        first += kg * self.hw.channel_blocks * ins.conv_w
        return Segments(
            first, block.y.conv, row_words, self.kbs(kg), ins.conv_w, block.x.conv, self.hw.act_port_words
        )

    def output_runs(self, block: Block, kg: int) -> Segments:
        """Output of a block and output channel group; without rows when no pooled pixel lies in the block."""
        ins = self.ins
        grow, shrink = 2 if ins.upsample else 1, 2 if ins.pool else 1
        rows, columns = grow * block.y.out, grow * block.x.out
        row_words = ins.out_row_bytes // self.hw.act_word_bytes
        first = ins.out_offset // self.hw.act_word_bytes + block.y.conv_first * grow // shrink * row_words
        first += block.x.conv_first * grow // shrink + kg * self.hw.channel_blocks * ins.out_w
        return Segments(
            first, rows if columns else 0, row_words, self.kbs(kg), ins.out_w, columns, self.hw.act_port_words
        )
