"""Concatenations whose parts fill no whole channel blocks, through a wider one whose parts do."""

from __future__ import annotations

import numpy as np

from subrow.ir.graph import Graph, Node, Shape


def align_concats(graph: Graph, sub_row: int) -> Graph:
    """In every concat, all inputs but the last have a multiple of sub_row channels.

    Others become a concat `<name>_parts` of the same tensors, those with whole blocks first and those without, but for
    the last, behind a 1x1 convolution `<name>_pad<i>` that adds channels of zeros; a 1x1 convolution of the name
    itself then brings the channels into their order.
    """
    nodes: list[Node] = []
    for node in graph:
        shapes = [graph.node(name).shape for name in node.inputs]
        odd = node.op == "concat" and any(c % sub_row for c, _, _ in shapes[:-1])
        nodes += _aligned(node, shapes, sub_row) if odd else [node]
    return Graph(graph.name, tuple(nodes))


def _aligned(node: Node, shapes: list[Shape], sub_row: int) -> list[Node]:
    order = sorted(range(len(shapes)), key=lambda i: shapes[i][0] % sub_row != 0)
    starts = np.cumsum([0, *(c for c, _, _ in shapes)])  # of each input in the concat
    pads, inputs, moved, width = [], [], [], 0
    for i in order:
        name, (c, h, w) = node.inputs[i], shapes[i]
        missing = -c % sub_row if i != order[-1] else 0
        if missing:
            pads.append(_select(f"{node.name}_pad{i}", name, np.eye(c + missing, c), (h, w)))
            name = pads[-1].name
        inputs.append(name)
        moved += [(starts[i] + k, width + k) for k in range(c)]
        width += c + missing
    parts = Node(f"{node.name}_parts", "concat", tuple(inputs), (width, *node.shape[1:]))
    matrix = np.zeros((node.shape[0], width))
    matrix[tuple(np.transpose(moved))] = 1
    last = _select(node.name, parts.name, matrix, node.shape[1:])
    scale = {k: v for k, v in node.attrs.items() if k == "out_scale"}
    return [*pads, parts, last.with_attrs(**scale)]


def _select(name: str, source: str, matrix: np.ndarray, size: tuple[int, ...]) -> Node:
    """A 1x1 convolution with these weights [K, C]."""
    weight = matrix.astype(np.float32)[:, :, np.newaxis, np.newaxis]
    attrs = {"stride": 1, "pad": (0, 0, 0, 0), "groups": 1}
    return Node(name, "conv", (source,), (len(matrix), *size), attrs, {"weight": weight})
