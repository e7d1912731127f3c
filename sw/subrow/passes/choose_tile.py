"""Which tile size each convolution runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from subrow.ir.graph import Graph, Node
from subrow.spec.errors import ConfigError

TileName = Literal["auto", "f2", "f4", "direct"]


def choose_tile(graph: Graph, tile: TileName = "auto", tiles: Mapping[str, str] | None = None) -> Graph:
    """Every conv gets the attribute `tile`: 3x3 stride 1 layers with one group as asked, all others "direct".

    "auto" takes what `tiles` says of each layer (`emit.plan.choose_tiles` asks the cycle model), and F(2x2) for layers
    that it does not name: the smaller tile is never less accurate. Layers that already have Winograd weights (`u`)
    keep their tile.
    """
    if tile not in ("auto", "f2", "f4", "direct"):
        raise ConfigError(f"tile = {tile!r}: must be 'auto', 'f2', 'f4' or 'direct'")
    chosen = {n.name: _chosen(n, tile, tiles or {}) for n in graph if n.op == "conv" and "u" not in n.params}
    return graph.replace(chosen)


def _chosen(node: Node, tile: TileName, tiles: Mapping[str, str]) -> Node:
    winograd = node.params["weight"].shape[2:] == (3, 3) and node.attrs["stride"] == 1 and node.attrs["groups"] == 1
    if not winograd or tile == "direct":
        return node.with_attrs(tile="direct")
    return node.with_attrs(tile=tiles.get(node.name, "f2") if tile == "auto" else tile)
