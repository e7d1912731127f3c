"""Passes that make a Graph fit the engine's channel blocks and buffers keep its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from subrow import passes
from subrow.compress.execute import execute
from subrow.frontend.torch_export import capture
from subrow.ir.verify import verify
from subrow.planning import lowered
from subrow.spec import hwconfig


class Cat(nn.Module):
    """The input's channels between those of two 1x1 layers."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(5, first, 1), nn.Conv2d(5, last, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(x), x, self.b(x)], 1)


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        (16, 3, ["cat_pad1", "cat_parts", "cat"]),  # 16, 5 and 3 channels for blocks of 8
        (3, 8, ["cat_pad0", "cat_parts", "cat"]), (8, 16, ["cat_parts", "cat"]),
        (9, 6, ["cat_pad0", "cat_pad1", "cat_parts", "cat"]),
    ],
)  # fmt: skip
def test_align_concats(first: int, last: int, names: list[str]) -> None:
    torch.manual_seed(0)
    model, x = Cat(first, last).eval(), torch.randn(2, 5, 4, 3)
    graph = passes.lower_linear(capture(model, x))
    done = verify(passes.align_concats(graph, 8), "align_concats")
    assert [n.name for n in done if n.name.startswith("cat")] == names
    (parts,) = [n for n in done if n.op == "concat"]
    assert all(done.node(i).shape[0] % 8 == 0 for i in parts.inputs[:-1])
    with torch.no_grad():
        want = model(x).numpy()
    np.testing.assert_array_equal(execute(passes.run(done, passes.AFTER_COMPRESSION), x)["output"], want)


def test_whole_blocks_stay() -> None:
    graph = passes.lower_linear(capture(Cat(10, 3).eval(), torch.randn(1, 5, 4, 3)))
    assert passes.align_concats(graph, 5) == graph  # 10, 5 and 3 channels: only the last is odd


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d((12, 9)), nn.AvgPool2d((12, 9), stride=3)])
def test_split_means(pool: nn.Module) -> None:
    x = torch.randn(2, 4, 12, 9)
    graph = capture(nn.Sequential(nn.ReLU(), pool), x)
    (mean,) = [n for n in graph if passes.is_mean(graph, n)]
    done = passes.run(passes.split_means(graph, {mean.name}))
    kernels = [n.params["weight"].shape[2:] for n in done if n.op == "conv"][-2:]
    assert kernels == [(1, 9), (12, 1)]
    want = x.relu().mean((2, 3), keepdim=True).numpy()
    np.testing.assert_allclose(execute(done, x)["output"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(4, 2), nn.AvgPool2d((12, 9), padding=(1, 0)), nn.MaxPool2d((12, 9))])
def test_other_pools_are_no_means(pool: nn.Module) -> None:
    graph = capture(nn.Sequential(pool), torch.randn(1, 4, 12, 9))
    assert not any(passes.is_mean(graph, n) for n in graph)


@pytest.mark.parametrize(("side", "count"), [(32, 1), (33, 2)])
def test_means_are_split_only_where_they_fit_no_buffer(side: int, count: int) -> None:
    """tiny holds 1,024 V words: 32 x 32, but not 33 x 33."""
    graph = capture(nn.Sequential(nn.AdaptiveAvgPool2d(1)), torch.zeros(1, 8, side, side))
    assert sum(n.op == "conv" for n in lowered(graph, hwconfig.load("tiny"))) == count
