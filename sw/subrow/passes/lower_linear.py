"""flatten, linear and average pools become convolutions; behind a flatten every tensor is (C, 1, 1)."""

from __future__ import annotations

import numpy as np

from subrow.ir.graph import ACTIVATIONS, Graph, Node, Shape, as_float32, pads, pair
from subrow.ir.shapes import infer
from subrow.passes.rewrite import rename
from subrow.spec.errors import UnsupportedError

_WHOLE_MAP = {"stride": 1, "pad": (0, 0, 0, 0)}
_FLAT = ("add", "batch_norm", "concat", "output", *ACTIVATIONS)


def lower_linear(graph: Graph) -> Graph:
    """No flatten, linear or global_avg_pool nodes remain, and every tensor is (C, H, W).

    An average pool becomes a channel-wise convolution with equal weights, unless its divisor differs at the border
    (count_include_pad false with a border): that one stays. Convolutions from linear layers carry `linear`.
    """
    done: dict[str, Node] = {}
    names: dict[str, str] = {}
    for original in graph:
        node = rename(original, names)
        if node.op == "flatten":
            names[node.name] = node.inputs[0]
            source = done[node.inputs[0]]
            if "out_scale" in node.attrs and "out_scale" not in source.attrs:
                done[source.name] = source.with_attrs(out_scale=node.attrs["out_scale"])
            continue
        done[node.name] = _lowered(node, [done[i].shape for i in node.inputs])
    return Graph(graph.name, tuple(done.values()))


def _lowered(node: Node, inputs: list[Shape]) -> Node:
    if node.op == "input":
        return node if len(node.shape) == 3 else node.evolve(shape=(*node.shape, 1, 1))
    if node.op == "linear":
        weight = node.params["weight"]
        params = {**node.params, "weight": as_float32(weight.reshape(weight.shape[0], *inputs[0]))}
        attrs = {**_WHOLE_MAP, "groups": 1, "linear": True}
        return _conv(node, (weight.shape[0], 1, 1), attrs).evolve(params=params)
    if node.op == "global_avg_pool":
        c, h, w = inputs[0]
        return _mean(node, (h, w), {**_WHOLE_MAP, "groups": c})
    if node.op == "avg_pool" and (node.attrs["count_include_pad"] or not any(pads(node))):
        kernel = pair(node.attrs["kernel"])
        stride = 1 if kernel == inputs[0][1:] else node.attrs["stride"]  # a window as large as the map takes no step
        return _mean(node, kernel, {"stride": stride, "pad": pads(node), "groups": inputs[0][0]})
    return node if len(node.shape) == 3 else _flat(node, inputs)


def _conv(node: Node, shape: Shape, attrs: dict[str, object]) -> Node:
    """A convolution in the node's place."""
    kept = {k: v for k, v in node.attrs.items() if k == "out_scale"}
    return Node(node.name, "conv", node.inputs, shape, {**attrs, **kept})


def _mean(node: Node, kernel: tuple[int, int], attrs: dict[str, object]) -> Node:
    weight = np.full((node.shape[0], 1, *kernel), 1.0 / (kernel[0] * kernel[1]), np.float32)
    return _conv(node, node.shape, attrs).with_params(weight=weight)


def _flat(node: Node, inputs: list[Shape]) -> Node:
    """An operator on flattened tensors, on the maps that were flattened."""
    per_channel = node.op in ("batch_norm", "concat")
    alike = per_channel or all(s == inputs[0] for s in inputs)
    if node.op not in _FLAT or not alike or (per_channel and any(s[1:] != (1, 1) for s in inputs)):
        raise UnsupportedError(
            f"node {node.name} ({node.op}) works on flattened tensors of shapes {inputs}; use it before flatten"
            + (", or behind a Linear" if node.op == "batch_norm" else "")
        )
    return node.evolve(shape=infer(node, inputs))
