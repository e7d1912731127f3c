"""subrow_post against its HLS function: numbers, addresses, parameter ring, residual, counters, rate."""

from __future__ import annotations

import random

import cocotb
import numpy as np

from sim.common.bits import ahead, pack_rows
from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden, Pixels, param_words, transfers
from sim.common.layers import blocks, directed, groups, moved, random_layer, units
from subrow.spec.isa import Instruction

OPT = options()
POINTER = (1 << 24) - 1


def parameters(rand: random.Random, y_bits: int) -> tuple[int, int, int]:
    """bias, mult, shift: all of their ranges, and often their ends."""
    bits = min(32, y_bits - 1)
    bias = rand.choice((rand.getrandbits(bits) - (1 << (bits - 1)), rand.randrange(-500, 500)))
    mult = rand.choice((rand.getrandbits(16), 0, 1, 65535, 30000))
    return bias, mult, rand.choice((0, rand.randrange(1, 48), 47, 20))


def reaching(rand: random.Random, y_bits: int, bias: int, mult: int, shift: int) -> int:
    """Y so that outputs land everywhere, from beyond one clamp to beyond the other."""
    t = rand.choice((rand.randrange(-200, 200), rand.randrange(-20, 20), rand.getrandbits(40) - (1 << 39)))
    bound = (1 << (y_bits - 1)) - 1 - abs(bias)
    return max(-bound, min(bound, ((t << shift) + rand.getrandbits(shift + 1)) // max(mult, 1) - bias))


class Case:
    """Random parameters, residual and y stream of a layer, and the output words of every unit."""

    def __init__(self, golden: Golden, plain: Instruction, rand: random.Random) -> None:
        hw = self.hw = golden.hw
        self.instr = instr = moved(
            plain, act_min=rand.choice((0, -127, -3)), act_max=rand.choice((127, 127, 90)),
            res_mult=rand.getrandbits(16), res_shift=rand.choice((0, rand.randrange(10, 24), rand.randrange(48))),
            leaky=rand.randrange(2))
        rng_np = np.random.default_rng(rand.getrandbits(64))
        self.blocks = list(blocks(instr))
        raw = [[parameters(rand, hw.y_bits) for _ in range(hw.channels)] for _ in range(instr.kgs)]
        params = [np.array([rand.getrandbits(10) << 54 | s << 48 | m << 32 | b & 0xFFFFFFFF for b, m, s in group],
                           np.uint64) for group in raw]
        self.groups = [param_words(hw, group) for group in params]
        self.stream: list[tuple[int, int]] = []
        self.residual: list[dict[int, int]] = []  # per unit: address without the half -> word
        self.expected: list[dict[int, int]] = []
        zeros = np.zeros((groups(instr), hw.tiles * hw.channel_blocks, 4, hw.sub_row), np.int64)
        for number, (b, kg) in enumerate(units(instr)):
            meta = np.concatenate([golden.otrans(instr, zeros, b, kg, q).meta for q in range(b.q)])
            y = np.array([[reaching(rand, hw.y_bits, *raw[kg][kb * hw.sub_row + lane]) for lane in range(hw.sub_row)]
                          for kb in meta[:, 2]], np.int64)
            pixels = Pixels(y, np.ascontiguousarray(meta))
            self.stream += transfers(hw, pixels)
            rbuf = np.zeros((hw.out_words, hw.sub_row), np.int8)
            base, size = number % 2 * hw.out_words // 2, b.crows * b.ccols * hw.channel_blocks
            if instr.residual:
                rbuf[base : base + size] = rng_np.integers(-128, 128, (size, hw.sub_row))
                self.residual.append(dict(enumerate(pack_rows(rbuf[base : base + size], 8))))
            self.expected.append(golden.post(instr, pixels, params[kg], rbuf, b, kg))
        rounds = 1 if instr.resident else len(self.blocks)
        self.writes = [kg for _ in range(rounds) for kg in range(instr.kgs)]  # groups as wfetch sends them


class Neighbours:
    """wfetch, whose parameter ring runs ahead over layers, otrans, rfetch, and awrite around the unit."""

    def __init__(self, sim: Sim, golden: Golden, cases: list[Case], stalls: Stalls) -> None:
        self.sim, self.hw, self.half = sim, golden.hw, golden.hw.out_words // 2
        self.more_p, self.more_r, self.offer = stalls.side("p"), stalls.side("r", 0.01), stalls.side("y")
        self.take = stalls.side("o", 0.01)  # longer than a unit takes, so that both halves fill up
        self.param = [(case, kg) for case in cases for kg in case.writes]
        self.p_wptr = 0
        self.p_ram: dict[int, int] = {}
        self.p_read: int | None = None
        self.r_read: int | None = None
        self.active = False
        self._clear()

    def _clear(self) -> None:
        self.r_ram: dict[int, int] = {}
        self.o_ram: dict[int, int] = {}
        self.sent = self.r_ready = self.o_free = 0
        self.valid = False

    def begin(self, case: Case) -> None:
        self._clear()
        self.case, self.active = case, True

    @property
    def finished(self) -> bool:
        return self.o_free == len(self.case.expected)

    def drive(self) -> None:
        if self.p_read is not None:
            self.sim.set(p_rdata_i=self.p_ram[self.p_read])
        if self.r_read is not None:
            self.sim.set(r_rdata_i=self.r_ram.get(self.r_read, 0))
        self._write_parameters(self.sim.get("p_free_o"))
        self.sim.set(p_wptr_i=self.p_wptr & POINTER)
        if not self.active:
            # in the cycle of the command the counters still show the layer before
            self.sim.set(y_valid_i=0, r_ready_i=self.r_ready, o_free_i=self.o_free)
            return
        o_ready, case = self.sim.get("o_ready_o"), self.case
        while self.r_ready < len(case.residual) and ahead(self.r_ready, o_ready) < 2 and self.more_r():
            base = self.r_ready % 2 * self.half
            self.r_ram.update((base + a, w) for a, w in case.residual[self.r_ready].items())
            self.r_ready += 1
        while self.o_free < o_ready and self.take():
            self._take_unit(o_ready)
        self.valid = self.valid or (self.sent < len(case.stream) and self.offer())
        data, meta = case.stream[min(self.sent, len(case.stream) - 1)]
        self.sim.set(y_valid_i=int(self.valid), y_data_i=data, y_meta_i=meta, r_ready_i=self.r_ready,
                     o_free_i=self.o_free)

    def _write_parameters(self, free: int) -> None:
        assert ahead(self.p_wptr, free, 24) <= self.hw.param_groups
        while self.p_wptr < len(self.param) and ahead(self.p_wptr, free, 24) < self.hw.param_groups:
            if not self.more_p():
                break
            case, kg = self.param[self.p_wptr]
            base = self.p_wptr % self.hw.param_groups * self.hw.channel_blocks
            self.p_ram.update((base + kb, word) for kb, word in enumerate(case.groups[kg]))
            self.p_wptr += 1

    def _take_unit(self, o_ready: int) -> None:
        for address, word in self.case.expected[self.o_free].items():
            got = self.o_ram.pop(address, None)
            assert got == word, f"unit {self.o_free}, word {address} differs from HLS: {got}, want {word}"
        half = self.o_free % 2
        self.o_free += 1
        rest = [a for a in self.o_ram if a // self.half == half]
        assert o_ready > self.o_free or not rest, f"more words than HLS writes: {rest}"

    def sample(self) -> None:
        get = self.sim.get
        self.p_read = get("p_raddr_o") if get("p_re_o") else None
        self.r_read = get("r_raddr_o") if get("r_re_o") else None
        if get("o_we_o"):
            self.o_ram[get("o_waddr_o")] = get("o_wdata_o")
        if self.valid and get("y_ready_o"):
            self.sent, self.valid = self.sent + 1, False


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def post(dut, pattern: str) -> None:
    rand, hw = rng(), OPT.config
    golden, stalls, sim = Golden(hw, OPT.corrupt), Stalls(pattern, rand), Sim(dut)
    layers = [*directed(hw).values(), *(random_layer(hw, rand, golden.refusal) for _ in range(OPT.rounds))]
    cases = [Case(golden, instr, rand) for instr in layers]
    near = Neighbours(sim, golden, cases, stalls)
    sim.agents = [near]
    await sim.reset(cmd_valid_i=0, cmd_data_i=0, y_valid_i=0, y_data_i=0, y_meta_i=0, p_wptr_i=0, r_ready_i=0,
                    o_free_i=0, p_rdata_i=0, r_rdata_i=0)
    for case in cases:
        near.active = False
        await sim.command(case.instr)
        near.begin(case)
        count, nunits, start = len(case.stream), len(case.expected), sim.cycle
        await sim.until(lambda: near.finished, 60 * count + 800 * nunits + 2000, f"layer {case.instr}")
        if stalls.none:
            # one cycle per pixel; geometry takes 5 cycles per block; a half that is not free costs the pipeline
            cycles, limit = sim.cycle - start, count + 6 * len(case.blocks) + 16 * nunits + 20
            assert cycles <= limit, f"{cycles} cycles for {count} pixels, at most {limit}"
        assert near.sent == count and sim.get("o_ready_o") == nunits
        await sim.until(lambda: sim.get("cmd_ready_o"), 5, "idle")
    assert sim.get("p_free_o") == len(near.param), "parameter groups released"
