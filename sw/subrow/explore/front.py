"""Accuracy against time: what the search finds at several budgets, beside one density in all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from subrow.compress.stages import graph_accuracy
from subrow.explore.search import Choice, Pruner, for_budget
from subrow.explore.sensitivity import Sensitivity
from subrow.spec.errors import ConfigError

if TYPE_CHECKING:
    from models.labelled import Images

BUDGETS = 5
"""Budgets between the fastest and the dense network that the front is made of."""


@dataclass(frozen=True)
class Point:
    """A network that was tried: kind is `searched`, `uniform` or `chosen`.

    kept: weights kept of each sub-row, by layer; cycles: estimated; accuracy: percent of held-out images, measured.
    """

    kind: str
    kept: dict[str, int]
    cycles: int
    accuracy: float


def points(
    found: Sensitivity, pruner: Pruner, choice: Choice, holdout: Images, progress: Callable[[str, float], None]
) -> tuple[Point, ...]:
    """The choice, the search at BUDGETS evenly spaced budgets, and every density that all layers can have."""
    tried = [Point("chosen", choice.kept, choice.cycles, graph_accuracy(choice.graph, pruner.hw, holdout))]
    uniform = [{c.layer: s for c in found.curves} for s in found.curves[0].kept]
    cycles = [pruner.cycles(kept) for kept in uniform]
    budgets = np.linspace(min(cycles), max(cycles), BUDGETS + 2)[1:-1].astype(int).tolist()
    total = len(budgets) + len(uniform)
    for number, budget in enumerate(budgets):
        progress(f"{budget:,} cycles", number / total)
        try:
            searched = for_budget(found, pruner, budget)
        except ConfigError:  # below what pruning reaches
            continue
        tried.append(_point("searched", searched, pruner, holdout))
    for number, (kept, taken) in enumerate(zip(uniform, cycles, strict=True), start=len(budgets)):
        progress(f"{next(iter(kept.values()))}/{found.sub_row} everywhere", number / total)
        tried.append(_point("uniform", Choice(kept, taken, pruner.pruned(kept)), pruner, holdout))
    return tuple(tried)


def _point(kind: str, choice: Choice, pruner: Pruner, holdout: Images) -> Point:
    return Point(kind, choice.kept, choice.cycles, graph_accuracy(choice.graph, pruner.hw, holdout))


def pareto(tried: Sequence[Point]) -> tuple[Point, ...]:
    """Those that no other one beats: fewer cycles, or the same, at higher accuracy. In the order of their cycles."""
    front: list[Point] = []
    for point in sorted(tried, key=lambda p: (p.cycles, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return tuple(front)
