"""What calibration images say about a network's numbers: activation scales and the range of B^T x B."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subrow.compress.execute import evaluate, images_at_once, padded
from subrow.compress.winograd import windows
from subrow.ir.graph import Graph, Node
from subrow.ir.weights import tile_kind
from subrow.spec.errors import QuantisationError
from subrow.spec.formats import clamp, round_shift, signed_max
from subrow.spec.winograd import TileKind

Method = Literal["mse", "percentile", "max"]
_MOVES = ("max_pool", "upsample", "concat")
_SAMPLES = 50_000  # values of one tensor from one batch
_WINDOWS = 1_000  # windows of one layer


def activation_scales(
    graph: Graph, images: Tensor, method: Method = "mse", percentile: float = 99.99, batch: int | None = None
) -> dict[str, float]:
    """Real value of one activation step for every tensor of a fused Graph; outputs use their whole range.

    A node's own `out_scale` stands. Tensors whose integers are moved and never rescaled share a scale, the largest of
    theirs: what a maximum and upsample read and write, and all that a concat reads and writes.
    batch: images evaluated together; default as many as memory allows, at most 32. Raises QuantisationError, naming
    the tensor, when the network gives NaN or infinity for the images.
    """
    batch = batch or images_at_once(graph)
    names = [n.name for n in graph if n.op != "output"]
    final = {n.inputs[0] for n in graph.outputs}
    samples: dict[str, list[NDArray[np.float32]]] = {n: [] for n in names}
    peaks = dict.fromkeys(names, 0.0)
    for start in range(0, len(images), batch):
        tensors = evaluate(graph, images[start : start + batch])
        for name in names:
            flat = tensors[name].flatten()
            peak = float(flat.abs().max())
            if not np.isfinite(peak):
                raise QuantisationError(
                    f"tensor {name}: the network gives {peak} for calibration images "
                    f"{start}..{min(start + batch, len(images)) - 1}; "
                    "give images like those it was trained on, or check its weights"
                )
            peaks[name] = max(peaks[name], peak)
            samples[name].append(flat[:: max(1, len(flat) // _SAMPLES)].numpy())
    scales = {}
    for name in names:
        values = np.abs(np.concatenate(samples[name])).astype(np.float64)
        limit = clip_limit(values, peaks[name], "max" if name in final else method, percentile)
        scales[name] = graph.node(name).attrs.get("out_scale") or max(limit, 1e-12) / signed_max(8)
    return _shared(graph, scales)


def _shared(graph: Graph, scales: dict[str, float]) -> dict[str, float]:
    """The largest scale of each set of tensors that must have the same."""
    sets: dict[str, set[str]] = {name: {name} for name in scales}
    for node in graph:
        if _moves(node):
            joined = set().union(*(sets[name] for name in (node.name, *node.inputs)))
            sets.update(dict.fromkeys(joined, joined))
    return {name: max(scales[other] for other in sets[name]) for name in scales}


def _moves(node: Node) -> bool:
    """Whether the node's integers are some of those that it reads."""
    maximum = "max_window" in node.attrs and "act" not in node.attrs and len(node.inputs) == 1
    return node.op in _MOVES or maximum


def clip_limit(values: NDArray[np.float64], peak: float, method: Method, percentile: float = 99.99) -> float:
    """Largest magnitude to represent: that of least squared error, a percentile, or the peak."""
    if method == "max" or peak == 0:
        return peak
    if method == "percentile":
        return float(np.percentile(values, percentile)) or peak
    candidates = peak * np.linspace(0.3, 1.0, 36)
    errors = []
    for limit in candidates:
        step = limit / signed_max(8)
        errors.append(float(((np.minimum(np.rint(values / step), signed_max(8)) * step - values) ** 2).mean()))
    return float(candidates[int(np.argmin(errors))])


def window_values(node: Node, x: Tensor, scale: float) -> NDArray[np.int64]:
    """Integer B^T x B of a sample of a Winograd layer's windows, [taps, C, windows]."""
    q = padded(node, torch.clamp(torch.round(x / scale), -127, 127))
    v = windows(tile_kind(node), q).transpose(1, 2)
    return v[:, :, :: max(1, v.shape[2] // _WINDOWS)].numpy().astype(np.int64)


def choose_ev(values: NDArray[np.int64], v_bits: int) -> tuple[int, ...]:
    """Right shift of each tap with the least squared error after rounding and clamping to v_bits."""
    values = values.reshape(len(values), -1)
    errors = []
    for shift in range(8):
        rounded = clamp(round_shift(values, shift), v_bits) << shift
        errors.append(((rounded - values).astype(np.float64) ** 2).mean(axis=1))
    return tuple(int(i) for i in np.argmin(np.array(errors), axis=0))


def layer_inputs(graph: Graph, images: Tensor) -> dict[str, Tensor]:
    """The input tensor of every Winograd layer, for the first images: at most 16, and as many as memory allows."""
    nodes = [n for n in graph if n.op == "conv" and tile_kind(n) is not TileKind.DIRECT]
    tensors = evaluate(graph, images[: images_at_once(graph, 16)], keep={n.inputs[0] for n in nodes})
    return {n.name: tensors[n.inputs[0]] for n in nodes}
