"""Densities of all layers for a speed or an accuracy, and the network pruned to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subrow.compress.recalibrate import recalibrate
from subrow.compress.sparse_network import SparseNetwork
from subrow.compress.srbs import prune
from subrow.compress.stages import check_fits, graph_accuracy
from subrow.compress.weight_bits import Bits
from subrow.explore.choose import knees, uniform, within
from subrow.explore.sensitivity import (
    Curve,
    Sensitivity,
    dense_outputs,
    divergence_from,
    tiled,
    tiled_estimate,
)
from subrow.ir.graph import Graph, Node
from subrow.passes.choose_tile import TileName
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import HwConfig

if TYPE_CHECKING:
    from models.labelled import Images

_HALVINGS, _TRIES = 6, 8
ROUNDS = 4
"""Improvements of a choice around itself."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Pruner:
    """A captured Graph and what pruning it needs: images without labels to repair weights and batch-norm with.

    bits: of the weights, as in compress/weight_bits.py; the pruned Graph carries them to quantisation.
    """

    graph: Graph
    hw: HwConfig
    tile: TileName
    linear: bool
    images: NDArray[np.float32]
    bits: Bits | None = None

    @cached_property
    def ready(self) -> Graph:
        """The Graph with its tiles chosen."""
        return tiled(self.graph, self.hw, self.tile, self.linear, self.bits)

    def cycles(self, chosen: dict[str, int]) -> int:
        """Estimated cycles of the whole network at these densities."""
        return tiled_estimate(self.ready, self.hw, chosen).cycles

    def pruned(self, chosen: dict[str, int]) -> Graph:
        """The Graph with chosen[layer] weights kept of each sub-row, errors made good by the weights that stay."""
        removed = [(name, s) for name, s in chosen.items() if s != self.hw.sub_row]
        self._prune([layer for layer in removed if layer not in self._layers])
        return recalibrate(self.ready.replace({name: self._layers[name, s] for name, s in removed}), self.images)

    def divergence(self, chosen: dict[str, int]) -> float:
        """Mean KL(dense || pruned) of the outputs on the images, in nats an image; measured."""
        return divergence_from(self._dense, self.pruned(chosen), self.images)

    @cached_property
    def _dense(self) -> NDArray[np.float64]:
        return dense_outputs(self.ready, self.images)

    @cached_property
    def _layers(self) -> dict[tuple[str, int], Node]:
        """Pruned layers: a search asks for the same ones again and again."""
        return {}

    def _prune(self, layers: Sequence[tuple[str, int]]) -> None:
        """Prune layers of the dense network, all of one density in one pass over the images."""
        for kept in {s for _, s in layers}:
            names = [name for name, s in layers if s == kept]
            graph = prune(self.ready, (kept, self.hw.sub_row), names, images=self.images)
            self._layers.update({(name, kept): graph.node(name) for name in names})


@dataclass(frozen=True)
class Choice:
    """Weights kept of each sub-row by layer, their cycles (estimated) and the pruned Graph."""

    kept: dict[str, int]
    cycles: int
    graph: Graph


def for_budget(
    found: Sensitivity, pruner: Pruner, budget: int, rounds: int = 0, progress: Progress | None = None
) -> Choice:
    """The least divergence within so many cycles. Raises ConfigError for a budget that pruning does not reach.

    Layers that were measured alone do not add up once all are pruned; rounds: how often the choice is improved from
    measurements around it, starting from the integer program's or the uniform one, whichever diverges less.
    """
    chosen = _fitting(found, pruner, budget)
    if rounds:
        same = uniform(found, budget, pruner.cycles)
        starts = [chosen] if same is None else [chosen, same]
        chosen = _refined(found, pruner, budget, min(starts, key=pruner.divergence), rounds, progress)
    return _choice(pruner, chosen)


def _fitting(
    found: Sensitivity, pruner: Pruner, budget: int, near: tuple[dict[str, int], int] | None = None
) -> dict[str, int]:
    """The integer program's choice whose own estimate is within the budget.

    The curves' sum is not quite the network's estimate: while that exceeds the budget, the sum must be smaller.
    """
    allowed = budget
    for _ in range(_TRIES):
        chosen = within(found, allowed, near)
        excess = pruner.cycles(chosen) - budget
        if excess <= 0:
            return chosen
        allowed = min(allowed, found.cycles(chosen)) - excess
    raise ConfigError(f"budget {budget:,} cycles: exceeded by {excess:,} after {_TRIES} tries; raise the budget")


def _refined(
    found: Sensitivity, pruner: Pruner, budget: int, chosen: dict[str, int], rounds: int, progress: Progress | None
) -> dict[str, int]:
    """The choice improved: each round measures every layer one density up and down, all others pruned as chosen.

    The integer program then picks among those neighbours; it may change ever fewer layers until the network as a whole
    diverges less. Ends early when no change does.
    """
    least = pruner.divergence(chosen)
    for turn in range(rounds):
        near, most = _neighbours(found, pruner, chosen, progress, turn / rounds), len(found.curves)
        while most > 1:
            try:
                tried = _fitting(near, pruner, budget, (chosen, most))
            except ConfigError:  # so few changes leave no way into the budget
                return chosen
            reached = pruner.divergence(tried)
            if reached < least:
                break
            most = sum(tried[n] != chosen[n] for n in chosen) // 2
        else:
            return chosen
        chosen, least = tried, reached
    return chosen


def _neighbours(
    found: Sensitivity, pruner: Pruner, chosen: dict[str, int], progress: Progress | None, share: float
) -> Sensitivity:
    """The curves around a choice: each layer at its density and the next ones, measured with the others as chosen."""
    curves, own = [], pruner.divergence(chosen)
    for curve in found.curves:
        if progress:
            progress(f"around {curve.layer}", share)
        place = curve.kept.index(chosen[curve.layer])
        span = slice(max(place - 1, 0), place + 2)
        moved = tuple(
            own if s == chosen[curve.layer] else pruner.divergence({**chosen, curve.layer: s}) for s in curve.kept[span]
        )
        curves.append(Curve(curve.layer, curve.kept[span], moved, curve.cycles[span]))
    return Sensitivity(found.sub_row, tuple(curves), found.rest)


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
