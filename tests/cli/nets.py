"""Networks that the command-line tests name as package.module:callable."""

from __future__ import annotations

import torch
from torch import nn


def small() -> nn.Module:
    """Two 3x3 convolutions, a pool and a linear layer for 8-channel images of 8 x 8."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16, 5),
    ).eval()  # fmt: skip


def broken() -> nn.Module:
    """A factory that fails."""
    raise RuntimeError("weights are lost")


def number() -> int:
    """Not a network."""
    return 7


def narrow() -> nn.Module:
    """Layers that have nothing to prune: the first, one of 4 channels, a linear one."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(128, 5)).eval()


def small_cifar() -> nn.Module:
    """A small network for pictures like CIFAR-10's; untrained, which a search does not mind."""
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip
