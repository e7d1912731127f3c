"""VGG16 for ImageNet with its three fully connected layers and the parameter names of torchvision.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, configuration D. A
state_dict of torchvision's vgg16 (without batch-norm) loads as it is.

Input: float32, N x 3 x H x W, 224 x 224 in the paper. The network normalises nothing.
"""

import torch
from torch import Tensor, nn

from models import ModelError
from models.initial import seeded

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of each convolution at width 1; a 2x2 pool follows each stage."""

HIDDEN = 4096
_SIDE = 7  # of the map that the classifier takes


class Vgg16(nn.Module):
    """The network. `width` scales every channel count and the hidden layers; it must make whole numbers of them."""

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES:
            for channels in (_scaled(c, width) for c in stage):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = channels
            layers.append(nn.MaxPool2d(2, stride=2))
        hidden = _scaled(HIDDEN, width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((_SIDE, _SIDE))
        self.classifier = nn.Sequential(
            nn.Linear(inputs * _SIDE**2, hidden), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(hidden, num_classes),
        )  # fmt: skip
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images N x 3 x H x W to logits N x num_classes."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return logits


def vgg16(num_classes: int = 1000, seed: int = 0, width: float = 1.0) -> Vgg16:
    """VGG16, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: Vgg16(num_classes, width))


def _scaled(channels: int, width: float) -> int:
    scaled = channels * width
    if scaled < 1 or scaled != int(scaled):
        raise ModelError(
            f"Vgg16: width {width} makes {channels} channels {scaled}; every layer needs a whole number of at least 1: "
            f"use a multiple of 1/{STAGES[0][0]}"
        )
    return int(scaled)


def _initialise(model: nn.Module) -> None:
    """torchvision's: convolutions after He (fan out), linear layers with deviation 0.01, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
