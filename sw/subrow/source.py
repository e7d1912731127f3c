"""What the commands start from: networks, calibration images, Programs and their inputs, with one clear error each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subrow.console import load_array
from subrow.ir.graph import Stage
from subrow.ir.store import load_graph
from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.errors import InputError

RANDOM_IMAGES = 16
DATA_IMAGES = 64  # training images of a data set that is given to calibrate on
LARGEST = 1e9  # no image holds larger values, and their squares must stay numbers


def refuse(options: Mapping[str, object], reason: str) -> None:
    """Raises InputError when an option that has no effect was given: one that is neither None nor False."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise InputError(f"{', '.join(given)}: no effect {reason}")


@dataclass(frozen=True)
class Compression:
    """The options that shape a network's layers, as given: `auto` and None leave the choice to the compiler."""

    density: str | None
    tile: str
    linear: bool
    bits: str | None = None

    def given(self) -> dict[str, object]:
        """The options by name; None or False where nothing was chosen."""
        return {"--density": self.density, "--tile": None if self.tile == "auto" else self.tile,
                "--linear": self.linear}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What a command starts from: a network or a Graph, hardware, calibration images (None: nothing to calibrate)."""

    model: Any
    images: np.ndarray | None
    hw: hwconfig.HwConfig
    stage: Stage = "captured"

    @property
    def calibration(self) -> np.ndarray:
        """The images. Raises InputError when there are none."""
        if self.images is None:
            raise InputError("nothing to calibrate on: give --calibration images.npy")
        return self.images


def parse_shape(text: str) -> tuple[int, ...]:
    """`3,32,32` -> (3, 32, 32). Raises InputError."""
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"shape {text!r}: give C,H,W, for example 3,32,32") from error
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise InputError(f"shape {text!r}: give C,H,W (or C alone), each at least 1")
    return shape


def hardware(name: str) -> hwconfig.HwConfig:
    """The HwConfig of an option --hw. Raises SubrowError."""
    if Path(name).is_dir():
        known = ", ".join(sorted(p.stem for p in hwconfig.CONFIG_DIR.glob("*.toml")))
        raise InputError(f"--hw {name!r}: is a folder; give a name ({known}) or the path of a .toml file")
    return hwconfig.load(name)


def source_of(
    model: str, hw: str, how: Compression, calibration: Path | None, random_calibration: bool, shape: str | None
) -> Source:
    """Load what the options name.

    Raises SubrowError when something is missing or does not fit, and when an option would have no effect.
    """
    config = hardware(hw)
    given = parse_shape(shape) if shape else None
    if calibration:
        refuse({"--random-calibration": random_calibration}, "together with --calibration")
    images = _calibration_images(calibration) if calibration else None
    if Path(model).suffix == ".graph":
        stored = load_graph(model)
        stored.check_hardware(config)
        loaded: Any = stored.graph
        own: tuple[int, ...] | None = loaded.inputs[0].shape
        stage: Stage = loaded.stage
        _refuse_for_graph(model, stage, how, calibration, random_calibration, shape)
        if stage == "quantised":
            return Source(loaded, None, config, stage)
    else:
        if how.density is None:
            refuse({"--linear": how.linear}, "without --density: nothing is pruned")
        stage = "captured"
        loaded, own = _network(model)
    if images is None:
        images = _random_images(model, own or given, random_calibration)
    for name, other in (("--shape", given), (f"model {model}", own)):
        if other is not None and images.shape[1:] != other:
            raise InputError(f"calibration images have shape {images.shape[1:]}, {name} says {other}: must be equal")
    return Source(loaded, images.astype(np.float32), config, stage)


def _network(model: str) -> tuple[Any, tuple[int, ...] | None]:
    """A network and, where it says so itself, its input's shape."""
    from subrow.frontend.load import input_shape, load_model

    loaded = load_model(model)
    return loaded, input_shape(loaded)


def _refuse_for_graph(
    model: str, stage: Stage, how: Compression, calibration: Path | None, random: bool, shape: str | None
) -> None:
    """Raises InputError for options whose work a Graph has behind it."""
    if stage != "captured":
        refuse(how.given(), f"on {model}, which is already {'pruned' if stage == 'compressed' else stage}: give them "
               "to the step that starts from the network")  # fmt: skip
    if stage == "quantised":
        behind = {"--calibration": calibration, "--random-calibration": random, "--shape": shape}
        refuse({**behind, "--bits": how.bits}, f"on {model}, which is already quantised")


def _calibration_images(path: Path) -> np.ndarray:
    if path.is_dir() or path.suffix == ".npz":
        from models import datasets

        return datasets.load(path).train.first(DATA_IMAGES).images
    images = load_array(path, "calibration")
    if images.ndim not in (2, 4) or not len(images):
        raise InputError(f"calibration {path}: shape {images.shape}, must be N x C x H x W with N >= 1")
    peak = float(max(-images.min(), images.max())) if images.dtype.kind == "f" else 0.0
    if peak > LARGEST:
        raise InputError(f"calibration {path}: holds values up to {peak:.4g}, limit {LARGEST:g}: not images")
    return images


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
    config = hardware(hw or program.hw_name)
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
        if name in arrays:
            raise InputError(f"--input {text}: input {name!r} is given twice; give each once")
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
