"""subrow_wfetch against its HLS function: words, parameters, addresses, pointers, room in the rings, speed."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from numpy.typing import NDArray

from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden, chunk_bytes
from sim.common.layers import D, layer, moved
from sim.common.streams import Reader, Regions
from subrow.spec.isa import Instruction

OPT = options()
LATENCY = 40


class Rings:
    """What wfetch must write into its two rings, and their consumer, which releases chunk after chunk."""

    def __init__(self, sim: Sim, golden: Golden, stalls: Stalls, rand: random.Random) -> None:
        self.sim, self.golden, self.hw, self.rand = sim, golden, golden.hw, rand
        self.want_w: list[tuple[int, int]] = []  # word, mask: indices mean nothing where they are implicit
        self.want_p: list[int] = []
        self.chunks: list[tuple[int, int]] = []  # pointers after each release that is still to come
        self.release = stalls.side("free", 0.005)
        self.w = self.p = self.w_free = self.p_free = 0

    def expect(self, instr: Instruction, image: NDArray[np.uint8]) -> int:
        """Appends the layer's words and groups, and when they are released. Gives the beats."""
        mask = (1 << self.hw.weight_word_bits(bool(instr.implicit_index))) - 1
        chunks = [self.golden.wfetch(instr, image, kg) for kg in range(instr.kgs)]
        passes = 1 if instr.resident else instr.blocks_y * instr.blocks_x
        for _ in range(passes):
            for words, params in chunks:
                self.want_w += [(word, mask) for word in words]
                self.want_p += params
                if not instr.resident:
                    self.chunks.append((len(self.want_w), len(self.want_p) // self.hw.channel_blocks))
        if instr.resident:
            self.chunks.append((len(self.want_w), len(self.want_p) // self.hw.channel_blocks))
        return passes * instr.kgs * chunk_bytes(self.hw, instr) // self.hw.weight_bytes

    def drive(self) -> None:
        if self.chunks and self.w >= self.chunks[0][0] and self.release():
            self.w_free, self.p_free = self.chunks.pop(0)
        self.sim.set(w_free_i=self.w_free, p_free_i=self.p_free)

    def sample(self) -> None:
        get, hw, cb = self.sim.get, self.hw, self.hw.channel_blocks
        assert get("w_wptr_o") == self.w, "w_wptr"
        assert get("p_wptr_o") == self.p // cb, "p_wptr"
        if get("w_we_o"):
            n = self.w
            assert n - self.w_free < hw.weight_words, "ring overrun"
            assert get("w_waddr_o") == n % hw.weight_words, "address"
            want, mask = self.want_w[n]
            got = get("w_wdata_o") & mask
            assert got == want, f"weight word {n} differs from HLS: {got:x}, want {want:x}"
            self.w += 1
        if get("p_we_o"):
            n = self.p
            assert n // cb - self.p_free < hw.param_groups, "parameter ring overrun"
            assert get("p_waddr_o") == n % (hw.param_groups * cb), "parameter address"
            assert get("p_wdata_o") == self.want_p[n], f"parameter word {n} differs from HLS"
            self.p += 1


def weight_layer(golden: Golden, rand: random.Random) -> Instruction:
    """A layer whose chunks fill the rings to a chosen degree: direct, so that chunk_words can be any number."""
    hw = golden.hw
    while True:
        resident, kgs = rand.randint(0, 1), rand.randint(1, min(4, hw.param_groups))
        room = hw.weight_words // kgs if resident else hw.weight_words
        words = min(room, rand.choice((1, 3, 17, hw.weight_words // 3, hw.weight_words, hw.weight_words)))
        # one window position per channel block, so that red_words * sub_s = 4 * words
        instr = layer(hw, 2, 8, words * hw.sub_row, kgs * hw.channels, tile_kind=D, block=(1, rand.randint(1, 2)),
                      implicit_index=rand.randint(0, 1), narrow_u=rand.randint(0, int(hw.narrow_u)), resident=resident,
                      sub_s=4)
        if not golden.refusal(instr):
            return instr


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def wfetch(dut, pattern: str):
    rand, hw = rng(), OPT.config
    golden, stalls = Golden(hw, OPT.corrupt), Stalls(pattern, rand)
    memory, sim = Regions(hw.weight_bytes), Sim(dut)
    rings = Rings(sim, golden, stalls, rand)
    reader = Reader(dut, memory, stalls.side("ask"), stalls.side("give", 0.3), LATENCY)
    sim.agents = [reader, rings]
    base = rand.randrange(1 << 38) // 4096 * 4096
    await sim.reset(prog_base_i=base, cmd_valid_i=0, cmd_data_i=0, w_free_i=0, p_free_i=0)
    for i in range(3 + 2 * OPT.rounds):
        plain = weight_layer(golden, rand)
        instr = moved(plain, weight_offset=rand.randrange(1 << 32) // hw.weight_bytes * hw.weight_bytes)
        image = np.frombuffer(rand.randbytes(instr.kgs * chunk_bytes(hw, instr)), np.uint8)
        memory.add(base + instr.weight_offset, image)
        start, whole = sim.cycle, not rings.chunks
        beats = rings.expect(instr, image)
        await sim.command(instr)
        await sim.until(lambda: sim.get("cmd_ready_o"), 60 * beats + 9000, f"layer {i}")
        if stalls.none and instr.resident and whole:
            limit = beats + LATENCY + 40
            assert sim.cycle - start <= limit, f"layer {i}: {sim.cycle - start} cycles for {beats} beats"
        if rand.random() < 0.5:  # otherwise the next layer comes while this one holds its words
            await sim.until(lambda: not rings.chunks, 20000, "release")
    for _ in range(3):
        await sim.step()
    assert rings.w == len(rings.want_w) and rings.p == len(rings.want_p) and not reader.beats
