"""Every window that lower takes, dense and pruned: the emulator gives what the Graph means, near the float network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from subrow.api import compressed, quantised
from subrow.compress.execute import execute
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph, Node
from subrow.ir.weights import split_sub_rows, tile_kind
from subrow.passes import AFTER_COMPRESSION, run
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.errors import UnsupportedError
from subrow.spec.winograd import TileKind
from tests.integer_graph import run_integer

HW = hwconfig.load("tiny")
CONVS: dict[str, nn.Conv2d] = {
    "1x1": nn.Conv2d(20, 12, 1), "1x1 stride 2": nn.Conv2d(20, 12, 1, stride=2, bias=False),
    "3x3 stride 2": nn.Conv2d(20, 12, 3, stride=2, padding=1), "3x3 pad 2": nn.Conv2d(20, 12, 3, padding=2),
    "5x5": nn.Conv2d(20, 12, 5, padding=2), "2x4": nn.Conv2d(20, 12, (2, 4), padding=(1, 2)),
    "7x7 stride 2": nn.Conv2d(20, 12, 7, stride=2, padding=3), "1x7": nn.Conv2d(20, 12, (1, 7), padding=(0, 3)),
}  # fmt: skip
UNPRUNED: dict[str, nn.Module] = {
    "stem 7x7 stride 2": nn.Conv2d(3, 12, 7, stride=2, padding=3),
    "ReLU6": nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU6()),
    "leaky ReLU": nn.Sequential(nn.Conv2d(8, 8, 1), nn.LeakyReLU(0.1)),
    "leaky ReLU and pool": nn.Sequential(nn.Conv2d(8, 20, 3, 2, 1), nn.LeakyReLU(0.01), nn.MaxPool2d(2)),
    "upsample": nn.Sequential(nn.Conv2d(8, 20, 3, 2, 1), nn.Upsample(scale_factor=2), nn.ReLU()),
    "upsample alone": nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2)),
    "leaky ReLU of slope 1": nn.Sequential(nn.Conv2d(8, 8, 1), nn.LeakyReLU(1.0)),
    "depthwise 3x3": nn.Conv2d(12, 12, 3, padding=1, groups=12),
    "depthwise x2": nn.Conv2d(8, 16, 3, groups=8), "groups of 4": nn.Conv2d(24, 24, 3, padding=1, groups=6),
    "groups of 12 to 18": nn.Conv2d(24, 36, 3, groups=2), "groups of 16": nn.Conv2d(32, 16, 1, groups=2),
    "depthwise 5x5 stride 2": nn.Conv2d(24, 24, 5, stride=2, padding=2, groups=24),
    "avg pool": nn.AvgPool2d(3, stride=2, padding=1), "avg pool 2x3": nn.AvgPool2d((2, 3), stride=1),
    "global avg pool": nn.AdaptiveAvgPool2d(1), "batch-norm of a sum": nn.BatchNorm2d(12),
}  # fmt: skip


def check(graph: Graph, name: str, images: np.ndarray, limit: float) -> None:
    """Emulator = integer Graph = walk of the Program, and near the float Graph."""
    ready = quantised(graph, images, HW, calibration=images)
    program = lower(ready, HW)
    with subrow.open_device("emulator", HW) as device:
        device.load(program)
        result = device.run(images)
        checks = verify(program, device, as_inputs(program, {graph.inputs[0].name: images[:1]}))
    np.testing.assert_array_equal(result.outputs["output"], run_integer(ready, images, HW)["output"])
    assert all(c.equal for c in checks) and name in {c.name.partition("[")[0] for c in checks}
    want = execute(graph, images)["output"]
    assert np.linalg.norm(result.real() - want.reshape(result.real().shape)) < limit * np.linalg.norm(want)


def images_of(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).uniform(-1, 1, (6, channels, 13, 12)).astype(np.float32)


def sub_rows(node: Node) -> np.ndarray:
    """Kept weights of each sub-row, [taps, K, words], from the mask alone."""
    _, c, kh, kw = node.params["weight"].shape
    area = kh * kw if tile_kind(node) is TileKind.DIRECT else 1
    return split_sub_rows(node.params["mask"], c, area, HW.sub_row).sum(axis=-1)


@pytest.mark.parametrize("density", [None, "2/8"])
@pytest.mark.parametrize("name", CONVS)
def test_convolution(name: str, density: str | None) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(8, 20, 1), nn.ReLU(), CONVS[name], nn.ReLU()).eval()
    images = images_of(8)
    graph = compressed(model, images, HW, density, calibration=images)
    assert (graph.node("2").attrs["tile"] == "direct") == (name != "3x3 pad 2")
    if density:
        kept = sub_rows(graph.node("2"))
        assert kept.shape[2] % 3 == 0  # blocks of 8, 8 and 4 channels
        assert (kept == 2).all()
    check(graph, "2", images, 0.15 if graph.node("2").attrs["tile"] == "f4" else 0.06)


@pytest.mark.parametrize("density", [None, "2/8"])
@pytest.mark.parametrize("side", [1, 3])
def test_linear(side: int, density: str | None) -> None:
    """K x (C * side * side) matrices: sub-rows along the channels at each position of the map."""
    torch.manual_seed(2)
    pool = nn.AdaptiveAvgPool2d(1) if side == 1 else nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2))
    layers = [nn.Conv2d(8, 20, 1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(20 * side**2, 12)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(12, 5)).eval()
    images = images_of(8)[:, :, :12, :]
    graph = compressed(model, images, HW, density, calibration=images, linear=True)
    if density:
        kept = sub_rows(graph.node("4"))
        assert kept.shape == (1, 12, 3 * side**2) and (kept == 2).all()
        assert (sub_rows(graph.node("6")) == 2).all()
    check(graph, "4", images, 0.06)


@pytest.mark.parametrize("name", UNPRUNED)
def test_other_layers(name: str) -> None:
    torch.manual_seed(3)
    layer = UNPRUNED[name]
    first = layer[0] if isinstance(layer, nn.Sequential) else layer
    images = images_of(getattr(first, "in_channels", 12)) * 4
    model = nn.Sequential(layer) if name != "batch-norm of a sum" else Sum(layer)
    graph = compressed(model.eval(), images, HW, calibration=images)
    check(graph, run(graph, AFTER_COMPRESSION).outputs[0].inputs[0], images, 0.05)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [
    (3, 2, 1), (3, 2, 0), (3, 1, 1), (2, 1, 0), (5, 1, 2), (4, 2, 1), ((1, 3), 2, (0, 1)),
])  # fmt: skip
@pytest.mark.parametrize("bias", [-40.0, 0.0])
def test_max_pool_moves_integers(kernel: int, stride: int, pad: int, bias: float) -> None:
    """Of a map of all signs, and of one without a pixel as large as a border of zeros: those of torch's maximum."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(8, 20, 1), nn.MaxPool2d(kernel, stride, pad), nn.ReLU(), nn.Conv2d(20, 4, 1)).eval()
    nn.init.constant_(model[0].bias, bias)
    if bias:
        del model[2]
    images = images_of(8) * 8
    graph = compressed(model, images, HW, calibration=images)
    check(graph, "1", images, 0.05)
    tensors = run_integer(quantised(model[:2], images, HW, calibration=images), images, HW)
    before, after = (torch.from_numpy(tensors[n]).float() for n in ("0", "1"))
    assert (before.max() < 0) == (bias < 0) and len(before.unique()) > 20
    assert torch.equal(after, nn.functional.max_pool2d(before, kernel, stride, pad))


