"""The two calls that most users need: compile a network, open a device."""

from __future__ import annotations

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
from subrow.spec.hwconfig import HwConfig, load
from subrow.spec.program import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.export import ExportedProgram


def compile(  # noqa: A001
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any],
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
) -> Program:
    """A network as a Program for one HwConfig.

    example: a batch N x C x H x W that fixes the input's shape. density: s of every L weights stay in the layers that
    `srbs.prunable` names (linear ones only with `linear`); None is dense. calibration: images like those that the
    network will see; batch-norm statistics of a pruned network and all scales come from them (default: the example).
    """
    config = load(hw)
    return lower(quantised(model, example, config, density, tile, calibration, linear), config)


def quantised(
    model: nn.Module | ExportedProgram | Graph,
    example: Tensor | NDArray[Any],
    hw: str | Path | HwConfig = "tiny",
    density: str | tuple[int, int] | None = None,
    tile: TileName = "auto",
    calibration: Tensor | NDArray[Any] | None = None,
    linear: bool = False,
) -> Graph:
    """The Graph that `compile` turns into a Program: fused, with integer parameters."""
    config = load(hw)
    images = example if calibration is None else calibration
    graph = model if isinstance(model, Graph) else capture(model, example)
    graph = verify(choose_tile(verify(passes.lower_linear(graph), "lower_linear"), tile, config), "choose_tile")
    if density is not None:
        graph = verify(prune(graph, parse_density(density), linear=linear), "prune")
        graph = verify(recalibrate(graph, images), "recalibrate")
    graph = passes.run(graph, passes.AFTER_COMPRESSION)
    return verify(quantise(graph, config, images), "quantise")
