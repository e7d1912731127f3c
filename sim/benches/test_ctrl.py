"""Bench of subrow_ctrl: programs, records, errors, soft reset; the units are models that are busy for a while."""

from __future__ import annotations

from collections import deque

import cocotb
import numpy as np

from sim.common.bits import byte_words
from sim.common.clock import Probe, Sim, Stalls, encoded, options, rng
from sim.common.layers import moved, random_layer
from sim.common.streams import Reader
from subrow.spec.isa import RECORD_FIELDS, Instruction

OPT = options()
BASE = 0x43_2100_1000
PULSES = ("issued_i", "starved_input_i", "starved_weights_i", "blocked_output_i", "act_beat_i")


class Machine:
    """A program in memory, wfetch and three other units around the control unit."""

    def __init__(self, dut, pattern: str) -> None:
        self.dut, self.rand, self.width = dut, rng(), OPT.params["WeightBytes"]
        stalls = Stalls(pattern, self.rand)
        self.reader = Reader(dut, self.memory, stalls.side("req"), stalls.side("rd"))
        self.image = b""
        self.program: list[Instruction] = []
        self.hang: int | None = None  # layer that never ends
        self.axi_error_at: int | None = None  # layer in which a read fails
        self.outside_at: int | None = None  # layer that writes outside its windows
        self.clear()
        self.sim = Sim(dut, Probe(self.sample, self.drive), self.reader)

    async def reset(self) -> None:
        names = ("start_i", "soft_reset_i", "progress_i", "wgt_beat_i", "layer_done_i", "w_cmd_ready_i", *PULSES,
                 "axi_error_i", "axi_resp_i", "outside_i", "cmd_ready_i", "state_i", "watchdog_i")
        await self.sim.reset(**dict.fromkeys(names, 0), bus_idle_i=1, prog_base_i=BASE)

    def clear(self) -> None:
        """As the core reset leaves the units."""
        self.fetched, self.started, self.finished = 0, 0, 0
        self.w_busy = self.busy = 0
        self.weight_beats: deque[int] = deque()
        self.errors: list[int] = []
        self.active, self.done_now, self.dones = False, False, 0
        self.counted = [0] * len(PULSES)
        self.cycles = 0

    def memory(self, addr: int, beats: int) -> list[int]:
        data = self.image[addr - BASE : addr - BASE + beats * self.width]
        assert len(data) == beats * self.width, f"instruction read outside the program: {addr:#x}"
        return byte_words(np.frombuffer(data, np.uint8), self.width)

    def drive(self) -> None:
        dut, rand = self.dut, self.rand
        if self.w_busy:
            self.w_busy -= 1
        beat = self.w_busy > 0 and rand.random() < 0.5
        if beat:
            self.weight_beats[-1] += 1
        dut.wgt_beat_i.value = int(beat)
        dut.w_cmd_ready_i.value = int(self.w_busy == 0)
        if self.busy and self.hang != self.started - 1:
            self.busy -= 1
        self.done_now = self.active and self.busy == 0 and self.fetched >= self.started
        dut.layer_done_i.value = int(self.done_now)
        dut.cmd_ready_i.value = 0b111 if not self.active else rand.getrandbits(3) & 0b011
        self.pulses = [int(self.active and self.hang is None and rand.random() < 0.3) for _ in PULSES]
        for name, value in zip(PULSES, self.pulses, strict=True):
            getattr(dut, name).value = value
        failing = self.axi_error_at is not None and self.active and self.started - 1 == self.axi_error_at
        dut.axi_error_i.value = 0b010 if failing else 0
        dut.axi_resp_i.value = 0b11_10_01 if failing else 0
        outside = self.outside_at is not None and self.active and self.started - 1 == self.outside_at
        dut.outside_i.value = 0b100 if outside else 0

    def sample(self) -> None:
        dut = self.dut
        if int(dut.flush_o.value):  # the read engine drains what was asked for
            self.reader.drop()
        if int(dut.core_rst_no.value) == 0:
            self.active, self.w_busy, self.busy = False, 0, 0
        if self.active:
            self.cycles += 1
            self.check_record()
            self.counted = [c + p for c, p in zip(self.counted, self.pulses, strict=True)]
        if self.done_now and self.active:
            self.active = False
            self.finished += 1
            self.weight_beats.popleft()
        if int(dut.w_cmd_valid_o.value) and int(dut.w_cmd_ready_i.value):
            assert int(dut.w_cmd_data_o.value) == encoded(self.program[self.fetched]), "instruction for wfetch"
            self.fetched += 1
            self.weight_beats.append(0)
            self.w_busy = self.rand.randint(1, 60)
        if int(dut.cmd_valid_o.value):
            assert int(dut.cmd_ready_i.value) == 0b111 and not self.active, "dispatch to a busy unit"
            assert self.started == self.finished and self.started < self.fetched
            assert int(dut.cmd_data_o.value) == encoded(self.program[self.started]), "instruction for the units"
            self.started += 1
            self.active, self.busy = True, self.rand.randint(70, 200)
            self.counted, self.cycles = [0] * len(PULSES), -1
        self.dones += int(dut.done_o.value)
        if int(dut.error_o.value):
            self.errors.append(int(dut.error_code_o.value))

    def check_record(self) -> None:
        got = int(self.dut.record_o.value)
        fields = {n: got >> (64 * i) & (1 << 64) - 1 for i, n in enumerate(RECORD_FIELDS)}
        instr = self.program[self.started - 1]
        want = {"layer_id": instr.layer_id, "cycles": self.cycles, "issued": self.counted[0],
                "starved_input": self.counted[1], "starved_weights": self.counted[2],
                "blocked_output": self.counted[3], "read_bytes": self.counted[4] * 8}
        if OPT.corrupt and self.started == len(self.program):
            want["read_bytes"] ^= 8
        if self.busy < 3:  # when awrite samples the record, wfetch is long done with the layer
            want["weight_bytes"] = self.weight_beats[0] * self.width
            if self.w_busy and len(self.weight_beats) == 1:
                del want["weight_bytes"]
        for name, value in want.items():
            assert fields[name] == value, f"record {name} = {fields[name]}, want {value}, layer {self.started - 1}"

    def load(self, count: int, **change) -> None:
        self.clear()
        self.program = [random_layer(OPT.config, self.rand) for _ in range(count)]
        for at, opcode in change.get("opcodes", {}).items():
            self.program[at] = moved(self.program[at], opcode=opcode)
        self.image = b"".join(i.encode() for i in self.program)
        self.dut.layers_i.value = count

    async def start(self) -> None:
        self.dut.start_i.value = 1
        await self.sim.step()
        self.dut.start_i.value = 0

    async def finish(self, limit: int = 60000) -> None:
        await self.sim.until(lambda: self.dones or self.errors, limit, "done")
        assert not int(self.dut.busy_o.value)


