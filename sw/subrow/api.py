"""The two calls that most users need: compile a network, open a device."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subrow import passes
from subrow.compress.quantise import quantise
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import parse_density, prune
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.ir.verify import verify
from subrow.passes.choose_tile import TileName, choose_tile
from subrow.spec.errors import ConfigError
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
    example: Tensor | NDArray[Any],
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
) -> Program:
    """A network as a Program for one HwConfig.

    example: a batch N x C x H x W that fixes the input's shape. density: s of every L weights stay in the layers that
    `srbs.prunable` names (linear ones only with `linear`); None is dense. calibration: images like those that the
    network will see; batch-norm statistics of a pruned network and all scales come from them (default: the example).
    A Graph goes on from its stage: one that is already pruned takes no density, a quantised one is only lowered.
    """
    config = load(hw)
    return lower(quantised(model, example, config, density, tile, calibration, linear, progress), config)


def quantised(
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any],
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
) -> Graph:
    """The Graph that `compile` turns into a Program: fused, with integer parameters."""
    config = load(hw)
    images = example if calibration is None else calibration
    graph = compressed(model, example, config, density, tile, calibration, linear, progress)
    if graph.stage == "quantised":
        return graph
    graph = passes.run(graph, passes.AFTER_COMPRESSION)
    count, done = sum(n.op == "conv" for n in graph), itertools.count()
    step = None if progress is None else lambda name: progress(f"quantise {name}", 0.2 + 0.8 * next(done) / count)
    return verify(quantise(graph, config, images, progress=step), "quantise")


def compressed(
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any],
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
    progress: Progress | None = None,
) -> Graph:
    """The float Graph with tiles chosen; with a density also pruned, its batch-norm statistics estimated again."""
    config = load(hw)
    report = progress or (lambda text, share: None)
    images = example if calibration is None else calibration
    report("capture", 0.0)
    graph = model if isinstance(model, Graph) else capture(model, example)
    if graph.stage != "captured":
        if density is not None or tile != "auto":
            raise ConfigError(
                f"Graph {graph.name} is already {graph.stage}: give neither density nor tile, or start from the model"
            )
        return graph
    graph = verify(choose_tile(verify(passes.lower_linear(graph), "lower_linear"), tile, config), "choose_tile")
    if density is not None:
        report("prune", 0.05)
        graph = verify(prune(graph, parse_density(density), linear=linear, images=images), "prune")
        report("batch-norm statistics", 0.15)
        graph = verify(recalibrate(graph, images), "recalibrate")
    return graph
