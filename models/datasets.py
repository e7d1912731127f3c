"""Labelled pictures from a path: CIFAR-10 (JPEG .npz or pickle folder) and Fashion-MNIST (folder of IDX files).

The last twentieth of every training split is held back: choices (epochs, densities, bits) are made on it, and the test
split is looked at once, for the result.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import ModelError, cifar10, fashion_mnist

HELD_BACK = 20
"""One image in so many of the training split, its last ones, chooses between trained networks."""

Split = Literal["train", "holdout", "test"]
SPLITS: tuple[Split, ...] = ("train", "holdout", "test")


class Labelled(NamedTuple):
    """Images float32 N x C x 32 x 32 in [0, 1] and labels int64 N."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class Dataset(NamedTuple):
    """The splits of one data set, and its name as reports say it."""

    name: str
    train: Labelled
    holdout: Labelled
    test: Labelled

    def split(self, name: str) -> Labelled:
        """One of train (without the held-out images), holdout and test. Raises ModelError."""
        if name not in SPLITS:
            raise ModelError(f"split {name!r} does not exist; use one of {', '.join(SPLITS)}")
        chosen: Labelled = getattr(self, name)
        return chosen


def load(path: Path) -> Dataset:
    """The data set at a path. Raises ModelError, naming the path and what is read."""
    if cifar10.is_cifar10(path):
        name = "CIFAR-10 (JPEG)" if path.suffix == ".npz" else "CIFAR-10"
        train, test = (_scaled(*cifar10.read_raw(split, path)) for split in ("train", "test"))
    elif (path / "t10k-images-idx3-ubyte.gz").is_file():
        name = "Fashion-MNIST"
        train, test = (Labelled(*fashion_mnist.load_split(split, path)) for split in ("train", "test"))
    else:
        raise ModelError(
            f"data {path}: no data set there; give CIFAR-10 as a .npz of JPEG pictures or as the folder of "
            "data_batch_1, or Fashion-MNIST as the folder of t10k-images-idx3-ubyte.gz"
        )
    cut = len(train.labels) - len(train.labels) // HELD_BACK
    if cut == len(train.labels):
        raise ModelError(f"data {path}: {cut} training images, at least {HELD_BACK} are needed")
    images, labels = train
    return Dataset(name, Labelled(images[:cut], labels[:cut]), Labelled(images[cut:], labels[cut:]), test)


def _scaled(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Labelled:
    return Labelled(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))
