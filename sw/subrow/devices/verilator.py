"""The Verilator device: the RTL engine, cycle by cycle, with the board's memory bandwidth and latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subrow.devices import simlib
from subrow.devices.engine import Engine
from subrow.devices.engine_device import EngineDevice
from subrow.spec import isa
from subrow.spec.errors import DeviceError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import PAGE, Program

STEP = 50_000


def _page(n: int) -> int:
    return -(-n // PAGE) * PAGE


@dataclass(frozen=True)
class ChipBuffer:
    """A part of the simulated memory, which has no cache."""

    address: int
    data: NDArray[np.uint8]

    def flush(self, low: int, high: int) -> None:
        """Nothing to do."""

    def invalidate(self, low: int, high: int) -> None:
        """Nothing to do."""

    def free(self) -> None:
        """Nothing to do: the memory goes with its chip."""


class ChipPort:
    """A Port to a simulated engine; buffers follow one another in its memory, from the second page on."""

    def __init__(self, chip: simlib.Chip, progress: Callable[[int, int], None] | None) -> None:
        self.read, self.write = chip.read, chip.write
        self._chip, self._progress, self._next = chip, progress, PAGE

    def allocate(self, size: int) -> ChipBuffer:
        """Raises DeviceError when the chip's memory is full."""
        low, high = self._next, self._next + _page(size)
        if high > len(self._chip.memory):
            raise DeviceError(f"simulated memory of {len(self._chip.memory)} bytes: no room for {size} more")
        self._next = high
        return ChipBuffer(low, self._chip.memory[low:high])

    def begin(self) -> None:
        """Full bandwidth, so that equal runs take equal cycles."""
        self._chip.settle()

    def wait(self) -> None:
        """Simulate until the interrupt; the engine's watchdog sees to it that there is one."""
        total = 0
        while not self._chip.interrupt:
            total += self._chip.run(STEP)
            if self._progress:
                self._progress(total, self._chip.read("LAYER"))

    def note(self) -> str:
        """Cycles, bytes and bursts under way."""
        return str(self._chip.totals())


class Verilator(EngineDevice):
    """One simulated engine. `run` simulates the images one after the other.

    watchdog: cycles without progress after which the engine stops with an error. stalls: (seed, probability) of
    refusing a handshake on any AXI channel. trace: file for VCD waves. progress: called with (cycles, layer).
    check_limits: see Device.
    """

    name = "verilator"
    slots = 1  # nothing happens at the same time here

    def __init__(
        self,
        hw: HwConfig,
        *,
        watchdog: int = 100_000,
        stalls: tuple[int, float] | None = None,
        trace: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        check_limits: bool = True,
    ) -> None:
        super().__init__(hw, check_limits=check_limits)
        if watchdog < 1:
            raise DeviceError(f"verilator: watchdog = {watchdog}, must be at least 1 cycle: a run could never end")
        self._watchdog, self._stalls, self._trace, self._progress = watchdog, stalls, trace, progress
        self.chip: simlib.Chip | None = None  # while a Program is loaded

    def _connect(self, program: Program) -> Engine:
        """A fresh engine, with memory for the Program."""
        sizes = program.image().size, isa.RECORD_BYTES * len(program.layers), program.arena_bytes
        self.chip = chip = simlib.Chip(self.hw, PAGE + sum(map(_page, sizes)), self._trace)
        if self._stalls:
            chip.stalls(*self._stalls)
        return Engine(ChipPort(chip, self._progress), self.hw, self.name, self._watchdog)

    def _unload(self) -> None:
        super()._unload()
        if self.chip is not None:
            self.chip.close()
        self.chip = None
