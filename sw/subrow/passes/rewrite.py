"""What several passes need: renaming inputs and building convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from subrow.ir.graph import Node, Shape, as_float32


def rename(node: Node, names: Mapping[str, str]) -> Node:
    """The node reading the renamed tensors."""
    return node.evolve(inputs=tuple(names.get(i, i) for i in node.inputs))


def with_scale_of(node: Node, last: Node) -> Node:
    """The node with the output scale of the last operator that it took in, or none."""
    attrs = {k: v for k, v in node.attrs.items() if k != "out_scale"}
    if "out_scale" in last.attrs:
        attrs["out_scale"] = last.attrs["out_scale"]
    return node.evolve(attrs=attrs)


def channelwise(
    name: str, source: str, shape: Shape, scale: NDArray[np.floating], bias: NDArray[np.floating] | None = None
) -> Node:
    """A 1x1 convolution with one group for each channel: y[c] = scale[c] * x[c] (+ bias[c])."""
    params = {"weight": as_float32(scale).reshape(-1, 1, 1, 1)}
    if bias is not None:
        params["bias"] = as_float32(bias)
    attrs = {"stride": 1, "pad": (0, 0, 0, 0), "groups": shape[0]}
    return Node(name, "conv", (source,), shape, attrs, params)
