"""What pruning one layer at a time does to a network's outputs, and to its cycles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.compress.execute import execute
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import Density, prunable, prune
from subrow.estimate import estimate_instructions
from subrow.ir.graph import Graph
from subrow.passes.choose_tile import TileName
from subrow.planning import lowered, plan_network, with_tiles
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig


@dataclass(frozen=True)
class Curve:
    """One layer at every density s/L, s rising: divergence of the outputs (nats an image), cycles (estimated)."""

    layer: str
    kept: tuple[int, ...]
    divergence: tuple[float, ...]
    cycles: tuple[int, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The curves of all layers that can be pruned; rest: cycles of everything else."""

    sub_row: int
    curves: tuple[Curve, ...]
    rest: int

    def cycles(self, chosen: dict[str, int]) -> int:
        """Estimated cycles of the network with chosen[layer] weights kept of each sub-row."""
        return self.rest + sum(c.cycles[c.kept.index(chosen[c.layer])] for c in self.curves)


def measure(
    graph: Graph, images: NDArray[np.float32], hw: HwConfig, tile: TileName, linear: bool, kept: Sequence[int] = (),
    progress: Callable[[str, float], None] | None = None,
) -> Sensitivity:  # fmt: skip
    """Prune one layer of a captured Graph at a time, estimate its batch-norm statistics again, compare the outputs.

    images [N, C, H, W] need no labels. The divergence is KL(dense || pruned) of the softmax over the outputs. kept: the
    values of s; default 1..L. Raises InputError when the network has no layer to prune.
    """
    kept = tuple(sorted({*(kept or range(1, hw.sub_row)), hw.sub_row}))
    cycles = {s: _cycles(graph, hw, tile, (s, hw.sub_row), linear) for s in kept}
    ready = with_tiles(lowered(graph, hw), tile, hw, (hw.sub_row // 2, hw.sub_row), linear)
    layers = prunable(ready, hw.sub_row, linear)
    if not layers:
        raise InputError(f"Graph {graph.name}: no layer can be pruned in sub-rows of L = {hw.sub_row}")
    dense, curves = _outputs(ready, images), []
    for i, layer in enumerate(layers):
        if progress:
            progress(layer, i / len(layers))
        found = [_divergence(dense, ready, layer, (s, hw.sub_row), images) for s in kept]
        curves.append(Curve(layer, kept, tuple(found), tuple(cycles[s][layer] for s in kept)))
    all_cycles = cycles[hw.sub_row]
    return Sensitivity(hw.sub_row, tuple(curves), sum(all_cycles.values()) - sum(all_cycles[n] for n in layers))


def _divergence(
    dense: NDArray[np.float64], graph: Graph, layer: str, density: Density, images: NDArray[np.float32]
) -> float:
    if density[0] == density[1]:
        return 0.0
    pruned = recalibrate(prune(graph, density, [layer]), images)
    other = _outputs(pruned, images)
    return float((np.exp(dense) * (dense - other)).sum(1).mean())


def _outputs(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities [N, outputs]."""
    values = next(iter(execute(graph, images).values())).reshape(len(images), -1).astype(np.float64)
    values -= values.max(1, keepdims=True)
    return values - np.log(np.exp(values).sum(1, keepdims=True))


def _cycles(graph: Graph, hw: HwConfig, tile: TileName, density: Density, linear: bool) -> dict[str, int]:
    """Estimated cycles of each layer, all of them at one density; parts of a layer count together."""
    planned, _ = plan_network(graph, tile, hw, density, linear)
    names = [node.name for node, _ in planned]
    result = estimate_instructions(graph.name, names, [ins for _, ins in planned], hw)
    found: dict[str, int] = {}
    for layer in result.layers:
        name = layer.name.partition("[")[0]
        found[name] = found.get(name, 0) + layer.cycles
    return found
