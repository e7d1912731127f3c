"""Results with pictures as one HTML file that holds everything."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Figure = tuple[str, str]
"""A caption, and a picture as a data URI."""


@dataclass(frozen=True)
class PageTable:
    """A table; the first column is text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Photo:
    """One photograph: before and after side by side, smaller figures below, which `others_are` introduces."""

    name: str
    pair: Sequence[Figure]
    others_are: str = ""
    others: Sequence[Figure] = ()


@dataclass(frozen=True)
class Page:
    """What the page shows, in this order."""

    title: str
    about: str
    tables: Sequence[PageTable]
    notes: Sequence[str]
    photos: Sequence[Photo]

    def html(self) -> str:
        """The page; it needs no other file."""
        environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
                                  undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # fmt: skip
        return environment.get_template("page.html.j2").render(page=self)


def png(picture: Picture, zoom: int = 1) -> str:
    """H x W x 3 (or H x W, grey) in [0, 1] as a data URI, each pixel repeated `zoom` times each way."""
    from PIL import Image

    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def decibels(title: str, db: Mapping[str, Mapping[str, float]], mean: Mapping[str, float]) -> PageTable:
    """A table of dB by photograph and method, with the means below."""
    rows = [[name, *(f"{row[m]:.2f}" for m in mean)] for name, row in db.items()]
    return PageTable(title, ["photograph", *mean], [*rows, ["mean", *(f"{v:.2f}" for v in mean.values())]])
