"""Batch-norm into the weights of the convolution (or linear layer) before it, else into a channel-wise convolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subrow.ir.graph import Graph, Node, as_float32
from subrow.passes.rewrite import channelwise, rename, with_scale_of
from subrow.spec.errors import UnsupportedError


def fold_batchnorm(graph: Graph) -> Graph:
    """No batch_norm nodes remain; what followed one reads the convolution that took it in."""
    done: dict[str, Node] = {}
    names: dict[str, str] = {}
    for original in graph:
        node = rename(original, names)
        if node.op != "batch_norm":
            done[node.name] = node
            continue
        scale, shift = _affine(node)
        before = done[node.inputs[0]]
        alone = len(graph.consumers(original.inputs[0])) == 1
        if alone and _bare(before):
            done[before.name] = with_scale_of(_scaled(before, scale, shift), node)
            names[node.name] = before.name
        elif len(node.shape) == 3:
            lone = channelwise(node.name, node.inputs[0], node.shape, scale, shift)
            done[node.name] = with_scale_of(lone, node)
        else:
            raise UnsupportedError(
                f"node {node.name}: batch_norm of a flat tensor {node.shape} that does not directly follow a linear "
                "layer; put it before flatten, or behind a Linear"
            )
    return Graph(graph.name, tuple(done.values()))


def _bare(node: Node) -> bool:
    """A layer whose output is nothing but its sums: no residual, activation or pool behind them."""
    fused = any(node.attrs.get(a) for a in ("act", "pool", "upsample")) or len(node.inputs) > 1
    return node.op in ("conv", "linear") and not fused


def _affine(node: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p = {k: v.astype(np.float64) for k, v in node.params.items()}
    scale = p["gamma"] / np.sqrt(p["var"] + node.attrs["eps"])
    return scale, p["beta"] - p["mean"] * scale


def _scaled(node: Node, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> Node:
    weight = node.params["weight"]
    params = {"weight": as_float32(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))}
    params["bias"] = as_float32(node.params.get("bias", np.zeros_like(scale)) * scale + shift)
    if "u" in node.params:
        params["u"] = as_float32(node.params["u"] * scale[np.newaxis, :, np.newaxis])
    return node.with_params(**params)