async def machine(dut, pattern: str) -> Machine:
    m = Machine(dut, pattern)
    await m.reset()
    return m


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def program(dut, pattern: str):
    """Layers in order, records, layer and cycle registers; again and again without reset; no layers at all."""
    m = await machine(dut, pattern)
    for count in (1, 9, 3, 0, 6):
        m.load(count)
        start = m.sim.cycle
        await m.start()
        await m.finish()
        assert m.dones == 1 and not m.errors and m.finished == m.started == m.fetched == count
        assert int(dut.layer_o.value) == count
        if count:
            assert abs(int(dut.cycles_o.value) - (m.sim.cycle - start)) <= 3
        for _ in range(20):
            await m.sim.step()
        assert m.dones == 1 and not m.reader.beats


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def errors(dut, pattern: str):
    """Illegal opcode, AXI error, watchdog, address outside: code, state, reset until the bus is idle, a run after."""
    m = await machine(dut, pattern)
    for kind in ("opcode", "axi", "watchdog", "outside", "opcode"):
        at = m.rand.randint(0, 3)
        m.load(5, opcodes={at: m.rand.choice((0, 2, 15))} if kind == "opcode" else {})
        m.axi_error_at = at if kind == "axi" else None
        m.outside_at = at if kind == "outside" else None
        m.hang = at if kind == "watchdog" else None
        dut.watchdog_i.value = 1500
        dut.state_i.value = 0xABCD << 100
        dut.bus_idle_i.value = 0
        await m.start()
        await m.finish()
        dut.state_i.value = 0
        assert m.errors == [{"opcode": 1, "axi": 2, "watchdog": 3, "outside": 4}[kind]] and not m.dones
        assert m.finished == at and int(dut.layer_o.value) == at
        if kind == "axi":
            assert (int(dut.axi_port_o.value), int(dut.axi_resp_o.value)) == (1, 2)
        if kind == "outside":
            assert (int(dut.axi_port_o.value), int(dut.axi_resp_o.value)) == (2, 0)
        m.hang = m.axi_error_at = m.outside_at = None
        for _ in range(30):
            await m.sim.step()
            assert int(dut.flush_o.value) and not int(dut.core_rst_no.value)
        assert int(dut.state_o.value) == 0xABCD << 100
        m.load(4)
        await m.start()  # waits for the bus
        for _ in range(10):
            await m.sim.step()
        assert int(dut.busy_o.value) and not m.fetched
        dut.bus_idle_i.value = 1
        await m.finish()
        assert m.dones == 1 and not m.errors and m.finished == 4


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def soft_reset(dut, pattern: str):
    """At any moment of a run; the next run is whole."""
    m = await machine(dut, pattern)
    for _ in range(12):
        m.load(4)
        await m.start()
        for _ in range(m.rand.randint(0, 600)):
            await m.sim.step()
        dut.soft_reset_i.value = 1
        for _ in range(m.rand.randint(2, 9)):
            await m.sim.step()
        assert not int(dut.busy_o.value) and not int(dut.core_rst_no.value)
        dut.soft_reset_i.value = 0
        m.load(2)
        await m.start()
        await m.finish()
        assert m.dones == 1 and m.finished == 2
