"""Accuracy of trained networks and of Programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from subrow.api import compile as compile_network
from subrow.compress.stages import graph_accuracy, module_accuracy
from subrow.devices import open_device
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program
from subrow.trained import Trained, trained

if TYPE_CHECKING:
    from models.labelled import Images

_BATCH = 500


def trained_accuracy(name: str, images: Images, device: str) -> float:
    """Percent on `torch` or on the `emulator`. Raises InputError for float weights on the emulator."""
    found = trained(name)
    if not found.in_integers:
        if device != "torch":
            raise InputError(
                f"{found.folder}: holds float weights; {device} runs integers: use --device torch"
            )
        return module_accuracy(found.network(), images)
    if device == "torch":
        stored = found.graph()
        return graph_accuracy(stored.graph, hwconfig.load(stored.hw_name), images)
    program = program_of(found)
    return program_accuracy(program, hwconfig.load(program.hw_name), images)


def program_of(found: Trained, hw: HwConfig | None = None) -> Program:
    """The Program of a trained network in integers, for its own HwConfig or another one with the same numbers."""
    stored = found.graph()
    config = hw or hwconfig.load(stored.hw_name)
    stored.check_hardware(config)
    return compile_network(stored.graph, None, config)


def program_accuracy(program: Program, hw: HwConfig, images: Images) -> float:
    """Percent of images whose largest output is their label, on the emulator.

    Raises InputError when the Program has several inputs or outputs, or images or labels are not for it.
    """
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise InputError(f"Program {program.name}: {len(program.inputs)} inputs and {len(program.outputs)} outputs; "
                         "an accuracy needs one of each")  # fmt: skip
    shape, values = tuple(program.inputs[0].shape), math.prod(program.outputs[0].shape)
    own, most = images.first(1).images.shape[1:], images.labels.max()
    if own != shape:
        raise InputError(f"Program {program.name} takes images of {shape}, not {own}; give its data")
    if most >= values:
        raise InputError(f"Program {program.name} has {values} outputs, but there are labels up to {most}")
    hits = 0
    with open_device("emulator", hw) as device:
        device.load(program)
        for batch in images.batches(_BATCH):
            outputs = device.run(batch.images).outputs
            logits = next(iter(outputs.values())).reshape(len(batch.labels), -1)
            hits += int((logits.argmax(1) == batch.labels).sum())
    return 100.0 * hits / len(images.labels)
