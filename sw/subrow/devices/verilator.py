"""The Verilator device: the RTL engine, cycle by cycle, with the board's memory bandwidth and latency."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from subrow.devices import simlib
from subrow.devices.base import Device, RunResult, pack_activations, quantise_input, unpack_activations
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
    ) -> None:
        super().__init__(hw)
        self._watchdog, self._stalls, self._trace, self._progress = watchdog, stalls, trace, progress
        self._chip: simlib.Chip | None = None
        self._program: Program | None = None

    def load(self, program: Program) -> None:
        """Put a Program into the memory of a fresh engine. Raises ProgramError when it is for another HwConfig."""
        program.check_hardware(self.hw)
        self.close()
        image = program.image()
        self._prog, self._arena = PAGE, PAGE + _page(image.size)
        self._records = self._arena + _page(program.arena_bytes)
        size = self._records + _page(isa.RECORD_BYTES * len(program.layers))
        self._chip = chip = simlib.Chip(self.hw, size, self._trace)
        self._program = program
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
        if self._chip is not None:
            self._chip.close()
        self._chip = None

    def run(self, x: np.ndarray) -> RunResult:
        """Outputs, cycles and counter records of a batch [N, C, H, W]. Raises DeviceError with the engine's state."""
        if self._chip is None or self._program is None:
            raise DeviceError("verilator: no Program loaded: call load first")
        program = self._program
        data = quantise_input(program.inputs[0], x)
        outputs: dict[str, list[np.ndarray]] = {t.name: [] for t in program.outputs}
        cycles, records = [], []
        for image in data:
            cycles.append(self._run_one(self._chip, program, image))
            for t in program.outputs:
                outputs[t.name].append(self._read(self._chip, t.offset, t.shape))
            records.append(self._read_records(self._chip, len(program.layers)))
        return self.result(program, {k: np.stack(v) for k, v in outputs.items()}, cycles, records)

    def _run_one(self, chip: simlib.Chip, program: Program, image: np.ndarray) -> int:
        words = pack_activations(image, self.hw.sub_row)
        low = self._arena + program.inputs[0].offset
        chip.memory[low : low + words.size] = words.view(np.uint8).ravel()
        chip.write("STATUS", 6)
        chip.write("CTRL", 1)
        total = 0
        while not chip.interrupt:
            total += chip.run(STEP)
            if self._progress:
                self._progress(total, chip.read("LAYER"))
        status = chip.read("STATUS")
        if status >> 2 & 1:
            raise DeviceError(self._fault(chip, program, status >> 8 & 255))
        return chip.read("CYCLES_LO") | chip.read("CYCLES_HI") << 32

    def _fault(self, chip: simlib.Chip, program: Program, code: int) -> str:
        layer = chip.read("LAYER")
        name = program.layers[layer].name if layer < len(program.layers) else "?"
        states = [chip.read(f"STATE{i}") for i in range(4)]
        idle = [unit for i, unit in enumerate(UNITS) if states[0] >> i & 1]
        axi = chip.read("AXI_ERRORS")
        return (
            f"verilator: engine stopped with error {code} ({ERROR_NAMES.get(code, 'unknown')}) in layer {layer} ({name}); "
            f"AXI response {axi & 3} on port {axi >> 4 & 15}; cycles {chip.read('CYCLES_LO')}; idle units: "
            f"{', '.join(idle) or 'none'}; STATE {' '.join(f'{s:08x}' for s in states)}; {chip.totals()}"
        )

    def _read(self, chip: simlib.Chip, offset: int, shape: tuple[int, int, int]) -> np.ndarray:
        c, h, w = shape
        blocks = -(-c // self.hw.sub_row)
        low = self._arena + offset
        raw = chip.memory[low : low + h * blocks * w * self.hw.sub_row].view(np.int8)
        return unpack_activations(raw.copy(), shape, self.hw.sub_row)

    def _read_records(self, chip: simlib.Chip, layers: int) -> list[dict[str, int]]:
        raw = chip.memory[self._records : self._records + isa.RECORD_BYTES * layers].view(np.uint64)
        return [dict(zip(isa.RECORD_FIELDS, map(int, row), strict=True)) for row in raw.reshape(layers, -1)]
