"""Capture through torch.export: same numbers as the network, and one error that names everything unsupported."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from subrow import passes
from subrow.compress.execute import execute
from subrow.frontend.torch_export import capture
from subrow.spec.errors import UnsupportedError
from tests.nets import randomised


class Everything(nn.Module):
    """Each supported operator once."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 1, stride=2)
        self.c = nn.Conv2d(8, 10, 3)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(10, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.a(x)))
        y = torch.relu_(self.b(x))
        x = self.pool(y + x) + self.down(x)
        x = self.drop(torch.relu(self.c(x)))
        return self.fc(x.mean((2, 3)))


def test_same_numbers() -> None:
    torch.manual_seed(1)
    model = randomised(Everything())
    x = torch.randn(3, 3, 12, 10)
    graph = capture(model, x)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(execute(graph, x)["output"].reshape(3, -1), expected, rtol=1e-4, atol=1e-5)


def test_exported_program_and_mode_restored() -> None:
    model = Everything()
    model.train()
    capture(model, torch.zeros(2, 3, 8, 8))
    assert model.training and model.drop.training
    program = torch.export.export(model.eval(), (torch.zeros(2, 3, 8, 8),))
    assert len(capture(program, torch.zeros(1)).nodes) > 5


def test_one_error_names_all() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5, dilation=2), nn.GELU(), nn.Softmax(1), nn.Conv2d(4, 4, 3)).eval()
    with pytest.raises(UnsupportedError) as caught:
        capture(model, torch.zeros(1, 3, 16, 16))
    text = str(caught.value)
    assert "dilation (2, 2)" in text and "gelu" in text and "softmax" in text and "Supported: Conv2d of any" in text


class Wide(nn.Module):
    """What ResNets, MobileNets, Inception and YOLO-like nets are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.act = nn.ReLU6(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 24, (3, 1), padding=(1, 0), groups=4)
        self.even = nn.Conv2d(16, 8, (2, 4), padding="same")
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.leaky = nn.LeakyReLU(0.1)
        self.mean = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.post = nn.BatchNorm2d(16 + 8 + 24)
        self.drop = nn.Dropout2d(0.5)
        self.adaptive = nn.AdaptiveAvgPool2d((2, 1))
        self.fc = nn.Linear(96, 10)
        self.bn1 = nn.BatchNorm1d(10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.act(self.bn(self.stem(x))))
        y = functional.interpolate(functional.hardtanh(self.depthwise(x), 0.0, 6.0), scale_factor=2)
        z = functional.leaky_relu(self.even(x), 0.2)
        w = self.mean(self.leaky(self.grouped(functional.avg_pool2d(x, 2))))
        x = self.post(torch.cat([x.clamp(min=0) + y, z, self.up(w)], dim=1))
        x = self.adaptive(self.drop(x))
        return self.bn1(self.fc(x.view(x.size(0), -1)))


def test_all_operators_same_numbers_through_the_passes() -> None:
    torch.manual_seed(3)
    model = randomised(Wide())
    x = torch.randn(2, 3, 32, 32) * 3
    with torch.no_grad():
        expected = model(x).numpy()
    graph = capture(model, x)
    assert {n.op for n in graph} >= {"relu6", "leaky_relu", "max_pool", "avg_pool", "upsample", "concat", "flatten"}
    np.testing.assert_allclose(execute(graph, x)["output"], expected, rtol=1e-3, atol=1e-4)
    for count in range(1, len(passes.PIPELINE) + 1):
        done = passes.run(graph, passes.PIPELINE[:count])
        np.testing.assert_allclose(execute(done, x)["output"].reshape(2, -1), expected, rtol=1e-3, atol=1e-4)
    assert {n.op for n in done} == {"input", "conv", "avg_pool", "concat", "output"}
    assert {n.attrs.get("act") for n in done if n.op == "conv"} == {None, "relu", "relu6", "leaky"}


@pytest.mark.parametrize(("layer", "op"), [
    (nn.Hardtanh(0, 6), "relu6"), (nn.MaxPool2d(2, ceil_mode=True), "max_pool"), (nn.Dropout(), None),
    (nn.AdaptiveAvgPool2d(1), "global_avg_pool"), (nn.AdaptiveAvgPool2d(12), None), (nn.Flatten(), "flatten"),
    (nn.AdaptiveAvgPool2d(4), "avg_pool"), (nn.UpsamplingNearest2d(size=(24, 24)), "upsample"),
    (nn.Identity(), None), (nn.LeakyReLU(inplace=True), "leaky_relu"),
])  # fmt: skip
def test_single(layer: nn.Module, op: str | None) -> None:
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 4
    graph = capture(nn.Sequential(nn.Identity(), layer), x)
    assert [n.op for n in graph] == ["input", *([op] if op else []), "output"]
    with torch.no_grad():
        np.testing.assert_allclose(execute(graph, x)["output"], layer.eval()(x.clone()).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("border", [(0, 1, 0, 1), (2, 0, 1, 3), (1, 2)])
def test_zeros_in_front_of_convolutions(border: tuple[int, ...]) -> None:
    """One border that two convolutions read, and one added to the other's own padding."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(3, 4, 3, stride=2, padding=(1, 0), bias=False)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = functional.pad(x, border)
            return self.a(x), self.b(functional.pad(x, (0, 2)))

    torch.manual_seed(0)
    model, x = Padded().eval(), torch.randn(2, 3, 12, 12)
    graph = capture(model, x)
    assert [n.op for n in graph] == ["input", "conv", "conv", "output", "output"]
    with torch.no_grad():
        for got, want in zip(execute(graph, x).values(), model(x), strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-5)


