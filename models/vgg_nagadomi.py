"""VGG-nagadomi: the small VGG of the CIFAR-10 Kaggle contest (author: nagadomi), at any width.

Eight 3x3 convolutions in three stages, then three fully connected layers:

    64, 64, pool | 128, 128, pool | 256 x 4, pool | flatten | fc 1024 | fc 1024 | fc classes

Every convolution has padding 1 and stride 1 and is followed by batch-norm and ReLU; each pool halves height and
width. At width 1 the convolutions take 228.3 M multiply-accumulates for one 32 x 32 image.

Input contract: float32, N x in_channels x 32 x 32, values in [0, 1]. The network normalises nothing: the first
batch-norm absorbs mean and scale, so that the captured graph holds no extra operations.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models import ModelError
from models.checkpoint import check_tensors
from models.initial import seeded

IMAGE_SIZE = 32
"""Height and width of the input in pixels."""

STAGES = ((64, 64), (128, 128), (256, 256, 256, 256))
"""Output channels of each convolution at width 1, stage by stage."""

HIDDEN = 1024
"""Outputs of the two hidden fully connected layers at width 1."""

QUARTER_WEIGHTS = Path(__file__).parent / "weights" / "vgg_nagadomi_quarter_fmnist" / "model.safetensors"
"""The committed weights of the quarter-width network, trained on Fashion-MNIST."""


class TrainingDropout(nn.Module):
    """Dropout that leaves no operation behind in eval mode, so that a captured graph does not hold it."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        return functional.dropout(x, self.probability) if self.training else x


class VggNagadomi(nn.Module):
    """The network; see the module's text for its layers and its input contract.

    `width` scales every channel count and the hidden layers; it must make all of them whole numbers.
    `conv_dropout` follows each pool, `fc_dropout` each hidden layer; both act in training mode only.
    """

    def __init__(
        self,
        width: float = 1.0,
        in_channels: int = 3,
        classes: int = 10,
        conv_dropout: float = 0.25,
        fc_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        stages = [[_scaled(channels, width) for channels in stage] for stage in STAGES]
        hidden = _scaled(HIDDEN, width)
        side = IMAGE_SIZE // 2 ** len(stages)
        self.in_channels = in_channels
        self.features = _trunk(in_channels, stages, conv_dropout)
        self.classifier = _classifier(stages[-1][-1] * side * side, hidden, classes, fc_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N x in_channels x 32 x 32, in [0, 1]) to logits (N x classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


def vgg_nagadomi(num_classes: int = 10, seed: int = 0) -> VggNagadomi:
    """The full-width network for 3-channel images, untrained, in eval mode; equal seeds give equal weights."""
    return seeded(seed, lambda: VggNagadomi(classes=num_classes))


def vgg_nagadomi_quarter(pretrained: bool = True) -> VggNagadomi:
    """The quarter-width network for 1-channel images in eval mode, with the committed weights unless told not to."""
    model = VggNagadomi(width=0.25, in_channels=1)
    if pretrained:
        load_weights(model, QUARTER_WEIGHTS)
    return model.eval()


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill `model` (float32) from a safetensors file whose tensors may be float16 or float32."""
    tensors = _read_tensors(path)
    check_tensors(model, tensors, path)
    model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)


def _scaled(channels: int, width: float) -> int:
    """`channels` times `width`, which must be a whole number of at least 1."""
    scaled = channels * width
    if scaled < 1 or scaled != int(scaled):
        raise ModelError(
            f"VggNagadomi: width {width} makes {channels} channels {scaled}; "
            f"every layer needs a whole number of at least 1: use a multiple of 1/{STAGES[0][0]}"
        )
    return int(scaled)


def _trunk(in_channels: int, stages: list[list[int]], dropout: float) -> nn.Sequential:
    """The convolution stages, with layers named by stage and position (conv2_1, bn2_1, relu2_1, ..., pool2)."""
    trunk = nn.Sequential()
    previous = in_channels
    for stage, widths in enumerate(stages, start=1):
        for position, channels in enumerate(widths, start=1):
            suffix = f"{stage}_{position}"
            trunk.add_module(f"conv{suffix}", nn.Conv2d(previous, channels, 3, padding=1, bias=False))
            trunk.add_module(f"bn{suffix}", nn.BatchNorm2d(channels))
            trunk.add_module(f"relu{suffix}", nn.ReLU())
            previous = channels
        trunk.add_module(f"pool{stage}", nn.MaxPool2d(2))
        trunk.add_module(f"drop{stage}", TrainingDropout(dropout))
    return trunk


def _classifier(inputs: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """Three fully connected layers (fc1, fc2, fc3) with ReLU between them."""
    classifier = nn.Sequential()
    for index, (fan_in, fan_out) in enumerate(((inputs, hidden), (hidden, hidden)), start=1):
        classifier.add_module(f"fc{index}", nn.Linear(fan_in, fan_out))
        classifier.add_module(f"fc_relu{index}", nn.ReLU())
        classifier.add_module(f"fc_drop{index}", TrainingDropout(dropout))
    classifier.add_module("fc3", nn.Linear(hidden, classes))
    return classifier


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or a ModelError that names the file."""
    if not path.is_file():
        raise ModelError(
            f"weights file {path} does not exist: restore it from the repository, or train it again with "
            "models/recipes/vgg_nagadomi_quarter_fmnist.toml (pretrained=False builds the network without weights)"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"weights file {path} ({path.stat().st_size} bytes) is not a readable safetensors file ({error}): "
            "restore it from the repository, or train it again with its recipe in models/recipes"
        ) from error
