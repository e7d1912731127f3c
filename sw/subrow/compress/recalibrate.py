"""Batch-norm statistics of a pruned network, estimated again on calibration images."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from subrow.compress.execute import as_batch, evaluate
from subrow.ir.graph import Graph, Node, as_float32


def recalibrate(graph: Graph, images: NDArray[Any] | Tensor) -> Graph:
    """Mean and variance of every batch_norm replaced by those of its input over all images, in execution order.

    Each layer sees the already corrected layers before it. Run it before fold_batchnorm; all images form one batch.
    """
    changed: dict[str, Node] = {}

    def estimate(node: Node, x: Tensor) -> Node:
        if node.op != "batch_norm":
            return node
        dims = (0, 2, 3) if x.ndim == 4 else (0,)
        if x.numel() // x.shape[1] < 2:
            return node
        var, mean = x.double().var(dims, correction=1), x.double().mean(dims)
        changed[node.name] = node.with_params(mean=as_float32(mean.numpy()), var=as_float32(var.numpy()))
        return changed[node.name]

    if any(n.op == "batch_norm" for n in graph):
        evaluate(graph, as_batch(graph, images), estimate, keep=())
    return graph.replace(changed)
