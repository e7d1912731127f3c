"""What the engine has an instruction for, checked on the fused Graph before anything is packed."""

from __future__ import annotations

from subrow.ir.graph import Graph, Node, pair
from subrow.spec.errors import UnsupportedError

SUPPORTED = (
    "convolutions with stride 1 or 2 (the same in both directions) and one group, or one group for each of "
    "equally many channels; behind one, in this order: leaky ReLU, addition, ReLU or ReLU6, 2x2 max pool "
    "with stride 2 or nearest upsampling by 2; max pools with stride 1 or 2; average pools without a border, or that "
    "count it"
)


def check(graph: Graph) -> None:
    """Raises one UnsupportedError that names every node that cannot become an instruction, why, and what can."""
    refused = [f"node {n.name}, op {n.op}: {reason}" for n in graph if (reason := _reason(graph, n)) is not None]
    if refused:
        raise UnsupportedError(f"network {graph.name}: {'; '.join(refused)}. Supported: {SUPPORTED}")


def _reason(graph: Graph, node: Node) -> str | None:
    """Why the node cannot become an instruction; None when it can."""
    if node.op == "output":
        return None
    if node.op == "input":
        return None if graph.consumers(node.name) else "nothing reads it; remove the input"
    if node.op == "conv":
        return _conv_reason(node)
    if node.op in ("max_pool", "avg_pool"):
        window = f"kernel {pair(node.attrs['kernel'])}, stride {pair(node.attrs['stride'])}"
        return f"{window}, pad {tuple(node.attrs.get('pad', (0, 0, 0, 0)))} is not a pool that the engine has"
    return "the engine has no instruction for it"


def _conv_reason(node: Node) -> str | None:
    stride, groups, weight = pair(node.attrs["stride"]), node.attrs["groups"], node.params["weight"]
    if stride not in ((1, 1), (2, 2)):
        return f"stride {stride}, the engine has 1 and 2"
    if groups != 1 and not (groups == len(weight) and weight.shape[1] == 1):
        return (
            f"{groups} groups of {weight.shape[1]} to {len(weight) // groups} channels; "
            "write it as one group with zeros between the groups"
        )
    return None
