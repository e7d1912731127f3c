"""The Verilated engine as a device of PYNQ: the board's driver, its Overlay, MMIO and buffers run on it unchanged.

Host and engine have different memories here: nothing is shared but by flush and invalidate, as with a cache that loses
every race, and what is not allocated is not there. Time passes in the engine's clock.
"""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pynq.buffer import PynqBuffer
from pynq.pl_server.device import Device as PynqDevice
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime import RuntimeMetadataParser

from subrow.devices.handoff import FabricClock, Place, handoff
from subrow.devices.pynq.device import Pynq
from subrow.devices.pynq.port import Timer
from subrow.devices.registers import registers
from subrow.devices.simlib import Chip
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import PAGE

BASE, RANGE = 0x43C0_0000, 0x1_0000  # of the registers
FIRST = 16 * PAGE  # of the memory: what lies below belongs to nobody
POLL_CYCLES = 2000  # that pass between two polls of STATUS


def place(hw: HwConfig) -> Place:
    """Where the .hwh of a simulated engine says that it is; no PLL is divided for its clock."""
    return Place("xc7z020clg400-1", "", BASE, RANGE, FabricClock("IO PLL", (5, 2), hw.mhz))


class HostBuffer(PynqBuffer):  # type: ignore[misc,unused-ignore]
    """A PynqBuffer without a mapping to undo; with numpy 2 as well, whose arrays have a read-only `device`."""

    device = None
    owner: VirtualDevice | None = None  # slices have none

    def freebuffer(self) -> None:
        """Give the memory back, once."""
        if self.owner is not None:
            del self.owner.allocated[self.bo]
        self.owner = None


class VirtualDevice(PynqDevice):  # type: ignore[misc,unused-ignore]
    """One simulated engine with `memory_bytes` of memory and a folder for its bitstream.

    For tests: `chip` gives its memory, faults and stalls; `overrides` are registers that read as something else.
    """

    def __init__(self, hw: HwConfig, memory_bytes: int = 1 << 26, tag: str = "simulated") -> None:
        super().__init__(tag)
        self.capabilities = {"REGISTER_RW": True}
        self.chip = Chip(hw, memory_bytes)
        self.overrides: dict[str, int] = {}
        self.allocated: dict[int, int] = {}  # size by address
        self._mhz, self._cycles = hw.mhz, 0
        self._folder = tempfile.TemporaryDirectory(prefix="subrow-")
        self.bitfile = Path(self._folder.name) / "subrow.bit"
        self.bitfile.write_bytes(b"")
        self.bitfile.with_suffix(".hwh").write_text(handoff(hw, place(hw)))
        self._names = {register.offset: name for name, register in registers().items()}

    def close(self) -> None:
        """Free the simulation; may be called twice."""
        self.chip.close()
        self._folder.cleanup()

    # ---- what PYNQ asks of a device -----------------------------------------------------------------------------
    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> RuntimeMetadataParser:
        """What the .hwh says."""
        return RuntimeMetadataParser(Metadata(input=str(Path(bitfile_name).with_suffix(".hwh"))))

    def read_registers(self, address: int, length: int) -> bytes:
        """Registers from this address on; a poll of STATUS lets time pass."""
        return b"".join(self._read(a).to_bytes(4, "little") for a in range(address, address + length, 4))

    def _read(self, address: int) -> int:
        name = self._names[address - BASE]
        if name == "STATUS":
            self.advance(POLL_CYCLES)
        return self.overrides.get(name, self.chip.read(name))

    def write_registers(self, address: int, data: bytes) -> None:
        """Registers from this address on."""
        words = np.frombuffer(bytes(data), "<u4")
        for i, word in enumerate(words):
            name = self._names[address + 4 * i - BASE]
            if name == "CTRL":
                self.chip.settle()  # equal runs take equal cycles
            self.chip.write(name, int(word))

    def allocate(self, shape: Any, dtype: Any, **_: Any) -> PynqBuffer:
        """A buffer of the host, with a place in the engine's memory. Raises RuntimeError when that is full."""
        array = np.empty(shape, dtype)
        size = -(-array.nbytes // PAGE) * PAGE
        address = self._room(size)
        host = bytearray(array.nbytes)
        buffer = HostBuffer(shape, dtype, buffer=host, device=self, device_address=address, bo=address, coherent=False)
        buffer.owner = self
        self.allocated[address] = size
        return buffer

    def _room(self, size: int) -> int:
        """The first gap of that many bytes."""
        at = FIRST
        for address in sorted(self.allocated):
            if address - at >= size:
                break
            at = address + self.allocated[address]
        if at + size > len(self.chip.memory):
            raise RuntimeError(f"memory of {len(self.chip.memory)} bytes is full")
        return at

    def flush(self, bo: int, offset: int, ptr: int, size: int) -> None:
        """Host to engine."""
        self.chip.memory[bo + offset : bo + offset + size] = _host(ptr, size)

    def invalidate(self, bo: int, offset: int, ptr: int, size: int) -> None:
        """Engine to host."""
        _host(ptr, size)[:] = self.chip.memory[bo + offset : bo + offset + size]

    # ---- time ---------------------------------------------------------------------------------------------------
    def advance(self, cycles: int) -> None:
        """That many cycles pass; the engine is simulated until it raises its interrupt, after that nothing happens."""
        self._cycles += cycles
        self.chip.run(cycles)

    @property
    def timer(self) -> Timer:
        """Seconds of the engine's clock."""
        return Timer(lambda: self._cycles / (self._mhz * 1e6), lambda s: self.advance(int(s * self._mhz * 1e6)))


class VirtualInterrupt:
    """The engine's interrupt line."""

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device

    def wait(self, seconds: float) -> bool:
        """Simulate until it comes, or for that long."""
        timer = self._device.timer
        end = timer.now() + seconds
        while not self._device.chip.interrupt and timer.now() < end:
            self._device.advance(POLL_CYCLES)
        return self._device.chip.interrupt

    def close(self) -> None:
        """Nothing to do."""


def _host(ptr: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The host's bytes at a pointer that PYNQ took from a buffer of ours."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(ptr))


class SimulatedPynq(Pynq):
    """The pynq device on a simulated engine of its own. `interrupts` False polls."""

    def __init__(
        self, hw: HwConfig, *, interrupts: bool = False, board: VirtualDevice | None = None, **options: Any
    ) -> None:
        self.board = VirtualDevice(hw) if board is None else board
        interrupt = VirtualInterrupt(self.board) if interrupts else None
        options.setdefault("lock_folder", self.board.bitfile.parent)  # every simulated engine is another one
        super().__init__(hw, bitfile=self.board.bitfile, download=False, device=self.board, timer=self.board.timer,
                         interrupt=interrupt, simulated=True, **options)  # fmt: skip

    def clock_mhz(self) -> float:
        """That of the HwConfig: there is no clock."""
        return self.hw.mhz

    def watts(self) -> None:
        """No power is taken."""
