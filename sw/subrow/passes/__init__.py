"""Graph to Graph rewrites. PIPELINE lists those that every compilation runs, in order.

`lower_linear` and `choose_tile` come first because pruning needs each layer's final weight matrix; compression stands
between the two halves; `fold_batchnorm` and `fuse` then leave one conv node for each instruction, or, of layers with
several groups, for some. `split_means` runs before all of them where a HwConfig's buffers ask for it, `align_concats`
behind `lower_linear` with the HwConfig's L.
"""

from __future__ import annotations

from collections.abc import Callable

from subrow.ir.graph import Graph
from subrow.ir.verify import verify
from subrow.passes.align_concats import align_concats
from subrow.passes.choose_tile import choose_tile
from subrow.passes.fold_batchnorm import fold_batchnorm
from subrow.passes.fuse import fuse
from subrow.passes.lower_linear import lower_linear
from subrow.passes.split_means import is_mean, split_means

Pass = Callable[[Graph], Graph]

BEFORE_COMPRESSION: tuple[Pass, ...] = (lower_linear, choose_tile)
AFTER_COMPRESSION: tuple[Pass, ...] = (fold_batchnorm, fuse)
PIPELINE: tuple[Pass, ...] = BEFORE_COMPRESSION + AFTER_COMPRESSION


def run(graph: Graph, passes: tuple[Pass, ...] = PIPELINE) -> Graph:
    """The passes one after another, the Graph verified after each."""
    for step in passes:
        graph = verify(step(graph), after=getattr(step, "__name__", "pass"))
    return graph


__all__ = [
    "AFTER_COMPRESSION", "BEFORE_COMPRESSION", "PIPELINE", "Pass", "align_concats", "choose_tile", "fold_batchnorm",
    "fuse", "is_mean", "lower_linear", "run", "split_means",
]  # fmt: skip
