"""Which tile size each convolution runs on."""

from __future__ import annotations

from typing import Literal

from subrow.ir.graph import Graph, Node, pair
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TAP_LANES, TileKind
from subrow.spec.winograd import tile as tile_of

TileName = Literal["auto", "f2", "f4", "direct"]
_KINDS = {"f2": TileKind.F2, "f4": TileKind.F4}


def choose_tile(graph: Graph, tile: TileName = "auto", hw: HwConfig | None = None) -> Graph:
    """Every conv gets the attribute `tile`: 3x3 stride 1 layers with one group as asked, all others "direct".

    So are linear layers on 3x3 maps: for their one output pixel, F(2x2,3x3) would fetch 16 weights in place of 9.

    "auto" takes the Winograd tile with fewer cycles of array or weight port, whichever is the bottleneck, on the
    given hardware. Layers that already have Winograd weights (`u`) keep their tile.
    """
    if tile not in ("auto", "f2", "f4", "direct"):
        raise ConfigError(f"tile = {tile!r}: must be 'auto', 'f2', 'f4' or 'direct'")
    return graph.replace({n.name: _chosen(n, tile, hw) for n in graph if n.op == "conv" and "u" not in n.params})


def _chosen(node: Node, tile: TileName, hw: HwConfig | None) -> Node:
    single = pair(node.attrs["stride"]) == (1, 1) and node.attrs["groups"] == 1
    winograd = node.params["weight"].shape[2:] == (3, 3) and single and not node.attrs.get("linear")
    if not winograd or tile == "direct":
        return node.with_attrs(tile="direct")
    if tile == "auto":
        tile = "f4" if _cycles(node, "f4", hw) < _cycles(node, "f2", hw) else "f2"
    return node.with_attrs(tile=tile)


def _cycles(node: Node, name: str, hw: HwConfig | None) -> float:
    """Array or weight-port cycles for one full weight row of all output channels; only ratios matter."""
    t = tile_of(_KINDS[name])
    scale = 2 if node.attrs.get("pool") else 1
    h, w = node.shape[1] * scale, node.shape[2] * scale
    tiles = -(-h // t.m) * -(-w // t.m)
    if hw is None:
        return float(tiles * t.groups)
    array = -(-tiles // hw.tiles) * t.groups
    weights = t.groups * TAP_LANES * hw.channels * hw.u_bits / 8 / hw.bytes_per_cycle
    return max(float(array), weights)
