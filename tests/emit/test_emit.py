"""Programs: the emulator gives exactly what the quantised Graph means, limits hold, text and errors are right."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from subrow.api import quantised
from subrow.emit.arena import allocate
from subrow.emit.disasm import disassemble
from subrow.emit.lower import lower
from subrow.ir.graph import Graph
from subrow.spec import hwconfig
from subrow.spec.errors import CapacityError
from subrow.spec.metadata import tensor_bytes
from tests.integer_graph import run_integer


class Block(nn.Module):
    """Residual add, strided shortcut, pools, global average pool, linear: all that the compiler lowers."""

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, width, 1, stride=2)
        self.c = nn.Conv2d(width, width, 3)
        self.fc = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.a(x)))
        x = torch.max_pool2d(torch.relu(self.b(x) + x), 2) + self.down(x)
        x = torch.relu(torch.max_pool2d(self.c(x), 2))
        return self.fc(x.mean((2, 3)))


def network(width: int = 20, size: tuple[int, int] = (22, 18)) -> tuple[nn.Module, np.ndarray]:
    torch.manual_seed(width)
    return Block(width).eval(), np.random.default_rng(width).uniform(-1, 1, (4, 3, *size)).astype(np.float32)


@pytest.mark.parametrize("tile", ["f2", "f4", "direct", "auto"])
@pytest.mark.parametrize("density", [None, "3/8"])
@pytest.mark.parametrize("hw", ["tiny", "wide", "pynq-z2"])
@pytest.mark.parametrize("width", [20, 16])
def test_emulator_equals_graph(tile: str, density: str | None, hw: str, width: int) -> None:
    model, images = network(width)
    config = hwconfig.load(hw)
    graph = quantised(model, images, config, density, tile, images)  # type: ignore[arg-type]
    with subrow.open_device("emulator", config) as device:
        device.load(lower(graph, config))
        got = device.run(images).outputs["output"]
    np.testing.assert_array_equal(got, run_integer(graph, images, config)["output"])


def test_linear_pruned_and_deterministic() -> None:
    model, images = network(16)
    one, two = (subrow.compile(model, images, "tiny", (2, 8), "f2", images, linear=True) for _ in range(2))
    assert one.digest() == two.digest()
    assert {i.name: i.density for i in one.layers}["fc"] == (2, 8)
    text = disassemble(one)
    assert all(i.name in text for i in one.layers) and "q_count" in text


def test_arena_never_shares_live_tensors() -> None:
    model, images = network(16)
    graph = quantised(model, images, "tiny", calibration=images)
    slots, total = allocate(graph, 8)
    alive: dict[str, range] = {}
    for step, node in enumerate(graph):
        if node.op == "output":
            continue
        users = [i for i, n in enumerate(graph) if node.name in n.inputs]
        alive[node.name] = range(step, max(users) + 1)
        span = range(slots[node.name].offset, slots[node.name].offset + tensor_bytes(node.shape, 8))
        assert span.start % 64 == 0 and span.stop <= total
        for other, life in alive.items():
            if other != node.name and step < life.stop:
                size = tensor_bytes(graph.node(other).shape, 8)
                low = slots[other].offset
                assert span.stop <= low or low + size <= span.start


def test_capacity_error_names_everything() -> None:
    model, images = network(16)
    small = dataclasses.replace(hwconfig.load("tiny"), v_words=8, name="small")
    graph: Graph = quantised(model, images, "tiny", tile="f4", calibration=images)
    with pytest.raises(CapacityError, match=r"layer a: .* 9 V words, limit v_words = 8"):
        lower(graph, small)
