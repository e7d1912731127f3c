"""The emulator: the engine's HLS description, compiled by g++, bit for bit what the hardware computes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subrow.devices.base import Device, Int8Array, RunResult, pack_activation, read_tensor
from subrow.devices.hlslib import STATUS_LAYER_SHIFT, HlsLibrary, library
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import RECORD_FIELDS
from subrow.spec.program import Program


class Emulator(Device):
    """Runs images in parallel threads; counts issued array cycles and bytes, but knows no time."""

    name = "emulator"

    def __init__(self, hw: HwConfig, threads: int | None = None, ap_types: bool = False) -> None:
        super().__init__(hw)
        self._lib: HlsLibrary = library(hw, ap_types)
        self._threads = threads or len(os.sched_getaffinity(0))
        self._image: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def _place(self, program: Program) -> None:
        self._image = program.image()

    def run(self, x: ArrayLike | Mapping[str, ArrayLike]) -> RunResult:
        program = self.program
        inputs = self.quantised_inputs(x)
        count = len(next(iter(inputs.values())))
        outputs = {i.name: np.empty((count, *i.shape), np.int8) for i in program.outputs}
        workers = min(self._threads, count)
        with ThreadPoolExecutor(workers) as pool:
            parts = [range(i, count, workers) for i in range(workers)]
            records = list(pool.map(lambda part: self._run_images(program, part, inputs, outputs), parts))
        last = records[(count - 1) % workers]
        return RunResult(
            outputs=outputs,
            scales={i.name: i.scale for i in program.outputs},
            cycles=None,
            records=tuple(dict(zip(RECORD_FIELDS, map(int, row), strict=True)) for row in last),
            device=self.name,
            program_digest=program.digest(),
            hw_digest=self.hw.digest,
        )

    def _run_images(self, program: Program, part: range, inputs: Mapping[str, Int8Array],
                    outputs: Mapping[str, Int8Array]) -> NDArray[np.uint64]:
        """One thread's images, in an arena of its own; returns the counter records of the last one."""
        lanes, layers = self.hw.sub_row, len(program.layers)
        arena = np.zeros(program.arena_bytes, np.uint8)
        records = np.zeros((layers, len(RECORD_FIELDS)), np.uint64)
        for i in part:
            for info in program.inputs:
                data = pack_activation(inputs[info.name][i], lanes).view(np.uint8).ravel()
                arena[info.offset : info.offset + data.size] = data
            status = self._lib.run(self._image.ctypes.data, self._image.size, arena.ctypes.data, arena.size, layers,
                                   records.ctypes.data)
            if status:
                raise self._refused(program, status >> STATUS_LAYER_SHIFT, self._lib.text(status))
            for info in program.outputs:
                outputs[info.name][i] = read_tensor(arena, info, lanes)
        return records
