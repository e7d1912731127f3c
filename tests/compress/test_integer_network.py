"""Training in integers: forward equals every device bit for bit, what is pruned stays pruned, training helps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import subrow
from subrow.api import compressed, quantised
from subrow.compress.augment import Augment
from subrow.compress.integer_network import IntegerNetwork
from subrow.compress.stages import Stage, graph_accuracy, make_trainer, module_accuracy
from subrow.compress.training import Schedule
from subrow.compress.weight_bits import with_bits
from subrow.ir.graph import Graph
from subrow.spec import hwconfig
from subrow.spec.errors import UnsupportedError

HW = hwconfig.load("tiny")
ARRAYS = ("u", "bias", "mult", "shift", "ev", "em", "res_mult", "res_shift", "act_min", "act_max")


class Everything(nn.Module):
    """3x3 and 1x1, stride 2, residuals, ReLU6, a mean and a linear layer; pools: windows that overlap, too."""

    def __init__(self, pools: bool = False) -> None:
        super().__init__()
        self.pools = pools
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.c, self.d = nn.Conv2d(16, 24, 3, padding=1, stride=2), nn.Conv2d(16, 24, 1, stride=2)
        nn.init.normal_(self.a.weight, std=1.5)  # so that ReLU6 limits something
        self.e, self.f = nn.Conv2d(24, 24, 3, padding=1), nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self.a(x))
        x = functional.max_pool2d(x, 3, 2, 1) if self.pools else x
        x = functional.relu(self.b(x) + x)
        x = self.c(x) + self.d(x)
        x = functional.max_pool2d(functional.relu(self.e(x)), 2)
        return self.f(functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture(scope="module", params=[("f2", None), ("f2", "4/8"), ("f4", None), ("f4", "2/8")], ids=str)
def graph(request: pytest.FixtureRequest) -> Graph:
    tile, density = request.param
    torch.manual_seed(5)
    images = torch.rand(24, 3, 16, 16).numpy()
    return quantised(Everything(pools=True).eval(), images, HW, density, tile, images)


def test_forward_is_the_integer_pipeline(graph: Graph) -> None:
    images = np.random.default_rng(1).random((16, 3, 16, 16), dtype=np.float32)
    with subrow.open_device("emulator", HW) as device:
        device.load(subrow.compile(graph, None, HW))
        result = device.run(images)
    network = IntegerNetwork(graph, HW).double()
    with torch.no_grad():
        integers, _ = network.integers(torch.from_numpy(images).double())[graph.outputs[0].inputs[0]]
    (expected,) = result.outputs.values()
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(integers.numpy().reshape(expected.shape), expected)


def test_untrained_export_changes_no_integer(graph: Graph) -> None:
    again = IntegerNetwork(graph, HW).double().to_graph()
    for one, two in zip(graph, again, strict=True):
        if one.op == "conv":
            for name in ARRAYS:
                np.testing.assert_array_equal(getattr(one.attrs["quant"], name), getattr(two.attrs["quant"], name))


def test_everything_learns_and_pruned_weights_stay_away(graph: Graph) -> None:
    network = IntegerNetwork(graph, HW)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.02)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.rand(8, 3, 16, 16)), torch.randint(0, 10, (8,))).backward()
        optimizer.step()
    for name, value in network.named_parameters():
        assert value.requires_grad != torch.equal(before[name], value), name
    trained = network.to_graph()
    assert any((n.attrs["quant"].u != graph.node(n.name).attrs["quant"].u).any() for n in trained if n.op == "conv")
    for node in trained:
        if "mask" in node.params:
            assert not node.attrs["quant"].u[~node.params["mask"]].any()
    subrow.compile(trained, None, HW)


def test_fewer_bits_limit_the_weights(graph: Graph) -> None:
    name = next(n.name for n in graph if n.op == "conv" and n.attrs["tile"] != "direct")
    trained = IntegerNetwork(with_bits(graph, {name: 4}, HW), HW).to_graph()
    assert np.abs(trained.node(name).attrs["quant"].u).max() == 7


def coloured(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one of ten coloured squares, and which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.random((count, 3, 16, 16), dtype=np.float32) * np.float32(0.4)
    colours = np.array([[(i >> b & 1) * 0.6 for b in range(3)] for i in range(5)], np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 2:9, 2:9] += colours[label % 5][:, None, None] if label < 5 else 0
        image[:, 8:15, 8:15] += colours[label % 5][:, None, None] if label >= 5 else 0
    return images, labels


def test_training_recovers_a_broken_network(tmp_path: Path) -> None:
    """F(4x4) at 1/8 breaks a small network; a few passes in integers bring it back."""
    torch.manual_seed(1)
    data, test = coloured(512, 1), coloured(400, 2)
    model = Everything()
    trainer = make_trainer(data, data, tmp_path, "cpu", lambda text: None, None)
    adam = Schedule(12, batch=32, optimizer="adam", peak_rate=3e-3, weight_decay=0.0, augment=Augment(0, False))
    trainer.run(model, Stage(adam), "float")
    images = data[0][:64]
    broken = quantised(compressed(model.eval(), images, HW, "1/8", "f4", images), images, HW)
    stage = Stage(dataclasses.replace(adam, epochs=4, peak_rate=1e-3), distil=0.5)
    teacher = make_trainer(data, data, tmp_path, "cpu", lambda text: None, model)
    trained, _ = teacher.train_integers(broken, HW, stage)
    before, after = (graph_accuracy(g, HW, test) for g in (broken, trained))
    assert module_accuracy(model, test) > 90 and before < 75 and after > before + 15, (before, after)


@pytest.mark.parametrize(("layer", "name"), [
    (nn.LeakyReLU(0.1), "leaky ReLU"), (nn.Upsample(scale_factor=2), "upsampling"),
])  # fmt: skip
def test_what_it_cannot_compute_is_refused(layer: nn.Module, name: str) -> None:
    images = torch.rand(4, 3, 8, 8).numpy()
    graph = quantised(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer).eval(), images, HW, calibration=images)
    with pytest.raises(UnsupportedError, match=f"{name} cannot be trained in integers"):
        IntegerNetwork(graph, HW)


class Depthwise(nn.Module):
    """A depthwise layer between two others, and a mean, which is a grouped layer of equal weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.b(functional.relu6(self.a(x))))
        return self.c(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def test_depthwise_weights_learn_and_means_do_not() -> None:
    images = torch.rand(8, 3, 8, 8).numpy()
    graph = quantised(Depthwise().eval(), images, HW, calibration=images)
    learns = {layer.node.name: layer.latent.requires_grad for layer in IntegerNetwork(graph, HW).layers.values()}
    grouped = {n.name: n for n in graph if n.op == "conv" and n.attrs["groups"] > 1}
    assert len(grouped) == 2
    assert {name: learns[name] for name in grouped} == {name: node.name == "b" for name, node in grouped.items()}


class NoWaiting(TorchDispatchMode):
    """Refuses to turn a tensor into a Python number: on a GPU that waits, and no graph can be captured of it."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):  # noqa: ANN001, ANN204
        assert function is not torch.ops.aten._local_scalar_dense.default, "waits for the device"
        return function(*arguments, **(options or {}))


def test_a_step_never_waits_for_the_device(graph: Graph) -> None:
    network, images = IntegerNetwork(graph, HW), torch.rand(4, 3, 16, 16)
    with NoWaiting():
        network(images).sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("narrow", ({}, {"acc_bits": 20, "y_bits": 26}), ids=("as built", "narrow"))
def test_whatever_training_does_the_hardware_can_hold(graph: Graph, narrow: dict[str, int]) -> None:
    """Parameters far from where they started still give a Graph within every bound, the one that forward computes."""
    hw = dataclasses.replace(HW, **narrow)
    network = IntegerNetwork(graph, hw).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("eu", "ev")) and value.requires_grad:
                value += torch.randint(-9, 10, value.shape, generator=generator)
            if name.endswith(("latent", "bias")):
                value *= 50
    broken = network.to_graph()
    assert any(max(n.attrs["quant"].em) > 9 for n in broken if n.op == "conv") or narrow
    images = np.random.default_rng(1).random((8, 3, 16, 16), dtype=np.float32)
    again = IntegerNetwork(broken, hw).double()
    with torch.no_grad():
        torch.testing.assert_close(again(torch.from_numpy(images)), network(torch.from_numpy(images)))
