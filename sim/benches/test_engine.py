"""subrow_engine behind cocotbext-axi: programs through the registers, memories on both ports, pauses on every channel.

options.data["program"] names an .npz file: image, arena before and after (the emulator's), records, input and output
ranges in the arena. After every run the whole memory must be what the emulator leaves, and records must agree.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiMaster, AxiRamRead, AxiRamWrite, AxiReadBus

from sim.common.clock import options, rng
from subrow.spec.isa import RECORD_BYTES, RECORD_FIELDS, Instruction, decode
from subrow.toolenv import REPO_ROOT

OPT = options()
REGISTERS = {n: r["offset"] for n, r in json.loads((REPO_ROOT / "hw/gen/subrow_regs.json").read_text()).items()}
DATA = np.load(Path(OPT.data["program"]))
LAYERS = len(DATA["records"])
BASE = int(OPT.data.get("base", 0xA5_0000_0000))  # of the memory: beyond 32 bits where the ports have more
PROG, ARENA = 0x1000, 0x1000 + -(-len(DATA["image"]) // 4096) * 4096 + 4 * OPT.config.sub_row
RECORDS = ARENA + -(-len(DATA["before"]) // 64) * 64 + 64
SIZE = -(-(RECORDS + RECORD_BYTES * (LAYERS + 1)) // 4096) * 4096  # whole pages, as the windows are
START, SOFT_RESET, DONE, ERROR = 1, 2, 2, 4
PATTERNS = {"none": 0.0, "random": 0.3}
LENGTH = 1600  # cycles, more than a run takes


class Fault(Exception):
    """An address that answers SLVERR."""


class Memory:
    """One memory behind both ports. `fault`: range that refuses; an access outside the memory is a failure."""

    def __init__(self, rand: random.Random) -> None:
        self.bytes = np.frombuffer(rand.randbytes(SIZE), np.uint8).copy()
        self.fault = range(0)
        self.outside: list[int] = []

    def at(self, address: int, length: int) -> int:
        low = address - BASE
        if not 0 <= low <= SIZE - length:
            self.outside.append(address)
            raise Fault
        if low in self.fault:
            raise Fault
        return low


class Reads(AxiRamRead):
    def __init__(self, bus: Any, dut: Any, memory: Memory) -> None:
        self.memory = memory
        super().__init__(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, mem=memory.bytes)

    async def _read(self, address: int, length: int) -> bytes:
        low = self.memory.at(address, length)
        return self.memory.bytes[low : low + length].tobytes()


class Writes(AxiRamWrite):
    def __init__(self, bus: Any, dut: Any, memory: Memory) -> None:
        self.memory = memory
        super().__init__(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, mem=memory.bytes)

    async def _write(self, address: int, data: bytes) -> None:
        low = self.memory.at(address, len(data))
        self.memory.bytes[low : low + len(data)] = np.frombuffer(data, np.uint8)


def pauses(rand: random.Random, chance: float) -> Iterator[bool]:
    while True:
        yield rand.random() < chance


Masters = Callable[[Any], AxiLiteMaster | AxiMaster]


def lite_master(dut: Any) -> AxiLiteMaster:
    """The bus that the engine's registers are on."""
    return AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk_i, dut.rst_ni, False)


