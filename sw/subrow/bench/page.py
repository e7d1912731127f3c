"""The demosaicking result as one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from subrow.bench.demosaic import BILINEAR, FLOAT, NOTES, SQUARE, Result, mean

CROP, ZOOM = 72, 3


def png(picture: NDArray[np.float32], zoom: int = 1) -> str:
    """H x W x 3 in [0, 1] as a data URI, each pixel repeated `zoom` times each way."""
    from PIL import Image

    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def worst_square(error: NDArray[np.float32], size: int = CROP) -> tuple[slice, slice]:
    """The size x size pixels with the largest sum of an error H x W, on a grid of half that size."""
    step = size // 2
    rows, columns = (range(0, d - size + 1, step) for d in error.shape)
    places = [(y, x) for y in rows for x in columns]
    y, x = max(places, key=lambda p: float(error[p[0] : p[0] + size, p[1] : p[1] + size].sum()))
    return slice(y, y + size), slice(x, x + size)


def render(result: Result, headline: str) -> str:
    """The page; headline is the method that stands beside bilinear interpolation at full size."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    photos = [_photo(result, name, headline) for name in result.pictures]
    tables = [
        ("PSNR against the photograph, dB (measured)", result.psnr, mean(result.psnr)),
        ("PSNR against the float32 network, dB (measured)", result.psnr_float, mean(result.psnr_float)),
    ]
    return environment.get_template("page.html.j2").render(
        result=result, tables=tables, photos=photos, notes=NOTES, square=SQUARE, crop=CROP,
    )  # fmt: skip


def _photo(result: Result, name: str, headline: str) -> dict[str, Any]:
    pictures, db = result.pictures[name], result.psnr[name]
    where = worst_square(((pictures[BILINEAR] - pictures["true"]) ** 2).sum(axis=2))
    captions = {"true": "photograph", "mosaic": "Bayer mosaic", FLOAT: f"network, float32: {db[FLOAT]:.2f} dB"}
    captions |= {m: f"{m}: {db[m]:.2f} dB" for m in db if m not in captions}
    return {
        "name": name,
        "pair": [(f"before: {captions[BILINEAR]}", png(pictures[BILINEAR])),
                 (f"after: {captions[headline]}", png(pictures[headline]))],
        "crops": [(captions[m], png(pictures[m][where], ZOOM)) for m in ("mosaic", *db, "true")],
    }  # fmt: skip
