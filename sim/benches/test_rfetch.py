"""subrow_rfetch against its HLS function: address and word of every write, r_ready_o, halves, speed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import cocotb
import numpy as np
from numpy.typing import NDArray

from sim.common.clock import options
from sim.common.follow import Expected, follow, with_random
from sim.common.golden import Golden
from sim.common.layers import blocks, directed, kbs
from subrow.spec.isa import Instruction


@cocotb.test()
@cocotb.parametrize(pattern=options().stalls)
async def rfetch(dut, pattern: str):
    def expected(golden: Golden, instr: Instruction, arena: NDArray[np.uint8]) -> Expected:
        hw = golden.hw
        writes: list[tuple[int, int, int]] = []
        ends: list[int] = []
        if not instr.residual:
            return [], [], []
        for b in blocks(instr):
            for kg in b.groups:
                words = golden.rfetch(instr, arena, b, kg)
                half, cb = len(ends) % 2 * hw.out_words // 2, hw.channel_blocks
                for oy in range(b.crows):
                    for kb in range(kbs(hw, instr, kg)):
                        addresses = [half + (oy * b.ccols + ox) * cb + kb for ox in range(b.ccols)]
                        writes += [(1, a, words.pop(a)) for a in addresses]
                assert not words, f"HLS writes more than the loop nest has: {words}"
                ends.append(len(writes))
        return writes, ends, list(ends)

    def layers(golden: Golden, rand: random.Random) -> Iterator[Instruction]:
        d = directed(golden.hw)
        names = ("f2_blocks", "f2_passes", "f4_small", "direct_1x1_s2", "f2_pool")
        yield from with_random(golden, rand, [d[n] for n in names], residual=1)
        yield d["f2_dense"]  # no residual: nothing happens
        yield d["f4_rows"]

    await follow(dut, pattern, "r", "r_ready_o", "o_ready_i", "res_offset", expected, layers)
