"""The Bayer demosaicking network that the wheel `demosaicnet` carries, cut where a CNN engine can take it over.

Gharbi, Chaurasia, Paris, Durand, "Deep Joint Demosaicking and Denoising", SIGGRAPH Asia 2016; the released network
differs from the paper (masks and filters at the end of the trunk). Code and weights: MIT. 16 convolutions of 3x3,
stride 1, no padding, hold 99.7 % of its multiply-accumulates:

    mosaic --pack--> 4 channels, half size --15 convs, ReLU each--> 128 = 64 filters, 64 masks   `trunk`, a network
    filters * masks --1x1--> 12 channels --unpack--> 3 channels, full size; beside them the mosaic   `merge`, the host
    6 channels, full size --3x3, ReLU, 1x1--> 3 channels                                       `finish`, a network

Packing and unpacking only move pixels (the released weights of those layers are permutations), so the host code is
that, the product, one 1x1 convolution and the concatenation. `finish` takes and gives zero-centred numbers near
[-1, 1], with the change of range folded into its weights, so that one signed scale fits all channels.

A mosaic is float32, N x 3 x H x W in [0, 1], H and W even, 0 where a colour was not sampled:  G r / b G.
An output pixel needs MARGIN mosaic pixels on each side.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models import ModelError

DEPTH, WIDTH = 15, 64
MARGIN = 2 * DEPTH + 1
"""Mosaic pixels that the convolutions take from each side."""

Images = NDArray[np.float32]
Stage = Callable[[Images], Images]
_CENTRE, _RANGE = 0.5, 0.5  # of pixel values


def weights_path() -> Path:
    """The weights in the installed wheel, without importing it. Raises ModelError when it is not installed."""
    spec = importlib.util.find_spec("demosaicnet")
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / "data" / "bayer.pth"
        if path.is_file():
            return path
    raise ModelError("the wheel 'demosaicnet' is not installed: run `make setup` (extra `bench`)")


def mosaic(images: Images) -> Images:
    """N x 3 x H x W with only the samples of a Bayer sensor left."""
    mask = np.zeros((3, 2, 2), np.float32)
    mask[1, 0, 0] = mask[0, 0, 1] = mask[2, 1, 0] = mask[1, 1, 1] = 1
    h, w = images.shape[-2:]
    if h % 2 or w % 2:
        raise ModelError(f"image of {h} x {w} pixels: height and width must be even")
    return images * np.tile(mask, (1, h // 2, w // 2))


def bilinear(samples: Images) -> Images:
    """The mosaic filled by the mean of the nearest samples of the same colour: what a network has to beat."""
    cross = torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    kernel = torch.stack([square, cross, square])[:, None]
    x = functional.pad(torch.from_numpy(samples), (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(x, kernel, groups=3).numpy()


@dataclass(frozen=True)
class Demosaicker:
    """The two networks and the host's part between them."""

    trunk: nn.Sequential  # N x 4 x h x w -> N x 128 x h - 30 x w - 30
    finish: nn.Sequential  # N x 6 x H x W -> N x 3 x H - 2 x W - 2
    offsets: Tensor  # what packing adds to the four samples
    predictor: nn.Conv2d
    centre: Tensor  # of the six channels
    spread: Tensor

    def pack(self, samples: Images) -> Images:
        """Mosaic to the trunk's input: red, green, blue, green of each 2x2 square, zero-centred."""
        x = samples
        parts = np.stack([x[:, 0, ::2, 1::2], x[:, 1, ::2, ::2], x[:, 2, 1::2, ::2], x[:, 1, 1::2, 1::2]], axis=1)
        return parts + self.offsets.numpy()[:, None, None]

    def merge(self, samples: Images, features: Images) -> Images:
        """Mosaic and the trunk's output to the input of `finish`."""
        return ((self._merged(samples, features) - self.centre[:, None, None]) / self.spread[:, None, None]).numpy()

    def _merged(self, samples: Images, features: Images) -> Tensor:
        filters, masks = torch.from_numpy(features).split(WIDTH, dim=1)
        with torch.inference_mode():
            residual = functional.pixel_shuffle(self.predictor(filters * masks), 2)
        edge = MARGIN - 1
        return torch.cat([torch.from_numpy(samples)[:, :, edge:-edge, edge:-edge], residual], dim=1)

    def run(self, samples: Images, trunk: Stage | None = None, finish: Stage | None = None) -> Images:
        """Mosaic to image, MARGIN pixels smaller on each side; stages that are not given run in float32."""
        trunk, finish = trunk or stage(self.trunk), finish or stage(self.finish)
        return finish(self.merge(samples, trunk(self.pack(samples)))) * _RANGE + _CENTRE


