"""Where the training loop gets its batches from: tensors on one device, or pictures that are decoded as it goes.

Every random draw of an epoch follows from the seed and the epoch's number, whoever decodes the pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from subrow.compress.augment import augment

if TYPE_CHECKING:
    from subrow.compress.training import Schedule

Batch = tuple[Tensor, Tensor]
"""Images N x C x H x W, float32, and labels N, int64."""


class Source(Protocol):
    """Labelled images on a device."""

    @property
    def device(self) -> torch.device:
        """Where batches lie."""

    def __len__(self) -> int:
        """How many images there are."""

    def most(self) -> int:
        """The largest label."""

    def sample(self, count: int) -> Tensor:
        """The first images."""

    def epoch(self, schedule: Schedule, number: int, rank: int, processes: int) -> Iterator[Batch]:
        """Whole batches of an epoch's shuffled, changed images: of each, the share of one of several processes."""

    def all(self, rank: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Every image once, in order and unchanged: the share of one of several processes."""


def steps(source: Source, schedule: Schedule) -> int:
    """Batches of an epoch."""
    return min(len(source), schedule.epoch_images or len(source)) // schedule.batch


def drawn_from(schedule: Schedule, number: int) -> int:
    """The seed of everything that an epoch draws."""
    return schedule.seed * 1_000 + number


@dataclass(frozen=True)
class Data:
    """Images (N x C x H x W, float32) and labels (N, int64) on one device."""

    images: Tensor
    labels: Tensor

    EVALUATED = 500  # images at once

    @property
    def device(self) -> torch.device:
        return self.images.device

    def __len__(self) -> int:
        return len(self.labels)

    def most(self) -> int:
        return int(self.labels.max())

    def sample(self, count: int) -> Tensor:
        return self.images[:count]

    def epoch(self, schedule: Schedule, number: int, rank: int, processes: int) -> Iterator[Batch]:
        """Every process draws for whole batches, so that their number changes nothing but the shares."""
        generator = torch.Generator(self.device).manual_seed(drawn_from(schedule, number))
        order = torch.randperm(len(self), generator=generator, device=self.device)
        mine = slice(rank, None, processes)
        for chosen in order[: steps(self, schedule) * schedule.batch].view(-1, schedule.batch):
            images = augment(self.images[chosen], schedule.augment, generator)
            yield images[mine], self.labels[chosen][mine]

    def all(self, rank: int = 0, processes: int = 1) -> Iterator[Batch]:
        mine = slice(rank, None, processes)
        yield from zip(self.images[mine].split(self.EVALUATED), self.labels[mine].split(self.EVALUATED), strict=True)


@dataclass(frozen=True)
class Files:
    """Picture files, such as models.imagenet.Pictures, decoded by worker processes and normalised on a device.

    Training pictures are cropped at random and mirrored (where the recipe says `flip`) one by one, before a batch is
    changed as a whole; a process draws that for its own share.
    """

    pictures: Any
    device: torch.device

    EVALUATED = 50  # images at once: a network's inner tensors are large

    def __len__(self) -> int:
        return len(self.pictures.labels)

    def most(self) -> int:
        return int(self.pictures.labels.max())

    def sample(self, count: int) -> Tensor:
        return torch.as_tensor(self.pictures.first(count).images).to(self.device)

    def epoch(self, schedule: Schedule, number: int, rank: int, processes: int) -> Iterator[Batch]:
        from models.imagenet import standardised

        seed = drawn_from(schedule, number)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        whole = order[: steps(self, schedule) * schedule.batch].view(-1, schedule.batch)
        generator = torch.Generator(self.device).manual_seed(seed + 1_000_003 * rank)
        how = dataclasses.replace(schedule.augment, flip=False)
        share = [row[rank::processes].tolist() for row in whole]
        for pixels, labels in self.pictures.crops(share, schedule.seed, number, schedule.augment.flip):
            images = augment(pixels.to(self.device).float() / 255, how, generator)
            yield standardised(images), labels.to(self.device)

    def all(self, rank: int = 0, processes: int = 1) -> Iterator[Batch]:
        from models.imagenet import normalised

        for pixels, labels in self.pictures.part(slice(rank, None, processes)).middles(self.EVALUATED):
            yield normalised(pixels.to(self.device)), labels.to(self.device)


def source_of(images: Any, device: torch.device | str = "cpu") -> Source:
    """A source on a device, from a pair (images, labels) of arrays or tensors, or from pictures in files."""
    if isinstance(images, tuple):
        return Data(*(torch.as_tensor(v).to(device) for v in images))
    return Files(images, torch.device(device))
