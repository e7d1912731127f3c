"""Shape inference: what an operator makes of its inputs' shapes, with every attribute and parameter checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from subrow.ir.graph import Node, Shape, pads, pair, window
from subrow.ir.weights import Quant, tile_kind
from subrow.spec.errors import SubrowError
from subrow.spec.winograd import TileKind, tile

ACTS = ("relu", "relu6", "leaky")


class GraphError(SubrowError):
    """A Graph is inconsistent: a pass or a capture made a mistake."""


def infer(node: Node, inputs: Sequence[Shape]) -> Shape:
    """Shape of the node's output without the batch, from those of its inputs.

    Raises GraphError, naming the node, what is wrong and what it should be.
    """
    return _RULES[node.op](f"node {node.name} ({node.op})", node, list(inputs))


def window_shape(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int, int, int]
) -> tuple[int, int]:
    """Rows and columns of windows that lie whole inside the padded map; 0 or less when none does."""
    rows = (size[0] + pad[0] + pad[2] - kernel[0]) // stride[0] + 1
    return rows, (size[1] + pad[1] + pad[3] - kernel[1]) // stride[1] + 1


def _map(where: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise GraphError(f"{where}: input {shape} is not (C, H, W)")
    c, h, w = shape
    return c, h, w


def _windows(
    where: str, node: Node, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    _, h, w = _map(where, shape)
    pad = pads(node)
    if min(kernel) < 1 or min(stride) < 1 or min(pad) < 0:
        raise GraphError(f"{where}: kernel {kernel}, stride {stride}, pad {pad}: must be >= 1, >= 1 and >= 0")
    rows, columns = window_shape((h, w), kernel, stride, pad)
    if min(rows, columns) < 1:
        raise GraphError(f"{where}: input {shape} with pad {pad} is smaller than window {kernel}; use larger images")
    return rows, columns


def _input(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if len(node.shape) not in (1, 3) or min(node.shape) < 1:
        raise GraphError(f"{where}: shape {node.shape}, must be (C, H, W) or (C,), each at least 1")
    return node.shape


def _same(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if any(s != shapes[0] for s in shapes):
        raise GraphError(f"{where}: input shapes {shapes} differ; broadcasting is not supported")
    return shapes[0]


def check_slope(where: str, slope: object) -> None:
    """Raises GraphError unless slope is that of a leaky ReLU: 0..1, so that it never reverses an order."""
    if not isinstance(slope, (int, float)) or not 0 <= slope <= 1:
        raise GraphError(f"{where}: slope {slope!r}, must be 0..1")


def _leaky(where: str, node: Node, shapes: list[Shape]) -> Shape:
    check_slope(where, node.attrs.get("slope"))
    return shapes[0]


def _linear(where: str, node: Node, shapes: list[Shape]) -> Shape:
    weight = _required(where, node, "weight")
    if weight.ndim != 2 or shapes[0] != (weight.shape[1],):
        raise GraphError(f"{where}: input {shapes[0]} does not fit weight {weight.shape}, which must be (K, C)")
    _vectors(where, node, weight.shape[0], ("bias",))
    return (weight.shape[0],)


def _batch_norm(where: str, node: Node, shapes: list[Shape]) -> Shape:
    _vectors(where, node, shapes[0][0], ("gamma", "beta", "mean", "var"), required=True)
    lowest = float((node.params["var"] + node.attrs["eps"]).min())
    if lowest <= 0:
        raise GraphError(f"{where}: variance + eps is {lowest:.4g}, must be above 0")
    return shapes[0]


def _check_border(where: str, kernel: tuple[int, int], pad: tuple[int, int, int, int]) -> None:
    if max(pad[0], pad[2]) >= kernel[0] or max(pad[1], pad[3]) >= kernel[1]:
        raise GraphError(f"{where}: pad {pad} is as large as the window {kernel}, which would hold nothing but border")


def _max_pool(where: str, node: Node, shapes: list[Shape]) -> Shape:
    kernel = pair(node.attrs["kernel"])
    _check_border(where, kernel, pads(node))
    return (shapes[0][0], *_windows(where, node, shapes[0], kernel, pair(node.attrs["stride"])))


def _avg_pool(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if not isinstance(node.attrs.get("count_include_pad"), bool):
        raise GraphError(f"{where}: count_include_pad {node.attrs.get('count_include_pad')!r}, must be true or false")
    return _max_pool(where, node, shapes)


def _global_avg_pool(where: str, node: Node, shapes: list[Shape]) -> Shape:
    return (_map(where, shapes[0])[0], 1, 1)


def _upsample(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if node.attrs.get("factor") != 2:
        raise GraphError(f"{where}: factor {node.attrs.get('factor')!r}, must be 2")
    c, h, w = _map(where, shapes[0])
    return c, 2 * h, 2 * w


def _concat(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if any(s[1:] != shapes[0][1:] for s in shapes):
        raise GraphError(f"{where}: input shapes {shapes} differ in height or width")
    return (sum(s[0] for s in shapes), *shapes[0][1:])


def _flatten(where: str, node: Node, shapes: list[Shape]) -> Shape:
    return (math.prod(shapes[0]),)


def _required(where: str, node: Node, name: str) -> np.ndarray:
    if name not in node.params:
        raise GraphError(f"{where}: parameter {name!r} is missing")
    return node.params[name]


def _vectors(where: str, node: Node, size: int, names: tuple[str, ...], required: bool = False) -> None:
    for name in names:
        value = _required(where, node, name) if required else node.params.get(name)
        if value is not None and value.shape != (size,):
            raise GraphError(f"{where}: {name} has shape {value.shape}, must be ({size},)")


def _conv(where: str, node: Node, shapes: list[Shape]) -> Shape:
    c, weight, groups = _map(where, shapes[0])[0], _required(where, node, "weight"), node.attrs["groups"]
    if weight.ndim != 4 or groups < 1 or weight.shape[1] * groups != c:
        raise GraphError(f"{where}: weight {weight.shape} with {groups} groups does not take {c} channels")
    k = weight.shape[0]
    if k % groups:
        raise GraphError(f"{where}: {k} output channels do not divide into {groups} groups")
    _vectors(where, node, k, ("bias",))
    if "max_window" in node.attrs:
        _check_maximum(where, node)
    rows, columns = _windows(where, node, shapes[0], window(node), pair(node.attrs["stride"]))
    if len(shapes) == 2 and shapes[1] != (k, rows, columns):
        raise GraphError(f"{where}: residual {shapes[1]}, must be {(k, rows, columns)}")
    _check_act(where, node)
    _check_u(where, node)
    if node.attrs.get("pool") and node.attrs.get("upsample"):
        raise GraphError(f"{where}: both pool and upsample, must be one of them")
    if node.attrs.get("pool"):
        rows, columns = rows // 2, columns // 2
    if node.attrs.get("upsample"):
        rows, columns = 2 * rows, 2 * columns
    if min(rows, columns) < 1:
        raise GraphError(f"{where}: input {shapes[0]} is too small; the output would be {(k, rows, columns)}")
    return k, rows, columns


def _check_maximum(where: str, node: Node) -> None:
    weight, tile_name = node.params["weight"], node.attrs.get("tile", "direct")
    if weight.shape[2:] != (1, 1) or tile_name != "direct":
        raise GraphError(
            f"{where}: weight {weight.shape} and tile {tile_name!r} behind the maximum of a window, must be 1x1 and "
            "'direct'"
        )
    _check_border(where, window(node), pads(node))


def _check_act(where: str, node: Node) -> None:
    act = node.attrs.get("act")
    if act is not None and act not in ACTS:
        raise GraphError(f"{where}: act {act!r}, must be one of {', '.join(ACTS)}, or absent")
    if act == "leaky":
        check_slope(where, node.attrs.get("slope"))
    if "relu" in node.attrs:
        raise GraphError(f"{where}: attribute 'relu' does not exist; write act='relu'")


def _check_u(where: str, node: Node) -> None:
    kind, (k, c, kh, kw) = tile_kind(node), node.params["weight"].shape
    plain = (kh, kw) == (3, 3) and pair(node.attrs["stride"]) == (1, 1) and node.attrs["groups"] == 1
    if kind is not TileKind.DIRECT and not plain:
        raise GraphError(f"{where}: tile {node.attrs['tile']!r} needs a 3x3 window, stride 1 and one group")
    expected = (1, k, c * kh * kw) if kind is TileKind.DIRECT else (tile(kind).taps, k, c)
    quant = node.attrs.get("quant")
    found = [(name, node.params[name]) for name in ("u", "mask") if name in node.params]
    if isinstance(quant, Quant):
        found.append(("quant.u", quant.u))
    for name, value in found:
        if value.shape != expected:
            raise GraphError(f"{where}: {name} has shape {value.shape}, must be {expected}")


_RULES: dict[str, Callable[[str, Node, list[Shape]], Shape]] = {
    "input": _input, "conv": _conv, "linear": _linear, "batch_norm": _batch_norm, "relu": _same, "relu6": _same,
    "leaky_relu": _leaky, "max_pool": _max_pool, "avg_pool": _avg_pool, "global_avg_pool": _global_avg_pool,
    "upsample": _upsample, "concat": _concat, "add": _same, "flatten": _flatten, "output": _same,
}  # fmt: skip
