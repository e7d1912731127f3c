"""Fashion-MNIST as the networks here take it: float32, N x 1 x 32 x 32, values in [0, 1]; numpy only.

The 28 x 28 pictures get a border of two zero pixels; no other normalisation is applied. The whole data set is read
from the IDX files of the Debian package `dataset-fashion-mnist`. Two small committed subsets need no package: 1,000
test images to measure accuracy with, and 256 training images to calibrate quantisation and batch-norm with.
Calibration must never see a test image, and these two functions are how that stays true.
"""

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import ModelError

DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package `dataset-fashion-mnist` puts its files."""

CLASS_NAMES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Names of the labels 0 to 9."""

HOLDOUT = 5_000
"""The last images of the training split, which the calibration subset leaves alone."""

DATA_FOLDER = Path(__file__).parent / "data"
TEST_SUBSET = DATA_FOLDER / "fashion_mnist_test1000.npz"
CALIBRATION_SUBSET = DATA_FOLDER / "fashion_mnist_calib256.npz"

_PREFIX = {"train": "train", "test": "t10k"}
_SIDE = 28
_BORDER = 2
_IDX_UINT8 = 0x08


class RawImages(NamedTuple):
    """Pictures as published: images uint8 N x 28 x 28 (0 to 255) and labels uint8 N (0 to 9)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class LabelledImages(NamedTuple):
    """Pictures as a network takes them: images float32 N x 1 x 32 x 32 in [0, 1] and labels int64 N (0 to 9)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_split(split: Literal["train", "test"], folder: Path = DEFAULT_FOLDER) -> LabelledImages:
    """All 60,000 training or 10,000 test images, in the order of the files."""
    return to_network_input(read_raw(split, folder))


def test_images() -> LabelledImages:
    """The 1,000 committed images of the test split, 100 of each class: for measuring, never for calibrating."""
    return to_network_input(read_subset(TEST_SUBSET))


test_images.__test__ = False  # type: ignore[attr-defined]  # pytest must not collect it where it is imported


def calibration_images() -> LabelledImages:
    """The 256 committed images of the training split: for calibrating, never for measuring."""
    return to_network_input(read_subset(CALIBRATION_SUBSET))


def to_network_input(raw: RawImages) -> LabelledImages:
    """Scale to [0, 1], add the border and the channel axis: N x 28 x 28 to N x 1 x 32 x 32."""
    border = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER))
    images = np.pad(raw.images, border)[:, np.newaxis].astype(np.float32) / np.float32(255)
    return LabelledImages(images, raw.labels.astype(np.int64))


def read_raw(split: Literal["train", "test"], folder: Path = DEFAULT_FOLDER) -> RawImages:
    """The pictures of one split as published."""
    if split not in _PREFIX:
        raise ModelError(f"Fashion-MNIST: split {split!r} does not exist; use one of {sorted(_PREFIX)}")
    images = _read_idx(folder, f"{_PREFIX[split]}-images-idx3-ubyte.gz", dimensions=3)
    labels = _read_idx(folder, f"{_PREFIX[split]}-labels-idx1-ubyte.gz", dimensions=1)
    return _checked(RawImages(images, labels), f"Fashion-MNIST split {split!r} in {folder}")


def read_subset(path: Path) -> RawImages:
    """A committed subset: an .npz with arrays `images` and `labels`."""
    if not path.is_file():
        raise ModelError(
            f"Fashion-MNIST subset {path} does not exist: restore it from the repository, or make it again with "
            "scripts/make_fashion_mnist_subset.py"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            raw = RawImages(arrays["images"], arrays["labels"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"Fashion-MNIST subset {path} is damaged ({error}): restore it from the repository, or make it again "
            "with scripts/make_fashion_mnist_subset.py"
        ) from error
    return _checked(raw, f"Fashion-MNIST subset {path}")


def _read_idx(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """A gzipped IDX file of unsigned bytes: two zero bytes, the type, the rank, big-endian sizes, then the data."""
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"Fashion-MNIST: {path} does not exist; install the Debian package with "
            "`apt-get install dataset-fashion-mnist`, or name the folder that holds the four *-ubyte.gz files"
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"Fashion-MNIST: {path} is not a whole gzip file ({error}); install it again") from error
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, _IDX_UINT8, dimensions)) or len(content) < header:
        raise ModelError(
            f"Fashion-MNIST: {path} starts with bytes {content[:4].hex()}, "
            f"an IDX file of {dimensions}-dimensional unsigned bytes with 0000{_IDX_UINT8:02x}{dimensions:02x}; "
            "install it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    if len(content) - header != np.prod(shape):
        raise ModelError(
            f"Fashion-MNIST: {path} holds {len(content) - header} bytes of data, its header promises shape {shape}; "
            "install it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _checked(raw: RawImages, what: str) -> RawImages:
    """Raise unless images are uint8 N x 28 x 28 and labels are N values below 10."""
    count = len(raw.images)
    if raw.images.dtype != np.uint8 or raw.images.shape != (count, _SIDE, _SIDE):
        raise ModelError(
            f"{what}: images are {raw.images.dtype} of shape {raw.images.shape}, not uint8 N x {_SIDE} x {_SIDE}"
        )
    if raw.labels.shape != (count,) or count == 0 or raw.labels.max() >= len(CLASS_NAMES):
        raise ModelError(
            f"{what}: labels have shape {raw.labels.shape} for {count} images; "
            f"one label from 0 to {len(CLASS_NAMES) - 1} for each image is needed"
        )
    return raw
