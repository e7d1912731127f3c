"""What must hold of a Graph after every pass: names, order, shapes, finite numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from subrow.ir.graph import Graph, Node
from subrow.ir.shapes import GraphError, infer

LEAST_BITS, MOST_BITS = 2, 16
"""Of the attribute `bits`: weights have a sign, and no HwConfig has more."""
_UNARY = (1, 1)
_ARITY = {
    "input": (0, 0), "conv": (1, 2), "linear": _UNARY, "batch_norm": _UNARY, "relu": _UNARY, "relu6": _UNARY,
    "leaky_relu": _UNARY, "max_pool": _UNARY, "avg_pool": _UNARY, "global_avg_pool": _UNARY, "upsample": _UNARY,
    "concat": (1, 1 << 12), "add": (2, 2), "flatten": _UNARY, "output": _UNARY,
}  # fmt: skip
_PARAMS = {
    "conv": {"weight", "bias", "u", "mask"}, "linear": {"weight", "bias"},
    "batch_norm": {"gamma", "beta", "mean", "var"},
}  # fmt: skip
_ATTRS = {
    "conv": {"stride", "pad", "groups", "act", "slope", "pool", "upsample", "max_window", "tile", "density", "bits",
             "linear", "image_window", "quant"},
    "batch_norm": {"eps"}, "leaky_relu": {"slope"}, "max_pool": {"kernel", "stride", "pad"},
    "avg_pool": {"kernel", "stride", "pad", "count_include_pad"}, "upsample": {"factor"},
}  # fmt: skip
_NEEDED = {
    "conv": ("stride", "groups"), "batch_norm": ("eps",), "leaky_relu": ("slope",), "upsample": ("factor",),
    "max_pool": ("kernel", "stride"), "avg_pool": ("kernel", "stride", "count_include_pad"),
}  # fmt: skip


def verify(graph: Graph, after: str = "capture") -> Graph:
    """Return the Graph; raises GraphError, naming the pass, the node, what is wrong and what it should be."""
    seen: dict[str, Node] = {}
    for node in graph:
        try:
            _check(node, seen)
        except GraphError as error:
            raise GraphError(f"Graph {graph.name} after {after}: {error}") from error
        seen[node.name] = node
    if not graph.inputs or not graph.outputs:
        raise GraphError(
            f"Graph {graph.name} after {after}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "needs at least one of each"
        )
    return graph


def _check(node: Node, seen: dict[str, Node]) -> None:
    where = f"node {node.name} ({node.op})"
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
    _check_attrs(where, node)
    _check_params(where, node)
    expected = infer(node, [seen[i].shape for i in node.inputs])
    if node.shape != expected:
        raise GraphError(f"{where}: shape {node.shape}, its inputs and attributes make {expected}")


def _check_attrs(where: str, node: Node) -> None:
    unknown = set(node.attrs) - _ATTRS.get(node.op, set()) - {"out_scale"}
    if unknown:
        known = ", ".join(sorted(_ATTRS.get(node.op, set()) | {"out_scale"}))
        raise GraphError(f"{where}: unknown attribute {sorted(unknown)[0]!r}; known: {known}")
    for name in _NEEDED.get(node.op, ()):
        if name not in node.attrs:
            raise GraphError(f"{where}: attribute {name!r} is missing")
    bits: Any = node.attrs.get("bits", LEAST_BITS)
    if type(bits) is not int or not LEAST_BITS <= bits <= MOST_BITS:
        raise GraphError(f"{where}: bits {bits!r}, must be an integer, {LEAST_BITS}..{MOST_BITS}")
    scale: Any = node.attrs.get("out_scale", 1.0)
    if not isinstance(scale, float) or not np.isfinite(scale) or scale <= 0:
        raise GraphError(f"{where}: out_scale {scale!r}, must be a finite number above 0")


def _check_params(where: str, node: Node) -> None:
    unknown = set(node.params) - _PARAMS.get(node.op, set())
    if unknown:
        raise GraphError(f"{where}: unknown parameter {sorted(unknown)[0]!r}")
    for name, value in node.params.items():
        if not np.isfinite(value).all():
            bad = int(np.size(value) - np.isfinite(value).sum())
            raise GraphError(f"{where}: {bad} values of {name} are not finite; use trained weights without NaN or inf")


__all__ = ["GraphError", "verify"]
