"""The two calls that most users need: compile a network, open a device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subrow import passes
from subrow.compress.quantise import quantise
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import Density, check_prunable, parse_density, prune
from subrow.compress.weight_bits import Bits, with_bits
from subrow.emit.lower import lower
from subrow.frontend.load import Model
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.ir.verify import verify
from subrow.passes.choose_tile import TileName
from subrow.planning import lowered, with_tiles
from subrow.spec.errors import ConfigError, InputError, UnsupportedError
from subrow.spec.hwconfig import HwConfig, load
from subrow.spec.program import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.export import ExportedProgram


Progress = Callable[[str, float], None]
"""Called with what happens now and the share of the work that is done, 0 to 1."""


def compile(  # noqa: A001
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any] | None,
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
    bits: Bits | None = None,
) -> Program:
    """A network as a Program for one HwConfig.

    example: a batch N x C x H x W that fixes the input's shape. density: s of every L weights stay, L being the
    HwConfig's, in the layers that `srbs.prunable` names (linear ones only with `linear`); None is dense. bits: of the
    weights, as in compress/weight_bits.py; layers of 4 bits are read as such by engines with narrow_u. calibration:
    images like those that the network will see; batch-norm statistics of a pruned network and all scales come from
    them (default: the example). A Graph goes on from its stage: one that is already pruned takes no density; a
    quantised one is only lowered, and its example may be None.

    Raises ConfigError for a density or tile that does not fit, InputError for a model or images that are none,
    UnsupportedError, QuantisationError and CapacityError when the engine cannot run the network.
    """
    config = load(hw)
    return lower(quantised(model, example, config, density, tile, calibration, linear, progress, bits), config)


def quantised(
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any] | None,
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
    bits: Bits | None = None,
) -> Graph:
    """The Graph that `compile` turns into a Program: fused, with integer parameters."""
    config = load(hw)
    images = example if calibration is None else calibration
    graph = compressed(model, example, config, density, tile, calibration, linear, progress, bits)
    if graph.stage == "quantised":
        return graph
    graph = passes.run(graph, passes.AFTER_COMPRESSION)
    count, done = sum(n.op == "conv" for n in graph), itertools.count()
    step = None if progress is None else lambda name: progress(f"quantise {name}", 0.2 + 0.8 * next(done) / count)
    return verify(quantise(graph, config, _given(images), progress=step), "quantise")


def compressed(
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any] | None,
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
    bits: Bits | None = None,
) -> Graph:
    """The float Graph with tiles chosen; with a density also pruned, its batch-norm statistics estimated again."""
    config = load(hw)
    report = progress or (lambda text, share: None)
    images = example if calibration is None else calibration
    pair = None if density is None else density_for(density, config)
    check_model(model)
    report("capture", 0.0)
    graph = model if isinstance(model, Graph) else _captured(model, example)
    if graph.stage != "captured":
        if graph.stage == "quantised" and bits is not None:
            raise ConfigError(f"Graph {graph.name} is already quantised: give no bits, or start from the model")
        if pair is not None or tile != "auto" or linear:
            raise ConfigError(
                f"Graph {graph.name} is already {graph.stage}: give neither density, tile nor linear, or start from "
                "the model"
            )
        return with_bits(graph, bits, config)
    graph = with_tiles(with_bits(lowered(graph, config), bits, config), tile, config, pair, linear)
    if pair is not None:
        check_prunable(graph, pair, linear)
        report("prune", 0.05)
        graph = verify(prune(graph, pair, linear=linear, images=images), "prune")
        report("batch-norm statistics", 0.15)
        graph = verify(recalibrate(graph, _given(images)), "recalibrate")
    return graph


def _captured(model: nn.Module | ExportedProgram, example: Tensor | NDArray[Any] | None) -> Graph:
    """`capture`, which cannot tell unsupported networks from images with the wrong number of channels."""
    example = _given(example)
    shape = tuple(example.shape)
    try:
        return capture(model, example)
    except UnsupportedError as error:
        layers: Iterable[Any] = getattr(model, "modules", tuple)()
        channels = next((m.in_channels for m in layers if hasattr(m, "in_channels")), None)
        if channels is None or len(shape) != 4 or shape[1] == channels:
            raise
        raise InputError(
            f"images have shape {shape}: {shape[1]} channels, but the first convolution of "
            f"{type(model).__name__} takes {channels}: give N x {channels} x H x W"
        ) from error


def _given(images: Tensor | NDArray[Any] | None) -> Tensor | NDArray[Any]:
    """The images. Raises InputError unless they are an array or tensor N x C x H x W (or N x C) with N >= 1."""
    shape = getattr(images, "shape", None)
    if images is None or shape is None or len(shape) not in (2, 4) or not len(images):
        what = type(images).__name__ if shape is None else f"of shape {tuple(shape)}"
        raise InputError(f"images are {what}: give an array or a tensor N x C x H x W with N >= 1")
    return images


def density_for(density: str | tuple[int, int], hw: HwConfig) -> Density:
    """(s, L) for one HwConfig. Raises ConfigError unless L is its sub_row, naming the equal density if there is one."""
    s, length = parse_density(density)
    if length == hw.sub_row:
        return s, length
    equal, rest = divmod(s * hw.sub_row, length)
    way = f"{equal}/{hw.sub_row} keeps the same share" if equal and not rest else f"give s/{hw.sub_row}"
    raise ConfigError(f"density {s}/{length}: HwConfig {hw.name} has sub-rows of L = {hw.sub_row} weights: {way}")


def check_model(model: object) -> None:
    """Raises InputError unless `compile` can start from it."""
    if not isinstance(model, Model):
        hint = "; call it to make the network" if callable(model) else ""
        raise InputError(
            f"model is {type(model).__name__} {str(model)[:60]!r}: give a torch.nn.Module, a torch.export "
            f"ExportedProgram or a Graph{hint}"
        )
