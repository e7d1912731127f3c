"""Program files with a valid digest whose content is not what a compiler writes."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from subrow.spec import hwconfig, isa, metadata
from subrow.spec.program import FORMAT_VERSION, Program
from tests.devices.assemble import Layer, Shape, feeds_of, make_layer, program_of

HW = hwconfig.load("tiny")
LAYERS = (
    Shape(tile=1, channels=11, outputs=12, h=6, w=6, pad=1, sub_s=2, relu=True, ev=(0, 2), em=(0, 2)),
    Shape(tile=2, channels=12, outputs=16, h=6, w=6, pad=1, sub_s=3, residual=True, block=(1, 2), ev=(2, 5)),
    Shape(tile=0, channels=16, outputs=10, h=6, w=6, kernel=(3, 3), stride=2, pad=1, sub_s=4),
)


def layers() -> list[Layer]:
    return [make_layer(HW, shape, i + 1) for i, shape in enumerate(LAYERS)]


def sample() -> Program:
    """Three layers of three tile sizes, two inputs, channels that do not fill their blocks."""
    return program_of(HW, layers())


def feeds() -> dict[str, np.ndarray]:
    return feeds_of(layers())


def document_of(program: Program) -> dict[str, Any]:
    """The metadata of a Program, without its digest."""
    fields = {f.name: getattr(program, f.name) for f in dataclasses.fields(program)}
    for key in ("instructions", "weights"):
        del fields[key]
    for key in ("inputs", "outputs", "layers"):
        fields[key] = [dataclasses.asdict(item) for item in fields[key]]
    document = {"format_version": FORMAT_VERSION, "isa_version": isa.ISA_VERSION} | fields
    return json.loads(json.dumps(document))


def signed(document: dict[str, Any], program: Program, **tensors: np.ndarray) -> bytes:
    """A Program file of this document with the digest that belongs to it."""
    arrays = {"instructions": program.instructions, "weights": program.weights} | tensors
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digest = metadata.digest(document, arrays["instructions"], arrays["weights"])
    return save(arrays, {"subrow": json.dumps(document | {"digest": digest})})


def changed(change: Callable[[dict[str, Any]], object], program: Program | None = None) -> bytes:
    """A signed Program file after `change` of its metadata."""
    base = sample() if program is None else program
    document = copy.deepcopy(document_of(base))
    change(document)
    return signed(document, base)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "p.subrow"
    path.write_bytes(data)
    return path