class Board:
    """Engine, memory, register master."""

    def __init__(self, dut: Any, pattern: str, master: Masters = lite_master) -> None:
        self.dut, self.rand = dut, rng()
        self.memory = Memory(self.rand)
        act = AxiBus.from_prefix(dut, "m_axi_act")
        self.act_read, self.act_write = Reads(act.read, dut, self.memory), Writes(act.write, dut, self.memory)
        self.wgt = Reads(AxiReadBus.from_prefix(dut, "m_axi_wgt"), dut, self.memory)
        self.master = master(dut)
        self.chance = PATTERNS[pattern]
        for part in (self.act_read, self.act_write, self.wgt):
            part.log.setLevel(logging.ERROR)
        for part in (self.act_read, self.act_write, self.wgt, self.master.read_if, self.master.write_if):
            for name in ("aw_channel", "w_channel", "b_channel", "ar_channel", "r_channel"):
                channel = getattr(part, name, None)
                if channel is not None and self.chance:
                    channel.set_pause_generator(pauses(self.rand, self.chance))

    async def reset(self) -> None:
        self.dut.rst_ni.value = 0
        await ClockCycles(self.dut.clk_i, self.rand.randint(2, 5))
        self.dut.rst_ni.value = 1
        await RisingEdge(self.dut.clk_i)

    async def write(self, register: str, value: int) -> None:
        await self.master.write_dword(REGISTERS[register], value)

    async def read(self, register: str) -> int:
        return int(await self.master.read_dword(REGISTERS[register]))

    async def set_up(self) -> None:
        """Program and input into memory, addresses into registers."""
        image, before = DATA["image"], DATA["before"]
        self.memory.bytes[PROG : PROG + image.size] = image
        self.memory.bytes[ARENA : ARENA + before.size] = before
        for register, offset in (("PROG_ADDR", PROG), ("ACT_ADDR", ARENA), ("RECORD_ADDR", RECORDS)):
            await self.write(f"{register}_LO", (BASE + offset) & 0xFFFFFFFF)
            await self.write(f"{register}_HI", (BASE + offset) >> 32)
        await self.write("LAYERS", LAYERS)
        await self.write("WATCHDOG", 20_000)
        await self.write("IRQ_ENABLE", DONE | ERROR)
        self.image = self.memory.bytes.copy()

    async def finish(self) -> int:
        """Waits for the interrupt; returns STATUS and clears it."""
        if not int(self.dut.irq_o.value):
            await with_timeout(RisingEdge(self.dut.irq_o), 3_000_000, "ns")
        status = await self.read("STATUS")
        assert not status & 1, "busy together with the interrupt"
        await self.write("STATUS", DONE | ERROR)
        await RisingEdge(self.dut.clk_i)
        assert not int(self.dut.irq_o.value), "the interrupt stays after its STATUS bits are cleared"
        return status

    async def fails(self, code: int, layer: int) -> None:
        """Starts and expects an error."""
        await self.write("CTRL", START)
        status = await self.finish()
        assert status & ERROR and not status & DONE, f"STATUS {status:#x}, expected an error"
        assert status >> 8 & 255 == code, f"error code {status >> 8 & 255}, expected {code}"
        assert await self.read("LAYER") == layer

    async def runs(self) -> None:
        """Starts, expects success, and compares all of the memory with the emulator's."""
        for first, last in DATA["outputs"]:
            self.memory.bytes[ARENA + first : ARENA + last] = 0x5A
        await self.write("CTRL", START)
        status = await self.finish()
        assert status & DONE and not status & ERROR, f"STATUS {status:#x}"
        assert await self.read("LAYER") == LAYERS and not self.memory.outside
        want = self.image.copy()
        want[ARENA : ARENA + DATA["after"].size] = DATA["after"]
        if OPT.corrupt:
            want[ARENA + DATA["outputs"][-1][1] - 1] ^= 1
        records = slice(RECORDS, RECORDS + RECORD_BYTES * LAYERS)
        got = self.memory.bytes[records].view(np.uint64).reshape(LAYERS, -1)
        want[records] = self.memory.bytes[records]
        wrong = np.flatnonzero(want != self.memory.bytes)
        assert not wrong.size, f"{wrong.size} bytes differ from the emulator, the first {wrong[0] - ARENA} in the arena"
        await self.check_records(got)

    async def check_records(self, got: np.ndarray) -> None:
        total = await self.read("CYCLES_LO") | await self.read("CYCLES_HI") << 32
        for row, want in zip(got, DATA["records"], strict=True):
            record = dict(zip(RECORD_FIELDS, map(int, row), strict=True))
            for name in ("layer_id", "issued", "read_bytes", "weight_bytes"):
                wanted = int(want[RECORD_FIELDS.index(name)])
                assert record[name] == wanted, f"record {name} = {record[name]}, the emulator's is {wanted}"
            stages = sum(record[n] for n in ("issued", "starved_input", "starved_weights", "blocked_output"))
            assert stages <= record["cycles"] < total, f"{record}, {total} cycles in all"
        assert sum(int(row[RECORD_FIELDS.index("cycles")]) for row in got) <= total

    def instruction(self, layer: int, **fields: object) -> None:
        """Changes fields of an instruction in memory."""
        at = PROG + 128 * layer
        values = dict(decode(self.memory.bytes[at : at + 128].tobytes()).values) | fields
        self.memory.bytes[at : at + 128] = np.frombuffer(Instruction(values).encode(), np.uint8)


async def board(dut: Any, pattern: str, master: Masters = lite_master) -> Board:
    Clock(dut.clk_i, 10, "ns", impl="gpi").start()
    b = Board(dut, pattern, master)
    await b.reset()
    assert await b.read("ID") == OPT.config.hash32
    await b.set_up()
    return b


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def two_layers(dut, pattern: str) -> None:
    """Twice without a reset between."""
    b = await board(dut, pattern)
    await b.runs()
    await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def reset_in_the_middle(dut, pattern: str) -> None:
    """Engine and bus together, at any moment of a run; registers lose their values, and a run after it is whole."""
    b = await board(dut, pattern)
    for _ in range(2 + OPT.rounds):
        await b.write("CTRL", START)
        await ClockCycles(dut.clk_i, b.rand.randint(1, LENGTH))
        await b.reset()
        assert await b.read("STATUS") == 0 and await b.read("LAYERS") == 0
        await b.set_up()
        await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def soft_reset(dut, pattern: str) -> None:
    """At any moment, with the bus going on: open bursts end as AXI wants, registers stay, a run after it is whole."""
    b = await board(dut, pattern)
    for _ in range(2 + OPT.rounds):
        await b.write("CTRL", START)
        await ClockCycles(dut.clk_i, b.rand.randint(1, LENGTH))
        await b.write("CTRL", SOFT_RESET)
        await ClockCycles(dut.clk_i, b.rand.choice((1, 5, 60)))
        assert not await b.read("STATUS") & 1, "busy in soft reset"
        await b.write("STATUS", DONE)  # of a run that had ended already
        await b.write("CTRL", 0)
        await b.runs()


