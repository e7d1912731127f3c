"""A recipe like those for ImageNet, on a small folder of random pictures: from a checkpoint file to a Program."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models import datasets
from models.resnet import resnet18
from subrow.source import Compression, source_of
from subrow.spec.errors import SubrowError
from subrow.trained import RECIPES
from tests.cli.conftest import Run
from tests.models.pictures import write_folder

# 16 channels: oneDNN writes past its memory in the weight gradient of strided 1x1 convolutions with fewer.
RECIPE = """
network = "models.resnet:resnet18"
arguments = {width = 16, num_classes = 2}
checkpoint = "CHECKPOINT"
teacher = "itself"
hw = "tiny"
[prune]
density = "2/8"
steps = ["4/8"]
tile = "f2"
calibration = 4
[sparse]
epochs = 2
epoch_images = 4
batch = 4
peak_rate = 0.01
distil = 0.9
augment = {shift = 0}
[integer]
epochs = 1
epoch_images = 4
batch = 4
optimizer = "adam"
peak_rate = 1e-4
weight_decay = 0.0
distil = 0.9
augment = {shift = 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    write_folder(path, 11, 1)
    return path


def recipe(folder: Path) -> Path:
    """The recipe beside its checkpoint, which is made as torchvision's are."""
    torch.save(resnet18(2, width=16).state_dict(), folder / "resnet18.pth")
    path = folder / "r.toml"
    path.write_text(RECIPE.replace("CHECKPOINT", str(folder / "resnet18.pth")))
    return path


class Killed(SubrowError):
    """A run that ends in the middle."""


def test_from_a_checkpoint_to_a_program(
    folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two epochs and resumed, with another number of decoding processes: the same integers."""
    command = ("finetune", "--recipe", recipe(tmp_path), "--data", folder, "--device", "cpu")
    whole = run(*command, "--out", tmp_path / "a", "--workers", 0, "--json")
    assert whole.code == 0, whole.err
    assert whole.json["epochs"] == {"sparse 4/8": 1, "sparse": 2, "integer": 1}
    assert whole.json["checkpoint"].endswith("resnet18.pth") and whole.json["data"].endswith("2 test images")
    assert set(whole.json["density"].values()) == {0.25, 1.0}
    lines: list[str] = []

    def killed(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:  # the step to 4/8, then the first of two epochs at 2/8
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("subrow.cli_train._log_line", killed)
        assert run(*command, "--out", tmp_path / "b", "--workers", 2).code == 2
    assert sorted(p.name for p in (tmp_path / "b" / "checkpoints").iterdir()) == ["sparse-4of8.pt", "sparse.pt"]
    resumed = run(*command, "--out", tmp_path / "b", "--workers", 1, "--resume")
    assert resumed.code == 0 and "resumed after epoch 1" in resumed.err, resumed.err
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    check = ("evaluate", tmp_path / "a", "--data", folder, "--json", "--device")
    results = [run(*check, device).json for device in ("torch", "emulator")]
    assert results[0]["accuracy"] == results[1]["accuracy"] == whole.json["accuracy"] and results[0]["n"] == 2


def test_what_a_recipe_starts_from_must_be_there(folder: Path, tmp_path: Path, run: Run) -> None:
    path = recipe(tmp_path)
    command = ("finetune", "--recipe", path, "--data", folder, "--out", tmp_path / "o")
    (tmp_path / "resnet18.pth").write_bytes(b"PK")
    harmed = run(*command)
    assert harmed.code == 2 and "recipe r: checkpoint" in harmed.err and "cannot be read" in harmed.err, harmed.err
    (tmp_path / "resnet18.pth").unlink()
    missing = run(*command)
    assert missing.code == 2 and "resnet18.pth does not exist: give the path of a .pth" in missing.err, missing.err
    path.write_text(path.read_text().replace("num_classes = 2", "num_classes = 1"))
    torch.save(resnet18(1, width=16).state_dict(), tmp_path / "resnet18.pth")
    few = run(*command)
    assert few.code == 2 and "has 1 outputs, but there are labels up to 1" in few.err, few.err
    assert not (tmp_path / "o").exists()


def test_a_damaged_picture_ends_training_with_its_name(folder: Path, tmp_path: Path, run: Run) -> None:
    shutil.copytree(folder, tmp_path / "i")
    for path in (tmp_path / "i" / "val" / "n01").iterdir():
        path.write_bytes(b"no picture")
    path = recipe(tmp_path)
    text = path.read_text()
    path.write_text(text[: text.index("[prune]")] + "[float]\nepochs = 1\nepoch_images = 4\nbatch = 4\n")
    done = run("finetune", "--recipe", path, "--data", tmp_path / "i", "--out", tmp_path / "o")
    assert done.code == 2 and "n01" in done.err and "cannot be decoded" in done.err
    assert not (tmp_path / "o" / "card.json").exists()


def test_a_folder_calibrates(folder: Path) -> None:
    """prune, quantize and compile take the training images of labelled data in place of an .npy."""
    source = source_of("tests.cli.nets:small_cifar", "tiny", Compression(None, "auto", False), folder, False, None)
    np.testing.assert_array_equal(source.calibration, datasets.load(folder).train.first(64).images)
    assert source.calibration.shape == (21, 3, 224, 224)


@pytest.mark.parametrize("depth", (18, 34, 50))
def test_recipes_for_imagenet_say_that_they_were_not_run(depth: int) -> None:
    text = (RECIPES / f"resnet{depth}_imagenet_2of8.toml").read_text()
    assert text.startswith("# not run: no ImageNet here\n")
    assert tomllib.loads(text)["network"] == f"models.resnet:resnet{depth}"
