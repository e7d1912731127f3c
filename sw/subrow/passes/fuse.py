"""One conv node for each instruction: [maximum of windows +] conv [+ residual] [+ activation] [+ resizing]."""

from __future__ import annotations

from typing import Any

import numpy as np

from subrow.ir.graph import ACTIVATIONS, Graph, Node, pads, pair
from subrow.passes.rewrite import channelwise, rename, with_scale_of
from subrow.spec.errors import UnsupportedError

_STAY = ("input", "conv", "output", "max_pool", "avg_pool", "concat")
_BEFORE = ("flatten", "linear", "global_avg_pool", "batch_norm")


def fuse(graph: Graph) -> Graph:
    """Only input, conv, concat and output nodes remain, and what no convolution takes: some pools.

    A fused node keeps the convolution's name and stands where the last operator that it took stood; its residual is
    its second input. An activation, addition, 2x2 pool or upsampling without a convolution before it, and an output
    that would read an input, get a channel-wise 1x1 convolution with weight 1 of their own. So does what a concat reads
    where it cannot be written into its place there: a network input, or what another concat reads. Other max pools of
    stride 1 or 2 become one (`max_window`).
    """
    early = next((n for n in graph if n.op in _BEFORE), None)
    if early is not None:
        raise UnsupportedError(f"node {early.name}, op {early.op}: run lower_linear and fold_batchnorm before fuse")
    graph = Graph(graph.name, tuple(_maximum(n) if _pools_windows(n) else n for n in graph))
    graph = _copied(_nested(_absorb_all(graph)))
    while rest := next((n for n in graph if n.op not in _STAY or _pools_quads(n) or _bare_output(graph, n)), None):
        graph = _absorb_all(_with_identity(graph, rest, 0, f"{rest.name}_identity"))
    return graph


def _nested(graph: Graph) -> Graph:
    """A concat that begins with all that one before it reads reads that one in their place."""
    before: list[Node] = []
    changed: dict[str, Node] = {}
    for node in (n for n in graph if n.op == "concat"):
        parts = [n for n in before if node.inputs[: len(n.inputs)] == n.inputs]
        if parts:
            first = max(parts, key=lambda n: len(n.inputs))
            changed[node.name] = node.evolve(inputs=(first.name, *node.inputs[len(first.inputs) :]))
        before.append(node)
    return graph.replace(changed)


def _copied(graph: Graph) -> Graph:
    """Every tensor that a concat reads is a layer's, and is read by no other concat."""
    taken = {n.name for n in graph.inputs}
    for name in [n.name for n in graph if n.op == "concat"]:
        for position, source in enumerate(graph.node(name).inputs):
            if source in taken:
                graph = _with_identity(graph, graph.node(name), position, f"{name}_identity{position}")
            taken.add(source)
    return graph


def _pools_quads(node: Node) -> bool:
    """Whether the node is the 2x2 maximum at stride 2 that a convolution takes."""
    if node.op != "max_pool" or any(pads(node)):
        return False
    return pair(node.attrs["kernel"]) == pair(node.attrs["stride"]) == (2, 2)


def _pools_windows(node: Node) -> bool:
    """Whether the node is a max pool that becomes a layer of its own."""
    return node.op == "max_pool" and not _pools_quads(node) and pair(node.attrs["stride"]) in ((1, 1), (2, 2))


def _maximum(node: Node) -> Node:
    """The channel-wise convolution of weight 1 that takes the maximum of the max pool's windows."""
    attrs = {"max_window": pair(node.attrs["kernel"]), "stride": node.attrs["stride"], "pad": pads(node)}
    identity = channelwise(node.name, node.inputs[0], node.shape, np.ones(node.shape[0])).with_attrs(**attrs)
    return with_scale_of(identity.with_attrs(tile="direct"), node)


def _bare_output(graph: Graph, node: Node) -> bool:
    return node.op == "output" and graph.node(node.inputs[0]).op == "input"


def _with_identity(graph: Graph, node: Node, position: int, name: str) -> Graph:
    """A channel-wise convolution of weight 1 in front of one of the node's inputs."""
    source = graph.node(node.inputs[position])
    identity = channelwise(name, source.name, source.shape, np.ones(source.shape[0])).with_attrs(tile="direct")
    at = graph.nodes.index(node)
    moved = node.evolve(inputs=(*node.inputs[:position], name, *node.inputs[position + 1 :]))
    return Graph(graph.name, (*graph.nodes[:at], identity, moved, *graph.nodes[at + 1 :]))


def _absorb_all(graph: Graph) -> Graph:
    for name in [n.name for n in reversed(graph.nodes) if n.op == "conv"]:
        while (taken := _absorb(graph, name)) is not None:
            graph = taken
    return graph


def _absorb(graph: Graph, name: str) -> Graph | None:
    """The Graph with the operator behind the convolution taken into it, or None when it cannot be."""
    conv, users = graph.node(name), graph.consumers(name)
    if len(users) != 1:
        return None
    user, attrs, inputs = users[0], dict(conv.attrs), conv.inputs
    resized = attrs.get("pool") or attrs.get("upsample")
    if user.op == "add":
        others = [i for i in user.inputs if i != name]
        if len(others) != 1 or len(inputs) == 2 or attrs.get("act") not in (None, "leaky") or resized:
            return None
        inputs = (*inputs, others[0])
    elif user.op in ACTIVATIONS:  # behind the pool or upsampling, too: none of them reverses an order
        if len(inputs) == 2 and "leaky" in (attrs.get("act"), ACTIVATIONS[user.op]):
            return None  # a leaky ReLU stands before the addition
        attrs = _activated(attrs, user)
    elif _pools_quads(user) and not resized:
        attrs["pool"] = True
    elif user.op == "upsample" and not resized:
        attrs["upsample"] = True
    else:
        return None
    fused = with_scale_of(conv.evolve(inputs=inputs, shape=user.shape, attrs=attrs), user)
    nodes = [fused if n is user else rename(n, {user.name: name}) for n in graph if n is not conv]
    return Graph(graph.name, tuple(nodes))


def _activated(attrs: dict[str, Any], user: Node) -> dict[str, Any]:
    """A convolution's attributes with another activation behind the one that it has."""
    first, second = attrs.get("act"), ACTIVATIONS[user.op]
    rest = {k: v for k, v in attrs.items() if k not in ("act", "slope")}
    if second == "leaky":
        if first in ("relu", "relu6"):  # nothing negative is left
            return attrs
        slope = float(user.attrs["slope"]) * float(attrs.get("slope", 1.0))
        return {**rest, "act": "leaky", "slope": slope}
    return {**rest, "act": "relu6" if "relu6" in (first, second) else "relu"}
