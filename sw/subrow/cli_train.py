"""The commands that need labelled data: finetune, search, evaluate."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subrow.cli_options import (
    Bitfile,
    Bits,
    Hw,
    Json,
    Linear,
    ProgramHw,
    Tile,
    TileOption,
    check_folder,
    check_output,
)
from subrow.console import output, print_json, say, share_bar, table, warn
from subrow.source import hardware, load_program, refuse
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from models.datasets import Dataset
    from subrow.devices import Device
    from subrow.explore.search import Choice, Pruner
    from subrow.explore.sensitivity import Sensitivity
    from subrow.spec.hwconfig import HwConfig

KNEE_LIMIT = 0.05  # nats that one layer may change the outputs by
Network = Annotated[str, typer.Argument(
    metavar="NETWORK", help="a trained network in float (folder or name in models/weights), package.module:callable, "
    "a .pt2 file of torch.export or an .onnx file"
)]  # fmt: skip
Data = Annotated[Path, typer.Option(
    help="labelled images: CIFAR-10 (.npz of JPEG pictures, or folder of data_batch_1), Fashion-MNIST's folder, or "
    "ImageNet's folder of train and val"
)]  # fmt: skip
Workers = Annotated[int | None, typer.Option(
    min=0, help="processes that decode pictures of ImageNet's folder; default one for each core, at most 8"
)]  # fmt: skip


class TorchDevice(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Split(StrEnum):
    test = "test"
    holdout = "holdout"
    train = "train"


class Importance(StrEnum):
    sweep = "sweep"
    taylor = "taylor"


class EvaluationDevice(StrEnum):
    torch = "torch"
    emulator = "emulator"
    verilator = "verilator"
    pynq = "pynq"


def finetune(
    recipe: Annotated[Path, typer.Option(help="recipe file (.toml), such as those in models/recipes")], data: Data,
    out: Annotated[Path | None, typer.Option(help="folder of weights and card; default build/train/<recipe>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where an earlier run was stopped")] = False,
    device: Annotated[TorchDevice, typer.Option(help="auto takes a GPU if there is one")] = TorchDevice.auto,
    workers: Workers = None,
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
    chosen = ["--device", device.value] * (device is not TorchDevice.auto) + ["--out", str(out)] * (out is not None)
    words = [*_launcher(), "finetune", "--recipe", str(recipe), "--data", "PATH", *chosen]
    job = Job(how, _dataset(data, workers), folder / "checkpoints", folder, device.value, shlex.join(words), _log_line)
    card = run(job, resume)
    if card is None:  # of several processes, the first one reports
        return
    if as_json:
        print_json({"out": str(folder), **card})
        return
    float_accuracy = card["float_accuracy"]
    before = "" if float_accuracy is None else f", float {float_accuracy:.2f} %"
    say(f"accuracy {card['accuracy']:.2f} % of the test images{before} (measured); wrote {folder}")


def _launcher() -> list[str]:
    """`subrow`, or torchrun with as many processes as it started here."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    return ["subrow"] if count == 1 else ["torchrun", "--nproc-per-node", str(count), "-m", "subrow.cli"]


def _log_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _dataset(path: Path, workers: int | None = None) -> Dataset:
    from models import ModelError, datasets

    try:
        return datasets.load(path, workers)
    except ModelError as error:
        raise InputError(str(error)) from error


