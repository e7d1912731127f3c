"""Labelled pictures held in memory, and what every split of a data set can do."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Labelled(NamedTuple):
    """Images float32 N x C x H x W as the network takes them, and labels int64 N."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def first(self, count: int) -> "Labelled":
        """The first images."""
        return Labelled(self.images[:count], self.labels[:count])

    def take(self, count: int | None) -> "Labelled":
        """The first images as a split of their own; None: all."""
        return self if count is None else self.first(count)

    def batches(self, size: int) -> Iterator["Labelled"]:
        """All images in order, at most `size` at a time."""
        for start in range(0, len(self.labels), size):
            yield Labelled(self.images[start : start + size], self.labels[start : start + size])

    def parts(self) -> Iterator[memoryview]:
        """Bytes that tell this split from any other one."""
        for array in self:
            yield np.ascontiguousarray(array).data


class Images(Protocol):
    """A split as commands use it, whether its pictures are in memory or in files."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 N."""

    def first(self, count: int) -> Labelled:
        """The first images, in memory, as the network takes them."""

    def take(self, count: int | None) -> "Images":
        """The first images as a split of their own; None: all."""

    def batches(self, size: int) -> Iterator[Labelled]:
        """All images in order, as the network takes them, at most `size` at a time."""

    def parts(self) -> Iterator[bytes | memoryview]:
        """Bytes that tell this split from any other one."""
