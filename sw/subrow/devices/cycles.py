"""The cycle model as a device: it knows how long a Program takes, and nothing of what the Program computes."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike

from subrow.devices.base import Device, RunResult
from subrow.spec.isa import Instruction
from subrow.spec.program import Program
from subrow.spec.roofline import roofline, traffic
from subrow.spec.timing import Estimate, estimate


class Cycles(Device):
    """Estimates the Program that is loaded. Every figure that it gives is estimated; images make no difference."""

    name = "cycles"

    def _place(self, program: Program) -> None:
        """Nothing: the model reads the instructions when it is asked."""

    def estimate(self) -> Estimate:
        """Cycles of the loaded Program: one image, and each layer."""
        return estimate(self.program.decoded(), self.hw)

    def run(self, x: ArrayLike | Mapping[str, ArrayLike]) -> RunResult:
        """Cycles for each image, no outputs; records hold only the counters that follow from the instructions."""
        count = len(next(iter(self.quantised_inputs(x).values())))
        result = self.estimate()
        instructions = self.program.decoded()
        return RunResult(
            outputs={}, scales={}, cycles=(result.cycles,) * count,
            records=tuple(self._record(i, c) for i, c in zip(instructions, result.layers, strict=True)),
            device=self.name, program_digest=self.program.digest(), hw_digest=self.hw.digest,
        )  # fmt: skip

    def _record(self, ins: Instruction, cycles: int) -> dict[str, int]:
        moved = traffic(ins, self.hw)
        return {
            "layer_id": ins.layer_id, "cycles": cycles, "issued": round(roofline(ins, self.hw).compute),
            "read_bytes": moved.read, "weight_bytes": moved.weights,
        }  # fmt: skip
