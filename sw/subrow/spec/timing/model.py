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


class Run:
    """One image through a few layers, layer after layer.

    head: beats of the first layer's weights that are there before it begins. coarse: faster, see Memory.
    """

    def __init__(self, instructions: Sequence[Instruction], hw: HwConfig, head: int = 0, coarse: bool = False) -> None:
        self.hw, self.head = hw, head
        self.layers = [Geometry(i, hw) for i in instructions]
        self.memory = Memory(hw, coarse)
        self.weights = WeightFetch(self.layers, self.memory, start=1)
        self.memory.wgt.on_mark = self.weights.on_mark
        self.index = 0
        self.ready = 0  # earliest dispatch of the next layer
        self.block_ends: list[int] = []  # of the last layer: when the array was done with each block

    @property
    def cycles(self) -> int:
        """Cycles of the layers so far, from the start to the last response of the last counter record."""
        return self.ready - lat.DONE_BEFORE_DISPATCH

    def layer(self, bound: float | None = None) -> int | None:
        """Cycles of the next layer, from its dispatch to its last write response; None when they exceed `bound`.

        Raises ProgramError when it can never end.
        """
        i, memory = self.index, self.memory
        dispatch = self._dispatch()
        layer = _Layer(self.layers[i], memory, self.weights, i, dispatch)
        layer.advance()
        while layer.writer.finished is None:
            if bound is not None and memory.now > dispatch + bound:
                return None
            if not memory.step():
                raise ProgramError(
                    f"layer {i}: the cycle model stops at {memory.now:.0f} cycles with {layer.writer.unit} units "
                    "written; the instruction breaks a limit of docs/hardware.md"
                )
            layer.advance()
        assert layer.writer.recorded is not None
        self.block_ends = layer.windows.c.v_free
        self.index += 1
        self.ready = cycle(layer.writer.finished) - 1 + self.hw.latency_cycles + lat.RESPONSE_TO_DISPATCH
        return layer.writer.recorded - dispatch - 1

    def _dispatch(self) -> int:
        """Cycle in which the next layer begins."""
        i, weights, memory = self.index, self.weights, self.memory
        weights.advance()
        while len(weights.commands) <= i:
            if not memory.step():
                raise ProgramError(f"layer {i}: its instruction never arrives in the cycle model")
            weights.advance()
        ready = max(self.ready, weights.commands[i] + 1)
        if i == 0 and self.head:
            stream = weights.streams[0]
            wanted = min(self.head, self.layers[0].chunks * self.layers[0].chunk_beats)
            while not stream.arrived(wanted):
                if stream.time(wanted) is None and not memory.step():
                    break  # the ring is full
                weights.advance()
            ready = max(ready, cycle(memory.now))
        weights.dispatched.append(ready)
        return ready

    def head_of_next(self) -> int:
        """Beats of the next layer's weights that are there when it can begin."""
        self._dispatch()
        stream, moved = self.weights.streams[self.index], self.memory.wgt.done
        return 0 if stream.origin is None else max(0, int(moved - stream.origin))


def estimate(instructions: Sequence[Instruction], hw: HwConfig) -> Estimate:
    """Cycles of each layer and of the whole run of one image. Raises ProgramError when the layers can never end."""
    run = Run(instructions, hw)
    layers = [run.layer() for _ in instructions]
    return Estimate(run.cycles, tuple(c for c in layers if c is not None))
