"""Accuracy of trained networks and of Programs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile as compile_network
from subrow.compress.stages import graph_accuracy, module_accuracy
from subrow.devices import Device, open_device
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program
from subrow.trained import Trained, trained

_BATCH = 500

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Start = Callable[[HwConfig], Device]


def trained_accuracy(name: str, images: Images, labels: Labels, start: Start | None) -> float:
    """Percent on the device that `start` opens, or on torch without one. Raises InputError for float weights there."""
    found = trained(name)
    if not found.in_integers:
        if start is not None:
            raise InputError(f"{found.folder}: holds float weights; devices run integers: use --device torch")
        return module_accuracy(found.network(), (images, labels))
    if start is None:
        stored = found.graph()
        return graph_accuracy(stored.graph, hwconfig.load(stored.hw_name), (images, labels))
    program = program_of(found)
    return program_accuracy(program, hwconfig.load(program.hw_name), images, labels, start)


def program_of(found: Trained, hw: HwConfig | None = None) -> Program:
    """The Program of a trained network in integers, for its own HwConfig or another one with the same numbers."""
    stored = found.graph()
    config = hw or hwconfig.load(stored.hw_name)
    stored.check_hardware(config)
    return compile_network(stored.graph, None, config)


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
