"""subrow_afetch against its HLS function: bank, address and word of every write, rows_o, halves, speed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import cocotb
import numpy as np
from numpy.typing import NDArray

from sim.common.clock import options
from sim.common.follow import Expected, follow, with_random
from sim.common.golden import Golden
from sim.common.layers import blocks, directed
from subrow.spec.isa import Instruction


@cocotb.test()
@cocotb.parametrize(pattern=options().stalls)
async def afetch(dut, pattern: str):
    def expected(golden: Golden, instr: Instruction, arena: NDArray[np.uint8]) -> Expected:
        hw = golden.hw
        writes, ends, frees = [], [], []
        for b in blocks(instr):
            words = golden.afetch(instr, arena, b)
            for ly in range(b.nrows):
                for cb in range(instr.in_cb):
                    half = 0 if instr.whole_a else b.half * hw.act_words // 2
                    at = half + (ly // 8 * instr.in_cb + cb) * b.ncols
                    writes += [(1 << ly % 8, at + x, words.pop((ly % 8, at + x))) for x in range(b.ncols)]
                ends.append(len(writes))
            assert not words, f"HLS writes more than the loop nest has: {words}"
            frees.append(len(writes))
        return writes, ends, frees

    def layers(golden: Golden, rand: random.Random) -> Iterator[Instruction]:
        d = directed(golden.hw)
        names = ("f4", "f2_pool", "f2_passes", "f4_rows", "direct_7x7_s2", "direct_1x1", "linear", "whole_a",
                 "f2_whole_a")  # fmt: skip
        return with_random(golden, rand, [d[n] for n in names])

    await follow(dut, pattern, "a", "rows_o", "act_free_i", "in_offset", expected, layers)
