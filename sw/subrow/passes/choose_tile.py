"""Which tile size each convolution runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from subrow.ir.graph import Graph, Node
from subrow.ir.weights import may_be_winograd
from subrow.spec.errors import ConfigError

TileName = Literal["auto", "f2", "f4", "direct"]


def choose_tile(graph: Graph, tile: TileName = "auto", tiles: Mapping[str, str] | None = None) -> Graph:
    """Every conv gets the attribute `tile`: 3x3 stride 1 layers with one group as asked, all others "direct".

    So are linear layers on 3x3 maps: for their one output pixel, F(2x2,3x3) would fetch 16 weights in place of 9.

    "auto" takes what `tiles` says of each layer (`emit.plan.choose_tiles` asks the cycle model), and F(2x2), the more
    accurate tile, for layers that it does not name. Layers that already have Winograd weights (`u`) keep their tile.
    """
    if tile not in ("auto", "f2", "f4", "direct"):
        raise ConfigError(f"tile = {tile!r}: must be 'auto', 'f2', 'f4' or 'direct'")
    chosen = {n.name: _chosen(n, tile, tiles or {}) for n in graph if n.op == "conv" and "u" not in n.params}
    return graph.replace(chosen)


def _chosen(node: Node, tile: TileName, tiles: Mapping[str, str]) -> Node:
    if tile == "direct" or not may_be_winograd(node):
        return node.with_attrs(tile="direct")
    return node.with_attrs(tile=tiles.get(node.name, "f2") if tile == "auto" else tile)
