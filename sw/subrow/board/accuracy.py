"""Accuracy of a Program on a device."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from subrow.devices import Device, open_device
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program

_BATCH = 500

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Start = Callable[[HwConfig], Device]


def emulator(hw: HwConfig) -> Device:
    """The device that any machine has."""
    return open_device("emulator", hw)


def program_accuracy(
    program: Program, hw: HwConfig, images: Images, labels: Labels, start: Start = emulator
) -> float:
    """Percent of images whose largest output is their label, on the device that `start` opens.

    Raises InputError when the Program has several inputs or outputs, or images or labels are not for it.
    """
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise InputError(f"Program {program.name}: {len(program.inputs)} inputs and {len(program.outputs)} outputs; "
                         "an accuracy needs one of each")  # fmt: skip
    shape, values = tuple(program.inputs[0].shape), math.prod(program.outputs[0].shape)
    if images.shape[1:] != shape:
        raise InputError(f"Program {program.name} takes images of {shape}, not {images.shape[1:]}; give its data")
    if labels.max() >= values:
        raise InputError(f"Program {program.name} has {values} outputs, but there are labels up to {labels.max()}")
    hits = 0
    with start(hw) as device:
        device.load(program)
        for first in range(0, len(labels), _BATCH):
            batch, expected = images[first : first + _BATCH], labels[first : first + _BATCH]
            logits = next(iter(device.run(batch).outputs.values())).reshape(len(batch), -1)
            hits += int((logits.argmax(1) == expected).sum())
    return 100.0 * hits / len(labels)
