"""The commands that need labelled data: finetune, search, evaluate."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subrow.cli_options import Hw, Json, Linear, Model, Tile, TileOption, check_folder, check_output
from subrow.console import complain, output, print_json, say, share_bar, table
from subrow.source import hardware
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from models.datasets import Dataset

KNEE_LIMIT = 0.05  # nats that one layer may change the outputs by
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


def search(
    model: Model, data: Data, hw: Hw = "pynq-z2",
    budget_ms: Annotated[float | None, typer.Option(help="milliseconds that one image may take (estimated)")] = None,
    budget_accuracy: Annotated[float | None, typer.Option(
        help="percent of held-out images that must be right once pruned, before retraining"
    )] = None,
    tile: TileOption = Tile.f2, linear: Linear = False,
    images: Annotated[int, typer.Option(min=8, help="training images to measure with")] = 256,
    out: Annotated[Path | None, typer.Option(help="Graph file to write: the network pruned so (.graph)")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Density of each layer: the least change of the outputs for a time, or the least time for an accuracy.

    Without a budget each layer's curve decides by its knee. Prunes one layer at a time to see what it costs.
    """
    from subrow.explore import search as explore
    from subrow.explore.sensitivity import measure
    from subrow.ir.store import save_graph
    from subrow.trained import captured

    if budget_ms is not None and budget_accuracy is not None:
        raise InputError("--budget-ms and --budget-accuracy: give one of them")
    if out is not None:
        check_output(out, "--out", ".graph")
    config, dataset = hardware(hw), _dataset(data)
    sample = dataset.train.images[:images]
    graph = captured(model, sample)
    pruner = explore.Pruner(graph, config, tile.value, linear, sample)
    with share_bar("search") as progress:
        found = measure(graph, sample, config, tile.value, linear, progress=progress)
        if budget_ms is not None:
            choice = explore.for_budget(found, pruner, int(budget_ms * config.mhz * 1e3))
        elif budget_accuracy is not None:
            choice = explore.for_accuracy(found, pruner, dataset.holdout, budget_accuracy, progress)
        else:
            choice = explore.for_knees(found, pruner, KNEE_LIMIT)
        progress("accuracy", 0.95)
        measured = explore.against_uniform(found, pruner, choice, dataset.holdout)
    if out is not None:
        save_graph(choice.graph, out, config)
    document = {
        "network": graph.name, "hw": config.name, "ms": choice.cycles / config.mhz / 1e3, **measured,
        "layers": [{**dataclasses.asdict(c), "chosen": choice.kept[c.layer]} for c in found.curves],
        "origin": {"cycles": "estimated", "ms": "estimated", "accuracy": "measured in float before retraining"},
    }  # fmt: skip
    if as_json:
        print_json(document)
        return
    rows = [
        (c.layer, f"{choice.kept[c.layer]}/{config.sub_row}", f"{c.divergence[c.kept.index(choice.kept[c.layer])]:.4f}",
         f"{c.cycles[c.kept.index(choice.kept[c.layer])]:,}") for c in found.curves
    ]  # fmt: skip
    output().print(table("Chosen", ("layer",), ("density", "divergence", "cycles"), rows))
    say(f"{measured['accuracy']:.2f} % of held-out images in {choice.cycles:,} cycles ({document['ms']:.3f} ms); "
        "accuracy measured before retraining, cycles estimated")
    if "uniform" in measured:
        same = measured["uniform"]
        say(f"{same['kept']}/{config.sub_row} in every layer: {same['accuracy']:.2f} % in {same['cycles']:,} cycles")


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
