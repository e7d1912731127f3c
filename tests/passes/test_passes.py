"""Each pass keeps the network's numbers and leaves what it promises."""

import numpy as np
import pytest
import torch
from torch import nn

from subrow import passes
from subrow.compress.execute import execute
from subrow.frontend.torch_export import capture
from subrow.ir.dump import dump
from subrow.ir.graph import Graph
from subrow.ir.verify import GraphError, verify
from subrow.spec.errors import ConfigError, UnsupportedError


class Net(nn.Module):
    """A residual block, a standalone pool and ReLU, a fully connected head on a map."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 8, 3, padding=1)
        self.pre = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 4 * 3, 6)
        self.out = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(self.a(x), 2)
        y = torch.relu(self.bn(self.b(torch.relu(self.pre(x)))) + x)
        x = torch.relu(torch.max_pool2d(y + x, 2))
        return self.out(torch.relu(self.fc(x.flatten(1))))


@pytest.fixture(scope="module")
def case() -> tuple[Graph, np.ndarray, np.ndarray]:
    torch.manual_seed(0)
    model = Net().eval()
    for bn in (model.pre, model.bn):
        bn.running_mean.uniform_(-1, 1)
        bn.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 2, 16, 12)
    with torch.no_grad():
        return capture(model, x), x.numpy(), model(x).numpy()


@pytest.mark.parametrize("count", range(1, len(passes.PIPELINE) + 1))
def test_pipeline_keeps_numbers(case: tuple[Graph, np.ndarray, np.ndarray], count: int) -> None:
    graph, x, expected = case
    graph = passes.run(graph, passes.PIPELINE[:count])
    got = execute(graph, x)["output"].reshape(2, -1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_fused_form(case: tuple[Graph, np.ndarray, np.ndarray]) -> None:
    graph = passes.run(case[0])
    assert {n.op for n in graph} == {"input", "conv", "output"}
    assert sum(len(n.inputs) == 2 for n in graph) == 2
    assert "tile=" in dump(graph)


@pytest.mark.parametrize("tile", ["f2", "f4", "direct"])
def test_choose_tile(case: tuple[Graph, np.ndarray, np.ndarray], tile: str) -> None:
    graph = passes.choose_tile(passes.lower_linear(case[0]), tile)  # type: ignore[arg-type]
    for node in graph:
        if node.op == "conv":
            assert node.attrs["tile"] == (tile if node.params["weight"].shape[2:] == (3, 3) else "direct")


def test_linear_layers_on_3x3_maps_stay_direct() -> None:
    graph = capture(nn.Sequential(nn.Flatten(), nn.Linear(9 * 8, 4)), torch.rand(1, 8, 3, 3))
    (conv,) = [n for n in passes.run(graph) if n.op == "conv"]
    assert conv.params["weight"].shape == (4, 8, 3, 3) and conv.attrs["tile"] == "direct"


class Acts(nn.Module):
    """Two activations behind one another, with a 2x2 pool between them."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.a, self.first, self.pool, self.second = nn.Conv2d(3, 4, 3), first, nn.MaxPool2d(2), second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.pool(self.first(self.a(x))))


R, S, L = nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.25)


@pytest.mark.parametrize(("first", "second", "act"), [
    (R, R, "relu"), (R, S, "relu6"), (S, R, "relu6"), (R, L, "relu"), (L, R, "relu"), (L, S, "relu6"), (S, L, "relu6"),
    (L, nn.LeakyReLU(0.5), "leaky"),
])  # fmt: skip
def test_activations_in_a_row(first: nn.Module, second: nn.Module, act: str) -> None:
    torch.manual_seed(0)
    model, x = Acts(first, second).eval(), torch.randn(2, 3, 11, 9) * 20
    graph = passes.run(capture(model, x))
    assert [n.op for n in graph] == ["input", "conv", "output"] and graph.nodes[1].attrs["act"] == act
    with torch.no_grad():
        np.testing.assert_allclose(execute(graph, x)["output"], model(x).numpy(), rtol=1e-5, atol=1e-5)


