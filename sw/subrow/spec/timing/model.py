"""Cycles of a Program from its instructions alone: the units of the engine, coupled by counters and by memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from subrow.spec.errors import ProgramError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.timing import latency as lat
from subrow.spec.timing.compute import Array, Counters, Output, Windows
from subrow.spec.timing.geometry import Geometry
from subrow.spec.timing.memory import Memory, cycle
from subrow.spec.timing.streams import ActivationFetch, ResidualFetch, WeightFetch, Writer


@dataclass(frozen=True)
class Estimate:
    """Cycles of one image. layers: each from its dispatch to its last write response, as the counter record has them;
    cycles: the whole run, as the register CYCLES has it.
    """

    cycles: int
    layers: tuple[int, ...]


class _Layer:
    """The units of one layer from its dispatch on."""

    def __init__(self, g: Geometry, memory: Memory, weights: WeightFetch, index: int, dispatch: int) -> None:
        self.dispatch = dispatch
        c, stream = Counters(), weights.streams[index]
        self.acts = ActivationFetch(g, c, memory, dispatch)
        self.residual = ResidualFetch(g, c, memory, dispatch)
        self.writer = Writer(g, c, memory, dispatch)
        self.windows = Windows(g, c, dispatch)
        self.array = Array(g, c, stream, dispatch)
        self.output = Output(g, c, stream, dispatch)
        self.weights = weights
        memory.act.on_mark, memory.res.on_mark = self.acts.on_mark, self.residual.on_mark
        memory.out.on_mark = self.writer.on_mark

    def advance(self) -> None:
        """Let every unit go as far as the times that are known allow."""
        units = (self.windows, self.array, self.output, self.writer, self.acts, self.residual, self.weights)
        while any([u.advance() for u in units]):
            pass


def estimate(instructions: Sequence[Instruction], hw: HwConfig) -> Estimate:
    """Cycles of each layer and of the whole run of one image. Raises ProgramError when the layers can never end."""
    layers, end = _run(instructions, hw, None)
    return Estimate(end, tuple(layers))


def run_cycles(instructions: Sequence[Instruction], hw: HwConfig, bound: int | None = None) -> int | None:
    """Cycles of the whole run of one image; None as soon as it is clear that they exceed `bound`."""
    layers, end = _run(instructions, hw, bound)
    return end if layers else None


def _run(instructions: Sequence[Instruction], hw: HwConfig, bound: int | None) -> tuple[list[int], int]:
    """Cycles of every layer, and of the run; of none when it takes more than `bound`."""
    layers = [Geometry(i, hw) for i in instructions]
    memory = Memory(hw)
    weights = WeightFetch(layers, memory, start=1)
    memory.wgt.on_mark = weights.on_mark
    ready, end = 0, 0
    cycles: list[int] = []
    for i, g in enumerate(layers):
        weights.advance()
        while len(weights.commands) <= i:
            if not memory.step():
                raise ProgramError(f"layer {i}: its instruction never arrives in the cycle model")
            weights.advance()
        dispatch = max(ready, weights.commands[i] + 1)
        weights.dispatched.append(dispatch)
        layer = _Layer(g, memory, weights, i, dispatch)
        layer.advance()
        while layer.writer.finished is None:
            if bound is not None and memory.now > bound:
                return [], 0
            if not memory.step():
                raise ProgramError(
                    f"layer {i}: the cycle model stops at {memory.now:.0f} cycles with {layer.writer.unit} units "
                    "written; the instruction breaks a limit of docs/hardware.md"
                )
            layer.advance()
        assert layer.writer.recorded is not None
        cycles.append(layer.writer.recorded - dispatch - 1)
        ready = cycle(layer.writer.finished) - 1 + hw.latency_cycles + lat.RESPONSE_TO_DISPATCH
        end = ready - lat.DONE_BEFORE_DISPATCH
    return cycles, end
