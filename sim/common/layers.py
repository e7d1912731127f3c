"""Layers for the benches: consistent instructions, and the loop nest of docs/hardware.md, written from that page.

Nothing here comes from the RTL or from hw/hls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import OPCODE_LAYER, Instruction
from subrow.spec.winograd import TileKind, tile

D, F2, F4, LINEAR = (int(kind) for kind in TileKind)
OFFSETS = ("in_offset", "out_offset", "res_offset", "weight_offset")


def moved(instr: Instruction, **fields: object) -> Instruction:
    """The instruction with other values."""
    return Instruction({**instr.values, **fields})


def layer(hw: HwConfig, h: int, w: int, c: int, k: int, *, tile_kind: int = F4, kernel: tuple[int, int] = (1, 1),
          stride: int = 1, pad: int | None = None, block: tuple[int, int] | None = None, grouped: bool = False,
          sub_s: int = 2, **fields: object) -> Instruction:
    """A consistent instruction. c, k: channels; block: tiles (None = one block); pad: None = as for equal size."""
    L, t = hw.sub_row, tile(TileKind(tile_kind))
    window = kernel if tile_kind in (D, LINEAR) else (1, 1)
    ext_h, ext_w = kernel if tile_kind in (D, LINEAR) else (3, 3)
    pad_h, pad_w = (ext_h // 2, ext_w // 2) if pad is None else (pad, pad)
    conv_h, conv_w = (h + 2 * pad_h - ext_h) // stride + 1, (w + 2 * pad_w - ext_w) // stride + 1
    rows, columns = -(-conv_h // t.m), -(-conv_w // t.m)
    th, tw = (min(b, n) for b, n in zip(block or (rows, columns), (rows, columns), strict=True))
    by, bx = -(-rows // th), -(-columns // tw)
    last_h, last_w = rows - (by - 1) * th, columns - (bx - 1) * tw
    in_cb, out_cb, kgs = -(-c // L), -(-k // L), -(-k // hw.channels)
    out_h, out_w = (n // 2 if fields.get("pool") else 2 * n if fields.get("upsample") else n for n in (conv_h, conv_w))
    v_words = in_cb * (1 if fields.get("max_window") else window[0] * window[1])
    v_words = -(-v_words // 4) if tile_kind == LINEAR else v_words
    red_words = v_words // kgs if grouped else v_words
    steps = red_words * sub_s
    pass_kgs = kgs if grouped or not fields.get("resident") else min(int(str(fields.pop("pass_kgs", kgs))), kgs)
    values: dict[str, object] = dict(
        opcode=OPCODE_LAYER, tile=tile_kind, stride=stride, sub_s=sub_s, in_h=h, in_w=w, in_cb=in_cb, conv_h=conv_h,
        conv_w=conv_w, out_h=out_h, out_w=out_w, out_cb=out_cb, kgs=kgs, pass_kgs=pass_kgs,
        kernel_h=window[0], kernel_w=window[1], pad_top=pad_h, pad_left=pad_w, in_row_words=in_cb * w,
        in_row_bytes=in_cb * w * L,
        out_row_bytes=out_cb * out_w * L, res_row_bytes=out_cb * conv_w * L, v_words=v_words,
        red_words=red_words, v_kstep=red_words if grouped else 0,
        chunk_words=-(-steps // 4) if tile_kind == D else t.groups * steps, block_th=th, block_tw=tw, blocks_y=by,
        blocks_x=bx, q_count=tuple(-(-a * b // hw.tiles) for a in (th, last_h) for b in (tw, last_w)), act_min=-127,
        act_max=127,
    )
    return Instruction({**values, **fields})


@dataclass(frozen=True)
class Block:
    """One block, in the names of docs/hardware.md; `half`: its parity; kg0, kgs: channel groups of its pass."""

    kg0: int
    kgs: int
    pass_end: bool  # the last block of its pass
    by: int
    bx: int
    half: int
    last_y: bool
    last_x: bool
    th: int
    tw: int
    iy0: int
    ix0: int
    ry0: int
    rx0: int
    nrows: int
    ncols: int
    q: int
    cy0: int
    cx0: int
    crows: int
    ccols: int
    oy0: int
    ox0: int
    orows: int
    ocols: int

    @property
    def tiles(self) -> int:
        return self.th * self.tw

    @property
    def groups(self) -> range:
        """Output channel groups of its pass."""
        return range(self.kg0, self.kg0 + self.kgs)


def with_exponents(instr: Instruction, name: str, values: list[int]) -> Instruction:
    """The instruction with other ev or em; those of a linear layer's lanes are equal."""
    return moved(instr, **{name: values[:1] * 4 if instr.tile == LINEAR else values})


def groups(instr: Instruction) -> int:
    return tile(TileKind(instr.tile)).groups


def blocks(instr: Instruction) -> Iterator[Block]:
    """The loop nest, word by word."""
    number = 0
    for kg0 in range(0, instr.kgs, instr.pass_kgs):
        for by in range(instr.blocks_y):
            for bx in range(instr.blocks_x):
                yield _block(instr, (kg0, min(instr.pass_kgs, instr.kgs - kg0)), by, bx, number % 2)
                number += 1


