"""subrow_awrite against its HLS function: memory, segments, record, counters, end of layer, rate."""

from __future__ import annotations

import random

import cocotb
import numpy as np

from sim.common.bits import ahead, byte_words, pack_rows
from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden
from sim.common.layers import directed, kbs, moved, random_layer, units
from sim.common.streams import Writer
from subrow.spec.isa import RECORD_BYTES, Instruction

OPT = options()


class Case:
    """Random words of every unit's output buffer, the counter record, and all that must be in memory afterwards."""

    def __init__(self, golden: Golden, plain: Instruction, rand: random.Random) -> None:
        hw, rng_np, L = golden.hw, np.random.default_rng(rand.getrandbits(64)), golden.hw.sub_row
        self.act_base, self.record_base = rand.getrandbits(39) // 64 * 64, (1 << 39) + rand.getrandbits(30) // 64 * 64
        self.instr = moved(plain, out_offset=rand.getrandbits(32) // L * L, layer_id=rand.randrange(1 << 15))
        self.units: list[dict[int, int]] = []
        self.expected: dict[int, int] = {}
        base = self.act_base + self.instr.out_offset
        for number, (b, kg) in enumerate(units(self.instr)):
            size, half = b.orows * b.ocols * hw.channel_blocks, number % 2 * hw.out_words // 2
            obuf = np.zeros((hw.out_words, L), np.int8)
            obuf[half : half + size] = rng_np.integers(-128, 128, (size, L))
            live = [i for i in range(size) if i % hw.channel_blocks < kbs(hw, self.instr, kg)]
            packed = pack_rows(obuf, 8)
            self.units.append({half + i: packed[half + i] for i in live})
            words = golden.awrite(self.instr, obuf, b, kg)
            grow = 2 if self.instr.upsample else 1
            assert len(words) == grow * grow * len(live), "HLS writes another number of words than the block has"
            self.expected.update((base + at, word) for at, word in words.items())
        instr = self.instr
        assert len(self.expected) == instr.out_h * instr.out_w * instr.out_cb, "the units do not fill the tensor"
        self.words = len(self.expected)
        self.segments = sum((1 + instr.upsample) * b.orows * kbs(hw, instr, kg) for b, kg in units(instr) if b.ocols)
        raw = np.frombuffer(rand.randbytes(RECORD_BYTES), np.uint8)
        self.record = int.from_bytes(raw.tobytes(), "little")
        at = self.record_base + RECORD_BYTES * instr.layer_id
        self.expected.update((at + i * L, w) for i, w in enumerate(byte_words(raw, L)))


class Neighbours:
    """post, which fills units as soon as their half is free, and the control unit with its live record."""

    def __init__(self, sim: Sim, case: Case, writer: Writer, stalls: Stalls, rand: random.Random) -> None:
        self.sim, self.case, self.writer, self.rand = sim, case, writer, rand
        self.more = stalls.side("o", 0.02)
        self.ram: dict[int, int] = {}
        self.read: list[int] | None = None
        self.width = OPT.config.act_port_bytes
        self.ready = 0
        self.done = False

    def drive(self) -> None:
        case, free = self.case, self.sim.get("o_free_o")
        if self.read is not None:
            # Ways that no lane of the beat needs may read anything.
            noise, size = self.rand.getrandbits(8 * self.width), 8 * OPT.config.sub_row
            words = [self.ram.get(a, noise >> size * w & (1 << size) - 1) for w, a in enumerate(self.read)]
            assert any(a in self.ram for a in self.read), f"addresses {self.read} were never written"
            self.sim.set(o_rdata_i=sum(word << size * w for w, word in enumerate(words)))
        assert ahead(self.ready, free) <= 2
        while self.ready < len(case.units) and ahead(self.ready, free) < 2 and self.more():
            half = self.ready % 2
            for old in [a for a in self.ram if a // (OPT.config.out_words // 2) == half]:
                del self.ram[old]
            self.ram.update(case.units[self.ready])
            self.ready += 1
        # the record counts until the last output response is in
        settled = len(self.writer.memory) >= case.words and self.writer.idle
        self.sim.set(o_ready_i=self.ready, record_i=case.record if settled else self.rand.getrandbits(512))

    def sample(self) -> None:
        self.read = self.addresses() if self.sim.get("o_re_o") else None
        if self.sim.get("layer_done_o"):
            assert not self.done, "done twice"
            assert self.writer.idle, "done before the last response"
            self.done = True

    def addresses(self) -> list[int]:
        """What each way reads, whose pixels it holds."""
        hw, packed = OPT.config, self.sim.get("o_raddr_o")
        bits = (hw.out_words - 1).bit_length()
        result = [packed >> bits * w & hw.out_words - 1 for w in range(hw.act_port_words)]
        ways = [a // hw.channel_blocks % hw.act_port_words for a in result]
        assert ways == list(range(hw.act_port_words)), f"addresses {result}: another way's"
        return result


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def awrite(dut, pattern: str) -> None:
    rand, hw = rng(), OPT.config
    golden, stalls, sim = Golden(hw, OPT.corrupt), Stalls(pattern, rand), Sim(dut)
    await sim.reset(cmd_valid_i=0, cmd_data_i=0, act_base_i=0, record_base_i=0, record_i=0, o_ready_i=0, o_rdata_i=0,
                    wr_ready_i=0, wd_ready_i=0, wr_idle_i=1)
    layers = [*directed(hw).values(), *(random_layer(hw, rand, golden.refusal) for _ in range(OPT.rounds))]

    async def run(instr: Instruction) -> None:
        case = Case(golden, instr, rand)
        ask, take, early = stalls.side("ask"), stalls.side("take", 0.25), rand.random() < 0.5
        writer = Writer(dut, hw.sub_row, hw.act_port_words, ask, take, rand, early)
        sim.agents = []
        # o_ready_i shows the layer before in the cycle of the command
        sim.set(act_base_i=case.act_base, record_base_i=case.record_base)
        await sim.command(case.instr)
        near = Neighbours(sim, case, writer, stalls, rand)
        sim.agents, start = [writer, near], sim.cycle
        await sim.until(lambda: near.done, 60 * (case.words + len(case.units)) + 2000, f"layer {instr}")
        wrong = {a for a in case.expected.keys() | writer.memory.keys()
                 if case.expected.get(a) != writer.memory.get(a)}
        assert not wrong, f"{len(wrong)} of {len(case.expected)} words differ from HLS, the first at {min(wrong):#x}"
        assert writer.asked == case.segments + 1, f"{writer.asked} requests for {case.segments} segments"
        if stalls.none:
            limit = max(case.words, case.segments) + 10 * len(case.units) + RECORD_BYTES // hw.sub_row + 50
            assert sim.cycle - start <= limit, f"{sim.cycle - start} cycles for {case.words} words, at most {limit}"
        for _ in range(20):
            await sim.step()
            assert sim.get("cmd_ready_o") == 1
            assert not sim.get("wr_valid_o") and not sim.get("wd_valid_o") and not sim.get("o_re_o")
        assert sim.get("o_free_o") == len(case.units)

    for instr in layers:
        await run(instr)