class Folds(nn.Module):
    """Batch-norm behind a pool, a concatenation, a linear layer, and one of two readers of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(12, 4, 1)
        self.pooled, self.joined, self.shared = nn.BatchNorm2d(4), nn.BatchNorm2d(8), nn.BatchNorm2d(4)
        self.fc, self.flat = nn.Linear(4, 5), nn.BatchNorm1d(5)
        for module in self.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x)
        pooled = self.pooled(torch.max_pool2d(a, 3, 1, 1))
        x = self.b(torch.cat([self.joined(torch.cat([a, pooled], 1)), self.shared(a)], 1))
        return self.flat(self.fc(x.mean((2, 3))))


def test_batch_norm_is_folded_wherever_it_stands() -> None:
    torch.manual_seed(0)
    model, x = Folds().eval(), torch.randn(2, 3, 8, 8)
    graph = passes.run(capture(model, x))
    assert {n.op for n in graph} == {"input", "conv", "concat", "output"}
    lone = {n.name for n in graph if n.op == "conv" and n.params["weight"].shape[1:] == (1, 1, 1)}
    (pool,) = (n.name for n in graph if "max_window" in n.attrs)
    assert lone == {"pooled", "joined", "shared", pool}
    with torch.no_grad():
        got = execute(graph, x)["output"].reshape(2, 5)
        np.testing.assert_allclose(got, model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [
    nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Linear(48, 2)),
    nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)),
])  # fmt: skip
def test_batch_norm_of_flat_tensors(model: nn.Module) -> None:
    """Of a flattened map it cannot be a convolution; of a layer's numbers it can."""
    x = torch.randn(2, 3, 4, 4)
    graph = capture(model.eval(), x)
    if len(model) == 3:
        with pytest.raises(UnsupportedError, match="node 1 .batch_norm. works on flattened tensors"):
            passes.run(graph)
    else:
        got = execute(passes.run(graph), x)["output"].reshape(2, 2)
        with torch.no_grad():
            np.testing.assert_allclose(got, model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pool", "op"), [
    (nn.AvgPool2d(3, 2, 1), "conv"), (nn.AvgPool2d(2, 2), "conv"),
    (nn.AvgPool2d((1, 3), count_include_pad=False), "conv"),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), "avg_pool"), (nn.AdaptiveAvgPool2d(1), "conv"),
    (nn.MaxPool2d(2), "conv"), (nn.MaxPool2d(2, 1), "conv"), (nn.MaxPool2d(3, 2, 1), "conv"),
    (nn.MaxPool2d(3), "max_pool"),
])  # fmt: skip
def test_pools(pool: nn.Module, op: str) -> None:
    """Average pools become channel-wise convolutions where one weight fits all; a maximum goes behind or into one."""
    x = -1 - torch.rand(2, 4, 10, 9)  # a border of zeros would be the maximum
    graph = passes.run(capture(nn.Sequential(pool), x))
    assert [n.op for n in graph] == ["input", op, "output"]
    np.testing.assert_allclose(execute(graph, x)["output"], pool(x).numpy(), rtol=1e-5, atol=1e-6)


def test_fuse_needs_the_passes_before_it(case: tuple[Graph, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(UnsupportedError, match="op batch_norm: run lower_linear and fold_batchnorm before fuse"):
        passes.fuse(case[0])


def test_bad_tile(case: tuple[Graph, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="f8"):
        passes.choose_tile(case[0], "f8")  # type: ignore[arg-type]


def test_verify_finds_nan_and_shape(case: tuple[Graph, np.ndarray, np.ndarray]) -> None:
    graph = case[0]
    conv = next(n for n in graph if n.op == "conv")
    broken = conv.params["weight"].copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(GraphError, match="not finite"):
        verify(graph.replace({conv.name: conv.with_params(weight=broken)}))
    with pytest.raises(GraphError, match="shape"):
        verify(graph.replace({conv.name: conv.evolve(shape=(8, 1, 1))}))
    with pytest.raises(GraphError, match="not computed before"):
        verify(Graph("x", graph.nodes[1:]))