@cocotb.test()
async def illegal_opcode(dut) -> None:
    """Error 1 once the layers before are complete; nothing of a later layer is written; the corrected program runs."""
    b = await board(dut, "random")
    for opcode, layer in ((0, 0), (2, 1), (15, 1)):
        b.instruction(layer, opcode=opcode)
        later = slice(*(ARENA + int(n) for n in DATA["outputs"][1]))
        b.memory.bytes[later] = 0x33
        await b.fails(1, layer)
        first = slice(*(int(n) for n in DATA["outputs"][0]))
        if layer:
            done = b.memory.bytes[ARENA + first.start : ARENA + first.stop]
            assert np.array_equal(done, DATA["after"][first]), "the layer before is not complete"
        assert (b.memory.bytes[later] == 0x33).all(), "output of a layer that must not run"
        b.instruction(layer, opcode=1)
    await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def slverr(dut, pattern: str) -> None:
    """Error 2 with port and response for each kind of access, and a good run after it without a reset."""
    b = await board(dut, pattern)
    (first_in, _), (_, last_out) = DATA["inputs"], DATA["outputs"]
    weights = PROG + int(DATA["weight_offset"])
    for port, low, high, layer in ((0, ARENA + first_in[0], ARENA + first_in[1], 0), (1, weights, weights + 64, 0),
                                   (1, PROG, PROG + 128, 0), (2, ARENA + last_out[0], ARENA + last_out[1], 1)):
        b.memory.fault = range(int(low), int(high))
        await b.fails(2, layer)
        errors = await b.read("AXI_ERRORS")
        assert (errors >> 4 & 15, errors & 3) == (port, 2), f"AXI_ERRORS {errors:#x}, expected port {port}, SLVERR"
        b.memory.fault = range(0)
        await b.runs()
        assert await b.read("AXI_ERRORS") == 0


@cocotb.test()
async def watchdog(dut) -> None:
    """Error 3 when a port never answers; STATE0 tells which one; the engine goes on once it does."""
    b = await board(dut, "none")
    await b.write("WATCHDOG", 500)
    for bit, channel in ((31, b.act_read.r_channel), (30, b.wgt.r_channel), (29, b.act_write.b_channel)):
        channel.pause = True
        await b.write("CTRL", START)
        status = await b.finish()
        assert status & ERROR and status >> 8 & 255 == 3, f"STATUS {status:#x}, expected error 3"
        assert not await b.read("STATE0") >> bit & 1, "a port that owes an answer is idle"
        channel.pause = False
    await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def windows(dut, pattern: str) -> None:
    """Offsets, sizes and layer numbers of a Program are falsified: nothing outside the windows is read or written.

    The memory ends with the windows, and an access beside it counts as one outside; error 4 only when there was one.
    """
    b = await board(dut, pattern)
    page = lambda offset: (BASE + offset) >> 12  # noqa: E731
    ends = {"PROG": (PROG, PROG + DATA["image"].size - 1), "ACT": (ARENA, ARENA + DATA["before"].size - 1),
            "RECORD": (RECORDS, RECORDS + RECORD_BYTES * LAYERS - 1)}  # fmt: skip
    for name, (first, last) in ends.items():
        await b.write(f"{name}_FIRST", page(first))
        await b.write(f"{name}_LAST", page(last))
    await b.runs()
    await b.write("WATCHDOG", 3000)
    codes = set()
    for _ in range(6 + 4 * OPT.rounds):
        layer = b.rand.randrange(LAYERS)
        field, bits = b.rand.choice((("in_offset", 32), ("out_offset", 32), ("weight_offset", 32), ("res_offset", 32),
                                     ("layer_id", 15), ("in_row_bytes", 24), ("out_row_bytes", 24)))
        kept = b.memory.bytes.copy()
        b.instruction(layer, **{field: b.rand.randrange(1 << bits)})
        forged = b.memory.bytes.copy()
        await b.write("CTRL", START)
        status = await b.finish()
        codes.add(status >> 8 & 255 if status & ERROR else 0)
        assert not b.memory.outside, f"{field} led to {b.memory.outside[0]:#x}, outside every window"
        beside = np.ones(SIZE, bool)
        for name in ("ACT", "RECORD"):
            first, last = (int(BASE + n) >> 12 << 12 for n in ends[name])
            beside[max(first - BASE, 0) : last + 4096 - BASE] = False
        assert (b.memory.bytes[beside] == forged[beside]).all(), f"{field}: a write beside the windows"
        b.memory.bytes[:] = kept
    assert codes <= {0, 1, 3, 4} and 4 in codes, f"error codes {codes}"
    await b.runs()
