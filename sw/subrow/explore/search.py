"""Densities of all layers for a speed or an accuracy, and the network pruned to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subrow.compress.recalibrate import recalibrate
from subrow.compress.sparse_network import SparseNetwork
from subrow.compress.srbs import prune
from subrow.compress.stages import check_fits, graph_accuracy
from subrow.explore.choose import knees, uniform, within
from subrow.explore.sensitivity import Sensitivity, tiled, tiled_estimate
from subrow.ir.graph import Graph
from subrow.passes.choose_tile import TileName
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import HwConfig

if TYPE_CHECKING:
    from models.labelled import Images

_HALVINGS, _TRIES = 6, 8


@dataclass(frozen=True)
class Pruner:
    """A captured Graph and what pruning it needs: images without labels to repair weights and batch-norm with."""

    graph: Graph
    hw: HwConfig
    tile: TileName
    linear: bool
    images: NDArray[np.float32]

    @cached_property
    def ready(self) -> Graph:
        """The Graph with its tiles chosen."""
        return tiled(self.graph, self.hw, self.tile, self.linear)

    def cycles(self, chosen: dict[str, int]) -> int:
        """Estimated cycles of the whole network at these densities."""
        return tiled_estimate(self.ready, self.hw, chosen).cycles

    def pruned(self, chosen: dict[str, int]) -> Graph:
        """The Graph with chosen[layer] weights kept of each sub-row, errors made good by the weights that stay."""
        length, ready = self.hw.sub_row, self.ready
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
    """The least divergence within so many cycles. Raises ConfigError for a budget that pruning does not reach.

    The curves' sum is not quite the network's estimate: while that exceeds the budget, the sum must be smaller.
    """
    allowed = budget
    for _ in range(_TRIES):
        chosen = within(found, allowed)
        excess = pruner.cycles(chosen) - budget
        if excess <= 0:
            return _choice(pruner, chosen)
        allowed = min(allowed, found.cycles(chosen)) - excess
    raise ConfigError(f"budget {budget:,} cycles: exceeded by {excess:,} after {_TRIES} tries; raise the budget")


def for_knees(found: Sensitivity, pruner: Pruner, most: float) -> Choice:
    """Every layer at its knee, with at most so much divergence."""
    return _choice(pruner, knees(found, most))


def for_accuracy(
    found: Sensitivity, pruner: Pruner, holdout: Images, least: float, progress: Callable[[str, float], None]
) -> Choice:  # fmt: skip
    """The fewest cycles, to within a sixty-fourth of the range, at which held-out accuracy is at least `least` percent.

    Measured in float after pruning, before any retraining. Raises ConfigError when the dense network has less.
    """
    dense = {c.layer: found.sub_row for c in found.curves}
    high, low = found.cycles(dense), found.cycles({c.layer: c.kept[int(np.argmin(c.cycles))] for c in found.curves})
    best = _choice(pruner, dense)
    reached = graph_accuracy(best.graph, pruner.hw, holdout)
    if reached < least:
        raise ConfigError(f"accuracy {least:g} %: dense, held-out images give {reached:.2f} %; ask for less")
    for step in range(_HALVINGS):
        middle = (low + high) // 2
        progress(f"{middle:,} cycles", step / _HALVINGS)
        try:
            tried = for_budget(found, pruner, middle)
        except ConfigError:  # below what pruning reaches
            low = middle
            continue
        if graph_accuracy(tried.graph, pruner.hw, holdout) >= least:
            best, high = tried, middle
        else:
            low = middle
    return best


def check_labels(pruner: Pruner, images: Images) -> None:
    """Raises InputError, before the long work, when labelled images are not for the network."""
    check_fits(SparseNetwork(pruner.ready), images, f"network {pruner.graph.name}")


def against_uniform(found: Sensitivity, pruner: Pruner, choice: Choice, images: Images) -> dict[str, Any]:
    """Accuracy in percent of a choice, and of the largest density that all layers can have in as many cycles."""
    result: dict[str, Any] = {"accuracy": graph_accuracy(choice.graph, pruner.hw, images), "cycles": choice.cycles}
    same = uniform(found, choice.cycles, pruner.cycles)
    if same is not None:
        other = _choice(pruner, same)
        result["uniform"] = {
            "kept": next(iter(same.values())), "cycles": other.cycles,
            "accuracy": graph_accuracy(other.graph, pruner.hw, images),
        }  # fmt: skip
    return result


def _choice(pruner: Pruner, kept: dict[str, int]) -> Choice:
    return Choice(kept, pruner.cycles(kept), pruner.pruned(kept))
