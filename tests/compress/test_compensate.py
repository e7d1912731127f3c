"""Compensated pruning: the pattern is exact, and the pruned layer is nearer to the dense one than by magnitude."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from subrow import passes
from subrow.compress.execute import execute
from subrow.compress.srbs import prune
from subrow.frontend.torch_export import capture
from subrow.ir.weights import split_sub_rows
from subrow.passes.choose_tile import choose_tile


def layer(channels: int, kernel: int, tile: str, seed: int):
    """(Graph of one convolution, smooth non-negative images)."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(channels, 12, kernel, padding=kernel // 2)).eval()
    images = nn.functional.avg_pool2d(torch.rand(24, channels, 14, 14), 3, 1).numpy()
    graph = choose_tile(passes.lower_linear(capture(model, images[:1])), tile)
    return graph, next(n.name for n in graph if n.op == "conv"), images


@pytest.mark.parametrize(("kernel", "tile"), [(3, "f2"), (3, "f4"), (1, "direct")])
@pytest.mark.parametrize("channels", [16, 20])
@pytest.mark.parametrize("s", [1, 2, 4])
def test_pattern_and_error(kernel: int, tile: str, channels: int, s: int) -> None:
    graph, name, images = layer(channels, kernel, tile, s)
    dense = execute(graph, images)
    error = {}
    for method, given in (("magnitude", None), ("compensated", images)):
        pruned = prune(graph, (s, 8), [name], images=given)
        rows = split_sub_rows(pruned.node(name).params["mask"], channels, 1, 8)
        kept = rows.sum(axis=3)
        assert (kept[:, :, : channels // 8] == s).all()
        assert (kept <= s).all()
        assert not pruned.node(name).params["u"][~pruned.node(name).params["mask"]].any()
        output = execute(pruned, images)
        error[method] = sum(float(((output[k] - dense[k]) ** 2).mean()) for k in dense)
    assert error["compensated"] < 0.5 * error["magnitude"]


def test_full_density_changes_nothing() -> None:
    graph, name, images = layer(16, 3, "f4", 0)
    pruned = prune(graph, (8, 8), [name], images=images)
    np.testing.assert_allclose(*(next(iter(execute(g, images).values())) for g in (graph, pruned)), atol=1e-4)


def test_many_channels_are_solved_in_parts() -> None:
    graph, name, images = layer(160, 3, "f4", 3)
    pruned = prune(graph, (2, 8), [name], images=images[:4])
    assert (split_sub_rows(pruned.node(name).params["mask"], 160, 1, 8).sum(axis=3) == 2).all()
