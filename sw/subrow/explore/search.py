"""Densities of all layers for a speed or an accuracy, and the network pruned to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import prune
from subrow.compress.stages import graph_accuracy
from subrow.explore.choose import knees, uniform, within
from subrow.explore.sensitivity import Sensitivity
from subrow.ir.graph import Graph
from subrow.passes.choose_tile import TileName
from subrow.planning import lowered, with_tiles
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import HwConfig

_HALVINGS = 6

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Pruner:
    """A captured Graph and what pruning it needs: images without labels to repair weights and batch-norm with."""

    graph: Graph
    hw: HwConfig
    tile: TileName
    linear: bool
    images: NDArray[np.float32]

    def pruned(self, chosen: dict[str, int]) -> Graph:
        """The Graph with chosen[layer] weights kept of each sub-row, errors made good by the weights that stay."""
        length = self.hw.sub_row
        ready = with_tiles(lowered(self.graph, self.hw), self.tile, self.hw, (length // 2, length), self.linear)
        for s in sorted(set(chosen.values()) - {length}):
            ready = prune(ready, (s, length), [n for n, kept in chosen.items() if kept == s], images=self.images)
        return recalibrate(ready, self.images)


@dataclass(frozen=True)
class Choice:
    """Weights kept of each sub-row by layer, their cycles (estimated) and the pruned Graph."""

    kept: dict[str, int]
    cycles: int
    graph: Graph


def for_budget(found: Sensitivity, pruner: Pruner, budget: int) -> Choice:
    """The least divergence within so many cycles. Raises ConfigError for a budget that pruning does not reach."""
    return _choice(found, pruner, within(found, budget))


def for_knees(found: Sensitivity, pruner: Pruner, most: float) -> Choice:
    """Every layer at its knee, with at most so much divergence."""
    return _choice(found, pruner, knees(found, most))


def for_accuracy(
    found: Sensitivity, pruner: Pruner, holdout: Labelled, least: float, progress: Callable[[str, float], None]
) -> Choice:  # fmt: skip
    """The fewest cycles, to within a sixty-fourth of the range, at which held-out accuracy is at least `least` percent.

    Measured in float after pruning, before any retraining. Raises ConfigError when the dense network has less.
    """
    dense = {c.layer: found.sub_row for c in found.curves}
    high, low = found.cycles(dense), found.cycles({c.layer: c.kept[int(np.argmin(c.cycles))] for c in found.curves})
    best = _choice(found, pruner, dense)
    reached = graph_accuracy(best.graph, pruner.hw, holdout)
    if reached < least:
        raise ConfigError(f"accuracy {least:g} %: dense, held-out images give {reached:.2f} %; ask for less")
    for step in range(_HALVINGS):
        middle = (low + high) // 2
        progress(f"{middle:,} cycles", step / _HALVINGS)
        tried = for_budget(found, pruner, middle)
        if graph_accuracy(tried.graph, pruner.hw, holdout) >= least:
            best, high = tried, middle
        else:
            low = middle
    return best


def against_uniform(found: Sensitivity, pruner: Pruner, choice: Choice, images: Labelled) -> dict[str, Any]:
    """Accuracy in percent of a choice, and of the largest density that all layers can have in as many cycles."""
    result: dict[str, Any] = {"accuracy": graph_accuracy(choice.graph, pruner.hw, images), "cycles": choice.cycles}
    same = uniform(found, choice.cycles)
    if same is not None:
        other = _choice(found, pruner, same)
        result["uniform"] = {
            "kept": next(iter(same.values())), "cycles": other.cycles,
            "accuracy": graph_accuracy(other.graph, pruner.hw, images),
        }  # fmt: skip
    return result


def _choice(found: Sensitivity, pruner: Pruner, kept: dict[str, int]) -> Choice:
    return Choice(kept, found.cycles(kept), pruner.pruned(kept))
