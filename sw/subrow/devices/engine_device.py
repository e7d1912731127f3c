"""What the devices with an engine of their own have in common: the Verilated one and a board's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from subrow.devices.base import Device, RunResult
from subrow.devices.engine import Engine
from subrow.spec.program import Program


class EngineDevice(Device):
    """A Device that runs images on an Engine, one after the other."""

    slots: int  # arenas; with two, the host packs and unpacks while the engine runs
    _engine: Engine | None = None

    @abstractmethod
    def _connect(self, program: Program) -> Engine:
        """The engine that is to run a Program that has been checked."""

    def _place(self, program: Program) -> None:
        engine = self._connect(program)
        engine.place(program, self.slots)
        self._engine = engine

    def _unload(self) -> None:
        super()._unload()
        if self._engine is not None:
            self._engine.free()
        self._engine = None

    def run(self, x: ArrayLike | Mapping[str, ArrayLike]) -> RunResult:
        """Images one after the other; see Device. DeviceError carries the layer and the state of every unit."""
        program = self.program
        assert self._engine is not None  # load sets both
        inputs = self.quantised_inputs(x)
        count = len(next(iter(inputs.values())))
        outputs = {t.name: np.empty((count, *t.shape), np.int8) for t in program.outputs}
        images = [{name: batch[i] for name, batch in inputs.items()} for i in range(count)]
        cycles = []
        for i, (tensors, used) in enumerate(self._engine.stream(images)):
            cycles.append(used)
            for name, tensor in tensors.items():
                outputs[name][i] = tensor
        return RunResult(
            outputs=outputs,
            scales={t.name: t.scale for t in program.outputs},
            cycles=tuple(cycles),
            records=self._engine.records(),
            device=self.name,
            program_digest=program.digest(),
            hw_digest=self.hw.digest,
        )
