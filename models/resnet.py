"""ResNet-18, -34 and -50 for ImageNet and ResNet-20 for CIFAR, with the parameter names of torchvision.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. A state_dict of torchvision's resnet18,
resnet34 or resnet50 loads as it is; ResNet-50 has its stride in the 3x3 convolution, as torchvision's. ResNet-20 is the
paper's network for 32 x 32 images, with the same names and 1x1 convolutions on the shortcuts that change the shape.

Input: float32, N x 3 x H x W. The networks normalise nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.initial import seeded


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """N x inputs x H x W to N x width x H/stride x W/stride."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


class Bottleneck(nn.Module):
    """1x1 to `width` channels, 3x3 with the stride, 1x1 to four times as many, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """N x inputs x H x W to N x 4 width x H/stride x W/stride."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """The ImageNet family: a 7x7 stem with stride 2 and a 3x3 pool with stride 2, four stages, mean, fc.

    `width` is the number of channels of the first stage, 64 in the paper; `stem_pool` False leaves the 3x3 pool out,
    which suits small images.
    """

    def __init__(
        self, block: Block, depths: Sequence[int], num_classes: int = 1000, width: int = 64, stem_pool: bool = True
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if stem_pool else nn.Identity()
        inputs = width
        for number, depth in enumerate(depths, start=1):
            stage = _stage(block, inputs, width << number - 1, depth, 1 if number == 1 else 2)
            self.add_module(f"layer{number}", stage)
            inputs = (width << number - 1) * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images N x 3 x H x W to logits N x num_classes."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name, stage in self.named_children():
            x = stage(x) if name.startswith("layer") else x
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class CifarResNet(nn.Module):
    """The CIFAR family: a 3x3 stem, three stages of `depth` basic blocks with width, 2 and 4 times as many channels."""

    def __init__(self, depth: int, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.conv1 = _conv3x3(3, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(BasicBlock, width, width, depth, 1)
        self.layer2 = _stage(BasicBlock, width, 2 * width, depth, 2)
        self.layer3 = _stage(BasicBlock, 2 * width, 4 * width, depth, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(4 * width, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images N x 3 x 32 x 32 to logits N x num_classes."""
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def resnet18(num_classes: int = 1000, seed: int = 0, width: int = 64, stem_pool: bool = True) -> ResNet:
    """ResNet-18, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: ResNet(BasicBlock, (2, 2, 2, 2), num_classes, width, stem_pool))


def resnet34(num_classes: int = 1000, seed: int = 0, width: int = 64, stem_pool: bool = True) -> ResNet:
    """ResNet-34, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: ResNet(BasicBlock, (3, 4, 6, 3), num_classes, width, stem_pool))


def resnet50(num_classes: int = 1000, seed: int = 0, width: int = 64, stem_pool: bool = True) -> ResNet:
    """ResNet-50, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: ResNet(Bottleneck, (3, 4, 6, 3), num_classes, width, stem_pool))


def resnet20(num_classes: int = 10, seed: int = 0, width: int = 16) -> CifarResNet:
    """ResNet-20 for 32 x 32 images, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: CifarResNet(3, num_classes, width))


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _stage(block: Block, inputs: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """Blocks of equal width; the first has the stride, and a 1x1 convolution on a shortcut that changes the shape."""
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
    blocks = [block(inputs, width, stride, downsample)]
    blocks += [block(outputs, width, 1, None) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _initialise(model: nn.Module) -> None:
    """torchvision's: convolutions after He (fan out); batch-norm and fc as torch makes them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
