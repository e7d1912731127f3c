"""Densities of all layers from their curves: an integer program under a cycle budget, or each curve's knee."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from subrow.explore.sensitivity import Curve, Sensitivity
from subrow.spec.errors import ConfigError


@contextmanager
def quiet_library() -> Iterator[None]:
    """What C code prints meanwhile goes to standard error: HiGHS writes to standard output, which may be a document."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        flush(None)
        os.dup2(saved, 1)
        os.close(saved)


def within(found: Sensitivity, budget: int, near: tuple[dict[str, int], int] | None = None) -> dict[str, int]:
    """Weights kept of each sub-row, by layer: the least sum of divergences within so many estimated cycles.

    One variable for each (layer, density), exactly one of each layer chosen (HiGHS through scipy). near: a choice, and
    how many layers at most may differ from it. Raises ConfigError, with the fewest cycles that can be had, for a budget
    below them.
    """
    fewest = found.cycles({c.layer: c.kept[int(np.argmin(c.cycles))] for c in found.curves})
    if budget < fewest:
        raise ConfigError(f"budget {budget:,} cycles: the fewest that pruning reaches are {fewest:,}; raise the budget")
    divergence = np.concatenate([c.divergence for c in found.curves])
    cycles = np.concatenate([c.cycles for c in found.curves]).astype(np.float64)
    one_each = np.zeros((len(found.curves), len(cycles)))
    start = 0
    for row, curve in zip(one_each, found.curves, strict=True):
        row[start : start + len(curve.kept)] = 1
        start += len(curve.kept)
    limits = [LinearConstraint(one_each, 1, 1), LinearConstraint(cycles[np.newaxis], -np.inf, budget - found.rest)]
    if near is not None:
        changed = np.concatenate([np.not_equal(c.kept, near[0][c.layer]) for c in found.curves]).astype(np.float64)
        limits.append(LinearConstraint(changed[np.newaxis], 0, near[1]))
    with quiet_library():
        solved = milp(divergence, constraints=limits, integrality=np.ones(len(cycles)), bounds=Bounds(0, 1))
    if not solved.success:
        raise ConfigError(f"budget {budget:,} cycles: the integer program has no solution ({solved.message})")
    picks = one_each @ (np.round(solved.x) * np.concatenate([c.kept for c in found.curves]))
    return {curve.layer: int(round(s)) for curve, s in zip(found.curves, picks, strict=True)}


def uniform(
    found: Sensitivity, budget: int, cost: Callable[[dict[str, int]], int] | None = None
) -> dict[str, int] | None:
    """The largest density that all layers can have within so many estimated cycles, or None.

    cost: cycles of a choice; without it the sums of the curves.
    """
    cycles = cost or found.cycles
    for s in reversed(found.curves[0].kept):
        chosen = {c.layer: s for c in found.curves}
        if cycles(chosen) <= budget:
            return chosen
    return None


def divergence(found: Sensitivity, chosen: dict[str, int]) -> float:
    """Sum of the layers' divergences, each pruned alone."""
    return sum(c.divergence[c.kept.index(chosen[c.layer])] for c in found.curves)


def knees(found: Sensitivity, most: float) -> dict[str, int]:
    """The knee of every curve, without a budget; `most` limits each layer's divergence, whatever its knee."""
    return {curve.layer: _knee(curve, most) for curve in found.curves}


def _knee(curve: Curve, most: float) -> int:
    """Kneedle (Satopaa et al., ICDCS workshops 2011) for a falling convex curve: the point furthest below its chord."""
    kept, values = np.array(curve.kept, np.float64), np.array(curve.divergence)
    span = values.max() - values.min()
    if span <= 0:
        return curve.kept[0]
    x, y = (kept - kept[0]) / (kept[-1] - kept[0]), (values - values.min()) / span
    place = int(np.argmax((1 - x) - y))
    while place + 1 < len(kept) and values[place] > most:
        place += 1
    return curve.kept[place]
