"""What pruning a layer would do to the outputs, from gradients alone: the second-order term of their divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from subrow.compress.execute import as_batch
from subrow.compress.sparse_network import SparseConvolution, SparseNetwork, layer_key
from subrow.compress.srbs import prune_layer
from subrow.ir.graph import Graph


def taylor(
    graph: Graph, layers: Sequence[str], kept: Sequence[int], sub_row: int, images: NDArray[Any],
    progress: Callable[[str, float], None] | None = None, seed: int = 1,
) -> dict[str, tuple[float, ...]]:  # fmt: skip
    """Estimated KL(dense || pruned) in nats an image, of each layer pruned alone to every s of kept.

    graph has tiles and is not pruned. KL has no first-order term at the dense network; its second-order one is half
    the mean of (gradient . change)^2 over images [N, C, H, W] and labels that the network itself draws: the Fisher
    information along the change (Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018).
    One backward pass an image, for all layers and densities together; batch-norm statistics are not estimated again.
    """
    dense = graph.replace({name: prune_layer(graph.node(name), (sub_row, sub_row)) for name in layers})
    network = SparseNetwork(dense).eval()
    weights = [cast(Tensor, network.layers[layer_key(name)].weight) for name in layers]
    changes = [_changes(graph, name, kept, sub_row, weight) for name, weight in zip(layers, weights, strict=True)]
    sums = [torch.zeros(len(kept), dtype=torch.float64) for _ in layers]
    generator = torch.Generator().manual_seed(seed)
    batch = as_batch(dense, images)
    for i, image in enumerate(batch):
        if progress:
            progress(f"image {i + 1}", i / len(batch))
        logits = network(image[None])
        label = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[0]
        gradients = torch.autograd.grad(functional.cross_entropy(logits, label), weights)
        for total, change, gradient in zip(sums, changes, gradients, strict=True):
            total += (change @ gradient.flatten()).double() ** 2
    return {name: tuple((total / (2 * len(batch))).tolist()) for name, total in zip(layers, sums, strict=True)}


def _changes(graph: Graph, name: str, kept: Sequence[int], sub_row: int, weight: Tensor) -> Tensor:
    """[densities, weights]: how the layer's parameter moves when it is pruned to each density."""
    pruned = [SparseConvolution(prune_layer(graph.node(name), (s, sub_row))).weight.detach() for s in kept]
    return torch.stack([(p - weight.detach()).flatten() for p in pruned])