class Squeezed(nn.Module):
    def __init__(self, form: int) -> None:
        super().__init__()
        self.form, self.fc = form, nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.adaptive_avg_pool2d(x, 1)
        if self.form == 0:
            return self.fc(x.squeeze(-1).squeeze(-1))
        if self.form == 1:
            return self.fc(x.squeeze((2, 3)))
        if self.form == 2:
            return self.fc(x.reshape(x.shape[0], 3))
        return self.fc(x.view(-1, 3) if self.form == 3 else x.mean((3, 2)))


@pytest.mark.parametrize("form", range(5))
def test_ways_to_flatten(form: int) -> None:
    model, x = Squeezed(form).eval(), torch.randn(2, 3, 4, 4)
    graph = capture(model, x)
    with torch.no_grad():
        np.testing.assert_allclose(execute(graph, x)["output"], model(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layer", "reason"), [
    (nn.MaxPool2d(5, 2, ceil_mode=True), "ceil_mode"), (nn.MaxPool2d(2, dilation=2), "dilation"),
    (nn.AvgPool2d(2, divisor_override=3), "divisor_override"), (nn.AdaptiveAvgPool2d(5), "does not divide"),
    (nn.Hardtanh(), "limits"), (nn.LeakyReLU(-0.5), "slope"), (nn.Upsample(scale_factor=3), "twice"),
    (nn.Upsample(scale_factor=2, mode="bilinear"), "not supported"), (nn.Sigmoid(), "not supported"),
    (nn.ConvTranspose2d(3, 3, 2), "transpose"), (nn.Linear(12, 3), "flatten it first"), (nn.Flatten(2), "reshape"),
    (nn.Flatten(0), "batch"), (nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"), "only zeros"),
    (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), "only convolutions"), (nn.ConstantPad2d(1, 0.5), "with 0.5"),
    (nn.Sequential(nn.ZeroPad2d(-1), nn.Conv2d(3, 2, 3)), "cut pixels off"),
])  # fmt: skip
def test_refused(layer: nn.Module, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=f"(?s){reason}.*Supported: "):
        capture(layer, torch.zeros(2, 3, 12, 12))


def test_padded_output_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="output output: reads a tensor padded with zeros"):
        capture(nn.ZeroPad2d(1), torch.zeros(1, 3, 4, 4))


def test_tensor_names_never_clash() -> None:
    """A module called output, and one module used twice."""
    model = nn.Sequential()
    model.add_module("output", nn.ReLU())
    model.add_module("again", model.output)
    graph = capture(model, torch.zeros(1, 3, 4, 4))
    assert [n.op for n in graph] == ["input", "relu", "relu", "output"] and graph.nodes[-1].name == "output"
