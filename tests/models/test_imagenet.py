"""Folders in ImageNet's layout: what is read, what is drawn, and one error for each thing that is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import ModelError, datasets, imagenet
from subrow.compress.augment import Augment
from subrow.compress.batches import Files, source_of
from subrow.compress.training import Schedule
from tests.models.pictures import write_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    write_folder(path, 10, 4)
    return path


def reference(path: Path) -> np.ndarray:
    """Evaluation as torchvision does it, written down again: shorter side 256, middle 224, mean and deviation."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    size = (256, 256 * height // width) if width <= height else (256 * width // height, 256)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
    pixels = pixels[top : top + 224, left : left + 224]
    return ((pixels - np.float32(imagenet.MEAN)) / np.float32(imagenet.STD)).transpose(2, 0, 1)


def test_splits(folder: Path) -> None:
    data = datasets.load(folder, 0)
    assert data.name.endswith("(2 classes, ImageNet's layout)")
    assert [len(s.labels) for s in data[1:]] == [19, 1, 8]
    assert set(data.train.labels[:8].tolist()) == {0, 1}  # the first pictures are not all of one class
    images, labels = data.test.first(8)
    assert images.shape == (8, 3, 224, 224) and images.dtype == np.float32 and labels.dtype == np.int64
    for number, image in enumerate(images):  # grey and CMYK ones too
        path = data.test.path(number)
        assert labels[number] == ("n01", "n02").index(path.parent.name)
        np.testing.assert_allclose(image, reference(path), atol=1e-5)
    batched = list(data.test.batches(3))
    assert [len(b.labels) for b in batched] == [3, 3, 2]
    np.testing.assert_array_equal(np.concatenate([b.images for b in batched]), images)
    np.testing.assert_array_equal(data.test.take(5).labels, labels[:5])


def epoch(source: Files, schedule: Schedule, number: int, rank: int = 0, processes: int = 1) -> torch.Tensor:
    return torch.cat([images for images, _ in source.epoch(schedule, number, rank, processes)])


def test_draws_follow_from_seed_epoch_and_number(folder: Path) -> None:
    """However many processes decode; another epoch, or another seed, draws something else."""
    how = Schedule(2, seed=3, batch=4, augment=Augment(0, True))
    one, two = (source_of(datasets.load(folder, workers).train) for workers in (0, 2))
    assert isinstance(one, Files)
    first = epoch(one, how, 1)
    assert first.shape == (16, 3, 224, 224) and first.mean().abs() < 3
    assert torch.equal(first, epoch(two, how, 1)) and torch.equal(first, epoch(one, how, 1))
    assert not torch.equal(first, epoch(one, how, 2))
    assert not torch.equal(first, epoch(one, Schedule(2, seed=4, batch=4, augment=how.augment), 1))
    halves = [epoch(one, how, 1, rank, 2) for rank in (0, 1)]
    for rank, half in enumerate(halves):
        assert torch.equal(half, first[rank::2])


def test_a_mirrored_picture_and_its_original(folder: Path) -> None:
    """The same draws without `flip` give the same crops, about half of them as mirror images of the others."""
    pictures = datasets.load(folder, 0).train
    plain, mirrored = (next(pictures.crops([range(16)], 1, 1, flip))[0] for flip in (False, True))
    same = [torch.equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    turned = [torch.equal(a, b.flip(2)) for a, b in zip(plain, mirrored, strict=True)]
    assert all(a != b for a, b in zip(same, turned, strict=True)) and 2 < sum(turned) < 14


def test_crops_lie_in_the_picture() -> None:
    rng = np.random.default_rng(1)
    for width, height in ((500, 10), (10, 500), (300, 200), (1, 1)):
        for _ in range(100):
            left, top, w, h = imagenet._box(width, height, rng)
            assert left >= 0 and top >= 0 and w > 0 and h > 0 and left + w <= width and top + h <= height


def test_shares_of_evaluation_are_all_images_once(folder: Path) -> None:
    source = Files(datasets.load(folder, 0).test, CPU)
    labels = [torch.cat([batch[1] for batch in source.all(rank, 3)]) for rank in range(3)]
    assert [len(part) for part in labels] == [3, 3, 2]
    assert sum(int(part.sum()) for part in labels) == 4


def damaged(folder: Path) -> None:
    path = folder / "train" / "n01" / "003.JPEG"
    path.write_bytes(path.read_bytes()[:500])


def no_picture(folder: Path) -> None:
    path = folder / "train" / "n01" / "003.JPEG"
    path.write_bytes(b"no picture at all")


def empty(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "n02")
    (folder / "train" / "n02").mkdir()


def flat(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    shutil.copytree(folder / "train" / "n01", folder / "val")


@pytest.mark.parametrize(("harm", "message"), [
    (damaged, r"picture .*n01/003.JPEG cannot be decoded \(.*[Tt]runcated.*\); replace it by a whole one"),
    (no_picture, r"picture .*n01/003.JPEG cannot be decoded \(cannot identify"),
    (empty, r"train/n02: no picture \(.jpeg, .jpg, .png\); fill the class or delete it from both splits"),
    (flat, r"val: holds no folder of a class; sort its pictures into val/<class>/"),
    (lambda folder: shutil.rmtree(folder / "val"), "folder val does not exist; ImageNet's layout is train/<class>"),
    (lambda folder: shutil.rmtree(folder / "train"), "folder train does not exist; ImageNet's layout is train/<class>"),
    (lambda folder: (folder / "val" / "n03").mkdir(), "class n03 is in val and not in train; both need the same"),
    (lambda folder: shutil.rmtree(folder / "val" / "n01"), "class n01 is in train and not in val; both need the same"),
])  # fmt: skip
@pytest.mark.parametrize("workers", (0, 2))
def test_each_mistake_is_one_error(
    harm: Callable[[Path], object], message: str, workers: int, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "i")
    harm(tmp_path / "i")
    with pytest.raises(ModelError, match=message) as caught:
        data = datasets.load(tmp_path / "i", workers)
        list(data.train.crops([range(len(data.train.labels))], 1, 1, True))
        data.holdout.first(2)
    assert "\n" not in str(caught.value)


def test_workers_decode_folders_alone(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="2 workers have no effect; they decode folders of pictures alone"):
        datasets.load(tmp_path, 2)
