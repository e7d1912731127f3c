"""What must hold of a Graph after every pass: names, order, shapes, finite numbers."""

from __future__ import annotations

import numpy as np

from subrow.ir.graph import Graph, Node, Shape
from subrow.ir.weights import Quant, tile_kind
from subrow.spec.errors import SubrowError
from subrow.spec.winograd import TileKind, tile

_ARITY = {
    "input": (0, 0), "conv": (1, 2), "linear": (1, 1), "batch_norm": (1, 1), "relu": (1, 1), "max_pool": (1, 1),
    "global_avg_pool": (1, 1), "add": (2, 2), "flatten": (1, 1), "output": (1, 1),
}  # fmt: skip
_PARAMS = {
    "conv": {"weight", "bias", "u", "mask"}, "linear": {"weight", "bias"},
    "batch_norm": {"gamma", "beta", "mean", "var"},
}  # fmt: skip


class GraphError(SubrowError):
    """A Graph is inconsistent: a pass or a capture made a mistake."""


def verify(graph: Graph, after: str = "capture") -> Graph:
    """Return the Graph; raises GraphError, naming the pass, the node, what is wrong and what it should be."""
    seen: dict[str, Node] = {}
    for node in graph:
        where = f"Graph {graph.name} after {after}: node {node.name} ({node.op})"
        if node.name in seen:
            raise GraphError(f"{where}: the name is used twice; every node needs its own")
        low, high = _ARITY[node.op]
        if not low <= len(node.inputs) <= high:
            raise GraphError(f"{where}: {len(node.inputs)} inputs, must be {low}..{high}")
        for name in node.inputs:
            if name not in seen:
                raise GraphError(f"{where}: input {name!r} is not computed before; known: {', '.join(seen) or 'none'}")
            if seen[name].op == "output":
                raise GraphError(f"{where}: input {name!r} is an output node; read what it reads")
        _check_params(where, node)
        expected = _shape(where, node, [seen[i].shape for i in node.inputs])
        if node.shape != expected:
            raise GraphError(f"{where}: shape {node.shape}, its inputs and attributes make {expected}")
        seen[node.name] = node
    if not graph.inputs or not graph.outputs:
        raise GraphError(
            f"Graph {graph.name} after {after}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "needs at least one of each"
        )
    return graph


def _check_params(where: str, node: Node) -> None:
    unknown = set(node.params) - _PARAMS.get(node.op, set())
    if unknown:
        raise GraphError(f"{where}: unknown parameter {sorted(unknown)[0]!r}")
    for name, value in node.params.items():
        if not np.isfinite(value).all():
            bad = int(np.size(value) - np.isfinite(value).sum())
            raise GraphError(f"{where}: {bad} values of {name} are not finite; use trained weights without NaN or inf")


def _same(where: str, shapes: list[Shape]) -> Shape:
    if any(s != shapes[0] for s in shapes):
        raise GraphError(f"{where}: input shapes {shapes} differ; broadcasting is not supported")
    return shapes[0]


def _shape(where: str, node: Node, shapes: list[Shape]) -> Shape:
    op = node.op
    if op == "input":
        return node.shape
    if op == "conv":
        return _conv_shape(where, node, shapes)
    if op == "linear":
        weight = node.params["weight"]
        if shapes[0] != (weight.shape[1],):
            raise GraphError(f"{where}: input {shapes[0]}, weight {weight.shape} takes ({weight.shape[1]},)")
        _vectors(where, node, weight.shape[0], ("bias",))
        return (weight.shape[0],)
    if op == "batch_norm":
        _vectors(where, node, shapes[0][0], ("gamma", "beta", "mean", "var"), required=True)
        return shapes[0]
    if op == "flatten":
        return (int(np.prod(shapes[0])),)
    if op in ("max_pool", "global_avg_pool"):
        if len(shapes[0]) != 3:
            raise GraphError(f"{where}: input {shapes[0]} is not (C, H, W)")
        c, h, w = shapes[0]
        return (c, h // 2, w // 2) if op == "max_pool" else (c, 1, 1)
    return _same(where, shapes)


def _vectors(where: str, node: Node, size: int, names: tuple[str, ...], required: bool = False) -> None:
    for name in names:
        value = node.params.get(name)
        if value is None and required:
            raise GraphError(f"{where}: parameter {name!r} is missing")
        if value is not None and value.shape != (size,):
            raise GraphError(f"{where}: {name} has shape {value.shape}, must be ({size},)")


def _conv_shape(where: str, node: Node, shapes: list[Shape]) -> Shape:
    if len(shapes[0]) != 3:
        raise GraphError(f"{where}: input {shapes[0]} is not (C, H, W)")
    (c, h, w), weight = shapes[0], node.params["weight"]
    groups, stride, (top, left, bottom, right) = node.attrs["groups"], node.attrs["stride"], node.attrs["pad"]
    if weight.ndim != 4 or weight.shape[1] * groups != c:
        raise GraphError(f"{where}: weight {weight.shape} with {groups} groups does not take {c} channels")
    if groups != 1 and not (groups == c == weight.shape[0]):
        raise GraphError(f"{where}: {groups} groups; must be 1, or one for each of equally many channels")
    k, _, kh, kw = weight.shape
    _vectors(where, node, k, ("bias",))
    oh, ow = (h + top + bottom - kh) // stride + 1, (w + left + right - kw) // stride + 1
    if len(shapes) == 2 and shapes[1] != (k, oh, ow):
        raise GraphError(f"{where}: residual {shapes[1]}, must be {(k, oh, ow)}")
    _check_u(where, node)
    if node.attrs.get("pool"):
        oh, ow = oh // 2, ow // 2
    if min(oh, ow) < 1:
        raise GraphError(f"{where}: input {shapes[0]} is too small for the window; output would be {(k, oh, ow)}")
    return (k, oh, ow)


def _check_u(where: str, node: Node) -> None:
    kind, (k, c, kh, kw) = tile_kind(node), node.params["weight"].shape
    if kind is not TileKind.DIRECT and ((kh, kw) != (3, 3) or node.attrs["stride"] != 1 or node.attrs["groups"] != 1):
        raise GraphError(f"{where}: tile {node.attrs['tile']!r} needs a 3x3 window, stride 1 and one group")
    expected = (1, k, c * kh * kw) if kind is TileKind.DIRECT else (tile(kind).taps, k, c)
    quant = node.attrs.get("quant")
    found = [(name, node.params[name]) for name in ("u", "mask") if name in node.params]
    if isinstance(quant, Quant):
        found.append(("quant.u", quant.u))
    for name, value in found:
        if value.shape != expected:
            raise GraphError(f"{where}: {name} has shape {value.shape}, must be {expected}")
