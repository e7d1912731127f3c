"""Folders in the layout of ImageNet: train/<class>/*.JPEG and val/<class>/*.JPEG, decoded when they are needed.

Classes are the folders' names in order, as torchvision's ImageFolder numbers them. Pictures are handed out normalised
by MEAN and STD, as torchvision's weights expect them. Evaluation takes the middle 224 x 224 pixels after the shorter
side was made 256; training takes random crops of random shape (Szegedy et al., "Going Deeper with Convolutions", CVPR
2015) and mirrors one in two. What happens to a picture follows from the seed, the epoch and the picture's number alone.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models import ModelError
from models.labelled import Labelled

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue values in [0, 1] of ImageNet's training pictures, as torchvision has them."""
SIZE, SHORTER = 224, 256
"""Pixels: side of what a network sees, and shorter side of the picture that its middle is cut from."""
_SUFFIXES = (".jpeg", ".jpg", ".png")
_AREA, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
_ORDER = 1  # seed of the order in which a split is numbered: its first pictures are of many classes
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

Raw = tuple[Tensor, Tensor]
"""Pictures uint8 N x 3 x SIZE x SIZE and labels int64 N."""
_Number = tuple[int, int | None, int, bool]
"""What a worker is asked for: number of a picture; seed of its crop (None: the middle), epoch, whether to mirror."""


@dataclass(frozen=True)
class Pictures:
    """Picture files of a split, by number. names: paths below root, in bytes; workers: processes that decode."""

    root: Path
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    workers: int

    def path(self, number: int) -> Path:
        """The file of a picture."""
        return self.root / os.fsdecode(self.names[number])

    def part(self, numbers: slice) -> "Pictures":
        """Some of the pictures."""
        return replace(self, names=self.names[numbers], labels=self.labels[numbers])

    def take(self, count: int | None) -> "Pictures":
        """The first pictures as a split of their own; None: all."""
        return self.part(slice(count))

    def first(self, count: int) -> Labelled:
        """The first pictures, decoded. Raises ModelError, naming the file, for one that is damaged."""
        found = list(self.take(count).batches(64))
        return Labelled(np.concatenate([b.images for b in found]), np.concatenate([b.labels for b in found]))

    def batches(self, size: int) -> Iterator[Labelled]:
        """The middle of every picture in order, normalised. Raises ModelError, naming the file."""
        for images, labels in self.middles(size):
            yield Labelled(normalised(images).numpy(), labels.numpy())

    def middles(self, size: int) -> Iterator[Raw]:
        """The middle of every picture in order, at most `size` at a time. Raises ModelError, naming the file."""
        starts = range(0, len(self.labels), size)
        return self._load([[(i, None, 0, False) for i in range(s, min(s + size, len(self.labels)))] for s in starts])

    def crops(self, order: Sequence[Sequence[int]], seed: int, epoch: int, mirror: bool) -> Iterator[Raw]:
        """Batches of random crops, given the numbers of their pictures. Raises ModelError, naming the file."""
        return self._load([[(i, seed, epoch, mirror) for i in batch] for batch in order])

    def parts(self) -> Iterator[bytes]:
        """Bytes that tell this split from any other one: names, labels and sizes of the files."""
        yield self.names.tobytes()
        yield self.labels.tobytes()
        yield np.array([self.path(i).stat().st_size for i in range(len(self.labels))], np.int64).tobytes()

    def _load(self, batches: list[list[_Number]]) -> Iterator[Raw]:
        count = min(self.workers, len(batches))
        loader = DataLoader(_Decoder(self), batch_sampler=batches, num_workers=count, collate_fn=_together,
                            generator=torch.Generator())  # its own: dropout draws from the global one
        for loaded in loader:
            if isinstance(loaded, str):
                raise ModelError(loaded)
            yield loaded


