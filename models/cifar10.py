"""CIFAR-10 as the networks here take it: float32, N x 3 x 32 x 32, values in [0, 1]; numpy and Pillow only.

Two layouts are read: one .npz of JPEG pictures (arrays `<split>_jpeg` with the bytes of all files back to back,
`<split>_offset` int64 of n + 1 and `<split>_label` uint8), and the folder of the published pickle release, with
data_batch_1 to data_batch_5 and test_batch. JPEG is slightly lossy: figures say "CIFAR-10 (JPEG)".
"""

import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import ModelError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Names of the labels 0 to 9."""

_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_SHAPE = (3, 32, 32)


class RawImages(NamedTuple):
    """Pictures as published: images uint8 N x 3 x 32 x 32 (0 to 255) and labels uint8 N (0 to 9)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def is_cifar10(path: Path) -> bool:
    """Whether a path looks like one of the two layouts."""
    return path.suffix == ".npz" or (path / _BATCHES["test"][0]).is_file()


def read_raw(split: str, path: Path) -> RawImages:
    """The pictures of `train` or `test`. Raises ModelError, naming the file and what is wrong with it."""
    if split not in _BATCHES:
        raise ModelError(f"CIFAR-10: split {split!r} does not exist; use one of {sorted(_BATCHES)}")
    raw = _read_jpegs(split, path) if path.suffix == ".npz" else _read_pickles(split, path)
    count = len(raw.images)
    whole = raw.labels.dtype.kind in "iu" and raw.labels.shape == (count,) and count
    if not whole or raw.labels.min() < 0 or raw.labels.max() >= len(CLASS_NAMES):
        raise ModelError(
            f"CIFAR-10 split {split!r} in {path}: labels have shape {raw.labels.shape} for {count} images; one label "
            f"from 0 to {len(CLASS_NAMES) - 1} for each image is needed"
        )
    return raw


def _read_jpegs(split: str, path: Path) -> RawImages:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data, offset, labels = (arrays[f"{split}_{name}"] for name in ("jpeg", "offset", "label"))
        content = data.tobytes()
        pictures = [
            np.asarray(Image.open(io.BytesIO(content[start:end])).convert("RGB"))
            for start, end in zip(offset[:-1], offset[1:], strict=True)
        ]
        images = np.stack(pictures).transpose(0, 3, 1, 2)
    except FileNotFoundError as error:
        raise ModelError(
            f"CIFAR-10: {path} does not exist; give the .npz file or the folder of data_batch_1"
        ) from error
    except Exception as error:  # numpy, zipfile, pickle and Pillow raise nearly anything on damaged files
        raise ModelError(f"CIFAR-10: {path} is damaged or not the JPEG edition ({error}); fetch it again") from error
    if images.shape[1:] != _SHAPE:
        raise ModelError(f"CIFAR-10: {path} holds pictures of {images.shape[1:]}, must be {_SHAPE}")
    return RawImages(np.ascontiguousarray(images), labels)


def _read_pickles(split: str, folder: Path) -> RawImages:
    images, labels = [], []
    for name in _BATCHES[split]:
        path = folder / name
        if not path.is_file():
            raise ModelError(
                f"CIFAR-10: {path} does not exist; give the folder that holds {', '.join(_BATCHES[split])}"
            )
        try:
            with path.open("rb") as file:
                batch: Any = _ArraysOnly(file, encoding="bytes").load()
            images.append(np.asarray(batch[b"data"], np.uint8).reshape(-1, *_SHAPE))
            labels.append(np.asarray(batch[b"labels"], np.uint8))
        except Exception as error:  # numpy, zipfile, pickle and Pillow raise nearly anything on damaged files
            raise ModelError(f"CIFAR-10: {path} is damaged ({error}); unpack the archive again") from error
    return RawImages(np.concatenate(images), np.concatenate(labels))


class _ArraysOnly(pickle.Unpickler):
    """Reads what the release holds, numpy arrays and plain containers, and runs nothing else from the file."""

    _ALLOWED = frozenset({
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"holds {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
