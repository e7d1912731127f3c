"""A mean over a large map as the mean over each row, then over those means."""

from __future__ import annotations

from collections.abc import Collection

from subrow.ir.graph import Graph, Node, pads, pair


def split_means(graph: Graph, names: Collection[str]) -> Graph:
    """The named average pools, each over a whole map (`is_mean`), as two: `<name>_rows` over the columns of each row,
    then one of the name itself over the rows. Both round to int8, so only a mean that fits no buffer should be split.
    """
    nodes: list[Node] = []
    for node in graph:
        nodes += _halves(graph, node) if node.name in names else [node]
    return Graph(graph.name, tuple(nodes))


def is_mean(graph: Graph, node: Node) -> bool:
    """Whether the node is an average over a whole map."""
    if node.op != "avg_pool":
        return node.op == "global_avg_pool"
    return pair(node.attrs["kernel"]) == graph.node(node.inputs[0]).shape[1:] and not any(pads(node))


def _halves(graph: Graph, node: Node) -> list[Node]:
    c, h, w = graph.node(node.inputs[0]).shape
    window = {"stride": 1, "count_include_pad": True}
    rows = Node(f"{node.name}_rows", "avg_pool", node.inputs, (c, h, 1), {**window, "kernel": (1, w)})
    scale = {k: v for k, v in node.attrs.items() if k == "out_scale"}
    return [rows, Node(node.name, "avg_pool", (rows.name,), node.shape, {**window, "kernel": (h, 1), **scale})]
