"""Capture through torch.export: same numbers as the network, and one error that names everything unsupported."""

import numpy as np
import pytest
import torch
from torch import nn

from subrow.compress.execute import execute
from subrow.frontend.torch_export import capture
from subrow.spec.errors import UnsupportedError


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


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Batch-norm statistics that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model.eval()


def test_same_numbers() -> None:
    torch.manual_seed(1)
    model = randomise(Everything())
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
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.GELU(), nn.Conv2d(4, 4, 3, padding=1, groups=2)).eval()
    with pytest.raises(UnsupportedError) as caught:
        capture(model, torch.zeros(1, 3, 16, 16))
    text = str(caught.value)
    assert "(5, 5)" in text and "gelu" in text and "groups 2" in text and "Supported: Conv2d 3x3" in text


@pytest.mark.parametrize("layer", [nn.MaxPool2d(3), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Sigmoid()])
def test_refused(layer: nn.Module) -> None:
    with pytest.raises(UnsupportedError, match="supported|Supported"):
        capture(layer, torch.zeros(1, 3, 12, 12))
