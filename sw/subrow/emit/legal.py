"""What the engine has an instruction for, checked on the fused Graph before anything is packed."""

from __future__ import annotations

from subrow.ir.graph import Graph, Node, pair
from subrow.spec.errors import UnsupportedError

SUPPORTED = (
    "convolutions with stride 1 or 2 (the same in both directions); behind one, in this order: leaky ReLU, addition, "
    "ReLU or ReLU6, 2x2 max pool with stride 2 or nearest upsampling by 2; max pools with stride 1 or 2; average pools "
    "without a border, or that count it; concatenation of channels"
)


def check(graph: Graph, sub_row: int) -> None:
    """Raises one UnsupportedError that names every node that cannot become an instruction, why, and what can.

    sub_row: L, the channels of a block.
    """
    reasons = ((n, _reason(graph, n, sub_row)) for n in graph)
    refused = [f"node {n.name}, op {n.op}: {reason}" for n, reason in reasons if reason is not None]
    if refused:
        raise UnsupportedError(f"network {graph.name}: {'; '.join(refused)}. Supported: {SUPPORTED}")


def _reason(graph: Graph, node: Node, sub_row: int) -> str | None:
    """Why the node cannot become an instruction; None when it can."""
    if node.op == "output":
        return None
    if node.op == "concat":
        return _concat_reason(graph, node, sub_row)
    if node.op == "input":
        return None if graph.consumers(node.name) else "nothing reads it; remove the input"
    if node.op == "conv":
        return _conv_reason(node)
    if node.op in ("max_pool", "avg_pool"):
        window = f"kernel {pair(node.attrs['kernel'])}, stride {pair(node.attrs['stride'])}"
        return f"{window}, pad {tuple(node.attrs.get('pad', (0, 0, 0, 0)))} is not a pool that the engine has"
    return "the engine has no instruction for it"


def _concat_reason(graph: Graph, node: Node, sub_row: int) -> str | None:
    for name in node.inputs[:-1]:
        channels = graph.node(name).shape[0]
        if channels % sub_row:
            return (
                f"input {name} has {channels} channels, and only the last may have another number than a multiple of "
                f"L = {sub_row}; put it last, or give it more channels"
            )
    return None


def _conv_reason(node: Node) -> str | None:
    stride = pair(node.attrs["stride"])
    if stride not in ((1, 1), (2, 2)):
        return f"stride {stride}, the engine has 1 and 2"
    return None
