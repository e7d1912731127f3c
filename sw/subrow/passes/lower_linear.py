"""flatten, linear and global average pool become convolutions whose window is the whole feature map."""

from __future__ import annotations

import numpy as np

from subrow.ir.graph import Graph, Node, Shape, as_float32
from subrow.passes.rewrite import rename
from subrow.spec.errors import UnsupportedError

_WHOLE_MAP = {"stride": 1, "pad": (0, 0, 0, 0)}


def lower_linear(graph: Graph) -> Graph:
    """No flatten, linear or global_avg_pool nodes remain, and every tensor is (C, H, W).

    Convolutions from linear layers carry the attribute `linear`.
    """
    shapes: dict[str, Shape] = {}
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for original in graph:
        node = rename(original, names)
        if node.op == "flatten":
            names[node.name] = node.inputs[0]
            continue
        node = _lowered(node, [shapes[i] for i in node.inputs])
        shapes[node.name] = node.shape
        nodes.append(node)
    return Graph(graph.name, tuple(nodes))


def _lowered(node: Node, inputs: list[Shape]) -> Node:
    if node.op == "input":
        return node if len(node.shape) == 3 else node.evolve(shape=(*node.shape, 1, 1))
    if node.op == "linear":
        weight = node.params["weight"]
        params = {**node.params, "weight": as_float32(weight.reshape(weight.shape[0], *inputs[0]))}
        return Node(
            node.name, "conv", node.inputs, (weight.shape[0], 1, 1), {**_WHOLE_MAP, "groups": 1, "linear": True}, params
        )
    if node.op == "global_avg_pool":
        c, h, w = inputs[0]
        weight = np.full((c, 1, h, w), 1.0 / (h * w), np.float32)
        return Node(node.name, "conv", node.inputs, (c, 1, 1), {**_WHOLE_MAP, "groups": c}, {"weight": weight})
    if len(node.shape) == 3:
        return node
    if any(s != inputs[0] for s in inputs) or (node.op == "batch_norm" and inputs[0][1:] != (1, 1)):
        raise UnsupportedError(
            f"node {node.name} ({node.op}) works on flattened tensors of shapes {inputs}; use it before flatten"
        )
    return node.evolve(shape=inputs[0])
