"""Random changes of training pictures, a whole batch at once on its own device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from subrow.spec.errors import ConfigError


@dataclass(frozen=True)
class Augment:
    """What may happen to a picture; 0 and False switch a change off, and draw nothing.

    shift: pixels each way. flip: mirrored one time in two. cutout: side in pixels of a square set to the batch's mean
    (DeVries and Taylor, 2017). zoom: largest change of scale, as a share. rotate: degrees each way. colour: largest
    change of brightness, contrast and saturation, as a share. mix: share of pictures blended with another one of the
    batch, so that labels no longer hold (Zhang et al., "mixup", ICLR 2018): for distillation alone.
    """

    shift: int = 4
    flip: bool = True
    cutout: int = 0
    zoom: float = 0.0
    rotate: float = 0.0
    colour: float = 0.0
    mix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "cutout", "zoom", "rotate", "colour", "mix"):
            value, limit = getattr(self, name), 1.0 if name in ("zoom", "colour", "mix") else 45
            if not 0 <= value <= limit:
                raise ConfigError(f"augment: {name} is {value}; it must be in [0, {limit}]")


def augment(images: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    """A changed copy of images N x C x H x W in [0, 1]; all draws come from the generator, on the images' device."""
    images = _moved(images, how, generator)
    if how.zoom or how.rotate:
        images = _warped(images, how, generator)
    if how.colour:
        images = _recoloured(images, how.colour, generator)
    if how.cutout:
        images = _cut_out(images, how.cutout, generator)
    return _blended(images, how.mix, generator) if how.mix else images


def _blended(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Some pictures replaced by a random mean of themselves and their neighbour in the batch."""
    own, chosen = torch.rand((2, len(images), 1, 1, 1), generator=generator, device=images.device)
    own = torch.where(chosen < share, own, 1.0)
    return images * own + images.roll(1, 0) * (1 - own)


def _moved(images: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    """Shifted, with zeros coming in, and mirrored."""
    (count, _, height, width), device = images.shape, images.device
    padded = functional.pad(images, (how.shift,) * 4)
    shifts = torch.randint(0, 2 * how.shift + 1, (2, count, 1), generator=generator, device=device)
    mirrored = torch.rand(count, 1, generator=generator, device=device) < (0.5 if how.flip else 0.0)
    across = torch.arange(width, device=device)
    rows = shifts[0] + torch.arange(height, device=device)
    columns = torch.where(mirrored, across.flip(0), across) + shifts[1]
    every = torch.arange(count, device=device)[:, None, None]
    return padded[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _uniform(shape: tuple[int, ...], limit: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers from -limit to limit."""
    return (2 * torch.rand(shape, generator=generator, device=images.device) - 1) * limit


def _warped(images: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    """Turned and scaled about the centre, each axis by its own factor; bilinear."""
    angle = _uniform((len(images),), math.radians(how.rotate), images, generator)
    scale = 1 + _uniform((2, len(images)), how.zoom, images, generator)
    zero = torch.zeros_like(angle)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([torch.stack([cos * scale[0], -sin, zero], 1), torch.stack([sin, cos * scale[1], zero], 1)], 1)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _recoloured(images: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation changed, and limited to [0, 1] again."""
    light, contrast, saturation = 1 + _uniform((3, len(images), 1, 1, 1), limit, images, generator)
    images = images * light
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    grey = images.mean(1, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 1)


def _cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """One square of each picture set to the batch's mean; its centre lies anywhere in the picture."""
    count, _, height, width = images.shape
    centre = torch.rand(2, count, 1, generator=generator, device=images.device)
    sides = zip((height, width), centre, strict=True)
    away = [torch.arange(n, device=images.device) - (c * n).floor() for n, c in sides]
    rows, columns = ((d >= -(side // 2)) & (d < side - side // 2) for d in away)
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(hole, images.mean(), images)
