"""Labelled pictures from a path: CIFAR-10 (JPEG .npz or pickle folder), Fashion-MNIST (folder of IDX files), ImageNet's
layout (folders train and val).

The last twentieth of every training split is held back: choices (epochs, densities, bits) are made on it, and the test
split is looked at once, for the result.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import ModelError, cifar10, fashion_mnist
from models.labelled import Images, Labelled

HELD_BACK = 20
"""One image in so many of the training split, its last ones, chooses between trained networks."""

Split = Literal["train", "holdout", "test"]
SPLITS: tuple[Split, ...] = ("train", "holdout", "test")


class Dataset(NamedTuple):
    """The splits of one data set, and its name as reports say it."""

    name: str
    train: Images
    holdout: Images
    test: Images

    def split(self, name: str) -> Images:
        """One of train (without the held-out images), holdout and test. Raises ModelError."""
        if name not in SPLITS:
            raise ModelError(f"split {name!r} does not exist; use one of {', '.join(SPLITS)}")
        chosen: Images = getattr(self, name)
        return chosen


def load(path: Path, workers: int | None = None) -> Dataset:
    """The data set at a path. workers: processes that decode pictures of a folder; by default one for each core.

    Raises ModelError, naming the path and what is read, and for workers of a data set that is decoded at once.
    """
    if not cifar10.is_cifar10(path) and any((path / name).is_dir() for name in ("train", "val")):
        return _folder(path, workers)
    if workers is not None:
        raise ModelError(f"data {path}: {workers} workers have no effect; they decode folders of pictures alone")
    if cifar10.is_cifar10(path):
        name = "CIFAR-10 (JPEG)" if path.suffix == ".npz" else "CIFAR-10"
        train, test = (_scaled(*cifar10.read_raw(split, path)) for split in ("train", "test"))
    elif (path / "t10k-images-idx3-ubyte.gz").is_file():
        name = "Fashion-MNIST"
        train, test = (Labelled(*fashion_mnist.load_split(split, path)) for split in ("train", "test"))
    else:
        raise ModelError(
            f"data {path}: no data set there; give CIFAR-10 as a .npz of JPEG pictures or as the folder of "
            "data_batch_1, Fashion-MNIST as the folder of t10k-images-idx3-ubyte.gz, or the folder of "
            "ImageNet's train and val"
        )
    cut = _cut(len(train.labels), path)
    images, labels = train
    return Dataset(name, Labelled(images[:cut], labels[:cut]), Labelled(images[cut:], labels[cut:]), test)


def _folder(path: Path, workers: int | None) -> Dataset:
    """ImageNet, or other pictures in its layout."""
    from models import imagenet  # the one that needs torch

    train, test = imagenet.load(path, workers)
    cut = _cut(len(train.labels), path)
    name = f"{path.resolve().name} ({len(set(test.labels.tolist())):,} classes, ImageNet's layout)"
    return Dataset(name, train.part(slice(cut)), train.part(slice(cut, None)), test)


def _cut(images: int, path: Path) -> int:
    """How many training images are learned from; the ones after them are held back."""
    cut = images - images // HELD_BACK
    if cut == images:
        raise ModelError(f"data {path}: {cut} training images, at least {HELD_BACK} are needed")
    return cut


def _scaled(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Labelled:
    return Labelled(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))