def stage(network: nn.Module) -> Stage:
    """A network as a function of arrays, in float32."""
    def run(x: Images) -> Images:
        with torch.inference_mode():
            result: Images = network(torch.from_numpy(x)).numpy()
        return result

    return run


def load(calibration: Images) -> Demosaicker:
    """The trained network, its ranges fitted to calibration mosaics; in float32 the result does not depend on them."""
    state = torch.load(weights_path(), map_location="cpu", weights_only=True)

    def pair(name: str) -> tuple[Tensor, Tensor]:
        return state[f"{name}.weight"], state[f"{name}.bias"]

    weight, bias = pair("residual_predictor")
    model = Demosaicker(
        _sequential([pair(f"main_processor.conv{i + 1}") for i in range(DEPTH)], relu_last=True), nn.Sequential(),
        state["main_processor.pack_mosaic.bias"], _conv(weight, bias + state["upsampler.bias"].repeat_interleave(4)),
        torch.zeros(6), torch.ones(6),
    )  # fmt: skip
    packed = model.pack(calibration)
    merged = model._merged(calibration, stage(model.trunk)(packed))
    low, high = merged.amin((0, 2, 3)), merged.amax((0, 2, 3))
    centre, spread = (low + high) / 2, (high - low) / 2
    (first, first_bias), (last, last_bias) = (pair(f"fullres_processor.{n}") for n in ("post_conv", "output"))
    finish = _sequential([
        (first * spread[:, None, None], first_bias + first.sum((2, 3)) @ centre),
        (last / _RANGE, (last_bias - _CENTRE) / _RANGE),
    ])
    merged = (merged - centre[:, None, None]) / spread[:, None, None]
    return replace(
        model, trunk=balance(model.trunk, torch.from_numpy(packed)), finish=balance(finish, merged),
        centre=centre, spread=spread,
    )  # fmt: skip


def balance(network: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The same function with hidden channels of more similar size, so that one scale fits each hidden tensor better.

    A channel that peaks at p on the calibration input x is divided by the root of p, which the next layer's weights
    make good: ReLU(a y) = a ReLU(y) for a > 0. Convolutions with a ReLU between each two, and no padding.
    """
    convs = [(m.weight, m.bias) for m in network if isinstance(m, nn.Conv2d)]
    result: list[tuple[Tensor, Tensor]] = []
    factor = torch.ones(convs[0][0].shape[1])  # what the input of this layer was divided by
    for weight, bias in convs[:-1]:
        assert bias is not None
        with torch.inference_mode():
            x = functional.relu(functional.conv2d(x, weight, bias))
        peak = x.amax((0, 2, 3)).clamp(min=1e-3)
        divisor = (peak / peak.max()).sqrt()
        result.append((weight * factor[:, None, None] / divisor[:, None, None, None], bias / divisor))
        factor = divisor
    weight, bias = convs[-1]
    assert bias is not None
    return _sequential([*result, (weight * factor[:, None, None], bias)], isinstance(network[-1], nn.ReLU))


def _sequential(convs: Sequence[tuple[Tensor, Tensor]], relu_last: bool = False) -> nn.Sequential:
    """Convolutions with a ReLU between each two, and one at the end where asked."""
    layers: list[nn.Module] = []
    for weight, bias in convs:
        layers += [_conv(weight, bias), nn.ReLU()]
    return nn.Sequential(*(layers if relu_last else layers[:-1])).eval()


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2])
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv.requires_grad_(False)
