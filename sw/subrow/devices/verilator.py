"""The Verilator device: the RTL engine, cycle by cycle, with the board's memory bandwidth and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from subrow.devices import simlib
from subrow.devices.base import Device, Int8Array, RunResult, pack_activation, read_tensor
from subrow.spec import isa
from subrow.spec.errors import DeviceError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import PAGE, Program

STEP = 50_000
ERROR_NAMES = {1: "illegal opcode", 2: "AXI error", 3: "watchdog: no progress"}
UNITS = ("wfetch", "afetch", "rfetch", "itrans", "array", "otrans", "post", "awrite")


def _page(n: int) -> int:
    return -(-n // PAGE) * PAGE


class Verilator(Device):
    """One simulated engine. `run` simulates the images one after the other.

    watchdog: cycles without progress after which the engine stops with an error. stalls: (seed, probability) of
    refusing a handshake on any AXI channel. trace: file for VCD waves. progress: called with (cycles, layer).
    check_limits: see Device.
    """

    name = "verilator"

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
        self._watchdog, self._stalls, self._trace, self._progress = watchdog, stalls, trace, progress
        self._chip: simlib.Chip | None = None

    def _place(self, program: Program) -> None:
        """A fresh engine, with the Program in its memory."""
        image = program.image()
        self._prog, self._arena = PAGE, PAGE + _page(image.size)
        self._records = self._arena + _page(program.arena_bytes)
        size = self._records + _page(isa.RECORD_BYTES * len(program.layers))
        self._chip = chip = simlib.Chip(self.hw, size, self._trace)
        if chip.read("ID") != self.hw.hash32:
            raise DeviceError(f"engine ID {chip.read('ID'):08x} is not HwConfig {self.hw.name} ({self.hw.hash32:08x})")
        if self._stalls:
            chip.stalls(*self._stalls)
        chip.memory[self._prog : self._prog + image.size] = image
        for register, value in (("PROG_ADDR", self._prog), ("ACT_ADDR", self._arena), ("RECORD_ADDR", self._records)):
            chip.write(f"{register}_LO", value & 0xFFFFFFFF)
            chip.write(f"{register}_HI", value >> 32)
        chip.write("LAYERS", len(program.layers))
        chip.write("WATCHDOG", self._watchdog)
        chip.write("IRQ_ENABLE", 6)

    def close(self) -> None:
        super().close()
        if self._chip is not None:
            self._chip.close()
        self._chip = None

    def run(self, x: ArrayLike | Mapping[str, ArrayLike]) -> RunResult:
        """Images one after the other; see Device. DeviceError carries the layer and the state of every unit."""
        program = self.program
        chip = self._chip
        assert chip is not None  # load sets both
        inputs = self.quantised_inputs(x)
        count = len(next(iter(inputs.values())))
        outputs = {t.name: np.empty((count, *t.shape), np.int8) for t in program.outputs}
        cycles = []
        for i in range(count):
            cycles.append(self._run_one(chip, program, {name: images[i] for name, images in inputs.items()}))
            for t in program.outputs:
                outputs[t.name][i] = read_tensor(chip.memory[self._arena :], t, self.hw.sub_row)
        return RunResult(
            outputs=outputs,
            scales={t.name: t.scale for t in program.outputs},
            cycles=tuple(cycles),
            records=self._read_records(chip, len(program.layers)),
            device=self.name,
            program_digest=program.digest(),
            hw_digest=self.hw.digest,
        )

    def _run_one(self, chip: simlib.Chip, program: Program, images: Mapping[str, Int8Array]) -> int:
        for t in program.inputs:
            words = pack_activation(images[t.name], self.hw.sub_row).view(np.uint8).ravel()
            low = self._arena + t.offset
            chip.memory[low : low + words.size] = words
        chip.settle()
        chip.write("CTRL", 1)
        total = 0
        while not chip.interrupt:
            total += chip.run(STEP)
            if self._progress:
                self._progress(total, chip.read("LAYER"))
        status = chip.read("STATUS")
        if status >> 2 & 1:
            message = self._fault(chip, program, status >> 8 & 255)
            chip.write("STATUS", 6)
            raise DeviceError(message)
        chip.write("STATUS", 6)
        return chip.read("CYCLES_LO") | chip.read("CYCLES_HI") << 32

    def _fault(self, chip: simlib.Chip, program: Program, code: int) -> str:
        layer = chip.read("LAYER")
        name = program.layers[layer].name if layer < len(program.layers) else "?"
        states = [chip.read(f"STATE{i}") for i in range(4)]
        idle = [unit for i, unit in enumerate(UNITS) if states[0] >> i & 1]
        axi = chip.read("AXI_ERRORS")
        return (
            f"verilator: engine stopped with error {code} ({ERROR_NAMES.get(code, 'unknown')}) in layer {layer} "
            f"({name}); AXI response {axi & 3} on port {axi >> 4 & 15}; cycles {chip.read('CYCLES_LO')}; idle units: "
            f"{', '.join(idle) or 'none'}; STATE {' '.join(f'{s:08x}' for s in states)}; {chip.totals()}"
        )

    def _read_records(self, chip: simlib.Chip, layers: int) -> tuple[dict[str, int], ...]:
        raw = chip.memory[self._records : self._records + isa.RECORD_BYTES * layers].view(np.uint64)
        return tuple(dict(zip(isa.RECORD_FIELDS, map(int, row), strict=True)) for row in raw.reshape(layers, -1))
