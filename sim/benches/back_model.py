"""Models and drivers that the benches of the output side share: geometry of a layer, its units, a cycle-wise driver.

Everything follows docs/hardware.md and docs/numerics.md; none of it is derived from the RTL.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from subrow.spec.isa import Instruction
from subrow.spec.winograd import TileKind, tile

STALLS = {"none": (1.0, 1.0), "random": (0.6, 0.6), "slow_in": (0.1, 1.0), "slow_out": (1.0, 0.25)}
"""Chance per cycle that the input side offers and that the output side takes."""


@dataclass(frozen=True)
class Hw:
    """Parameters of the build under test."""

    channels: int
    tiles: int
    sub_row: int
    acc_bits: int
    y_bits: int
    param_groups: int
    out_words: int

    @property
    def cb(self) -> int:
        return self.channels // self.sub_row


def bench_hw() -> Hw:
    return Hw(**json.loads(os.environ["SUBROW_BENCH_HW"]))


def corrupt() -> bool:
    """True when the golden must be falsified: the run must fail then."""
    return os.environ.get("SUBROW_BENCH_CORRUPT") == "1"


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def pack(values: list[int], bits: int) -> int:
    """Value i at bits [i * bits +: bits]."""
    return sum((v & ((1 << bits) - 1)) << (i * bits) for i, v in enumerate(values))


def round_shift(x: int, n: int) -> int:
    return (x + ((1 << (n - 1)) if n else 0)) >> n


@dataclass(frozen=True)
class Block:
    th: int
    tw: int
    cy0: int
    cx0: int
    crows: int
    ccols: int
    oy0: int
    ox0: int
    orows: int
    ocols: int


@dataclass(frozen=True)
class Layer:
    """Geometry of one layer; sizes in conv pixels, tiles and channel blocks."""

    kind: TileKind
    conv_h: int
    conv_w: int
    block_th: int
    block_tw: int
    out_cb: int
    pool: bool = False
    residual: bool = False
    resident: bool = False

    @property
    def m(self) -> int:
        return tile(self.kind).m

    @property
    def groups(self) -> int:
        return tile(self.kind).groups

    @property
    def out_h(self) -> int:
        return self.conv_h // 2 if self.pool else self.conv_h

    @property
    def out_w(self) -> int:
        return self.conv_w // 2 if self.pool else self.conv_w

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles of the layer."""
        return -(-self.conv_h // self.m), -(-self.conv_w // self.m)

    def kgs(self, hw: Hw) -> int:
        return -(-self.out_cb // hw.cb)

    def kbs(self, hw: Hw, kg: int) -> int:
        return min(hw.cb, self.out_cb - kg * hw.cb)

    def blocks(self) -> list[Block]:
        rows, columns = self.grid
        scale = 2 if self.pool else 1
        result = []
        for ty in range(0, rows, self.block_th):
            for tx in range(0, columns, self.block_tw):
                th, tw = min(self.block_th, rows - ty), min(self.block_tw, columns - tx)
                y, x = ty * self.m, tx * self.m
                result.append(Block(
                    th, tw, y, x, min(th * self.m, self.conv_h - y), min(tw * self.m, self.conv_w - x),
                    y // scale, x // scale, min(th * self.m // scale, self.out_h - y // scale),
                    min(tw * self.m // scale, self.out_w - x // scale),
                ))
        return result

    def instruction(self, hw: Hw, **extra: object) -> Instruction:
        rows, columns = self.grid
        by, bx = -(-rows // self.block_th), -(-columns // self.block_tw)
        last_h, last_w = rows - (by - 1) * self.block_th, columns - (bx - 1) * self.block_tw
        q_count = [-(-h * w // hw.tiles) for h in (self.block_th, last_h) for w in (self.block_tw, last_w)]
        ext = 1 if self.kind is TileKind.DIRECT else 3
        fields: dict[str, object] = dict(
            opcode=1, tile=int(self.kind), resident=int(self.resident), residual=int(self.residual), sub_s=1,
            pool=int(self.pool), stride=1, in_h=self.conv_h, in_w=self.conv_w, in_cb=1, conv_h=self.conv_h,
            conv_w=self.conv_w, out_h=self.out_h, out_w=self.out_w, out_cb=self.out_cb, kgs=self.kgs(hw), kernel_h=1,
            kernel_w=1, pad_top=ext // 2, pad_left=ext // 2, in_row_bytes=self.conv_w * hw.sub_row,
            out_row_bytes=self.out_cb * self.out_w * hw.sub_row, res_row_bytes=self.out_cb * self.conv_w * hw.sub_row,
            v_words=1, red_words=1, chunk_words=1, block_th=self.block_th, block_tw=self.block_tw, blocks_y=by,
            blocks_x=bx, q_count=q_count, act_min=-127, act_max=127,
        )
        return Instruction(fields | extra)

    def units(self, hw: Hw) -> Iterator[tuple[Block, int]]:
        for block in self.blocks():
            for kg in range(self.kgs(hw)):
                yield block, kg

    def pixels(self, hw: Hw, block: Block, kg: int) -> Iterator[dict[str, int]]:
        """Every transfer of the y stream of one (block, kg) unit: sideband fields, tile index and pixel in the tile."""
        limit_h = 2 * self.out_h if self.pool else self.conv_h
        limit_w = 2 * self.out_w if self.pool else self.conv_w
        half, tiles, kbs = self.m // 2, block.th * block.tw, self.kbs(hw, kg)
        quads = [(qx, qy, dy, dx) for qx in range(half) for qy in range(half) for dy in range(2) for dx in range(2)]
        for i in range(tiles):
            for kb in range(kbs):
                for number, (qx, qy, dy, dx) in enumerate(quads):
                    py, px = 2 * qy + dy, 2 * qx + dx
                    oy, ox = i // block.tw * self.m + py, i % block.tw * self.m + px
                    yield dict(
                        i=i, py=py, px=px, kb=kb, oy=oy, ox=ox, quad_first=int(dy + dx == 0),
                        quad_last=int(dy + dx == 2),
                        drop=int(block.cy0 + oy >= limit_h or block.cx0 + ox >= limit_w),
                        last=int(i == tiles - 1 and kb == kbs - 1 and number == len(quads) - 1),
                    )


def meta_word(hw: Hw, pixel: dict[str, int]) -> int:
    kb_bits = max(1, (hw.cb - 1).bit_length())
    word = pixel["last"]
    for name, bits in (("drop", 1), ("kb", kb_bits), ("oy", 12), ("ox", 12), ("quad_last", 1), ("quad_first", 1)):
        word = word << bits | pixel[name]
    return word


def meta_fields(hw: Hw, word: int) -> dict[str, int]:
    kb_bits = max(1, (hw.cb - 1).bit_length())
    names = (("quad_first", 1), ("quad_last", 1), ("ox", 12), ("oy", 12), ("kb", kb_bits), ("drop", 1), ("last", 1))
    result = {}
    for name, bits in names:
        result[name] = word & ((1 << bits) - 1)
        word >>= bits
    return result


def some_layers(hw: Hw) -> dict[str, Layer]:
    """The directed geometries: every tile size, odd sizes, several blocks and groups, an unfilled last group."""
    several = hw.cb + 1
    D, F2, F4 = TileKind.DIRECT, TileKind.F2, TileKind.F4
    return {
        "direct": Layer(D, 5, 7, 2, 3, several),
        "direct_pixel": Layer(D, 1, 1, 1, 1, hw.cb),
        "direct_pool": Layer(D, 9, 9, 2, 2, several, pool=True),
        "direct_column": Layer(D, 7, 4, 1, 2, 1),
        "f2": Layer(F2, 8, 8, 4, 4, hw.cb, resident=True),
        "f2_blocks": Layer(F2, 11, 9, 2, 3, several, residual=True, resident=True),
        "f2_pool": Layer(F2, 7, 5, 4, 2, several, pool=True, residual=True),
        "f4": Layer(F4, 8, 12, 2, 3, hw.cb, residual=True),
        "f4_blocks": Layer(F4, 13, 10, 2, 2, several),
        "f4_pool": Layer(F4, 13, 9, 2, 1, several, pool=True, resident=True),
        "f4_small": Layer(F4, 3, 2, 1, 1, 1, residual=True),
    }


def random_layer(rng: random.Random, hw: Hw) -> Layer:
    kind = rng.choice(list(TileKind))
    pool = rng.random() < 0.5
    side = 2 if pool else 1
    return Layer(kind, rng.randint(side, 14), rng.randint(side, 14), rng.randint(1, 3), rng.randint(1, 3),
                 rng.randint(1, 3 * hw.cb), pool, rng.random() < 0.5, rng.random() < 0.5)


class Driver:
    """One Python step per cycle: inputs change after the falling edge, outputs are sampled before the rising edge."""

    def __init__(self, dut, stall: str) -> None:
        self.dut = dut
        self.rng = random.Random(random.getrandbits(32))
        self.p_in, self.p_out = STALLS[stall]
        self.cycle = 0

    def offer(self) -> bool:
        return self.rng.random() < self.p_in

    def take(self) -> bool:
        return self.rng.random() < self.p_out

    async def reset(self, **inputs: int) -> None:
        Clock(self.dut.clk_i, 10, "ns", impl="gpi").start()
        self.dut.rst_ni.value = 0
        self.set(cmd_valid_i=0, cmd_data_i=0, **inputs)
        for _ in range(3):
            await FallingEdge(self.dut.clk_i)
        self.dut.rst_ni.value = 1

    def set(self, **inputs: int) -> None:
        for name, value in inputs.items():
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    async def begin(self) -> None:
        """To where inputs may change."""
        await FallingEdge(self.dut.clk_i)
        self.cycle += 1

    async def settle(self) -> None:
        """To where outputs show what the next rising edge will see."""
        await ReadOnly()

    async def command(self, instruction: Instruction) -> None:
        await self.begin()
        self.set(cmd_valid_i=1, cmd_data_i=int.from_bytes(instruction.encode(), "little"))
        await self.settle()
        assert self.get("cmd_ready_o") == 1, "not idle"
        await self.begin()
        self.set(cmd_valid_i=0)


def ahead(a: int, b: int, bits: int = 16) -> int:
    """a - b of two free-running counters."""
    return (a - b) & ((1 << bits) - 1)
