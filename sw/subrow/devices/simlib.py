"""The Verilated engine as a shared library: build it for a HwConfig and talk to its C ABI (sim/chip/harness.cpp)."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subrow.devices.registers import registers
from subrow.devices.verilate import verilate_shared
from subrow.spec.errors import DeviceError
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT

RTL = REPO_ROOT / "hw" / "rtl"
GEN = REPO_ROOT / "hw" / "gen"
U64 = ctypes.c_uint64


def rtl_sources() -> list[Path]:
    """Packages first, then every module of the engine."""
    packages = [GEN / "subrow_pkg.sv", GEN / "subrow_regs_pkg.sv"]
    return [*packages, GEN / "regs.vlt", RTL / "lint.vlt", GEN / "subrow_regs.sv", *sorted(RTL.glob("*.sv"))]


def build(hw: HwConfig, trace: bool = False) -> Path:
    """Path of the library for this HwConfig; builds it when sources or parameters changed."""
    out = REPO_ROOT / "build" / "chip" / f"{hw.name}{'-trace' if trace else ''}.so"
    sizes = (f"-DACT_BYTES={hw.act_port_bytes}", f"-DWGT_BYTES={hw.weight_bytes}")
    harness = REPO_ROOT / "sim" / "chip" / "harness.cpp"
    return verilate_shared(
        "subrow_engine", rtl_sources(), harness, out, params=hw.rtl_parameters(), trace=trace, cflags=sizes
    )


def _bind(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    h, u32 = ctypes.c_void_p, ctypes.c_uint32
    signatures = {
        "new": (h, [U64, ctypes.c_double, U64]),
        "free": (None, [h]),
        "memory": (ctypes.POINTER(ctypes.c_uint8), [h]),
        "stalls": (None, [h, U64, ctypes.c_uint]),
        "fault": (None, [h, U64, U64, ctypes.c_int]),
        "reset": (None, [h]),
        "write": (ctypes.c_int, [h, u32, u32]),
        "read": (ctypes.c_int, [h, u32, ctypes.POINTER(u32)]),
        "run": (U64, [h, U64]),
        "settle": (None, [h]),
        "irq": (ctypes.c_int, [h]),
        "totals": (None, [h, ctypes.POINTER(U64)]),
        "trace": (ctypes.c_int, [h, ctypes.c_char_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, f"subrow_sim_{name}")
        function.restype, function.argtypes = result, arguments
    return lib


class Chip:
    """One simulated engine with its memory. Not thread safe; `close` frees it."""

    def __init__(self, hw: HwConfig, memory_bytes: int, trace: Path | None = None) -> None:
        self._lib = _bind(build(hw, trace is not None))
        self._handle = self._lib.subrow_sim_new(memory_bytes, hw.bytes_per_cycle, hw.latency_cycles)
        pointer = self._lib.subrow_sim_memory(self._handle)
        self.memory: NDArray[np.uint8] = np.ctypeslib.as_array(pointer, (memory_bytes,))
        if trace is not None:
            self._lib.subrow_sim_trace(self._handle, str(trace).encode())
        self.reset()

    def close(self) -> None:
        if self._handle:
            self._lib.subrow_sim_free(self._handle)
            self._handle = None

    def reset(self) -> None:
        self._lib.subrow_sim_reset(self._handle)

    def stalls(self, seed: int, fraction: float) -> None:
        """Refuse each handshake with this probability (steps of 1/256)."""
        self._lib.subrow_sim_stalls(self._handle, seed, round(fraction * 256))

    def fault(self, low: int, high: int, response: int) -> None:
        """Answer accesses to [low, high) with an AXI response: 2 SLVERR, 3 DECERR."""
        self._lib.subrow_sim_fault(self._handle, low, high, response)

    def write(self, register: str, value: int) -> None:
        if self._lib.subrow_sim_write(self._handle, registers()[register].offset, value):
            raise DeviceError(f"register {register}: the engine did not answer a write of {value:#x} in 1000 cycles")

    def read(self, register: str) -> int:
        value = ctypes.c_uint32()
        if self._lib.subrow_sim_read(self._handle, registers()[register].offset, ctypes.byref(value)):
            raise DeviceError(f"register {register}: the engine did not answer a read in 1000 cycles")
        return value.value

    def settle(self) -> None:
        """Give the idle memory its full bandwidth back, so that equal runs take equal cycles."""
        self._lib.subrow_sim_settle(self._handle)

    def run(self, cycles: int) -> int:
        """Advance until the interrupt or for that many cycles; returns the cycles advanced."""
        return int(self._lib.subrow_sim_run(self._handle, cycles))

    @property
    def interrupt(self) -> bool:
        return bool(self._lib.subrow_sim_irq(self._handle))

    def totals(self) -> dict[str, int]:
        """Cycles, bytes per port and bursts under way since the simulation began."""
        buffer = (U64 * 7)()
        self._lib.subrow_sim_totals(self._handle, buffer)
        names = ("cycles", "act_read", "wgt_read", "act_written", "act_bursts", "wgt_bursts", "write_bursts")
        return dict(zip(names, map(int, buffer), strict=True))
