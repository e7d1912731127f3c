"""What the commands start from: networks, calibration images, Programs and their inputs, with one clear error each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subrow.console import load_array
from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.errors import InputError

RANDOM_IMAGES = 16


@dataclass(frozen=True)
class Source:
    """What a command starts from: a network or a Graph, calibration images, hardware."""

    model: Any
    images: np.ndarray
    hw: hwconfig.HwConfig


def parse_shape(text: str) -> tuple[int, ...]:
    """`3,32,32` -> (3, 32, 32). Raises InputError."""
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"shape {text!r}: give C,H,W, for example 3,32,32") from error
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise InputError(f"shape {text!r}: give C,H,W (or C alone), each at least 1")
    return shape


def source_of(
    model: str, hw: str, calibration: Path | None, random_calibration: bool, shape: str | None
) -> Source:
    """Load what the options name. Raises SubrowError when something is missing or does not fit."""
    config = hwconfig.load(hw)
    given = parse_shape(shape) if shape else None
    images = load_array(calibration, "calibration") if calibration else None
    if Path(model).suffix == ".graph":
        from subrow.ir.store import load_graph

        stored = load_graph(model)
        stored.check_hardware(config)
        loaded: Any = stored.graph
        own: tuple[int, ...] | None = stored.graph.inputs[0].shape
        if stored.graph.stage == "quantised" and images is None:
            images = np.zeros((1, *stored.graph.inputs[0].shape), np.float32)  # nothing is left to calibrate
    else:
        from torch.export import ExportedProgram

        from subrow.frontend.load import input_shape, load_model
        from subrow.ir.graph import Graph

        loaded = load_model(model)
        own = input_shape(loaded) if isinstance(loaded, (ExportedProgram, Graph)) else None
    wanted = own or given
    if images is None:
        images = _random_images(model, wanted, random_calibration)
    for name, other in (("--shape", given), (f"model {model}", own)):
        if other is not None and images.shape[1:] != other:
            raise InputError(f"calibration images have shape {images.shape[1:]}, {name} says {other}: must be equal")
    if images.ndim not in (2, 4) or not len(images):
        raise InputError(f"calibration {calibration}: shape {images.shape}, must be N x C x H x W with N >= 1")
    return Source(loaded, images.astype(np.float32), config)


def _random_images(model: str, shape: tuple[int, ...] | None, allowed: bool) -> np.ndarray:
    if not allowed:
        raise InputError(
            f"model {model}: no calibration images; give --calibration images.npy with N x C x H x W numbers like "
            "those the network will see (a few hundred training images), or --random-calibration to try without"
        )
    if shape is None:
        raise InputError(f"model {model}: random calibration needs the input's shape; give --shape C,H,W")
    return np.random.default_rng(0).uniform(0, 1, (RANDOM_IMAGES, *shape)).astype(np.float32)


def load_program(path: Path, hw: str | None) -> tuple[programs.Program, hwconfig.HwConfig]:
    """A Program and the HwConfig that it was made for; ProgramError when they do not fit."""
    program = programs.load(path)
    config = hwconfig.load(hw or program.hw_name)
    program.check_hardware(config)
    return program, config


def load_images(program: programs.Program, paths: list[str], limit: int | None) -> dict[str, np.ndarray]:
    """Arrays by input name from `x.npy` or `name=x.npy`; at most `limit` images of each."""
    names, arrays = [i.name for i in program.inputs], {}
    for text in paths:
        name, equals, rest = text.partition("=")
        name, path = (name, rest) if equals else (names[0], text)
        if not equals and len(names) > 1:
            raise InputError(f"the Program has inputs {', '.join(names)}: give each as name=file.npy")
        if name not in names:
            raise InputError(f"input {name!r}: the Program has {', '.join(names)}")
        array = load_array(Path(path), f"input {name}")
        arrays[name] = array[None] if array.ndim == 3 else array
    missing = [n for n in names if n not in arrays]
    if missing:
        raise InputError(f"input {missing[0]} is missing: give --input {missing[0]}=file.npy")
    return {name: a[:limit] if limit else a for name, a in arrays.items()}


class LayerCounter:
    """Layers done over all images, from the layer that the engine says it is in."""

    def __init__(self, layers: int) -> None:
        self._layers, self._image, self._last = layers, 0, 0

    def __call__(self, layer: int) -> int:
        if layer < self._last:
            self._image += 1
        self._last = layer
        return self._image * self._layers + min(layer, self._layers)
