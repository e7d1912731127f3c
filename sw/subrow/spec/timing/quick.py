"""Cycles of one layer from a few of its blocks and passes, for choices between many layers that are much alike.

The layer is run without most of its interior block rows, block columns and passes; what they take follows from the
times at which the array ends those that remain.
"""

from __future__ import annotations

from dataclasses import dataclass

from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.timing.geometry import Geometry
from subrow.spec.timing.model import Run

KEPT = 4  # block rows, block columns: first, two that measure the period, last
SMALL = 600  # (block, kg, q) units: a layer of so few is run as it is
SEGMENTS = 1500  # runs of memory: with more, short bursts are taken by their rate
PASSES = 4  # two to fill the buffers, one that measures, last


@dataclass(frozen=True)
class _Reduced:
    """An instruction without `rows` block rows, `columns` block columns and `passes` passes."""

    ins: Instruction
    rows: int
    columns: int
    passes: int


def _coarse(ins: Instruction) -> bool:
    """Whether there are too many runs of memory to look at each."""
    passes = -(-ins.kgs // ins.pass_kgs)
    rows = ins.in_h * ins.in_cb * passes + (ins.out_h + ins.conv_h * ins.residual) * ins.out_cb
    return rows * ins.blocks_x > SEGMENTS


def _reduced(ins: Instruction, hw: HwConfig) -> _Reduced:
    if max(ins.q_count) * ins.blocks_y * ins.blocks_x * ins.kgs <= SMALL:
        return _Reduced(ins, 0, 0, 0)
    rows, columns = max(0, ins.blocks_y - KEPT), max(0, ins.blocks_x - KEPT)
    passes = max(0, -(-ins.kgs // ins.pass_kgs) - PASSES)
    if not rows and not columns and not passes:
        return _Reduced(ins, 0, 0, 0)
    m = Geometry(ins, hw).tile.m
    tall, wide = rows * ins.block_th * m, columns * ins.block_tw * m
    out_tall, out_wide = (n // 2 if ins.pool else 2 * n if ins.upsample else n for n in (tall, wide))
    groups = passes * ins.pass_kgs
    in_w, out_w, conv_w = ins.in_w - wide * ins.stride, ins.out_w - out_wide, ins.conv_w - wide
    out_cb = ins.out_cb - groups * hw.channel_blocks
    word = hw.act_word_bytes
    changes = {
        "blocks_y": ins.blocks_y - rows, "blocks_x": ins.blocks_x - columns, "conv_h": ins.conv_h - tall,
        "conv_w": conv_w, "in_h": ins.in_h - tall * ins.stride, "in_w": in_w, "out_h": ins.out_h - out_tall,
        "out_w": out_w, "kgs": ins.kgs - groups, "out_cb": out_cb, "in_row_words": ins.in_cb * in_w,
        "in_row_bytes": ins.in_cb * in_w * word,
        "out_row_bytes": out_cb * out_w * word, "res_row_bytes": out_cb * conv_w * word if ins.residual else 0,
    }  # fmt: skip
    return _Reduced(Instruction({**ins.values, **changes}), rows, columns, passes)


def quick_cycles(ins: Instruction, hw: HwConfig, head: int = 0, bound: float | None = None) -> float | None:
    """About the cycles of one layer, `head` beats of its weights being there when it begins.

    None as soon as it is clear that there are more than `bound`.
    """
    small = _reduced(ins, hw)
    run = Run([small.ins], hw, head, coarse=_coarse(ins))
    cycles = run.layer(bound)
    if cycles is None:
        return None
    return cycles + _left_out(small, run.block_ends)


def _left_out(small: _Reduced, ends: list[int]) -> float:
    """Cycles of what was left out; ends: when the array was done with each block that was run."""
    ins = small.ins
    ny, nx, passes = ins.blocks_y, ins.blocks_x, -(-ins.kgs // ins.pass_kgs)
    first = max(0, passes - 2) * ny * nx  # the last whole pass measures
    full = small.passes + ins.kgs / ins.pass_kgs  # passes, the last one for what it is
    total = 0.0
    if small.columns:
        each = [(ends[first + r * nx + 2] - ends[first + r * nx]) / 2 for r in range(ny)]
        middle = each[min(1, ny - 1)]
        total += small.columns * full * (sum(each) + small.rows * middle)
    if small.rows:
        total += small.rows * full * (ends[first + 3 * nx - 1] - ends[first + nx - 1]) / 2
    if small.passes:
        total += small.passes * (ends[first + ny * nx - 1] - ends[first - 1])
    return total


def head_start(before: Instruction, ins: Instruction, hw: HwConfig) -> int:
    """Beats of a layer's weights that are fetched while the layer before it runs."""
    run = Run([_reduced(before, hw).ins, _reduced(ins, hw).ins], hw, coarse=_coarse(before) or _coarse(ins))
    run.layer()
    return run.head_of_next()
