"""subrow_array against its HLS function; V, weights and the M buffer exist only while the counters say so.

Tiles beyond a block's last one hold noise in the V buffer, and nothing is expected of their sums.
"""

from __future__ import annotations

import random

import cocotb
import numpy as np

from sim.common.bits import pack_rows
from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden, ring_words
from sim.common.layers import blocks, directed, groups, layer, random_layer, steps
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction

OPT = options()
PULSES = ("issued_o", "starved_input_o", "starved_weights_o", "blocked_output_o")


class Case:
    """Random V and weights within the bounds of docs/numerics.md, and the M words of every (block, kg, q) unit.

    extreme: both are as large as they may be, with one sign for each output channel and each tile, so that every sum
    runs straight to one of its ends.
    """

    def __init__(self, golden: Golden, instr: Instruction, rand: random.Random, extreme: bool = False) -> None:
        hw, rng_np = golden.hw, np.random.default_rng(rand.getrandbits(64))
        self.instr, self.blocks, self.groups = instr, list(blocks(instr)), groups(instr)
        self.issues = sum(b.q * b.kgs for b in self.blocks) * self.groups * steps(instr)
        shape = (instr.chunk_words, 4, hw.channels)
        limit = min(1 << (hw.u_bits - 1), ((1 << (hw.acc_bits - 1)) - 1) // (hw.v_max * steps(instr)))
        high = min(limit, hw.u_max)
        u = [rng_np.integers(-limit, high + 1, shape).astype(np.int16) for _ in range(instr.kgs)]
        if extreme:
            u = [np.full(shape, rng_np.choice((-limit, high), hw.channels), np.int16) for _ in u]
        idx = [rng_np.integers(0, hw.sub_row, shape).astype(np.uint8) for _ in range(instr.kgs)]
        self.words = [ring_words(hw, *pair) for pair in zip(u, idx, strict=True)]
        self.v_words: list[list[int]] = []  # per block: whole words of the V buffer from the start of its half
        self.golden: list[dict[int, int]] = []
        for b in self.blocks:
            used = b.q * self.groups * instr.v_words
            base = 0 if instr.whole_v else b.half * hw.v_words // 2
            vbuf = np.zeros((hw.tiles, hw.v_words, 4, hw.sub_row), np.int16)
            vbuf[:, base : base + used] = rng_np.integers(-hw.v_max, hw.v_max + 1, (hw.tiles, used, 4, hw.sub_row))
            if extreme:
                vbuf[:, base : base + used] = rng_np.choice((-hw.v_max, hw.v_max), (hw.tiles, 1, 1, 1))
            self.v_words.append(pack_rows(vbuf[:, base : base + used].transpose(1, 0, 2, 3), hw.v_bits))
            self.golden += [golden.array(instr, vbuf, u[kg], idx[kg], b, kg, q)
                            for kg in b.groups for q in range(b.q)]

    @property
    def passes(self) -> int:
        return 1 if self.instr.resident else len(self.blocks)


class Neighbours:
    """itrans, wfetch and otrans around the unit; wfetch runs ahead over layers."""

    def __init__(self, sim: Sim, golden: Golden, cases: list[Case], stalls: Stalls, rand: random.Random) -> None:
        hw = self.hw = golden.hw
        self.sim = sim
        self.more_v, self.more_w = stalls.side("v", 0.02), stalls.side("w", 0.1)
        self.more_m = stalls.side("m", 0.03)
        self.v_noise = rand.getrandbits(4 * hw.tiles * hw.sub_row * hw.v_bits)
        self.w_noise = rand.getrandbits(4 * hw.channels * (hw.u_bits + hw.idx_bits))
        self.w_mem: dict[int, int] = {}
        self.w_feed = [w for c in cases for _ in range(c.passes) for chunk in c.words for w in chunk]
        self.w_ptr = self.w_free = 0
        self.nk = hw.tiles * hw.channel_blocks
        self.active = False
        self._clear()

    def _clear(self) -> None:
        self.v_mem: dict[int, int] = {}
        self.m_mem: dict[int, int] = {}
        self.q_ready = self.m_free = self.m_written = self.issued = self.v_free = self.m_ready = 0
        self.first = self.last = 0
        self.v_data, self.w_data = self.v_noise, self.w_noise

    def begin(self, case: Case) -> None:
        self._clear()
        self.case = case
        self.queue = [(i, q) for i, b in enumerate(case.blocks) for q in range(b.q)]
        self.active = True

    @property
    def finished(self) -> bool:
        return self.m_free == len(self.case.golden)

    def drive(self) -> None:
        if self.active:
            held = 2 - self.case.instr.whole_v  # blocks that the V buffer holds
            while self.q_ready < len(self.queue) and self.queue[self.q_ready][0] - self.v_free < held and self.more_v():
                self._write_v(*self.queue[self.q_ready])
                self.q_ready += 1
                if self.more_v.chance < 1:
                    break
            if self.m_free < self.m_ready and self.more_m():
                self._take_unit()
        while self.w_ptr < len(self.w_feed) and self.w_ptr - self.w_free < self.hw.weight_words and self.more_w():
            self.w_mem[self.w_ptr % self.hw.weight_words] = self.w_feed[self.w_ptr]
            self.w_ptr += 1
            if self.more_w.chance < 1:
                break
        self.sim.set(v_rdata_i=self.v_data, w_rdata_i=self.w_data, q_ready_i=self.q_ready, m_free_i=self.m_free,
                     w_wptr_i=self.w_ptr & 0xFFFFFF)

    def _write_v(self, i: int, q: int) -> None:
        size = self.case.groups * self.case.instr.v_words
        room = self.hw.v_words // (2 - self.case.instr.whole_v)
        half = self.case.blocks[i].half * room if room < self.hw.v_words else 0
        if q == 0:
            for old in [a for a in self.v_mem if half <= a < half + room]:
                del self.v_mem[old]
        words = self.case.v_words[i][q * size : (q + 1) * size]
        self.v_mem.update((half + q * size + n, word) for n, word in enumerate(words))

    def _take_unit(self) -> None:
        base = (self.m_free & 1) * 9 * self.nk
        got = [self.m_mem.pop(base + i, None) for i in range(self.case.groups * self.nk)]
        for i, want in self.case.golden[self.m_free].items():
            assert got[i] == want, f"unit {self.m_free}, word {i} differs from HLS: {got[i]}, want {want}"
        self.m_free += 1

    def sample(self) -> None:
        get = self.sim.get
        self.w_free = get("w_free_o")
        self.v_data, self.w_data = self.v_noise, self.w_noise
        if not self.active:
            return
        case = self.case
        if get("v_re_o"):
            assert get("v_raddr_o") in self.v_mem, f"V word {get('v_raddr_o')} is read before it is there"
            self.v_data = self.v_mem[get("v_raddr_o")]
        if get("w_re_o"):
            assert get("w_raddr_o") in self.w_mem, f"weight word {get('w_raddr_o')} is read before it is there"
            self.w_data = self.w_mem[get("w_raddr_o")]
        self.v_free, self.m_ready = get("v_free_o"), get("m_ready_o")
        pulses = [get(p) for p in PULSES]
        assert sum(pulses) == int(self.issued < case.issues), f"pulses {pulses} in cycle {self.sim.cycle}"
        if pulses[0]:
            self.first, self.last = (self.sim.cycle if self.issued == 0 else self.first), self.sim.cycle
            self.issued += 1
        if get("m_we_o"):
            unit, word = divmod(self.m_written, case.groups * self.nk)
            address = get("m_waddr_o")
            assert unit - self.m_free < 2, f"unit {unit} written while its half is not free"
            assert address == (unit & 1) * 9 * self.nk + word, f"word {self.m_written} written to {address}"
            self.m_mem[address] = get("m_wdata_o")
            self.m_written += 1
        assert self.m_ready <= self.m_written // (case.groups * self.nk), "m_ready before the last write"


def chosen_layers(golden: Golden, rand: random.Random) -> list[Instruction]:
    hw = golden.hw
    d = directed(hw)
    names = ("f2_blocks", "f4", "f2_dense", "grouped", "linear", "direct_3x3_s2", "f4_pool", "direct_1x1", "pixel",
             "f2_pool", "whole_v", "f4_whole_v", "lanes_1x1", "lanes_map", "lanes_pad")
    long = layer(hw, 8, 8, hw.sub_row, 2 * hw.channels, block=(1, 2), sub_s=min(hw.sub_row, 7))
    return [d[n] for n in names] + [long] + [random_layer(hw, rand, golden.refusal) for _ in range(OPT.rounds)]


def longest(hw: HwConfig) -> Instruction:
    """The longest reduction that the buffers and AccBits take at full-scale operands, over two tiles."""
    most = ((1 << hw.acc_bits - 1) - 1) // (hw.u_max * hw.v_max)
    words = min(hw.v_words // 2, 4 * hw.weight_words // hw.sub_row, most // hw.sub_row)
    return layer(hw, 5, 7, words // 16 * hw.sub_row, hw.channels, tile_kind=0, kernel=(4, 4), pad=0, sub_s=hw.sub_row,
                 resident=1)


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def array(dut, pattern: str) -> None:
    rand, hw = rng(), OPT.config
    golden, stalls, sim = Golden(hw, OPT.corrupt), Stalls(pattern, rand), Sim(dut)
    cases = [Case(golden, instr, rand) for instr in chosen_layers(golden, rand)]
    cases += [Case(golden, longest(hw), rand, extreme=True) for _ in range(4)]
    near = Neighbours(sim, golden, cases, stalls, rand)
    sim.agents = [near]
    await sim.reset(cmd_valid_i=0, cmd_data_i=0, v_rdata_i=0, w_rdata_i=0, q_ready_i=0, m_free_i=0, w_wptr_i=0)
    released = 0
    for case in cases:
        instr = case.instr
        near.active = False
        await sim.command(instr)
        near.begin(case)
        await sim.until(lambda: near.finished and sim.get("cmd_ready_o"), 200 * case.issues + 20000, f"layer {instr}")
        assert near.issued == case.issues and sim.get("v_free_o") == len(case.blocks)
        assert near.q_ready == len(near.queue)
        released += instr.chunk_words * instr.kgs * case.passes
        assert sim.get("w_free_o") == released & 0xFFFFFF, f"{sim.get('w_free_o')} words released, not {released}"
        span, group = near.last - near.first + 1, steps(instr)
        dut._log.info("%d steps in %d cycles: %s", case.issues, span, instr)
        fits = instr.chunk_words * (instr.kgs if instr.resident else 1) <= hw.weight_words // 2
        unit = case.groups * max(group, near.nk)  # cycles of a (block, kg, q); shorter ones wait for their M or V half
        if stalls.none and fits and unit >= 16 and not instr.whole_v:
            # one step per cycle; groups shorter than the drain take as long as the drain
            ideal = case.issues if group >= near.nk else (case.issues // group - 1) * near.nk + group
            if group >= near.nk or case.groups > 1:
                assert span == ideal, f"{span} cycles for {case.issues} steps, {ideal} are enough: {instr}"