class Leaky(nn.Module):
    """Leaky ReLUs before an addition, as in darknet, and behind one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        act = nn.functional.leaky_relu
        x = act(self.a(x), 0.1)
        x = act(self.b(x), 0.25) + x
        return torch.relu(act(self.c(x) + x, 0.05) + x)


def test_leaky_relu_on_both_sides_of_an_addition() -> None:
    torch.manual_seed(6)
    images = images_of(8)
    graph = compressed(Leaky().eval(), images, HW, calibration=images)
    fused = run(graph, AFTER_COMPRESSION)
    acts = [(n.attrs.get("act"), len(n.inputs)) for n in fused if n.op == "conv"]
    assert acts == [("leaky", 1), ("leaky", 2), (None, 2), ("leaky", 2), ("relu", 1)]
    check(graph, fused.outputs[0].inputs[0], images, 0.05)


class Sum(nn.Module):
    """Batch-norm with no convolution before it that could take it in."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.a = norm, nn.Conv2d(12, 12, 1)
        norm.running_mean.fill_(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.a(x) + x)


def test_relu6_clamps_in_output_steps() -> None:
    """A scale of the file that reaches beyond 6: the clamp stands below 127."""
    rng = np.random.default_rng(0)
    weight = {"weight": rng.standard_normal((8, 8, 1, 1)).astype(np.float32)}
    shape = (8, 13, 12)
    graph = Graph("g", (
        Node("x", "input", (), shape), Node("a", "conv", ("x",), shape, {"stride": 1, "groups": 1}, weight),
        Node("r", "relu6", ("a",), shape, {"out_scale": 0.1}), Node("output", "output", ("r",), shape),
    ))  # fmt: skip
    images = images_of(8) * 8
    ready = quantised(graph, images, HW, calibration=images)
    quant = ready.node("a").attrs["quant"]
    assert (quant.act_min, quant.act_max, quant.out_scale) == (0, 60, 0.1)
    assert run_integer(ready, images, HW)["output"].max() == 60
    check(graph, "a", images, 0.05)


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "stride 3": (nn.Conv2d(8, 8, 3, stride=3), r"node 1, op conv: stride \(3, 3\), the engine has 1 and 2"),
    "stride 2x1": (nn.Conv2d(8, 8, 3, stride=(2, 1)), r"stride \(2, 1\)"),
    "max pool": (nn.MaxPool2d(3, 3), r"node 1, op max_pool: kernel \(3, 3\), stride \(3, 3\), pad \(0, 0, 0, 0\)"),
    "mean": (nn.AvgPool2d(3, 1, 1, count_include_pad=False), "node 1, op avg_pool"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_lower_refuses_with_one_error(name: str) -> None:
    layer, reason = REFUSED[name]
    model = nn.Sequential(nn.Conv2d(8, 8, 1), layer).eval()
    with pytest.raises(UnsupportedError, match=f"network Sequential: .*{reason}.*Supported: convolutions with"):
        subrow.compile(model, images_of(8), HW)


class Moves(nn.Module):
    """Pool, concatenation and upsampling between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.up, self.end = nn.MaxPool2d(3, 1, 1), nn.Upsample(scale_factor=2), nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.up(torch.cat([self.pool(self.a(x)), self.b(x)], 1)))


def test_moved_tensors_share_a_scale() -> None:
    torch.manual_seed(4)
    images = images_of(8)
    model = Moves().eval()
    graph = quantised(model, images, HW, calibration=images)
    steps = {n.name: n.attrs["quant"] for n in graph if n.op == "conv"}
    assert steps["a"].out_scale == steps["pool"].out_scale == steps["b"].out_scale
    check(compressed(model, images, HW, calibration=images), "pool", images, 0.05)


def test_all_refusals_are_named_at_once() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.MaxPool2d(3, 3), nn.AvgPool2d(3, 1, 1, count_include_pad=False))
    with pytest.raises(UnsupportedError) as caught:
        subrow.compile(model.eval(), images_of(8), HW)
    assert "node 1, op max_pool" in str(caught.value) and "node 2, op avg_pool" in str(caught.value)


class Two(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


def test_unread_input_is_named() -> None:
    shape = torch.zeros(1, 8, 4, 4)
    graph = capture(torch.export.export(Two().eval(), (shape, shape.clone())), shape)
    with pytest.raises(UnsupportedError, match="node y, op input: nothing reads it"):
        lower(run(graph), HW)


@pytest.mark.parametrize(("buffers", "chosen"), [({}, "f4"), ({"weight_words": 512}, "f2"), ({"v_words": 64}, "f2")])
def test_auto_takes_no_tile_that_does_not_fit(buffers: dict[str, int], chosen: str) -> None:
    """F(4x4,3x3) of 64 channels: 9 * 64 weight words a group, 9 * 8 V words a tile."""
    hw = dataclasses.replace(hwconfig.load("pynq-z2"), **buffers)
    images = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 64)).astype(np.float32)
    graph = compressed(nn.Sequential(nn.Conv2d(64, 16, 3, padding=1)), images, hw)
    assert graph.node("0").attrs["tile"] == chosen
