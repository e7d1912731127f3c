"""One conv node for each instruction: conv [+ residual] [+ ReLU] [+ 2x2 maximum]."""

from __future__ import annotations

import numpy as np

from subrow.ir.graph import Graph, Node
from subrow.passes.rewrite import channelwise, rename
from subrow.spec.errors import UnsupportedError

_TAKES = ("relu", "max_pool", "add")


def fuse(graph: Graph) -> Graph:
    """Only input, conv and output nodes remain, and outputs read conv nodes.

    A fused node keeps the convolution's name and stands where the last operator that it took stood; its residual is
    its second input. What no convolution can take gets a channel-wise 1x1 convolution with weight 1 of its own.
    """
    graph = _absorb_all(graph)
    while rest := next((n for n in graph if n.op in _TAKES or _bare_output(graph, n)), None):
        graph = _absorb_all(_with_identity(graph, rest))
    left = next((n for n in graph if n.op not in ("input", "conv", "output")), None)
    if left is not None:
        raise UnsupportedError(f"node {left.name}: {left.op} is left before fuse; run lower_linear and fold_batchnorm")
    return graph


def _bare_output(graph: Graph, node: Node) -> bool:
    return node.op == "output" and graph.node(node.inputs[0]).op == "input"


def _with_identity(graph: Graph, node: Node) -> Graph:
    """A channel-wise convolution of weight 1 in front of the node's first input."""
    source = graph.node(node.inputs[0])
    name = f"{node.name}_identity"
    identity = channelwise(name, source.name, source.shape, np.ones(source.shape[0])).with_attrs(tile="direct")
    at = graph.nodes.index(node)
    moved = node.evolve(inputs=(name, *node.inputs[1:]))
    return Graph(graph.name, (*graph.nodes[:at], identity, moved, *graph.nodes[at + 1 :]))


def _absorb_all(graph: Graph) -> Graph:
    for name in [n.name for n in reversed(graph.nodes) if n.op == "conv"]:
        while (taken := _absorb(graph, name)) is not None:
            graph = taken
    return graph


def _absorb(graph: Graph, name: str) -> Graph | None:
    """The Graph with the operator behind the convolution taken into it, or None when it cannot be."""
    conv, users = graph.node(name), graph.consumers(name)
    if len(users) != 1 or users[0].op not in _TAKES:
        return None
    user, attrs = users[0], conv.attrs
    inputs = conv.inputs
    if user.op == "add":
        others = [i for i in user.inputs if i != name]
        if len(others) != 1 or len(inputs) == 2 or attrs.get("relu") or attrs.get("pool"):
            return None
        inputs = (*inputs, others[0])
    if user.op == "max_pool" and attrs.get("pool"):
        return None
    flag = {"relu": "relu", "max_pool": "pool"}.get(user.op)
    fused = conv.evolve(inputs=inputs, shape=user.shape, attrs={**attrs, **({flag: True} if flag else {})})
    nodes = [fused if n is user else rename(n, {user.name: name}) for n in graph if n is not conv]
    return Graph(graph.name, tuple(nodes))
