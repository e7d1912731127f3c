"""The commands that need labelled data: finetune, evaluate."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subrow.cli_options import Json, check_folder
from subrow.console import complain, print_json, say
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from models.datasets import Dataset

Data = Annotated[Path, typer.Option(
    help="labelled images: CIFAR-10 (.npz of JPEG pictures, or folder of data_batch_1) or Fashion-MNIST's folder"
)]  # fmt: skip


class TorchDevice(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Split(StrEnum):
    test = "test"
    holdout = "holdout"
    train = "train"


class EvaluationDevice(StrEnum):
    torch = "torch"
    emulator = "emulator"


def finetune(
    recipe: Annotated[Path, typer.Option(help="recipe file (.toml), such as those in models/recipes")], data: Data,
    out: Annotated[Path | None, typer.Option(help="folder of weights and card; default build/train/<recipe>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where an earlier run was stopped")] = False,
    device: Annotated[TorchDevice, typer.Option(help="auto takes a GPU if there is one")] = TorchDevice.auto,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train a network by a recipe: float, pruned under its mask, in integers. Under torchrun on several devices."""
    from subrow.compress.recipe import load_recipe
    from subrow.finetune import Job
    from subrow.finetune import finetune as run
    from subrow.trained import TRAINED

    how = load_recipe(recipe)
    folder = out or TRAINED / how.name
    check_folder(folder, "--out")
    command = shlex.join(["subrow", "finetune", "--recipe", str(recipe), "--data", "PATH"])
    job = Job(how, _dataset(data), folder / "checkpoints", folder, device.value, command, _log_line)
    card = run(job, resume)
    if card is None:  # of several processes, the first one reports
        return
    if as_json:
        print_json({"out": str(folder), **card})
        return
    float_accuracy = card["float_accuracy"]
    before = "" if float_accuracy is None else f", float {float_accuracy:.2f} %"
    say(f"accuracy {card['accuracy']:.2f} % of the test images{before} (measured); wrote {folder}")


def _log_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _dataset(path: Path) -> Dataset:
    from models import ModelError, datasets

    try:
        return datasets.load(path)
    except ModelError as error:
        raise InputError(str(error)) from error


def evaluate(
    what: Annotated[str, typer.Argument(
        metavar="WEIGHTS|PROGRAM", help="a trained network (folder or name in models/weights) or a Program (.subrow)"
    )],
    data: Data,
    split: Annotated[Split, typer.Option(help="holdout: the training images that choices are made on")] = Split.test,
    device: Annotated[EvaluationDevice, typer.Option(help="torch, or the emulator that a board equals bit for bit")]
    = EvaluationDevice.torch,
    limit: Annotated[int | None, typer.Option(min=1, help="the first images only")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Accuracy of a trained network or of a Program on labelled images."""
    from subrow.evaluate import program_accuracy, trained_accuracy
    from subrow.spec.program import load

    images, labels = _dataset(data).split(split.value)
    images, labels = images[:limit], labels[:limit]
    if Path(what).suffix == ".subrow":
        if device is EvaluationDevice.torch:
            complain("warning", "a Program runs on the emulator; --device torch is for trained networks")
        accuracy, ran = program_accuracy(load(what), images, labels), "emulator"
    else:
        accuracy, ran = trained_accuracy(what, images, labels, device.value), device.value
    if as_json:
        print_json({"accuracy": accuracy, "n": len(labels), "device": ran, "split": split.value})
        return
    say(f"accuracy {accuracy:.2f} % of {len(labels):,} {split.value} images on {ran} (measured)")
