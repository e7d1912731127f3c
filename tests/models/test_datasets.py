"""Labelled images from a path: both layouts of CIFAR-10, and what is wrong with others."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import ModelError, datasets
from tests.models.cifar import write_pickles


def write_jpegs(path: Path, count: int) -> np.ndarray:
    """An .npz of JPEG pictures of one colour each; the colours uint8 [count, 3]."""
    rng = np.random.default_rng(2)
    colours, arrays = rng.integers(0, 256, (count, 3), dtype=np.uint8), {}
    for split in ("train", "test"):
        files = []
        for colour in colours:
            buffer = io.BytesIO()
            Image.fromarray(np.broadcast_to(colour, (32, 32, 3)).copy()).save(buffer, "JPEG", quality=95)
            files.append(buffer.getvalue())
        arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{split}_offset"] = np.cumsum([0, *map(len, files)])
        arrays[f"{split}_label"] = (np.arange(count) % 10).astype(np.uint8)
    np.savez(path, **arrays)
    return colours


def test_pickles(tmp_path: Path) -> None:
    raw = write_pickles(tmp_path, 20)
    data = datasets.load(tmp_path)
    assert data.name == "CIFAR-10" and [len(s.labels) for s in data[1:]] == [95, 5, 20]
    whole = np.concatenate([data.train.images, data.holdout.images])
    np.testing.assert_array_equal(np.rint(whole * 255), raw["train"][0])
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.holdout.labels]), raw["train"][1])
    np.testing.assert_array_equal(data.split("test").labels, raw["test"][1])


def test_jpegs(tmp_path: Path) -> None:
    colours = write_jpegs(tmp_path / "c.npz", 40)
    data = datasets.load(tmp_path / "c.npz")
    assert data.name == "CIFAR-10 (JPEG)" and data.train.images.shape == (38, 3, 32, 32)
    np.testing.assert_allclose(data.test.images.mean((2, 3)) * 255, colours, atol=3)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "harm"),)

    write_pickles(tmp_path, 20)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": Harm(), b"labels": []}))
    with pytest.raises(ModelError, match="test_batch is damaged .holds .*mkdir, which is no array"):
        datasets.load(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [
    pickle.dumps(7), pickle.dumps({b"data": None, b"labels": [1]}), pickle.dumps([1, 2]), b"\x80\x04X", b"(lp0\nS'x\n",
    pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": ["a", "b"]}), b"\x80\x02cnumpy\nndarray\n(K\x00tR.",
], ids=range(7))  # fmt: skip
def test_a_damaged_pickle_is_one_error(content: bytes, tmp_path: Path) -> None:
    write_pickles(tmp_path, 20)
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(ModelError, match="data_batch_2 is damaged"):
        datasets.load(tmp_path)


def test_a_damaged_archive_is_one_error(tmp_path: Path) -> None:
    """Wherever a byte is wrong or the file ends: the pictures as they were, or one error that names the file."""
    path, broken = tmp_path / "c.npz", tmp_path / "d.npz"
    write_jpegs(path, 24)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    whole, errors = path.read_bytes(), 0
    for place in range(0, len(whole), 97):
        for content in (whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :], whole[:place]):
            broken.write_bytes(content)
            try:
                datasets.load(broken)
            except ModelError as error:
                assert "d.npz" in str(error)
                errors += 1
    assert errors > len(whole) // 97
    for name, wrong in (("train_offset", np.array(["a"] * 25)), ("train_label", np.array(["a"] * 24)),
                        ("train_jpeg", np.array(3)), ("train_offset", np.zeros((25, 2), np.int64))):  # fmt: skip
        with np.load(path) as arrays:
            np.savez(broken, **{**arrays, name: wrong})
        with pytest.raises(ModelError, match=r"d.npz"):
            datasets.load(broken)


def test_errors_name_the_path_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"data {tmp_path}: no data set there; give CIFAR-10"):
        datasets.load(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"x.npz is damaged or not the JPEG edition"):
        datasets.load(tmp_path / "x.npz")
    with pytest.raises(ModelError, match="none.npz does not exist"):
        datasets.load(tmp_path / "none.npz")
    write_pickles(tmp_path, 20)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(ModelError, match="data_batch_3 does not exist; give the folder that holds data_batch_1"):
        datasets.load(tmp_path)
    write_pickles(tmp_path, 20)
    with pytest.raises(ModelError, match="split 'valid' does not exist; use one of train, holdout, test"):
        datasets.load(tmp_path).split("valid")
    write_pickles(tmp_path, 3)
    with pytest.raises(ModelError, match="15 training images, at least 20 are needed"):
        datasets.load(tmp_path)
