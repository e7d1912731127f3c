"""Runs a Graph in float with torch: before or after folding, fusing and pruning."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from subrow.compress import winograd
from subrow.ir.graph import ACTIVATIONS, Graph, Node, pads, pair, window
from subrow.ir.weights import from_reduction, tile_kind
from subrow.spec.errors import InputError
from subrow.spec.winograd import TileKind

_BATCH_BYTES = 1 << 30
Hook = Callable[[Node, Tensor], Node]


def execute(graph: Graph, images: NDArray[Any] | Tensor, all_tensors: bool = False) -> dict[str, NDArray[np.float32]]:
    """Output tensors (or every node's, by name) for a batch of images, N x the input's shape."""
    tensors = evaluate(graph, as_batch(graph, images))
    wanted = list(graph) if all_tensors else list(graph.outputs)
    return {n.name: tensors[n.name].numpy() for n in wanted}


def as_batch(graph: Graph, images: NDArray[Any] | Tensor) -> Tensor:
    """images as a float32 batch of the Graph's only input.

    Raises InputError when the shape does not fit, or a value is NaN, infinite or too large for float32.
    """
    if len(graph.inputs) != 1:
        raise InputError(f"Graph {graph.name} has {len(graph.inputs)} inputs; calibration images feed exactly one")
    batch = torch.as_tensor(np.asarray(images), dtype=torch.float32)
    shape = graph.inputs[0].shape
    if batch.ndim == 2 and len(shape) == 3:
        batch = batch[:, :, None, None]
    if tuple(batch.shape[1:]) != shape or not len(batch):
        raise InputError(f"Graph {graph.name}: images of shape {tuple(batch.shape)}, must be N >= 1 x {shape}")
    whole = torch.isfinite(batch).flatten(1).all(1)
    if not bool(whole.all()):
        image = int(torch.nonzero(~whole)[0])
        raise InputError(f"Graph {graph.name}: image {image} holds NaN, infinity or a value too large for float32")
    return batch


def images_at_once(graph: Graph, most: int = 32) -> int:
    """How many images `evaluate` may take in one batch so that all tensors together stay within a gigabyte."""
    image = sum(4 * math.prod(node.shape) for node in graph)
    return max(1, min(most, _BATCH_BYTES // image))


def evaluate(
    graph: Graph, batch: Tensor, hook: Hook | None = None, keep: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Every node's tensor, or those named in keep: the others are freed when nothing reads them any more.

    hook may exchange a node once its first input is known.
    """
    tensors: dict[str, Tensor] = {}
    last = {name: node.name for node in graph for name in (*node.inputs, node.name)}
    with torch.inference_mode():
        for node in graph:
            if node.op == "input":
                tensors[node.name] = batch
                continue
            inputs = [tensors[i] for i in node.inputs]
            tensors[node.name] = apply(hook(node, inputs[0]) if hook else node, inputs)
            if keep is not None:
                for name in {*node.inputs, node.name} - set(keep):
                    if last[name] == node.name:
                        del tensors[name]
    return tensors


def _param(node: Node, name: str) -> Tensor | None:
    value = node.params.get(name)
    return None if value is None else torch.from_numpy(np.array(value, dtype=np.float32))


def _conv(node: Node, inputs: list[Tensor]) -> Tensor:
    maximum = "max_window" in node.attrs
    x = _maximum(node, inputs[0], window(node)) if maximum else padded(node, inputs[0])
    bias = _param(node, "bias")
    if "u" in node.params and tile_kind(node) is not TileKind.DIRECT:
        y = winograd.convolution(tile_kind(node), x, torch.from_numpy(np.array(node.params["u"], dtype=np.float32)))
        y = y if bias is None else y + bias[:, None, None]
    else:
        weight = node.params["weight"]
        if "u" in node.params:
            weight = from_reduction(node.params["u"], weight.shape, node.attrs["density"][1])
        w = torch.from_numpy(np.array(weight, dtype=np.float32))
        stride = 1 if maximum else pair(node.attrs["stride"])
        y = functional.conv2d(x, w, bias, stride=stride, groups=node.attrs["groups"])
    act = node.attrs.get("act")
    y = _activation(act, node, y) if act == "leaky" else y
    y = y + inputs[1] if len(inputs) == 2 else y
    y = _activation(act, node, y) if act in ("relu", "relu6") else y
    if node.attrs.get("upsample"):
        return functional.interpolate(y, scale_factor=2, mode="nearest")
    return functional.max_pool2d(y, 2) if node.attrs.get("pool") else y


def padded(node: Node, x: Tensor, value: float = 0.0) -> Tensor:
    """x [N, C, H, W] with the node's border around it."""
    top, left, bottom, right = pads(node)
    return functional.pad(x, (left, right, top, bottom), value=value)


def _activation(act: str, node: Node, x: Tensor) -> Tensor:
    if act == "leaky":
        return functional.leaky_relu(x, float(node.attrs["slope"]))
    return functional.relu6(x) if act == "relu6" else functional.relu(x)


def _maximum(node: Node, x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Maximum of each window, of which the border is never a part."""
    return functional.max_pool2d(padded(node, x, -torch.inf), kernel, pair(node.attrs["stride"]))


def _avg_pool(node: Node, inputs: list[Tensor]) -> Tensor:
    """Mean of each window; without count_include_pad over the pixels inside the map alone."""
    kernel, stride = pair(node.attrs["kernel"]), pair(node.attrs["stride"])
    y = functional.avg_pool2d(padded(node, inputs[0]), kernel, stride)
    if node.attrs["count_include_pad"]:
        return y
    return y / functional.avg_pool2d(padded(node, torch.ones_like(inputs[0][:1, :1])), kernel, stride)


def _batch_norm(node: Node, inputs: list[Tensor]) -> Tensor:
    mean, var, gamma, beta = (_param(node, p) for p in ("mean", "var", "gamma", "beta"))
    return functional.batch_norm(inputs[0], mean, var, gamma, beta, eps=node.attrs["eps"])


_OPS: dict[str, Callable[[Node, list[Tensor]], Tensor]] = {
    "conv": _conv,
    "linear": lambda n, i: functional.linear(i[0], torch.from_numpy(np.array(n.params["weight"])), _param(n, "bias")),
    "batch_norm": _batch_norm,
    **{op: lambda n, i: _activation(ACTIVATIONS[n.op], n, i[0]) for op in ACTIVATIONS},
    "max_pool": lambda n, i: _maximum(n, i[0], pair(n.attrs["kernel"])),
    "avg_pool": _avg_pool,
    "global_avg_pool": lambda n, i: i[0].mean((2, 3), keepdim=True),
    "upsample": lambda n, i: functional.interpolate(i[0], scale_factor=n.attrs["factor"], mode="nearest"),
    "concat": lambda n, i: torch.cat(i, dim=1),
    "add": lambda n, i: i[0] + i[1],
    "flatten": lambda n, i: i[0].flatten(1),
    "output": lambda n, i: i[0],
}


def apply(node: Node, inputs: list[Tensor]) -> Tensor:
    """One node's output from its inputs' tensors."""
    return _OPS[node.op](node, inputs)
