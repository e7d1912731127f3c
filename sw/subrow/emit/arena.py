"""Activation memory: a place for every tensor, shared by tensors that are never alive together."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    Inputs live from the start, network outputs to the end. What a concat reads are channel blocks of what it gives:
    they have one place, from the first of them that is written to the last that is read.
    """
    homes = _homes(graph, sub_row)
    last: dict[str, int] = {}
    born: dict[str, int] = {}
    end = len(graph.nodes)
    for step, node in enumerate(graph):
        for name in (homes[i][0] for i in node.inputs):
            last[name] = end if node.op == "output" or last.get(name) == end else step
        if node.op != "output":
            home = homes[node.name][0]
            born.setdefault(home, -1 if node.op == "input" else step)
            last.setdefault(home, step)
    places: dict[str, Slot] = {}
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
        places[name] = Slot(at, shape[2] * sub_row, tensor_bytes(shape, sub_row) // shape[1])
        placed.append((at, size, name))
    slots = {n: replace(places[home], offset=places[home].at(block)) for n, (home, block) in homes.items()}
    return slots, max(o + s for o, s, _ in placed)


def _homes(graph: Graph, sub_row: int) -> dict[str, tuple[str, int]]:
    """(widest tensor that it is a part of, its first channel block there) of every tensor."""
    homes = {n.name: (n.name, 0) for n in graph if n.op != "output"}
    for node in reversed(graph.nodes):  # a concat that is itself a part has its home already
        if node.op != "concat":
            continue
        home, block = homes[node.name]
        for name in node.inputs:
            homes[name] = home, block
            block += -(-graph.node(name).shape[0] // sub_row)
    return homes
