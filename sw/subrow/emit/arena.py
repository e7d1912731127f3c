"""Activation memory: a place for every tensor, shared by tensors that are never alive together."""

from __future__ import annotations

from dataclasses import dataclass

from subrow.ir.graph import Graph
from subrow.spec.metadata import tensor_bytes

ALIGN = 64


@dataclass(frozen=True)
class Slot:
    """A tensor's place: byte offset of its first channel block, bytes of one channel block of a row, and from the
    first byte of a row to that of the next.
    """

    offset: int
    block_bytes: int
    row_bytes: int

    def at(self, block: int) -> int:
        """Byte offset of one of its channel blocks."""
        return self.offset + block * self.block_bytes


def allocate(graph: Graph, sub_row: int) -> tuple[dict[str, Slot], int]:
    """(place of every tensor, bytes in all): first fit in execution order, largest lifetime end last.

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
    slots: dict[str, Slot] = {}
    placed: list[tuple[int, int, str]] = []
    for name in sorted(born, key=lambda n: born[n]):
        shape = graph.node(name).shape
        size = -(-tensor_bytes(shape, sub_row) // ALIGN) * ALIGN
        busy = sorted((o, s) for o, s, n in placed if last[n] >= born[name] and born[n] <= last[name])
        at = 0
        for offset, length in busy:
            if at + size <= offset:
                break
            at = max(at, offset + length)
        slots[name] = Slot(at, shape[2] * sub_row, tensor_bytes(shape, sub_row) // shape[1])
        placed.append((at, size, name))
    return slots, max(o + s for o, s, _ in placed)
