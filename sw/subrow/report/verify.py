"""A device against the independent reference: every byte of every layer's output tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.devices.base import Device, quantise
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.interpret import Interpreter
from subrow.spec.program import Program, TensorInfo

Inputs = Mapping[str, NDArray[np.int8]]
BATCH = 32  # images whose tensors are held at once


@dataclass(frozen=True)
class LayerCheck:
    """Comparison of one layer's output over all images: bytes compared, bytes that differ, where the first lies."""

    name: str
    compared: int
    different: int
    first: str | None  # image, channel, row, column, both values

    def __add__(self, other: LayerCheck) -> LayerCheck:
        """Both comparisons of the same layer together."""
        return LayerCheck(self.name, self.compared + other.compared, self.different + other.different,
                          self.first or other.first)  # fmt: skip

    @property
    def equal(self) -> bool:
        return self.compared > 0 and self.different == 0


def until(program: Program, layer: int, hw: HwConfig) -> Program:
    """The Program cut after a layer, whose only output is that layer's whole tensor, padding channels included."""
    ins = program.decoded()[layer]
    shape = ins.out_cb * hw.sub_row, ins.out_h, ins.out_w
    output = TensorInfo("tensor", shape, 1.0, ins.out_offset, ins.out_row_bytes)
    cut = dataclasses.replace(
        program, instructions=program.instructions[: layer + 1], layers=program.layers[: layer + 1], outputs=(output,)
    )
    missing = program.weight_base - cut.weight_base  # fewer pages of instructions: weights keep their address
    if missing:
        cut = dataclasses.replace(cut, weights=np.concatenate([np.zeros(missing, np.uint8), program.weights]))
    return cut


def random_inputs(program: Program, images: int, seed: int) -> Inputs:
    """int8 images over the whole range; every fourth holds only the extremes."""
    return _random(program, images, np.random.default_rng(seed))


def random_batches(program: Program, images: int, seed: int) -> Iterator[Inputs]:
    """As many random images as `random_inputs`, at most BATCH in memory at once."""
    rng = np.random.default_rng(seed)
    for start in range(0, images, BATCH):
        yield _random(program, min(BATCH, images - start), rng)


def _random(program: Program, images: int, rng: np.random.Generator) -> Inputs:
    inputs = {}
    for info in program.inputs:
        x = rng.integers(-127, 128, (images, *info.shape), np.int8)
        x[3::4] = np.where(x[3::4] < 0, -127, 127)
        inputs[info.name] = x
    return inputs


def as_inputs(program: Program, arrays: Mapping[str, NDArray[np.generic]]) -> Inputs:
    """Real or int8 images by input name, quantised as the devices do. Raises InputError when their numbers differ."""
    inputs = {info.name: quantise(arrays[info.name], info) for info in program.inputs}
    counts = {name: len(x) for name, x in inputs.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise InputError(f"images per input {counts}: must be equal and at least 1")
    return inputs


def batches_of(inputs: Inputs) -> Iterator[Inputs]:
    """The images in order, at most BATCH at once."""
    for start in range(0, len(next(iter(inputs.values()))), BATCH):
        yield {name: x[start : start + BATCH] for name, x in inputs.items()}


def verify(
    program: Program, device: Device, inputs: Inputs, progress: Callable[[str, int], None] | None = None
) -> tuple[LayerCheck, ...]:
    """Every layer's output tensor of `device` against the reference walk of the same Program, for all images.

    The device runs the Program cut after each layer, so each tensor is compared before another may take its memory.
    progress is called with each layer's name and how many images it has just been compared on.
    """
    return verify_batches(program, device, batches_of(inputs), progress)


def verify_batches(
    program: Program, device: Device, batches: Iterable[Inputs], progress: Callable[[str, int], None] | None = None
) -> tuple[LayerCheck, ...]:
    """`verify` with the images of all batches, numbered on; only one batch and its tensors are held at once."""
    walk, start = Interpreter(program, device.hw), 0
    total: tuple[LayerCheck, ...] = ()
    for inputs in batches:
        checks = _verify_batch(walk, device, inputs, start, progress)
        total = tuple(a + b for a, b in zip(total, checks, strict=True)) if total else checks
        start += len(next(iter(inputs.values())))
    return total


def _verify_batch(
    walk: Interpreter, device: Device, inputs: Inputs, start: int, progress: Callable[[str, int], None] | None
) -> tuple[LayerCheck, ...]:
    program, count = walk.program, len(next(iter(inputs.values())))
    expected = [list(walk.layers({name: x[i] for name, x in inputs.items()})) for i in range(count)]
    checks = []
    for number, info in enumerate(program.layers):
        device.load(until(program, number, device.hw))
        got = device.run(inputs).outputs["tensor"]
        checks.append(_check(info.name, got, np.stack([tensors[number] for tensors in expected]), start))
        if progress:
            progress(info.name, count)
    return tuple(checks)


def _check(name: str, got: NDArray[np.int8], expected: NDArray[np.int8], start: int) -> LayerCheck:
    wrong = np.argwhere(got != expected)
    first = None
    if len(wrong):
        image, channel, row, column = map(int, wrong[0])
        at = image, channel, row, column
        place = f"image {start + image}, channel {channel}, row {row}, column {column}"
        first = f"{place}: {got[at]}, must be {expected[at]}"
    return LayerCheck(name, expected.size, len(wrong), first)
