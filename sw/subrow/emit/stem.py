"""Stems of strided convolutions over a few channels, for images whose 2x2 squares lie as channels of one pixel.

An activation word of such an image holds four pixels in place of one, so that a quarter of the window's words remain;
the weights move with the pixels, and every sum stays what it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.emit.plan import cycles_behind, layer
from subrow.ir.graph import Graph, Node, pads, pair
from subrow.ir.weights import Quant, from_reduction, tile_kind, to_reduction
from subrow.spec.errors import CapacityError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind

SQUARE = 2


def rearranged(graph: Graph, hw: HwConfig, pruned: Collection[str] = ()) -> Graph:
    """A fused Graph in which inputs have the shape that they have in memory, and their convolutions weights for it.

    Inputs that nothing but one dense convolution of stride 2 reads become [4 C, H / 2, W / 2], where the cycle model
    says that it takes less time; the convolution then has stride 1 and `image_window`, its own channels and window.
    pruned: names of layers that are not dense; the others' masks say so themselves.
    """
    changed: dict[str, Node] = {}
    for source in graph.inputs:
        readers = graph.consumers(source.name)
        if len(readers) != 1 or readers[0].name in pruned:
            continue
        found = _folded(source, readers[0], hw)
        if found is None:
            continue
        new = graph.replace({n.name: n for n in found})
        if _cycles(new, found[1], hw) < _cycles(graph, readers[0], hw):
            changed |= {n.name: n for n in found}
    return graph.replace(changed)


def _cycles(graph: Graph, node: Node, hw: HwConfig) -> float:
    """Estimated cycles of a layer that is the first one; infinite when it fits no buffer."""
    try:
        return cycles_behind([ins for _, ins in layer(graph, node, hw, None, None, None)], hw, None)
    except CapacityError:
        return float("inf")


def _folded(source: Node, node: Node, hw: HwConfig) -> tuple[Node, Node] | None:
    """The input and the convolution that reads it, rearranged; None where that is not possible or of no use."""
    channels = source.shape[0]
    plain = node.op == "conv" and node.inputs[0] == source.name and node.attrs["groups"] == 1
    if not plain or channels >= hw.sub_row or pair(node.attrs["stride"]) != (SQUARE, SQUARE):
        return None
    if tile_kind(node) is not TileKind.DIRECT or "mask" in node.params or "max_window" in node.attrs:
        return None
    kernel, pad = node.params["weight"].shape[2:], pads(node)
    sizes = tuple(-(-n // SQUARE) for n in source.shape[1:])
    window = tuple(-(-(k + p % SQUARE) // SQUARE) for k, p in zip(kernel, pad, strict=False))
    before = tuple(-(-p // SQUARE) for p in pad[:2])
    outputs = _outputs(source, node)
    behind = tuple(n - 1 + w - b - s for n, w, b, s in zip(outputs, window, before, sizes, strict=True))
    if min(behind) < 0:  # an odd last row or column that no window reaches
        return None
    attrs = {**node.attrs, "stride": 1, "pad": (*before, *behind), "image_window": (channels, *kernel)}
    params = {name: value for name, value in node.params.items() if name == "bias"}
    shift = pad[0] % SQUARE, pad[1] % SQUARE
    params["weight"] = _squares(node.params["weight"], shift, window)
    if "quant" in attrs:
        attrs["quant"] = _quant(attrs["quant"], node.params["weight"].shape, shift, window)
    return source.evolve(shape=(SQUARE**2 * channels, *sizes)), node.evolve(attrs=attrs, params=params)


def _outputs(source: Node, node: Node) -> tuple[int, ...]:
    """Rows and columns of the convolution, before what it pools."""
    kernel, (top, left, bottom, right) = node.params["weight"].shape[2:], pads(node)
    sizes = source.shape[1] + top + bottom, source.shape[2] + left + right
    return tuple((n - k) // SQUARE + 1 for n, k in zip(sizes, kernel, strict=True))


def _squares(weight: NDArray[Any], shift: tuple[int, ...], window: tuple[int, ...]) -> NDArray[Any]:
    """[K, 4 C, *window] from [K, C, kh, kw]: `shift` rows and columns of zeros before the window, the rest behind."""
    k, c, kh, kw = weight.shape
    rows, columns = (SQUARE * n for n in window)
    full = np.zeros((k, c, rows, columns), weight.dtype)
    full[:, :, shift[0] : shift[0] + kh, shift[1] : shift[1] + kw] = weight
    parts = full.reshape(k, c, window[0], SQUARE, window[1], SQUARE)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(k, c * SQUARE**2, *window)


def _quant(quant: Quant, shape: tuple[int, ...], shift: tuple[int, ...], window: tuple[int, ...]) -> Quant:
    """The same integers in the reduction order of the rearranged window."""
    moved = _squares(from_reduction(quant.u, shape, quant.sub_row), shift, window)
    return dataclasses.replace(quant, u=to_reduction(moved, quant.sub_row))