class _Decoder(Dataset[tuple[NDArray[np.uint8], int] | str]):
    """What workers run: one picture, or what is wrong with it; an exception would lose its type on the way back."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __getitem__(self, asked: _Number) -> tuple[NDArray[np.uint8], int] | str:
        number, seed, epoch, mirror = asked
        path = self._pictures.path(number)
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except _DAMAGE as error:
            return f"picture {path} cannot be decoded ({error}); replace it by a whole one, or delete it"
        pixels = middle(image) if seed is None else crop(image, np.random.default_rng((seed, epoch, number)), mirror)
        return pixels, int(self._pictures.labels[number])


def _together(found: list[tuple[NDArray[np.uint8], int] | str]) -> Raw | str:
    """A batch, or what is wrong with its first damaged picture."""
    pixels, labels = [], []
    for each in found:
        if isinstance(each, str):
            return each
        pixels.append(each[0])
        labels.append(each[1])
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def normalised(pictures: Tensor) -> Tensor:
    """float32 (x / 255 - MEAN) / STD of uint8 N x 3 x H x W, on its device."""
    return standardised(pictures.float() / 255)


def standardised(images: Tensor) -> Tensor:
    """(x - MEAN) / STD of images N x 3 x H x W in [0, 1], on their device."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


def middle(image: Image.Image) -> NDArray[np.uint8]:
    """3 x SIZE x SIZE from the middle of an RGB picture whose shorter side was made SHORTER."""
    width, height = image.size
    short = min(width, height)
    size = SHORTER * width // short, SHORTER * height // short
    left, top = (round((side - SIZE) / 2) for side in size)
    image = image.resize(size, Image.Resampling.BILINEAR)
    return _pixels(image.crop((left, top, left + SIZE, top + SIZE)))


def crop(image: Image.Image, rng: np.random.Generator, mirror: bool) -> NDArray[np.uint8]:
    """3 x SIZE x SIZE: a random part of an RGB picture, of random area and shape, mirrored one time in two."""
    left, top, width, height = _box(*image.size, rng)
    box = (left, top, left + width, top + height)
    pixels = _pixels(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(pixels[..., ::-1]) if mirror and rng.random() < 0.5 else pixels


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random part; the middle where no part of an allowed shape was found."""
    for _ in range(_TRIES):
        area = width * height * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    return (width - w) // 2, (height - h) // 2, w, h


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def load(path: Path, workers: int | None = None) -> tuple[Pictures, Pictures]:
    """The splits train and val. workers: processes that decode; None: one for each core, at most 8.

    Raises ModelError, naming the folder, for a missing split, a class without pictures, and classes that differ.
    """
    count = min(8, os.cpu_count() or 1) if workers is None else workers
    classes = {split: _classes(path / split) for split in ("train", "val")}
    odd = sorted(set(classes["train"]) ^ set(classes["val"]))
    if odd:
        here, there = ("train", "val") if odd[0] in classes["train"] else ("val", "train")
        raise ModelError(f"data {path}: class {odd[0]} is in {here} and not in {there}; both need the same folders")
    train, val = (_pictures(path / split, classes[split], count) for split in ("train", "val"))
    return train, val


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ModelError(f"data {folder.parent}: folder {folder.name} does not exist; ImageNet's layout is "
                         "train/<class>/*.JPEG and val/<class>/*.JPEG")  # fmt: skip
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not found:
        raise ModelError(f"data {folder}: holds no folder of a class; sort its pictures into {folder.name}/<class>/")
    return found


def _pictures(folder: Path, classes: Sequence[str], workers: int) -> Pictures:
    """Every picture of a split, numbered in an order that is the same every time and mixes the classes."""
    names, labels = [], []
    for label, name in enumerate(classes):
        own = sorted(e.name for e in os.scandir(folder / name) if e.name.lower().endswith(_SUFFIXES) and e.is_file())
        if not own:
            raise ModelError(f"data {folder / name}: no picture ({', '.join(_SUFFIXES)}); fill the class or delete it "
                             "from both splits")  # fmt: skip
        names += [os.fsencode(f"{name}/{file}") for file in own]
        labels += [label] * len(own)
    order = np.random.default_rng(_ORDER).permutation(len(names))
    return Pictures(folder, np.array(names)[order], np.array(labels, np.int64)[order], workers)
