"""Make the committed Fashion-MNIST subsets in models/data from the Debian package `dataset-fashion-mnist`.

    python scripts/make_fashion_mnist_subset.py [--folder FOLDER] [--out FOLDER]

Both take images of each class at even distances through the file, because the first ones are not as hard as the rest:
100 of each from the test split, and 25 or 26 of each (256 in all) from the training split, without the images that
training holds out. No random draw: running it again writes the same bytes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models import fashion_mnist  # noqa: E402
from models.fashion_mnist import RawImages  # noqa: E402


def spread_over_each_class(raw: RawImages, total: int) -> RawImages:
    """`total` images, as evenly over the classes as can be and evenly spaced within each, in the order of `raw`."""
    classes = len(fashion_mnist.CLASS_NAMES)
    chosen = []
    for label in range(classes):
        count = total // classes + (label < total % classes)
        members = np.flatnonzero(raw.labels == label)
        chosen.append(members[np.arange(count) * len(members) // count])
    order = np.sort(np.concatenate(chosen))
    return RawImages(raw.images[order], raw.labels[order])


def main() -> None:
    """Write the two files and say what they hold."""
    parser = argparse.ArgumentParser(description="Make the committed Fashion-MNIST subsets.")
    parser.add_argument("--folder", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="the IDX files")
    parser.add_argument("--out", type=Path, default=fashion_mnist.DATA_FOLDER, help="where the subsets go")
    args = parser.parse_args()
    train = RawImages(*(part[: -fashion_mnist.HOLDOUT] for part in fashion_mnist.read_raw("train", args.folder)))
    test = fashion_mnist.read_raw("test", args.folder)
    for name, raw, total in (
        (fashion_mnist.TEST_SUBSET.name, test, 1000),
        (fashion_mnist.CALIBRATION_SUBSET.name, train, 256),
    ):
        subset = spread_over_each_class(raw, total)
        np.savez_compressed(args.out / name, images=subset.images, labels=subset.labels)
        print(f"{args.out / name}: {total} images, {np.bincount(subset.labels).tolist()} of each class")


if __name__ == "__main__":
    main()
