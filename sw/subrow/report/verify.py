"""A device against the independent reference: every byte of every layer's output tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.devices.base import Device, quantise
from subrow.spec.hwconfig import HwConfig
from subrow.spec.interpret import Interpreter
from subrow.spec.program import Program, TensorInfo

Inputs = Mapping[str, NDArray[np.int8]]


@dataclass(frozen=True)
class LayerCheck:
    """Comparison of one layer's output over all images: bytes compared, bytes that differ, where the first lies."""

    name: str
    compared: int
    different: int
    first: str | None  # image, channel, row, column, both values

    @property
    def equal(self) -> bool:
        return self.compared > 0 and self.different == 0


def until(program: Program, layer: int, hw: HwConfig) -> Program:
    """The Program cut after a layer, whose only output is that layer's whole tensor, padding channels included."""
    ins = program.decoded()[layer]
    output = TensorInfo("tensor", (ins.out_cb * hw.sub_row, ins.out_h, ins.out_w), 1.0, ins.out_offset)
    cut = dataclasses.replace(
        program, instructions=program.instructions[: layer + 1], layers=program.layers[: layer + 1], outputs=(output,)
    )
    missing = program.weight_base - cut.weight_base  # fewer pages of instructions: weights keep their address
    if missing:
        cut = dataclasses.replace(cut, weights=np.concatenate([np.zeros(missing, np.uint8), program.weights]))
    return cut


def random_inputs(program: Program, images: int, seed: int) -> Inputs:
    """int8 images over the whole range; every fourth holds only the extremes."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for info in program.inputs:
        x = rng.integers(-127, 128, (images, *info.shape)).astype(np.int8)
        x[3::4] = np.where(x[3::4] < 0, -127, 127)
        inputs[info.name] = x
    return inputs


def as_inputs(program: Program, arrays: Mapping[str, NDArray[np.generic]]) -> Inputs:
    """Real or int8 images by input name, quantised as the devices do."""
    return {info.name: quantise(arrays[info.name], info) for info in program.inputs}


def verify(
    program: Program, device: Device, inputs: Inputs, progress: Callable[[str], None] | None = None
) -> tuple[LayerCheck, ...]:
    """Every layer's output tensor of `device` against the reference walk of the same Program, for all images.

    The device runs the Program cut after each layer, so each tensor is compared before another may take its memory.
    progress is called with each layer's name when it is done.
    """
    hw = device.hw
    walk = Interpreter(program, hw)
    count = len(next(iter(inputs.values())))
    expected = [list(walk.layers({name: x[i] for name, x in inputs.items()})) for i in range(count)]
    checks = []
    for number, info in enumerate(program.layers):
        device.load(until(program, number, hw))
        got = device.run(inputs).outputs["tensor"]
        checks.append(_check(info.name, got, np.stack([tensors[number] for tensors in expected])))
        if progress:
            progress(info.name)
    return tuple(checks)


def _check(name: str, got: NDArray[np.int8], expected: NDArray[np.int8]) -> LayerCheck:
    wrong = np.argwhere(got != expected)
    first = None
    if len(wrong):
        image, channel, row, column = map(int, wrong[0])
        at = image, channel, row, column
        first = f"image {image}, channel {channel}, row {row}, column {column}: {got[at]}, must be {expected[at]}"
    return LayerCheck(name, expected.size, len(wrong), first)
