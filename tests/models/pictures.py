"""Small folders in ImageNet's layout: random JPEG pictures of odd sizes, one of them grey and one CMYK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((231, 259), (300, 240), (64, 91), (500, 120))


def write_folder(folder: Path, train: int, val: int) -> None:
    """Two classes, so many pictures of each, with a class's own share of red."""
    rng, modes = np.random.default_rng(5), ["L", "CMYK"]
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(("n01", "n02")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                width, height = SIZES[number % len(SIZES)]
                pixels = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
                pixels[..., 0] += np.uint8(120 * label)
                image = Image.fromarray(pixels)
                if label and number < len(modes):
                    image = image.convert(modes[number])
                image.save(folder / split / name / f"{number:03}.JPEG", quality=70)
