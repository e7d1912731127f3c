"""Step two of the SRBS co-optimisation: a pruned Graph as a torch module whose kept weights learn.

Weights of Winograd layers are trained in the Winograd domain under their fixed mask; batch-norm is still a layer of its
own. Capture, `lower_linear`, `choose_tile` and `prune` come before; `fold_batchnorm` and `quantise` after.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from subrow.compress import winograd
from subrow.compress.execute import apply, padded
from subrow.ir.graph import Graph, Node, as_float32, pair
from subrow.ir.weights import from_reduction, tile_kind, to_reduction
from subrow.spec.errors import UnsupportedError
from subrow.spec.winograd import TileKind


def layer_key(name: str) -> str:
    """A node's name as torch allows it for a module."""
    return name.replace(".", "/")


def check_single(graph: Graph) -> None:
    """Raises UnsupportedError unless the Graph has one input and one output, as images and labels have."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedError(
            f"Graph {graph.name}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; networks that learn "
            "from labelled images, or are measured with them, have one of each"
        )


class SparseNetwork(nn.Module):
    """A Graph in float, before batch-norm is folded: images N x C x H x W to the output's tensor."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        check_single(graph)
        self.graph = graph
        self.layers = nn.ModuleDict({layer_key(n.name): _LAYERS[n.op](n) for n in graph if n.op in _LAYERS})

    def forward(self, images: Tensor) -> Tensor:
        """The only output's tensor, flattened to N x values."""
        tensors: dict[str, Tensor] = {}
        for node in self.graph:
            inputs = [tensors[i] for i in node.inputs]
            if node.op == "input":
                tensors[node.name] = images
            elif node.op in _LAYERS:
                tensors[node.name] = self.layers[layer_key(node.name)](*inputs)
            else:
                tensors[node.name] = apply(node, inputs)
        return tensors[self.graph.outputs[0].name].flatten(1)

    def to_graph(self) -> Graph:
        """The Graph with the parameters as they are now."""
        changed = {}
        for node in self.graph:
            if node.op in _LAYERS:
                changed[node.name] = node.with_params(**cast(Any, self.layers[layer_key(node.name)]).parameters_now())
        return self.graph.replace(changed)


class SparseConvolution(nn.Module):
    """One conv node: U / gain [taps, K, C] of a pruned Winograd layer (`winograd.tap_gains`), else [K, C, kh, kw]."""

    mask: Tensor
    gain: Tensor

    def __init__(self, node: Node) -> None:
        super().__init__()
        if len(node.inputs) > 1 or node.attrs.get("act") or node.attrs.get("pool"):
            raise UnsupportedError(f"node {node.name}: already fused; train the Graph as it was before fold_batchnorm")
        self.node = node
        self.pruned = "u" in node.params
        self.kind = tile_kind(node) if self.pruned else TileKind.DIRECT
        value: NDArray[Any] = node.params["u" if self.pruned else "weight"]
        mask: NDArray[Any] = node.params["mask"] if self.pruned else np.ones(())
        gain = torch.ones(())
        if self.kind is not TileKind.DIRECT:
            gain = winograd.tap_gains(self.kind).float()[:, None, None]
        elif self.pruned:
            value, mask = self._spatial(value), self._spatial(mask)
        self.register_buffer("gain", gain, persistent=False)
        self.weight = nn.Parameter(torch.tensor(np.array(value), dtype=torch.float32) / gain)
        self.weight.requires_grad_(node.attrs["groups"] == 1 or bool(np.ptp(value)))  # an average pool stays one
        self.register_buffer("mask", torch.tensor(np.array(mask)).float(), persistent=False)
        bias = node.params.get("bias")
        self.bias = None if bias is None else nn.Parameter(torch.tensor(np.array(bias), dtype=torch.float32))

    def _spatial(self, u: NDArray[Any]) -> NDArray[Any]:
        return from_reduction(u, self.node.params["weight"].shape, self.node.attrs["density"][1])

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x K x OH x OW."""
        x, weight = padded(self.node, x), self.weight * self.gain * self.mask
        if self.kind is TileKind.DIRECT:
            attrs = self.node.attrs
            return functional.conv2d(x, weight, self.bias, stride=pair(attrs["stride"]), groups=attrs["groups"])
        y = winograd.convolution(self.kind, x, weight)
        return y if self.bias is None else y + self.bias[:, None, None]

    def parameters_now(self) -> dict[str, NDArray[Any]]:
        """The node's parameters that have learned."""
        weight = (self.weight * self.gain * self.mask).detach().cpu().numpy()
        found = {} if self.bias is None else {"bias": as_float32(self.bias.detach().cpu().numpy())}
        if not self.pruned:
            return {**found, "weight": as_float32(weight)}
        if self.kind is TileKind.DIRECT:
            weight = to_reduction(weight, self.node.attrs["density"][1])
        return {**found, "u": as_float32(weight)}


class BatchNorm(nn.BatchNorm2d):
    """One batch_norm node."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.shape[0], eps=float(node.attrs["eps"]))
        p = {name: torch.tensor(np.array(value), dtype=torch.float32) for name, value in node.params.items()}
        state = {"weight": p["gamma"], "bias": p["beta"], "running_mean": p["mean"], "running_var": p["var"]}
        self.load_state_dict(state, strict=False)

    def parameters_now(self) -> dict[str, NDArray[Any]]:
        """gamma, beta, mean and var [C]."""
        state = self.state_dict()
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
        return {name: as_float32(state[own].cpu().numpy()) for name, own in names.items()}


_LAYERS: dict[str, type[SparseConvolution] | type[BatchNorm]] = {"conv": SparseConvolution, "batch_norm": BatchNorm}
