"""subrow_itrans against its HLS function; rows and halves exist only while the counters say so."""

from __future__ import annotations

import random

import cocotb
import numpy as np

from sim.common.bits import ahead, pack_rows
from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden
from sim.common.layers import LINEAR, Block, blocks, directed, groups, random_layer, with_exponents
from subrow.spec.isa import Instruction

OPT = options()
PACE = (2, 4, 9, 4)  # cycles of a window by tile; linear: of a V word


class Case:
    """Random contents of the activation buffer, block after block, and the V words in the order of the loop nest."""

    def __init__(self, golden: Golden, instr: Instruction, rand: random.Random) -> None:
        hw, rng_np = golden.hw, np.random.default_rng(rand.getrandbits(64))
        self.instr, self.blocks = instr, list(blocks(instr))
        self.abufs = []
        self.expected: list[tuple[int, int, int, int]] = []  # block, tile lane, address, word
        self.ends: list[int] = []  # numbers of writes after which a tile group is complete
        self.windows = 0
        for i, b in enumerate(self.blocks):
            abuf = rng_np.integers(-128, 128, (8, hw.act_words, hw.sub_row)).astype(np.int8)
            abuf[rng_np.random(abuf.shape) < 0.1] = 127
            self.abufs.append(abuf)
            words = golden.itrans(instr, abuf, b)
            base = 0 if instr.whole_v else b.half * hw.v_words // 2
            for tile in range(b.tiles):
                q, lane = divmod(tile, hw.tiles)
                for w in range(instr.v_words):
                    for g in range(groups(instr)):
                        address = base + (q * groups(instr) + g) * instr.v_words + w
                        self.expected.append((i, lane, address, words.pop((lane, address))))
                if lane == hw.tiles - 1 or tile == b.tiles - 1:
                    self.ends.append(len(self.expected))
            assert not words, f"HLS writes more than the loop nest has: {words}"
            words = instr.in_cb * instr.kernel_h * instr.kernel_w
            self.windows += instr.v_words if instr.tile == LINEAR else b.tiles * words


class Neighbours:
    """afetch, which fills rows, and the array, which frees V halves, around the unit."""

    def __init__(self, sim: Sim, golden: Golden, stalls: Stalls, rand: random.Random) -> None:
        self.sim, self.hw, self.rand = sim, golden.hw, rand
        self.more_rows, self.more_v = stalls.side("rows", 0.03), stalls.side("v", 0.02)
        self.address_bits = self.hw.act_words.bit_length() - 1
        self.noise = self.data = rand.getrandbits(64 * self.hw.sub_row)
        self.rows_done = self.v_free = 0
        self.active = False

    def begin(self, case: Case) -> None:
        self.case = case
        self.rows = [(i, r) for i, b in enumerate(case.blocks) for r in range(b.nrows)]
        self.memory: dict[tuple[int, int], int] = {}
        self.rows_done = self.written = self.v_free = self.act_free = self.q_ready = self.groups_done = 0
        self.first = self.last = 0
        self.data = self.noise
        self.active = True

    @property
    def finished(self) -> bool:
        return self.v_free == len(self.case.blocks)

    def drive(self) -> None:
        if self.active:
            held = 2 - self.case.instr.whole_a  # blocks that the activation buffer holds
            while self.rows_done < len(self.rows) and self.rows[self.rows_done][0] - self.act_free < held:
                if not self.more_rows():
                    break
                self._fill(*self.rows[self.rows_done])
                self.rows_done += 1
                if self.more_rows.chance < 1:
                    break
            case, block = self.case, self.v_free
            if block < len(case.blocks):
                end = sum(b.q for b in case.blocks[: block + 1])
                if self.q_ready >= end and self.written >= case.ends[end - 1] and self.more_v():
                    self.v_free += 1
        # in the cycle of the command the counters still show the layer before
        self.sim.set(rows_i=self.rows_done, v_free_i=self.v_free, a_rdata_i=self.data)

    def _fill(self, i: int, r: int) -> None:
        b: Block = self.case.blocks[i]
        whole, in_cb, size = self.case.instr.whole_a, self.case.instr.in_cb, self.hw.act_words // 2
        half, size = (0, 2 * size) if whole else (b.half * size, size)
        if r == 0:
            for key in [k for k in self.memory if half <= k[1] < half + size]:
                del self.memory[key]
        first = half + r // 8 * in_cb * b.ncols
        words = pack_rows(self.case.abufs[i][r % 8, first : first + in_cb * b.ncols], 8)
        self.memory.update(((r % 8, first + n), word) for n, word in enumerate(words))

    def sample(self) -> None:
        if not self.active:
            return
        get, case = self.sim.get, self.case
        self.data = self.noise
        if get("a_re_o"):
            addresses, bits = get("a_raddr_o"), 8 * self.hw.sub_row
            self.data = 0
            for bank in range(8):
                address = addresses >> (bank * self.address_bits) & (self.hw.act_words - 1)
                word = self.memory.get((bank, address))  # a row that is not there reads as noise
                self.data |= (self.noise & ((1 << bits) - 1) if word is None else word) << (bits * bank)
        self.act_free, self.q_ready = get("act_free_o"), get("q_ready_o")
        while self.groups_done < len(case.ends) and case.ends[self.groups_done] <= self.written:
            self.groups_done += 1
        assert ahead(self.groups_done, self.q_ready) < 1 << 15, "q_ready before the last write"
        lanes = get("v_we_o")
        if lanes:
            assert self.written < len(case.expected), "more V words than the layer has"
            block, lane, address, word = case.expected[self.written]
            got = (lanes, get("v_waddr_o"), get("v_wdata_o"))
            assert got == (1 << lane, address, word), (
                f"V word {self.written} differs from HLS: {got}, want {(1 << lane, address, word)}")
            assert block - self.v_free < 2 - case.instr.whole_v, "block written while its half is not free"
            self.first, self.last = (self.sim.cycle if self.written == 0 else self.first), self.sim.cycle
            self.written += 1


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def itrans(dut, pattern: str) -> None:
    rand, hw = rng(), OPT.config
    golden, stalls, sim = Golden(hw, OPT.corrupt), Stalls(pattern, rand), Sim(dut)
    near = Neighbours(sim, golden, stalls, rand)
    sim.agents = [near]
    await sim.reset(cmd_valid_i=0, cmd_data_i=0, a_rdata_i=0, rows_i=0, v_free_i=0)
    layers = [with_exponents(i, "ev", [rand.randrange(8) for _ in range(36)]) for i in directed(hw).values()]
    layers += [random_layer(hw, rand, golden.refusal) for _ in range(OPT.rounds)]
    for instr in layers:
        case = Case(golden, instr, rand)
        near.active = False
        await sim.command(instr)
        near.begin(case)
        count, nblocks = len(case.expected), len(case.blocks)
        await sim.until(lambda: near.finished and sim.get("cmd_ready_o"), 100 * count + 20000, f"layer {instr}")
        assert near.written == count and sim.get("act_free_o") == nblocks and sim.get("q_ready_o") == len(case.ends)
        if stalls.none:
            span, pace = near.last - near.first + 1, PACE[instr.tile]
            area = instr.kernel_h * instr.kernel_w if instr.max_window else 1  # windows before the first write
            first_to_last = (case.windows - area) * pace + groups(instr)
            # a block waits for its V half, which is freed a few cycles after that block's last write
            assert span <= first_to_last + (nblocks - 1) * 20, f"{span} cycles for {case.windows} windows, {instr}"
            assert nblocks > 1 or span == first_to_last, f"{span} cycles, {first_to_last} are enough, {instr}"


