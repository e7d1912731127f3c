"""Accuracy of trained networks and of Programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from subrow.api import compile as compile_network
from subrow.board.accuracy import BATCH, Start, program_accuracy
from subrow.compress.stages import graph_accuracy, module_accuracy
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program
from subrow.trained import Trained, trained

if TYPE_CHECKING:
    from models.labelled import Images


def trained_accuracy(name: str, images: Images, start: Start | None) -> float:
    """Percent on the device that `start` opens, or on torch without one. Raises InputError for float weights there."""
    found = trained(name)
    if not found.in_integers:
        if start is not None:
            raise InputError(f"{found.folder}: holds float weights; devices run integers: use --device torch")
        return module_accuracy(found.network(), images)
    if start is None:
        stored = found.graph()
        return graph_accuracy(stored.graph, hwconfig.load(stored.hw_name), images)
    program = program_of(found)
    return program_accuracy(program, hwconfig.load(program.hw_name), images.batches(BATCH), start)


def program_of(found: Trained, hw: HwConfig | None = None) -> Program:
    """The Program of a trained network in integers, for its own HwConfig or another one with the same numbers."""
    stored = found.graph()
    config = hw or hwconfig.load(stored.hw_name)
    stored.check_hardware(config)
    return compile_network(stored.graph, None, config)
