"""subrow_otrans against its HLS function: data, sideband, order, counters, rate; units exist only while ready."""

from __future__ import annotations

import random

import cocotb
import numpy as np

from sim.common.bits import ahead, pack_rows
from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import META, Golden, meta_word, transfers
from sim.common.layers import LINEAR, blocks, directed, groups, kbs, random_layer, units, with_exponents
from subrow.spec.isa import Instruction

OPT = options()
DROPPED = np.array([name == "drop" for name in META], np.int32)
READS = (2, 4, 15, 2)  # of the M buffer for a tile, by tile size


class Case:
    """Random sums of every (block, kg, q) unit, and the transfers that must come out."""

    def __init__(self, golden: Golden, instr: Instruction, rand: random.Random) -> None:
        hw, rng_np = golden.hw, np.random.default_rng(rand.getrandbits(64))
        self.instr, self.blocks = instr, list(blocks(instr))
        self.words: list[dict[int, int]] = []  # per unit: address without the half -> word
        self.expected: list[tuple[int, int]] = []
        nk, most = hw.tiles * hw.channel_blocks, 1 << (hw.acc_bits - 1)
        for b, kg in units(instr):
            for q in range(b.q):
                m = rng_np.integers(-most, most, (groups(instr), nk, 4, hw.sub_row))
                self.expected += transfers(hw, golden.otrans(instr, m, b, kg, q))
                live = [n * hw.channel_blocks + kb for n in range(min(hw.tiles, b.tiles - q * hw.tiles))
                        for kb in range(kbs(hw, instr, kg))]
                packed = pack_rows(m.reshape(-1, 4 * hw.sub_row), hw.acc_bits)
                self.words.append({g * nk + i: packed[g * nk + i] for g in range(groups(instr)) for i in live})


class Neighbours:
    """The array, which fills units as fast as the contract allows, and post, which takes transfers."""

    def __init__(self, sim: Sim, golden: Golden, stalls: Stalls) -> None:
        self.drop = len(bin(meta_word(golden.hw, DROPPED))) - 3  # its bit in the sideband
        self.sim, self.half = sim, 9 * golden.hw.tiles * golden.hw.channel_blocks
        self.more, self.take = stalls.side("m"), stalls.side("y", 0.25)
        self.ready = 0
        self.active = False

    def begin(self, case: Case) -> None:
        self.case, self.active = case, True
        self.ram: dict[int, int] = {}
        self.ready = self.got = 0
        self.read: int | None = None
        self.waiting: tuple[int, int] | None = None

    def drive(self) -> None:
        if not self.active:
            # in the cycle of the command the counter still shows the layer before
            self.sim.set(m_ready_i=self.ready, y_ready_i=int(self.take()))
            return
        if self.read is not None:
            assert self.read in self.ram, f"address {self.read} was never written"
            self.sim.set(m_rdata_i=self.ram[self.read])
        free = self.sim.get("m_free_o")
        assert ahead(self.ready, free) <= 2
        while self.ready < len(self.case.words) and ahead(self.ready, free) < 2 and self.more():
            base = self.ready % 2 * self.half
            self.ram.update((base + a, w) for a, w in self.case.words[self.ready].items())
            self.ready += 1
        self.taking = self.take()
        self.sim.set(m_ready_i=self.ready & 0xFFFF, y_ready_i=int(self.taking))

    def sample(self) -> None:
        if not self.active:
            return
        get = self.sim.get
        self.read = get("m_raddr_o") if get("m_re_o") else None
        if not get("y_valid_o"):
            assert self.waiting is None, "valid fell before ready"
            return
        now = (get("y_data_o"), get("y_meta_o"))
        assert self.waiting in (None, now), "data changed while it waited"
        self.waiting = None if self.taking else now
        if self.taking:
            assert self.got < len(self.case.expected), "more transfers than the layer has"
            want = self.case.expected[self.got]
            assert now[1] == want[1], f"sideband {self.got} differs from HLS: {now[1]:x}, want {want[1]:x}"
            dropped = self.case.instr.tile == LINEAR and now[1] >> self.drop & 1  # of a linear tile any number
            assert dropped or now[0] == want[0], f"transfer {self.got} differs from HLS: {now[0]:x}, want {want[0]:x}"
            self.got += 1


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def otrans(dut, pattern: str) -> None:
    rand, hw = rng(), OPT.config
    golden, stalls, sim = Golden(hw, OPT.corrupt), Stalls(pattern, rand), Sim(dut)
    near = Neighbours(sim, golden, stalls)
    sim.agents = [near]
    await sim.reset(cmd_valid_i=0, cmd_data_i=0, m_ready_i=0, m_rdata_i=0, y_ready_i=0)
    layers = [with_exponents(i, "em", [rand.randrange(rand.choice((4, 16))) for _ in range(36)])
              for i in directed(hw).values()]
    layers += [random_layer(hw, rand, golden.refusal) for _ in range(OPT.rounds)]

    async def run(instr: Instruction) -> None:
        case = Case(golden, instr, rand)
        near.active = False
        await sim.command(instr)
        near.begin(case)
        count, start = len(case.expected), sim.cycle
        await sim.until(lambda: near.got == count, 60 * count + 2000, f"layer {instr}")
        m = 4 if instr.tile == 2 else 2
        if stalls.none:
            tiles = count // m**2
            # 5 cycles per block for its geometry, of which the tile in flight hides some, and 10 to fill the pipeline
            limit = tiles * m * m + 6 * len(case.blocks) + READS[instr.tile] + 10
            assert sim.cycle - start <= limit, f"{sim.cycle - start} cycles for {tiles} tiles, at most {limit}"
        for _ in range(20):
            await sim.step()
        assert sim.get("m_free_o") == len(case.words) and sim.get("cmd_ready_o") == 1

    for instr in layers:
        await run(instr)
