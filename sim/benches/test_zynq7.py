"""subrow_zynq7 behind cocotbext-axi: the engine's programs through AXI3 ports of 64 bits, registers by bursts.

Memory and Program are those of test_engine; after every run the whole memory must be what the emulator leaves.
"""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiBurstType, AxiBus, AxiMaster
from test_engine import DATA, LENGTH, PATTERNS, REGISTERS, SOFT_RESET, START, board

LAST = max(REGISTERS.values()) + 4


def full_master(dut: Any) -> AxiMaster:
    """A processing system's port: bursts of at most 16 beats."""
    return AxiMaster(AxiBus.from_prefix(dut, "s_axil"), dut.clk_i, dut.rst_ni, False, max_burst_len=16)


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def two_layers(dut, pattern: str) -> None:
    """Twice without a reset between."""
    b = await board(dut, pattern, full_master)
    await b.runs()
    await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def soft_reset(dut, pattern: str) -> None:
    """At any moment: bursts that are open end, bytes that must not change do not, a run after it is whole."""
    b = await board(dut, pattern, full_master)
    for _ in range(3):
        await b.write("CTRL", START)
        await ClockCycles(dut.clk_i, b.rand.randint(1, LENGTH))
        await b.write("CTRL", SOFT_RESET)
        await ClockCycles(dut.clk_i, b.rand.choice((1, 5, 60)))
        await b.write("STATUS", 2)
        await b.write("CTRL", 0)
        await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def error_response(dut, pattern: str) -> None:
    """A response other than OKAY on a wide beat ends the run with error 2, and a run after it is whole."""
    b = await board(dut, pattern, full_master)
    from test_engine import ARENA

    low, high = (int(n) for n in DATA["inputs"][0])
    b.memory.fault = range(ARENA + low, ARENA + high)
    await b.fails(2, 0)
    assert await b.read("AXI_ERRORS") == 2
    b.memory.fault = range(0)
    await b.runs()


@cocotb.test()
@cocotb.parametrize(pattern=list(PATTERNS))
async def registers_by_bursts(dut, pattern: str) -> None:
    """Whole register files in one burst, part of a word, and a FIXED burst that stays at its address."""
    b = await board(dut, pattern, full_master)
    low = REGISTERS["PROG_ADDR_LO"]
    values = [b.rand.randrange(1 << 32) for _ in range(6)]
    await b.master.write(low, b"".join(v.to_bytes(4, "little") for v in values))
    read = await b.master.read(0, LAST)
    words = [int.from_bytes(read.data[i : i + 4], "little") for i in range(0, LAST, 4)]
    assert words[low // 4 : low // 4 + 6] == values and read.resp == 0
    for name, offset in REGISTERS.items():
        if not name.startswith(("STATE", "CYCLES")):
            assert words[offset // 4] == await b.read(name), name
    await b.master.write(low + 5, b"\x77")
    assert await b.read("PROG_ADDR_HI") == values[1] & ~0xFF00 | 0x7700 and await b.read("ACT_ADDR_LO") == values[2]
    fixed = await b.master.read(low, 12, burst=AxiBurstType.FIXED)
    assert fixed.data == values[0].to_bytes(4, "little") * 3
    many = [cocotb.start_soon(b.master.read(4 * b.rand.randrange(LAST // 4), 4)) for _ in range(20)]
    for task in many:
        await task
