"""Layers of several groups as several instructions over channel blocks: emulator and RTL against integers and torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from models.resnet import resnet18, resnet50
from subrow.api import compressed, quantised
from subrow.bench.calibrate import compare
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph, Node
from subrow.planning import plan_network
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.errors import CapacityError
from subrow.spec.program import Program
from tests.integer_graph import run_integer

HW, BOARD = hwconfig.load("tiny"), hwconfig.load("pynq-z2")
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], list[str]]] = {
    # network, image, names of its instructions on tiny
    "pool": (lambda: nn.AdaptiveAvgPool2d(1), (100, 7, 7), ["pool[0:56]", "pool[56:100]"]),
    "large map": (lambda: nn.AdaptiveAvgPool2d(1), (8, 40, 40), ["pool_rows", "pool"]),
    "large map, many channels": (
        lambda: nn.AvgPool2d(40), (144, 40, 40),
        ["pool_rows[0:72]", "pool_rows[72:144]", "pool"],
    ),
    "depthwise": (
        lambda: nn.Conv2d(120, 120, 7, padding=3, groups=120), (120, 6, 5), ["pool[0:64]", "pool[64:120]"],
    ),
    "groups": (
        lambda: nn.Conv2d(32, 48, 3, padding=1, groups=2), (32, 6, 9), ["pool[0:24]", "pool[24:48]"],
    ),
    "groups of 12": (lambda: nn.Conv2d(72, 36, 3, groups=6), (72, 6, 6), ["pool[0:24]", "pool[24:36]"]),
}  # fmt: skip


class Around(nn.Module):
    """The layer between two 1x1 convolutions, its output also a residual where shapes allow it."""

    def __init__(self, layer: nn.Module, channels: int, outputs: int) -> None:
        super().__init__()
        self.first, self.pool, self.last = nn.Conv2d(3, channels, 1), layer, nn.Conv2d(outputs, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        z = self.pool(y)
        return self.last(torch.relu(z + y if z.shape == y.shape else z))


def build(name: str) -> tuple[nn.Module, np.ndarray]:
    make, (channels, h, w), _ = NETS[name]
    torch.manual_seed(len(name))
    layer = make()
    outputs = getattr(layer, "out_channels", channels)
    images = np.random.default_rng(len(name)).uniform(-1, 1, (3, 3, h, w)).astype(np.float32)
    return Around(layer, channels, outputs).eval(), images


def compiled(name: str) -> tuple[Graph, Program, nn.Module, np.ndarray]:
    model, images = build(name)
    graph = quantised(compressed(model, images, HW), images, HW)
    return graph, lower(graph, HW), model, images


@pytest.mark.parametrize("name", NETS)
def test_emulator(name: str) -> None:
    graph, program, model, images = compiled(name)
    assert [i.name for i in program.layers[1:-1]] == NETS[name][2]
    with subrow.open_device("emulator", HW) as device:
        device.load(program)
        result = device.run(images)
        checks = verify(program, device, as_inputs(program, {program.inputs[0].name: images[:1]}))
    assert len(checks) == len(program.layers) and all(c.equal for c in checks)
    np.testing.assert_array_equal(result.outputs["output"], run_integer(graph, images, HW)["output"])
    with torch.inference_mode():
        want = model(torch.from_numpy(images)).numpy()
    assert np.linalg.norm(result.real().reshape(want.shape) - want) < 0.05 * np.linalg.norm(want)


def test_a_window_too_large_for_one_channel_block_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 35, padding=17, groups=16)).eval()
    with pytest.raises(CapacityError, match=r"layer 0\[0:8\]: even one tile .* 1225 V words, limit v_words = 1024"):
        subrow.compile(model, np.zeros((1, 16, 35, 35), np.float32), HW)


@pytest.mark.verilator
@pytest.mark.parametrize("name", ["pool", "large map", "depthwise", "groups"])
def test_rtl(name: str) -> None:
    graph, program, _, images = compiled(name)
    with subrow.open_device("verilator", HW) as chip:
        chip.load(program)
        got = chip.run(images[:1]).outputs["output"]
    np.testing.assert_array_equal(got, run_integer(graph, images[:1], HW)["output"])


@pytest.mark.verilator
@pytest.mark.parametrize("name", ["pool", "depthwise", "groups"])
def test_cycle_model_knows_parts(name: str) -> None:
    _, program, _, images = compiled(name)
    rows = compare(name, program, images)
    assert [r for r in rows if not r.within] == []


@pytest.mark.parametrize("build", [lambda: resnet18(stem_pool=False), resnet50], ids=["resnet18", "resnet50"])
def test_global_pools_of_resnets_run_on_pynq_z2(build: Callable[[], nn.Module]) -> None:
    """Their means alone, as the networks have them: 512 and 2,048 channels."""
    whole = capture(build().eval(), np.zeros((1, 3, 224, 224), np.float32))
    (mean,) = [n for n in whole if n.op == "global_avg_pool"]
    shape = whole.node(mean.inputs[0]).shape
    graph = Graph("mean", (
        Node("x", "input", (), shape), mean.evolve(inputs=("x",)), Node("output", "output", (mean.name,), mean.shape)
    ))  # fmt: skip
    planned, out = plan_network(graph, "auto", BOARD, None, False)
    assert not out and sum(node.shape[0] for node, _ in planned) == shape[0]
    assert all(ins.v_words <= BOARD.v_words // 2 for _, ins in planned)
    x = np.random.default_rng(1).uniform(-1, 1, (1, *shape)).astype(np.float32)
    program = subrow.compile(graph, x, BOARD)
    assert [i.name for i in program.layers] == [node.name for node, _ in planned]
    with subrow.open_device("emulator", BOARD) as device:
        device.load(program)
        result = device.run(x)
    limit = program.outputs[0].scale / 2 + 0.6 / math.prod(shape[1:])
    np.testing.assert_allclose(result.real()[0, :, 0, 0], x[0].mean((1, 2)), atol=limit)
