"""Accuracy of trained networks and of Programs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile as compile_network
from subrow.compress.stages import graph_accuracy, module_accuracy
from subrow.devices import open_device
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program
from subrow.trained import Trained, trained

_BATCH = 500

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def trained_accuracy(name: str, images: Images, labels: Labels, device: str) -> float:
    """Percent on `torch` or on the `emulator`. Raises InputError for float weights on the emulator."""
    found = trained(name)
    if not found.in_integers:
        if device != "torch":
            raise InputError(
                f"{found.folder}: holds float weights; {device} runs integers: use --device torch"
            )
        return module_accuracy(found.network(), (images, labels))
    if device == "torch":
        stored = found.graph()
        return graph_accuracy(stored.graph, hwconfig.load(stored.hw_name), (images, labels))
    program = program_of(found)
    return program_accuracy(program, hwconfig.load(program.hw_name), images, labels)


def program_of(found: Trained, hw: HwConfig | None = None) -> Program:
    """The Program of a trained network in integers, for its own HwConfig or another one with the same numbers."""
    stored = found.graph()
    config = hw or hwconfig.load(stored.hw_name)
    stored.check_hardware(config)
    return compile_network(stored.graph, None, config)


def program_accuracy(program: Program, hw: HwConfig, images: Images, labels: Labels) -> float:
    """Percent of images whose largest output is their label, on the emulator.

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
    with open_device("emulator", hw) as device:
        device.load(program)
        for start in range(0, len(labels), _BATCH):
            outputs = device.run(images[start : start + _BATCH]).outputs
            logits = next(iter(outputs.values())).reshape(len(images[start : start + _BATCH]), -1)
            hits += int((logits.argmax(1) == labels[start : start + _BATCH]).sum())
    return 100.0 * hits / len(labels)
