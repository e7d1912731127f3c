"""A Graph as text, one line for each node."""

from __future__ import annotations

from subrow.ir.graph import Graph, Node
from subrow.ir.weights import Quant


def dump(graph: Graph) -> str:
    """Name, operator, inputs, shape, attributes and parameter shapes of every node, in execution order."""
    rows = [(n.name, n.op, ", ".join(n.inputs), "x".join(map(str, n.shape)), _details(n)) for n in graph]
    widths = [max(len(r[i]) for r in rows) for i in range(4)] if rows else [0] * 4
    lines = ["  ".join([*(t.ljust(w) for t, w in zip(r, widths, strict=False)), r[4]]).rstrip() for r in rows]
    return "\n".join([f"graph {graph.name}: {len(rows)} nodes", *lines]) + "\n"


def _details(node: Node) -> str:
    parts = [f"{k}={_value(v)}" for k, v in node.attrs.items()]
    parts += [f"{k}[{'x'.join(map(str, v.shape))}]" for k, v in node.params.items()]
    return " ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, Quant):
        return f"int(in {value.in_scale:.4g}, out {value.out_scale:.4g}, ev {max(value.ev)}, em {max(value.em)})"
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return str(value)
