"""Accuracy of a Program on a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from subrow.devices import Device, open_device
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program

BATCH = 500
"""Images that a device gets at a time."""

Batches = Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]]
"""(images [N, C, H, W], labels [N]) of each batch."""
Start = Callable[[HwConfig], Device]


def emulator(hw: HwConfig) -> Device:
    """The device that any machine has."""
    return open_device("emulator", hw)


def in_batches(images: NDArray[np.float32], labels: NDArray[np.int64]) -> Batches:
    """Arrays in memory as batches."""
    for first in range(0, len(labels), BATCH):
        yield images[first : first + BATCH], labels[first : first + BATCH]


def program_accuracy(program: Program, hw: HwConfig, batches: Batches, start: Start = emulator) -> float:
    """Percent of images whose largest output is their label, on the device that `start` opens.

    Raises InputError when the Program has several inputs or outputs, or images or labels are not for it.
    """
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise InputError(f"Program {program.name}: {len(program.inputs)} inputs and {len(program.outputs)} outputs; "
                         "an accuracy needs one of each")  # fmt: skip
    shape, values = tuple(program.inputs[0].shape), math.prod(program.outputs[0].shape)
    hits = count = 0
    with start(hw) as device:
        device.load(program)
        for images, labels in batches:
            if images.shape[1:] != shape:
                raise InputError(
                    f"Program {program.name} takes images of {shape}, not {images.shape[1:]}; give its data"
                )
            if labels.max() >= values:
                most = labels.max()
                raise InputError(f"Program {program.name} has {values} outputs, but there are labels up to {most}")
            logits = next(iter(device.run(images).outputs.values())).reshape(len(images), -1)
            hits, count = hits + int((logits.argmax(1) == labels).sum()), count + len(labels)
    if not count:
        raise InputError(f"Program {program.name}: there are no images to measure an accuracy with")
    return 100.0 * hits / count
