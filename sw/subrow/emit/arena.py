"""Activation memory: a place for every tensor, shared by tensors that are never alive together."""

from __future__ import annotations

from subrow.ir.graph import Graph
from subrow.spec.metadata import tensor_bytes

ALIGN = 64


def allocate(graph: Graph, sub_row: int) -> tuple[dict[str, int], int]:
    """(byte offset of every tensor, bytes in all): first fit in execution order, largest lifetime end last.

    Inputs live from the start, network outputs to the end.
    """
    last: dict[str, int] = {}
    born: dict[str, int] = {}
    end = len(graph.nodes)
    for step, node in enumerate(graph):
        for name in node.inputs:
            last[name] = end if node.op == "output" or last.get(name) == end else step
        if node.op != "output":
            born[node.name] = -1 if node.op == "input" else step
            last.setdefault(node.name, step)
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, str]] = []
    for name in sorted(born, key=lambda n: born[n]):
        size = -(-tensor_bytes(graph.node(name).shape, sub_row) // ALIGN) * ALIGN
        busy = sorted((o, s) for o, s, n in placed if last[n] >= born[name] and born[n] <= last[name])
        at = 0
        for offset, length in busy:
            if at + size <= offset:
                break
            at = max(at, offset + length)
        offsets[name] = at
        placed.append((at, size, name))
    return offsets, max(o + s for o, s, _ in placed)
