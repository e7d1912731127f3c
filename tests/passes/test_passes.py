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
from subrow.spec.errors import ConfigError


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
