"""Small folders in the layout of CIFAR-10's pickle release."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np


def write_pickles(folder: Path, batch: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Five training batches and the test batch of so many images, noise with a class-coloured square; by split."""
    rng, splits = np.random.default_rng(1), {}
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        count = batch * len(names)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 100, (count, 3, 32, 32), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            corner = 16 * (int(label) // 5)
            colour = np.array([50 * (int(label) % 5 >> bit & 1) for bit in range(3)], np.uint8)
            image[:, corner : corner + 16, 8:24] += colour[:, None, None]
        splits[split] = images, labels
        for i, name in enumerate(names):
            part = slice(i * batch, (i + 1) * batch)
            document = {b"data": images[part].reshape(batch, -1), b"labels": [int(x) for x in labels[part]]}
            (folder / name).write_bytes(pickle.dumps(document))
    return splits