def search(
    model: Network, data: Data, hw: Hw = "pynq-z2",
    budget_ms: Annotated[float | None, typer.Option(help="milliseconds that one image may take (estimated)")] = None,
    budget_accuracy: Annotated[float | None, typer.Option(
        help="percent of held-out images that must be right once pruned, before retraining"
    )] = None,
    tile: TileOption = Tile.f2, linear: Linear = False, bits: Bits = None,
    importance: Annotated[Importance, typer.Option(
        help="sweep measures every layer at every density; taylor estimates it from gradients, much faster"
    )] = Importance.sweep,
    images: Annotated[int, typer.Option(min=8, help="training images to measure with")] = 256,
    rounds: Annotated[int, typer.Option(
        min=0, help="with --budget-ms: how often the choice is improved from measurements around it"
    )] = 4,
    out: Annotated[Path | None, typer.Option(help="Graph file to write: the network pruned so (.graph)")] = None,
    report: Annotated[Path | None, typer.Option(
        help="page to write (.html): accuracy against time at several budgets, densities, sensitivity curves"
    )] = None,
    workers: Workers = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Density of each layer: the least change of the outputs for a time, or the least time for an accuracy.

    Without a budget each layer's curve decides by its knee.
    """
    from subrow.compress.weight_bits import check_stored
    from subrow.explore import search as explore
    from subrow.explore.front import points
    from subrow.explore.sensitivity import measure
    from subrow.ir.store import save_graph
    from subrow.search_page import page, write
    from subrow.trained import captured

    _check_budgets(budget_ms, budget_accuracy)
    if out is not None:
        check_output(out, "--out", ".graph")
    if report is not None:
        check_output(report, "--report", ".html")
    config, dataset = hardware(hw), _dataset(data, workers)
    if bits is not None:
        check_stored(bits, config)
    sample = dataset.train.first(images).images
    pruner = explore.Pruner(captured(model, sample), config, tile.value, linear, sample, bits)
    explore.check_labels(pruner, dataset.holdout)
    with share_bar("search") as progress:
        found = measure(
            pruner.graph, sample, config, tile.value, linear, progress=progress, importance=importance.value, bits=bits
        )
        if budget_ms is not None:
            budget = int(budget_ms * config.mhz * 1e3)
            choice = explore.for_budget(found, pruner, budget, rounds, progress)
        elif budget_accuracy is not None:
            choice = explore.for_accuracy(found, pruner, dataset.holdout, budget_accuracy, progress)
        else:
            choice = explore.for_knees(found, pruner, KNEE_LIMIT)
        progress("accuracy", 0.95)
        measured = explore.against_uniform(found, pruner, choice, dataset.holdout)
        if report is not None:
            tried = points(found, pruner, choice, dataset.holdout, progress)
            write(report, page(pruner.graph.name, config, found, choice, tried, _origin(importance)))
    if out is not None:
        save_graph(choice.graph, out, config)
    if as_json:
        print_json(_search_document(pruner, found, choice, measured, importance))
    else:
        _print_search(config, found, choice, measured)


def _check_budgets(budget_ms: float | None, budget_accuracy: float | None) -> None:
    """Raises InputError unless at most one budget is given, a number that can be one."""
    if budget_ms is not None and budget_accuracy is not None:
        raise InputError("--budget-ms and --budget-accuracy: give one of them")
    if budget_ms is not None and not (math.isfinite(budget_ms) and budget_ms > 0):
        raise InputError(f"--budget-ms {budget_ms}: must be a number above 0")
    if budget_accuracy is not None and not 0 < budget_accuracy <= 100:
        raise InputError(f"--budget-accuracy {budget_accuracy}: must be a number above 0, at most 100")


def _search_document(
    pruner: Pruner, found: Sensitivity, choice: Choice, measured: dict[str, Any], importance: Importance
) -> dict[str, Any]:
    return {
        "network": pruner.graph.name, "hw": pruner.hw.name, "ms": choice.cycles / pruner.hw.mhz / 1e3, **measured,
        "layers": [{**dataclasses.asdict(c), "chosen": choice.kept[c.layer]} for c in found.curves],
        "importance": importance.value,
        "origin": {
            "cycles": "estimated", "ms": "estimated", "accuracy": "measured in float before retraining",
            "divergence": _origin(importance),
        },
    }  # fmt: skip


def _origin(importance: Importance) -> str:
    """Where divergences come from."""
    return "measured" if importance is Importance.sweep else "estimated from gradients"


def _print_search(config: HwConfig, found: Sensitivity, choice: Choice, measured: dict[str, Any]) -> None:
    places = [(c, c.kept.index(choice.kept[c.layer])) for c in found.curves]
    rows = [
        (c.layer, f"{choice.kept[c.layer]}/{config.sub_row}", f"{c.divergence[i]:.4f}", f"{c.cycles[i]:,}")
        for c, i in places
    ]
    output().print(table("Chosen", ("layer",), ("density", "divergence", "cycles"), rows))
    say(f"{measured['accuracy']:.2f} % of held-out images in {choice.cycles:,} cycles "
        f"({choice.cycles / config.mhz / 1e3:.3f} ms); accuracy measured before retraining, cycles estimated")
    if "uniform" in measured:
        same = measured["uniform"]
        say(f"{same['kept']}/{config.sub_row} in every layer: {same['accuracy']:.2f} % in {same['cycles']:,} cycles")


def evaluate(
    what: Annotated[str, typer.Argument(
        metavar="WEIGHTS|PROGRAM", help="a trained network (folder or name in models/weights) or a Program (.subrow)"
    )],
    data: Data,
    split: Annotated[Split, typer.Option(help="holdout: the training images that choices are made on")] = Split.test,
    device: Annotated[EvaluationDevice | None, typer.Option(
        help="torch: trained networks alone, their default. emulator: a Program's default, bit for bit what a board "
        "computes. verilator: the RTL. pynq: a board"
    )] = None,
    bitfile: Bitfile = None, hw: ProgramHw = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first images only")] = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Accuracy of a trained network or of a Program on labelled images."""
    from subrow.board.accuracy import BATCH, program_accuracy
    from subrow.board.start import check_bitfile, opener, origin
    from subrow.evaluate import trained_accuracy

    def start(hw: HwConfig) -> Device:
        return opener(ran, hw, bitfile, warn)()

    program, ran = None, _ran(what, device)
    check_bitfile(ran, bitfile)
    if Path(what).suffix == ".subrow":
        program, config = load_program(Path(what), hw)
    else:
        refuse({"--hw": hw}, f"on {what}, which is no Program: it is measured for the HwConfig that it was trained for")
    images = _dataset(data, workers).split(split.value).take(limit)
    if program is not None:
        accuracy = program_accuracy(program, config, images.batches(BATCH), start)
    else:
        accuracy = trained_accuracy(what, images, None if ran == EvaluationDevice.torch else start)
    label, count = origin(ran, bitfile), len(images.labels)
    if as_json:
        print_json({"accuracy": accuracy, "n": count, "device": ran, "origin": label, "split": split.value})
        return
    say(f"accuracy {accuracy:.2f} % of {count:,} {split.value} images on {ran} ({label})")


def _ran(what: str, device: EvaluationDevice | None) -> str:
    """The device's name, with the default of what is evaluated. Raises InputError for a Program on torch."""
    if Path(what).suffix != ".subrow":
        return (device or EvaluationDevice.torch).value
    if device is EvaluationDevice.torch:
        raise InputError(f"--device torch: {what} is a Program; give emulator, verilator or pynq")
    return (device or EvaluationDevice.emulator).value
