"""What pruning one layer at a time does to a network's outputs, and to its cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from subrow.compress.compensate import pruned_at
from subrow.compress.execute import as_batch, execute
from subrow.compress.importance import taylor
from subrow.compress.recalibrate import recalibrate
from subrow.compress.sparse_network import check_single
from subrow.compress.srbs import prunable
from subrow.compress.weight_bits import Bits, with_bits
from subrow.estimate import NetworkEstimate, estimate_instructions
from subrow.ir.graph import Graph
from subrow.passes.choose_tile import TileName
from subrow.planning import lowered, plan_tiled, with_tiles
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig

Importance = Literal["sweep", "taylor"]


@dataclass(frozen=True)
class Curve:
    """One layer at every density s/L, s rising: divergence of the outputs (nats an image; measured by a sweep,
    estimated by a Taylor expansion), cycles (estimated).
    """

    layer: str
    kept: tuple[int, ...]
    divergence: tuple[float, ...]
    cycles: tuple[int, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The curves of all layers that can be pruned; rest: cycles of everything else, with the turns between layers.

    Sums of curves are near the network's estimate, not equal to it: a layer's start overlaps with the one before.
    """

    sub_row: int
    curves: tuple[Curve, ...]
    rest: int

    def cycles(self, chosen: dict[str, int]) -> int:
        """About the estimated cycles of the network with chosen[layer] weights kept of each sub-row."""
        return self.rest + sum(c.cycles[c.kept.index(chosen[c.layer])] for c in self.curves)


def measure(
    graph: Graph, images: NDArray[np.float32], hw: HwConfig, tile: TileName, linear: bool, kept: Sequence[int] = (),
    progress: Callable[[str, float], None] | None = None, importance: Importance = "sweep", bits: Bits | None = None,
) -> Sensitivity:  # fmt: skip
    """What each layer of a captured Graph costs at every density: how far the outputs move, and cycles.

    `sweep` prunes one layer at a time, estimates its batch-norm statistics again and compares the outputs; `taylor`
    estimates the same from gradients, in much less time (compress/importance.py). images [N, C, H, W] need no labels.
    The divergence is KL(dense || pruned) of the softmax over the outputs. kept: the values of s; default 1..L. bits: of
    the weights, as in compress/weight_bits.py; they count in the cycles alone. Raises InputError when the network has
    no layer to prune.
    """
    check_single(graph)
    kept, length = tuple(sorted({*(kept or range(1, hw.sub_row)), hw.sub_row})), hw.sub_row
    ready = tiled(graph, hw, tile, linear, bits)
    layers = prunable(ready, length, linear)
    if not layers:
        raise InputError(f"Graph {graph.name}: no layer can be pruned in sub-rows of L = {length}")
    estimates = {s: tiled_estimate(ready, hw, dict.fromkeys(layers, s)) for s in kept}
    cycles = {s: _by_layer(estimates[s]) for s in kept}
    if importance == "taylor":
        found = taylor(ready, layers, kept, length, images, progress)
    else:
        found = _sweep(ready, layers, kept, length, images, progress)
    curves = [Curve(layer, kept, found[layer], tuple(cycles[s][layer] for s in kept)) for layer in layers]
    return Sensitivity(length, tuple(curves), estimates[length].cycles - sum(cycles[length][n] for n in layers))


def tiled(graph: Graph, hw: HwConfig, tile: TileName, linear: bool, bits: Bits | None = None) -> Graph:
    """A captured Graph with its tiles chosen, once for all densities: `auto` asks the cycle model at half of them."""
    return with_tiles(with_bits(lowered(graph, hw), bits, hw), tile, hw, (hw.sub_row // 2, hw.sub_row), linear)


def tiled_estimate(graph: Graph, hw: HwConfig, kept: Mapping[str, int]) -> NetworkEstimate:
    """The estimate of a Graph with tiles, with kept[layer] weights of each sub-row; others are dense."""
    dense = hw.sub_row
    planned = plan_tiled(graph, hw, {name: (s, dense) for name, s in kept.items() if s != dense})
    return estimate_instructions(graph.name, [n.name for n, _ in planned], [i for _, i in planned], hw)


def _sweep(
    ready: Graph, layers: Sequence[str], kept: Sequence[int], length: int, images: NDArray[np.float32],
    progress: Callable[[str, float], None] | None,
) -> dict[str, tuple[float, ...]]:  # fmt: skip
    """Measured divergence of every layer at every density."""
    dense, found = dense_outputs(ready, images), {}
    batch, removed = as_batch(ready, images), [s for s in kept if s < length]
    for i, layer in enumerate(layers):
        if progress:
            progress(layer, i / len(layers))
        nodes = pruned_at(ready, layer, removed, length, batch)
        moved = {s: divergence_from(dense, recalibrate(ready.replace({layer: nodes[s]}), images), images)
                 for s in removed}  # fmt: skip
        found[layer] = tuple(moved.get(s, 0.0) for s in kept)
    return found


def dense_outputs(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of the dense network, its batch-norm statistics estimated on the images as pruned ones' are.

    Against other statistics any pruning at all, however little, would seem to cost what the change of statistics does.
    """
    return log_probabilities(recalibrate(graph, images), images)


def divergence_from(dense: NDArray[np.float64], graph: Graph, images: NDArray[np.float32]) -> float:
    """Mean KL(dense || graph), in nats an image, from the log-probabilities of the dense network."""
    return float((np.exp(dense) * (dense - log_probabilities(graph, images))).sum(1).mean())


def log_probabilities(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the softmax over the outputs: [N, outputs]."""
    values = next(iter(execute(graph, images).values())).reshape(len(images), -1).astype(np.float64)
    values -= values.max(1, keepdims=True)
    return values - np.log(np.exp(values).sum(1, keepdims=True))


def _by_layer(result: NetworkEstimate) -> dict[str, int]:
    """Estimated cycles of each layer; parts of a layer count together."""
    found: dict[str, int] = {}
    for layer in result.layers:
        name = layer.name.partition("[")[0]
        found[name] = found.get(name, 0) + layer.cycles
    return found