def _block(instr: Instruction, groups: tuple[int, int], by: int, bx: int, half: int) -> Block:
    m, s, f = tile(TileKind(instr.tile)).m, instr.stride, 2 if instr.pool else 1
    ext_h, ext_w = (instr.kernel_h, instr.kernel_w) if instr.tile in (D, LINEAR) else (3, 3)
    rows, columns = -(-instr.conv_h // m), -(-instr.conv_w // m)
    last_y, last_x = by == instr.blocks_y - 1, bx == instr.blocks_x - 1
    th, tw = min(instr.block_th, rows - by * instr.block_th), min(instr.block_tw, columns - bx * instr.block_tw)
    iy0, ix0 = by * instr.block_th * m * s - instr.pad_top, bx * instr.block_tw * m * s - instr.pad_left
    ry0, rx0 = max(iy0, 0), max(ix0, 0)
    cy0, cx0 = by * instr.block_th * m, bx * instr.block_tw * m
    return Block(
        *groups, last_y and last_x, by, bx, half, last_y, last_x, th, tw, iy0, ix0, ry0, rx0,
        min(iy0 + (th * m - 1) * s + ext_h, instr.in_h) - ry0, min(ix0 + (tw * m - 1) * s + ext_w, instr.in_w) - rx0,
        instr.q_count[2 * last_y + last_x], cy0, cx0, min(th * m, instr.conv_h - cy0), min(tw * m, instr.conv_w - cx0),
        cy0 // f, cx0 // f,
        min(th * m // f, instr.conv_h // f - cy0 // f), min(tw * m // f, instr.conv_w // f - cx0 // f),
    )  # fmt: skip


def units(instr: Instruction) -> Iterator[tuple[Block, int]]:
    """(block, kg) in the order of the engine."""
    for block in blocks(instr):
        for kg in block.groups:
            yield block, kg


def kbs(hw: HwConfig, instr: Instruction, kg: int) -> int:
    """Output channel blocks of group kg that exist in memory."""
    return min(hw.channel_blocks, instr.out_cb - kg * hw.channel_blocks)


def steps(instr: Instruction) -> int:
    """Array steps of one (block, kg, q, g)."""
    return instr.red_words * instr.sub_s


def directed(hw: HwConfig) -> dict[str, Instruction]:
    """Every tile size, odd sizes, several blocks and groups, an unfilled last group, the shortest and the densest."""
    L, Pk = hw.sub_row, hw.channels
    return {
        "f4": layer(hw, 13, 10, L + 1, Pk + 1, block=(2, 2)),
        "f4_pool": layer(hw, 13, 9, L, 2 * Pk, block=(2, 1), pool=1, resident=1, sub_s=1),
        "f4_small": layer(hw, 3, 2, 1, 1, residual=1),
        "f4_rows": layer(hw, 16, 8, 2 * L, Pk, block=(1, 2), residual=1),
        "f2_dense": layer(hw, 8, 8, L, Pk, tile_kind=F2, resident=1, implicit_index=1, sub_s=L),
        "f2_blocks": layer(hw, 11, 9, L - 1, Pk + L, tile_kind=F2, block=(2, 3), residual=1, resident=1),
        "f2_pool": layer(hw, 7, 5, 2 * L, Pk + 1, tile_kind=F2, block=(4, 2), pool=1, residual=1, sub_s=1),
        "f2_passes": layer(hw, 11, 9, L, 3 * Pk, tile_kind=F2, block=(2, 3), residual=1, resident=1, pass_kgs=2),
        "f4_passes": layer(hw, 9, 8, L + 1, 2 * Pk + 1, block=(1, 2), pool=1, resident=1, sub_s=1, pass_kgs=1),
        "f2_valid": layer(hw, 10, 9, L, 1, tile_kind=F2, pad=0, block=(2, 2), sub_s=3),
        "direct_3x3_s2": layer(hw, 11, 14, 2 * L, Pk, tile_kind=D, kernel=(3, 3), stride=2, block=(2, 2)),
        "direct_7x7_s2": layer(hw, 13, 13, 3, Pk, tile_kind=D, kernel=(7, 7), stride=2, block=(1, 2), sub_s=1),
        "direct_5x3": layer(hw, 9, 10, L, 2 * Pk, tile_kind=D, kernel=(5, 3), block=(3, 4), resident=1),
        "direct_1x1": layer(hw, 7, 6, 3 * L, Pk + 1, tile_kind=D, block=(4, 2), implicit_index=1, sub_s=L),
        "direct_1x1_s2": layer(hw, 9, 9, 2 * L, Pk, tile_kind=D, stride=2, block=(2, 3), residual=1, sub_s=3),
        "direct_pool": layer(hw, 9, 9, L, Pk + 1, tile_kind=D, block=(2, 2), pool=1, sub_s=1),
        "max_3x3_s2": layer(hw, 11, 14, 2 * L, Pk, tile_kind=D, kernel=(3, 3), stride=2, block=(2, 2), max_window=1),
        "max_grouped": layer(hw, 8, 9, 3 * L, 3 * Pk, tile_kind=D, kernel=(3, 3), grouped=True, sub_s=1, max_window=1),
        "max_2x2": layer(hw, 9, 8, L - 1, Pk + 1, tile_kind=D, kernel=(2, 2), pad=0, block=(3, 2), max_window=1),
        "direct_up": layer(hw, 5, 7, L, 2 * Pk + 1, tile_kind=D, block=(2, 2), upsample=1, sub_s=1),
        "f4_up": layer(hw, 9, 6, L, Pk + 1, block=(2, 1), upsample=1, sub_s=1, resident=1, residual=1),
        "grouped": layer(hw, 6, 6, 3 * L, 3 * Pk, tile_kind=D, kernel=(3, 3), grouped=True),
        "whole_v": layer(hw, 4, 8, 32 * L, 8 * Pk, tile_kind=D, kernel=(3, 3), grouped=True, block=(1, 2), sub_s=1,
                         whole_v=1),
        "f4_whole_v": layer(hw, 13, 10, L + 1, Pk + 1, block=(2, 2), sub_s=1, whole_v=1, resident=1),
        "whole_a": layer(hw, 14, 9, hw.act_words * 3 // 4 // 9 * L, Pk, tile_kind=D, stride=2, block=(2, 3), sub_s=1,
                         whole_a=1),
        "f2_whole_a": layer(hw, 11, 9, 2 * L, Pk, tile_kind=F2, block=(2, 3), residual=1, resident=1, whole_a=1),
        "linear": layer(hw, 1, 1, 12 * L, 2 * Pk + 1, tile_kind=D, sub_s=4 if L > 4 else 3),
        "lanes_1x1": layer(hw, 1, 1, 12 * L, 2 * Pk + 1, tile_kind=LINEAR, sub_s=3),
        "lanes_map": layer(hw, 5, 3, 3 * L - 1, Pk + 1, tile_kind=LINEAR, kernel=(5, 3), pad=0, sub_s=1, whole_v=1),
        "lanes_pad": layer(hw, 2, 1, 2 * L, Pk, tile_kind=LINEAR, kernel=(4, 3), pad=1, sub_s=L, implicit_index=1,
                           residual=1, resident=1, upsample=1),
        "lanes_one": layer(hw, 1, 1, 1, 1, tile_kind=LINEAR, sub_s=1),
        "pixel": layer(hw, 1, 1, 1, 1, tile_kind=D, sub_s=1, resident=1),
    }


def random_layer(hw: HwConfig, rand: random.Random, refusal: Callable[[Instruction], str] = lambda i: "",
                 **fields: Any) -> Instruction:
    """A random instruction of moderate size that the hardware accepts (`refusal` gives an empty text)."""
    L = hw.sub_row
    while True:
        kind = rand.randint(0, 3)
        kernel = (rand.choice((1, 1, 2, 3, 5, 7)), rand.choice((1, 1, 2, 3, 5, 7))) if kind in (D, LINEAR) else (3, 3)
        h, w, pad = rand.randint(1, 16), rand.randint(1, 16), rand.randint(0, min(kernel) // 2)
        if kind == LINEAR:
            h, w = (max(n - 2 * pad, 1) for n in kernel)
        stride = rand.randint(1, 2) if kind == D else 1
        pool, implicit = rand.randint(0, 1), rand.randint(0, 1)
        size = [(n + 2 * pad - e) // stride + 1 for n, e in zip((h, w), kernel, strict=True)]
        if kind == LINEAR:
            pool, size = 0, [min(n, 2 - n) for n in size]  # 1 x 1
        if min(size) < 1 + pool:
            continue
        chosen: dict[str, Any] = dict(
            pass_kgs=rand.randint(1, 3), pool=pool, residual=rand.randint(0, 1), resident=rand.randint(0, 1),
            implicit_index=implicit, narrow_u=rand.randint(0, int(hw.narrow_u)), layer_id=rand.randrange(1 << 15),
            ev=[rand.randint(0, 7) for _ in range(36)],
            em=[rand.randint(0, 4) for _ in range(36)], max_window=int(kind == D and rand.random() < 0.4),
            upsample=int(not pool and rand.random() < 0.2), whole_v=int(rand.random() < 0.3),
            whole_a=int(rand.random() < 0.3),
        )
        if kind == LINEAR:
            chosen.update(ev=chosen["ev"][:1] * 4, em=chosen["em"][:1] * 4)
        instr = layer(hw, h, w, rand.randint(1, 3 * L), rand.randint(1, 3 * hw.channels), tile_kind=kind,
                      kernel=kernel, stride=stride, pad=pad, block=(rand.randint(1, 3), rand.randint(1, 3)),
                      sub_s=rand.choice((1, 2, rand.randint(1, L))), **{**chosen, **fields})
        small = groups(instr) * steps(instr) * sum(b.q * b.kgs for b in blocks(instr)) <= 4000
        seen = all(b.nrows > 0 and b.ncols > 0 for b in blocks(instr))
        if small and seen and not refusal(instr):
            return instr
